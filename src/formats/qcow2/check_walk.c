/* SPDX-License-Identifier: Apache-2.0
 *
 * L2 tables one after the other, several being read ahead. Problems must be told in the order of
 * the tables, so that they are visited in order, whatever order they arrive in. A visit may
 * change a table on disk: what was read before that is then read again.
 */
#include <stdlib.h>

#include "check.h"

#define AHEAD_BYTES (4 * MiB)
#define AHEAD_MOST  64u
#define AHEAD_LEAST 2u

struct slot {
    struct io_request request;
    struct iovec iov;
    struct walked_table table;
    bool done;
    uint64_t mends; /* when it was sent */
};

struct window {
    struct check *c;
    const struct table_walk *walk;
    struct slot *slots;
    unsigned count;
    uint64_t sent, seen; /* tables, from the beginning */
    uint64_t next_index; /* of L1, to be sent */
};

static void arrived(struct io_request *request)
{
    struct slot *slot = request->user;

    slot->done = true;
}

static bool is_wanted(const struct table_walk *walk, uint64_t word)
{
    return walk->only_linked ? word & QCOW2_OFFSET_MASK : word;
}

static void send(struct window *w, uint64_t l1_index)
{
    const uint64_t size = qcow2_cluster_size(w->c->q);
    struct slot *slot = &w->slots[w->sent++ % w->count];

    slot->done = false;
    slot->mends = w->c->mends;
    slot->table.l1_index = l1_index;
    slot->table.l2_off = w->walk->l1[l1_index] & QCOW2_OFFSET_MASK;
    slot->table.active = w->walk->active;
    slot->iov = (struct iovec){ slot->table.bytes, size };
    slot->request = (struct io_request){
        .op = IO_READ,
        .file = w->c->q->image.file,
        .off = slot->table.l2_off,
        .len = size,
        .iov = &slot->iov,
        .iov_count = 1,
        .advance = arrived,
        .user = slot,
    };
    io_queue_add(w->c->queue, &slot->request);
}

static void fill(struct window *w)
{
    bool added = false;

    while (w->next_index < w->walk->l1_count && w->sent - w->seen < w->count) {
        if (is_wanted(w->walk, w->walk->l1[w->next_index])) {
            send(w, w->next_index);
            added = true;
        }
        w->next_index++;
    }
    if (added)
        io_queue_submit(w->c->queue);
}

static int reread(struct window *w, struct slot *slot)
{
    if (slot->mends == w->c->mends)
        return slot->request.result;
    TRY(mender_flush(&w->c->mender));
    return io_read_exact(w->c->q->image.file, slot->table.l2_off, slot->table.bytes,
                         qcow2_cluster_size(w->c->q), NULL);
}

static int visit(struct window *w, struct slot *slot)
{
    const struct table_walk *walk = w->walk;
    struct check *c = w->c;

    int rc = walk->before(c, slot->table.l1_index, walk->l1[slot->table.l1_index], walk->active);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = reread(w, slot);
    return rc < 0 ? walk->failed(c, rc) : walk->visit(c, &slot->table);
}

/* A check that only looks can be stopped, and so can a repair that has only looked so far. */
static int show_progress(const struct check *c, uint64_t walked)
{
    const struct check_request *request = c->request;

    if (!request->progress)
        return 0;
    const uint64_t done = min_u64(c->walked + walked, c->to_walk);
    const bool stop = request->progress(request->user, done, c->to_walk) != 0;
    return stop && (!c->fix_leaks || c->only_looks) ? -ECANCELED : 0;
}

static int run(struct window *w)
{
    for (fill(w); w->seen < w->sent; fill(w)) {
        struct slot *slot = &w->slots[w->seen % w->count];
        while (!slot->done)
            io_queue_run(w->c->queue, 1);
        w->seen++;
        TRY(visit(w, slot));
        TRY(show_progress(w->c, slot->table.l1_index));
    }
    w->c->walked += w->walk->l1_count;
    return 0;
}

static int window_init(struct window *w)
{
    const uint64_t size = qcow2_cluster_size(w->c->q);

    w->count = (unsigned)min_u64(max_u64(AHEAD_BYTES / size, AHEAD_LEAST), AHEAD_MOST);
    w->slots = calloc(w->count, sizeof(*w->slots));
    if (!w->slots)
        return -ENOMEM;
    for (unsigned i = 0; i < w->count; i++) {
        w->slots[i].table.bytes = io_buffer_new(size);
        if (!w->slots[i].table.bytes)
            return -ENOMEM;
    }
    return 0;
}

static void window_release(struct window *w)
{
    if (!w->slots)
        return;
    for (unsigned i = 0; i < w->count; i++) {
        /* Nothing may be under way into memory that goes. */
        while (i + w->seen < w->sent && !w->slots[(i + w->seen) % w->count].done)
            io_queue_run(w->c->queue, 1);
    }
    for (unsigned i = 0; i < w->count; i++)
        free(w->slots[i].table.bytes);
    free(w->slots);
}

int check_walk(struct check *c, const struct table_walk *walk)
{
    struct window w = { .c = c, .walk = walk };
    int rc = window_init(&w);

    if (rc == 0)
        rc = run(&w);
    window_release(&w);
    return rc;
}
