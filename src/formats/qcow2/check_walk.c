/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables in order. Tables of words are read in parts, holes left out. L2 tables are visited one
 * after the other, several being read ahead: problems are reported in the order of the tables, so
 * that these are visited in order, whatever order they arrive in. A visit may change a table on
 * disk: what was read before that is then read again.
 */
#include <stdlib.h>

#include "check.h"
#include "cleanup.h"

#define AHEAD_BYTES (4 * MiB)
#define AHEAD_MOST  64u
#define AHEAD_LEAST 2u
#define WORDS_BYTES (256 * KiB)

/* --- words ------------------------------------------------------------------------------------ */

/* The first part of [@off, @end) that has data, not empty; of length 0 where there is none. */
static int next_data(const struct check *c, uint64_t off, uint64_t end, struct qimg_range *part)
{
    struct io_extent extent;

    *part = (struct qimg_range){ end, 0 };
    while (off < end) {
        TRY(io_extents(c->q->image.file, off, &extent));
        const uint64_t stop = min_u64(end, extent.off + extent.len);
        if (extent.data) {
            *part = (struct qimg_range){ off, stop - off };
            return 0;
        }
        off = stop;
    }
    return 0;
}

static int each_of(struct check *c, uint64_t off, const uint8_t *bytes, size_t len,
                   const struct word_walk *walk)
{
    for (size_t i = 0; i < len; i += 8) {
        const uint64_t word = load_be64(bytes + i);
        if (word)
            TRY(walk->each(c, walk->arg, off + i, word));
    }
    return 0;
}

int check_each_word(struct check *c, struct qimg_range bytes, const struct word_walk *walk)
{
    const uint64_t end = min_u64(bytes.off + bytes.len, c->file_size);
    AUTO_FREE uint8_t *buffer = malloc(min_u64(align_up(bytes.len, 8), WORDS_BYTES));
    struct qimg_range part;

    if (!buffer)
        return -ENOMEM;
    for (uint64_t off = bytes.off; off < end; off = part.off + part.len) {
        int rc = next_data(c, off, end, &part);
        if (rc < 0)
            return walk->unread(c, walk->arg, (struct qimg_range){ off, end - off }, rc);
        if (part.len == 0)
            return 0;
        /* From word to word, wherever the data begins and ends. */
        part.off = bytes.off + align_down(part.off - bytes.off, 8);
        part.len = min_u64(align_up(end - part.off, 8), WORDS_BYTES);
        rc = io_read_exact(c->q->image.file, part.off, buffer, part.len, NULL);
        if (rc < 0)
            return walk->unread(c, walk->arg, part, rc);
        TRY(each_of(c, part.off, buffer, part.len, walk));
    }
    return 0;
}

/* --- tables ----------------------------------------------------------------------------------- */

struct walk_slot {
    struct io_request request;
    struct iovec iov;
    struct walked_table table;
    uint64_t word;
    bool done;
    uint64_t mends; /* when it was sent */
};

static void arrived(struct io_request *request)
{
    struct walk_slot *slot = request->user;

    slot->done = true;
}

static int prepare(struct table_walk *w)
{
    const uint64_t size = qcow2_cluster_size(w->check->q);

    if (w->slots)
        return 0;
    w->count = (unsigned)min_u64(max_u64(AHEAD_BYTES / size, AHEAD_LEAST), AHEAD_MOST);
    w->slots = calloc(w->count, sizeof(*w->slots));
    return w->slots ? 0 : -ENOMEM;
}

static int send(struct table_walk *w, struct walk_slot *slot)
{
    const uint64_t size = qcow2_cluster_size(w->check->q);

    if (!slot->table.bytes)
        slot->table.bytes = io_buffer_new(size);
    if (!slot->table.bytes)
        return -ENOMEM;
    slot->mends = w->check->l2_mends;
    slot->iov = (struct iovec){ slot->table.bytes, size };
    slot->request = (struct io_request){
        .op = IO_READ,
        .file = w->check->q->image.file,
        .off = slot->table.l2_off,
        .len = size,
        .iov = &slot->iov,
        .iov_count = 1,
        .advance = arrived,
        .user = slot,
    };
    slot->done = false;
    io_queue_add(w->check->queue, &slot->request);
    return 0;
}

static int reread(struct check *c, struct walk_slot *slot)
{
    if (slot->mends == c->l2_mends)
        return slot->request.result;
    TRY(mender_flush(&c->mender));
    return io_read_exact(c->q->image.file, slot->table.l2_off, slot->table.bytes,
                         qcow2_cluster_size(c->q), NULL);
}

/* A check that only looks can be stopped, and so can a repair that has only looked so far.
 * Reporting needs no table that was not looked at. */
static int show_progress(struct check *c)
{
    const struct check_request *request = c->request;

    if (!request->progress)
        return 0;
    c->walked = min_u64(c->walked + 1, c->to_walk);
    const bool stop = request->progress(request->user, c->walked, c->to_walk) != 0;
    return stop && (!c->fix_leaks || c->phase == CHECK_LOOKING) ? -ECANCELED : 0;
}

static int visit_oldest(struct table_walk *w)
{
    struct walk_slot *slot = &w->slots[w->seen % w->count];
    struct check *c = w->check;

    while (!slot->done)
        io_queue_run(c->queue, 1);
    w->seen++;
    int rc = w->before ? w->before(c, slot->table.l1_index, slot->word, w->active) : 0;
    if (rc != 0 || slot->table.weight == 0)
        return rc < 0 ? rc : 0;
    rc = reread(c, slot);
    TRY(rc < 0 ? w->failed(c, &slot->table, rc) : w->visit(c, &slot->table));
    return show_progress(c);
}

int table_walk_add(struct table_walk *w, uint64_t l1_index, uint64_t word)
{
    TRY(prepare(w));
    if (w->sent - w->seen == w->count)
        TRY(visit_oldest(w));
    struct walk_slot *slot = &w->slots[w->sent % w->count];
    slot->word = word;
    slot->done = true;
    slot->table.l1_index = l1_index;
    slot->table.l2_off = word & QCOW2_OFFSET_MASK;
    slot->table.active = w->active;
    slot->table.weight = w->wants(w->check, slot->table.l2_off);
    if (slot->table.weight)
        TRY(send(w, slot));
    w->sent++;
    return 0;
}

int table_walk_end(struct table_walk *w)
{
    while (w->seen < w->sent)
        TRY(visit_oldest(w));
    return 0;
}

void table_walk_release(struct table_walk *w)
{
    /* No read may be under way into memory that is freed. */
    for (; w->seen < w->sent; w->seen++)
        while (!w->slots[w->seen % w->count].done)
            io_queue_run(w->check->queue, 1);
    for (unsigned i = 0; w->slots && i < w->count; i++)
        free(w->slots[i].table.bytes);
    free(w->slots);
}

static int add_word(struct check *c, void *arg, uint64_t off, uint64_t word)
{
    struct table_walk *w = arg;

    (void)c;
    if (!(word & QCOW2_OFFSET_MASK))
        return 0;
    return table_walk_add(w, (off - w->l1_off) / QCOW2_L1_ENTRY_BYTES, word);
}

static int unread(struct check *c, void *arg, struct qimg_range part, int rc)
{
    (void)c;
    (void)arg;
    (void)part;
    return rc;
}

int check_walk_active(struct check *c, struct table_walk *w)
{
    const struct qcow2_header *h = &c->q->header;
    const struct qimg_range l1 = { h->l1_off, (uint64_t)h->l1_count * QCOW2_L1_ENTRY_BYTES };
    const struct word_walk words = { add_word, unread, w };

    w->check = c;
    w->active = true;
    w->l1_off = l1.off;
    int rc = check_each_word(c, l1, &words);
    if (rc == 0)
        rc = table_walk_end(w);
    table_walk_release(w);
    return rc;
}
