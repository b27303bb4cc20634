/* SPDX-License-Identifier: Apache-2.0
 *
 * See shadow.h. Order of writes: everything of the shadow in any order; sync; sector 0; sync;
 * truncation and punching.
 */
#include "shadow.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base_limits.h"
#include "cleanup.h"

#define BUFFER_BYTES (1 * MiB)
#define GATHER_BYTES (4 * MiB) /* a shadow up to this size is moved once more */
#define MAX_RELEASED 262144    /* runs that are punched; more are free all the same */

static uint64_t to_clusters(const struct shadow *s, uint64_t bytes)
{
    return div_up(bytes, qcow2_cluster_size(s->q));
}

/* --- life ----------------------------------------------------------------------------------- */

int shadow_place_block(void *user, uint64_t old_off, uint64_t *host_off)
{
    struct shadow *s = user;
    const struct qimg_range old = { old_off, qcow2_cluster_size(s->q) };

    if (old_off)
        TRY(range_vec_join(&s->left, old));
    TRY(shadow_alloc(s, 1, host_off));
    s->grown = s->grown || *host_off >= s->file_size;
    return 0;
}

static int find_start(struct shadow *s)
{
    const bool goes_inside = s->where == SHADOW_INSIDE || s->q->image.file->is_device;

    TRY(shadow_counts_end(&s->counts, &s->counted_end));
    s->next = s->counted_end;
    if (!goes_inside)
        s->next = max_u64(s->next, to_clusters(s, s->file_size));
    s->first = s->next << s->q->header.cluster_bits;
    if (s->where == SHADOW_INSIDE)
        s->counts.budget = SIZE_MAX;
    return shadow_guard_old(s, goes_inside ? 0 : s->first);
}

int shadow_begin(struct shadow *s, struct qcow2 *q, enum shadow_where where)
{
    struct io_stat st;

    *s = (struct shadow){ .q = q, .header = q->header, .where = where };
    TRY(io_stat(q->image.file, &st));
    s->file_size = st.size;
    s->host_end =
        (q->image.file->is_device ? st.size : QCOW2_OFFSET_MASK) >> q->header.cluster_bits;
    s->buffer = io_buffer_new(BUFFER_BYTES);
    if (!s->buffer)
        return -ENOMEM;
    TRY(shadow_counts_load(&s->counts, q));
    s->counts.place = shadow_place_block;
    s->counts.user = s;
    return find_start(s);
}

void shadow_leave_gap(struct shadow *s, uint64_t clusters)
{
    if (s->where == SHADOW_BEHIND && !s->q->image.file->is_device)
        s->next += clusters;
}

void shadow_end(struct shadow *s)
{
    if (s->grown && !s->flipped && !s->q->image.file->is_device)
        (void)!io_truncate(s->q->image.file, s->file_size);
    shadow_counts_release(&s->counts);
    shadow_counts_release(&s->old);
    piece_vec_release(&s->kept);
    range_vec_release(&s->taken);
    range_vec_release(&s->left);
    range_vec_release(&s->released);
    range_vec_release(&s->unwritten);
    blanks_release(&s->blanks);
    free(s->buffer);
    s->buffer = NULL;
}

void shadow_tell(struct shadow *s, admin_progress_fn progress, void *user, uint64_t to_walk)
{
    s->progress = progress;
    s->progress_user = user;
    s->to_walk = to_walk;
}

int shadow_progress(struct shadow *s)
{
    s->walked = min_u64(s->walked + 1, s->to_walk);
    if (!s->progress || s->progress(s->progress_user, s->walked, s->to_walk) == 0)
        return 0;
    return -ECANCELED;
}

/* --- references ----------------------------------------------------------------------------- */

/* Counts what was allocated since it was last called, and meanwhile: a block that has to leave
 * memory is given a cluster. That must not lengthen the run that is being counted. */
static int count_taken(struct shadow *s)
{
    const unsigned bits = s->q->header.cluster_bits;

    while (s->counted < s->taken.count) {
        const struct qimg_range run = s->taken.items[s->counted++];
        uint64_t zeroed;
        TRY(shadow_counts_add(&s->counts, run.off >> bits, run.len >> bits,
                              (struct shadow_delta){ SHADOW_NEW, 1 }, &zeroed));
    }
    return 0;
}

static struct qimg_range touched(const struct shadow *s, struct qimg_range bytes)
{
    const unsigned bits = s->q->header.cluster_bits;
    const uint64_t first = bytes.off >> bits;

    return (struct qimg_range){ first, ((range_end(bytes) - 1) >> bits) - first + 1 };
}

int shadow_ref_times(struct shadow *s, struct qimg_range bytes, uint64_t times)
{
    uint64_t zeroed;

    if (bytes.len == 0)
        return 0;
    const struct qimg_range run = touched(s, bytes);
    return shadow_counts_add(&s->counts, run.off, run.len,
                             (struct shadow_delta){ SHADOW_MORE, times }, &zeroed);
}

int shadow_share(struct shadow *s, uint64_t host_off, uint64_t times)
{
    uint64_t zeroed;

    return shadow_counts_add(&s->counts, host_off >> s->q->header.cluster_bits, 1,
                             (struct shadow_delta){ SHADOW_NEW, times }, &zeroed);
}

/* Remembers which of @run are free now. */
static int note_released(struct shadow *s, struct qimg_range run, bool all)
{
    const unsigned bits = s->q->header.cluster_bits;

    if (s->released.count >= MAX_RELEASED) {
        s->released_more = true;
        return 0;
    }
    if (all)
        return range_vec_join(&s->released,
                              (struct qimg_range){ run.off << bits, run.len << bits });
    for (uint64_t n = run.off; n < range_end(run); n++) {
        uint64_t count;
        TRY(shadow_counts_get(&s->counts, n, &count));
        if (count == 0)
            TRY(range_vec_join(&s->released,
                               (struct qimg_range){ n << bits, qcow2_cluster_size(s->q) }));
    }
    return 0;
}

int shadow_unref(struct shadow *s, struct qimg_range bytes)
{
    return shadow_unref_times(s, bytes, 1);
}

int shadow_unref_times(struct shadow *s, struct qimg_range bytes, uint64_t times)
{
    uint64_t zeroed;

    if (bytes.len == 0)
        return 0;
    const struct qimg_range run = touched(s, bytes);
    TRY(shadow_counts_add(&s->counts, run.off, run.len, (struct shadow_delta){ SHADOW_LESS, times },
                          &zeroed));
    return zeroed ? note_released(s, run, zeroed == run.len) : 0;
}

int shadow_count(struct shadow *s, uint64_t host_off, uint64_t *out)
{
    TRY(count_taken(s));
    return shadow_counts_get(&s->counts, host_off >> s->q->header.cluster_bits, out);
}

/* --- bytes ---------------------------------------------------------------------------------- */

static int write_bytes_at(struct shadow *s, uint64_t host_off, const void *buf, size_t len)
{
    blanks_forget(&s->blanks);
    s->grown = s->grown || host_off + len > s->file_size;
    s->written_end = max_u64(s->written_end, host_off + len);
    return io_write_exact(s->q->image.file, host_off, buf, len);
}

static int write_buffer(struct shadow *s)
{
    const struct qimg_range at = s->buffered;

    s->buffered.len = 0;
    return at.len ? write_bytes_at(s, at.off, s->buffer, at.len) : 0;
}

int shadow_put(struct shadow *s, uint64_t host_off, const void *buf, size_t len)
{
    if (range_end(s->buffered) != host_off || s->buffered.len + len > BUFFER_BYTES)
        TRY(write_buffer(s));
    if (len > BUFFER_BYTES)
        return write_bytes_at(s, host_off, buf, len);
    if (s->buffered.len == 0)
        s->buffered.off = host_off;
    memcpy(s->buffer + s->buffered.len, buf, len);
    s->buffered.len += len;
    return 0;
}

/* A table of @len bytes into new clusters, the last one padded only up to a sector. */
static int put_table(struct shadow *s, const void *bytes, size_t len, uint64_t *host_off)
{
    const size_t padded = align_up(len, QCOW2_SECTOR);
    AUTO_FREE uint8_t *copy = calloc(1, padded ? padded : 1);

    if (!copy)
        return -ENOMEM;
    memcpy(copy, bytes, len);
    TRY(shadow_alloc(s, to_clusters(s, len), host_off));
    return shadow_put(s, *host_off, copy, padded);
}

/* --- refcount structures -------------------------------------------------------------------- */

static bool refcounts_change(const struct shadow *s)
{
    for (size_t i = 0; i < s->counts.count; i++)
        if (s->counts.blocks[i].changed)
            return true;
    return false;
}

/* What was allocated is counted, and the old places of blocks not any more. */
static int count_moves(struct shadow *s)
{
    TRY(count_taken(s));
    while (s->left.count)
        TRY(shadow_unref(s, s->left.items[--s->left.count]));
    return 0;
}

/* Gives every changed block a place and counts these, until nothing new changes. */
static int place_blocks(struct shadow *s)
{
    struct shadow_counts *c = &s->counts;
    bool again = true;

    while (again) {
        again = false;
        TRY(count_moves(s));
        for (size_t i = 0; i < c->count; i++) {
            struct shadow_block *b = &c->blocks[i];
            if (!b->changed || b->placed)
                continue;
            TRY(shadow_counts_place(c, b));
            b->dirty = again = true;
        }
        again = again || s->counted < s->taken.count || s->left.count;
    }
    return 0;
}

/* Blocks that stand where they stood. To give one a new place changes the block that counts the
 * old one, and so on: at worst all of them follow. */
static uint64_t unmoved_blocks(const struct shadow *s)
{
    uint64_t n = 0;

    for (size_t i = 0; i < s->counts.count; i++)
        n += s->counts.blocks[i].off && !s->counts.blocks[i].placed;
    return n;
}

/* Clusters of a table that has an entry for every block, those to come included. */
static uint64_t table_clusters(const struct shadow *s)
{
    const uint64_t cluster = qcow2_cluster_size(s->q);
    const uint64_t others = to_clusters(s, s->last_len) + unmoved_blocks(s);
    uint64_t clusters = s->where == SHADOW_INSIDE ? s->header.reftable_clusters : 1;
    uint64_t needed;
    size_t passed;

    do {
        /* A few more blocks may follow for the table itself. */
        const uint64_t more = clusters + others;
        const uint64_t all = more + (more >> (s->counts.block_bits - 1)) + 4;
        const uint64_t end = shadow_find_behind(s, all, &passed) + all;
        const uint64_t entries = max_u64(s->counts.count, (end >> s->counts.block_bits) + 1);
        needed = div_up(entries * QCOW2_REFTABLE_ENTRY_BYTES, cluster);
        if (needed <= clusters)
            return clusters;
        clusters = needed;
    } while (clusters <= LIMIT_QCOW2_REFTABLE_BYTES / cluster);
    return clusters;
}

/* Has the file reach to the end of what was allocated: clusters that nobody wrote are holes. */
static int cover_taken(struct shadow *s)
{
    struct io_file *file = s->q->image.file;
    uint64_t end = 0;
    struct io_stat st;

    for (size_t i = 0; i < s->unwritten.count; i++) {
        const struct qimg_range run = s->unwritten.items[i];
        end = max_u64(end, range_end(run));
        if (s->where == SHADOW_INSIDE || file->is_device)
            TRY(io_zero(file, run, true));
    }
    if (end == 0 || file->is_device)
        return 0;
    TRY(io_stat(file, &st));
    s->grown = true;
    return st.size < end ? io_truncate(file, end) : 0;
}

static int write_table(struct shadow *s)
{
    const size_t len = (size_t)s->header.reftable_clusters << s->header.cluster_bits;
    AUTO_FREE uint8_t *raw = calloc(1, len);

    if (!raw)
        return -ENOMEM;
    assert(s->counts.count * QCOW2_REFTABLE_ENTRY_BYTES <= len);
    for (size_t i = 0; i < s->counts.count; i++)
        store_be64(raw + QCOW2_REFTABLE_ENTRY_BYTES * i, s->counts.blocks[i].off);
    return shadow_put(s, s->header.reftable_off, raw, len);
}

static int place_last(struct shadow *s)
{
    return s->last ? put_table(s, s->last, s->last_len, s->last_off) : 0;
}

static int build_refcounts(struct shadow *s)
{
    const struct qcow2_header *old = &s->q->header;

    TRY(count_taken(s));
    if (!refcounts_change(s) && !s->last)
        return 0;
    /* First, so that all that remains to be counted is what is allocated from here on. */
    TRY(shadow_unref(s, (struct qimg_range){ old->reftable_off, (uint64_t)old->reftable_clusters
                                                                    << old->cluster_bits }));
    TRY(place_blocks(s));
    const uint64_t clusters = table_clusters(s);
    if (clusters > LIMIT_QCOW2_REFTABLE_BYTES >> old->cluster_bits)
        return -EFBIG;
    TRY(shadow_alloc(s, clusters, &s->header.reftable_off));
    s->header.reftable_clusters = (uint32_t)clusters;
    TRY(place_last(s));
    TRY(place_blocks(s));
    TRY(write_table(s));
    TRY(write_buffer(s));
    return shadow_counts_flush(&s->counts);
}

/* --- the flip ------------------------------------------------------------------------------- */

/* The header's own bytes of sector 0; what stands behind them is left, or replaced by @sector. */
static int encode_sector(const struct qcow2 *q, const struct qcow2_header *header,
                         const uint8_t *sector, uint8_t out[QCOW2_SECTOR])
{
    AUTO_FREE uint8_t *head = calloc(1, max_u64(header->header_length, QCOW2_SECTOR));

    if (!head)
        return -ENOMEM;
    struct writer w = writer_of(head, max_u64(header->header_length, QCOW2_SECTOR));
    TRY(qcow2_header_encode(header, q->unknown_header, &w));
    if (sector)
        memcpy(out, sector, QCOW2_SECTOR);
    else
        TRY(io_read_exact(q->image.file, 0, out, QCOW2_SECTOR, NULL));
    memcpy(out, head, min_u64(header->header_length, QCOW2_SECTOR));
    return 0;
}

int qcow2_flip_header(struct qcow2 *q, const struct qcow2_header *header, const uint8_t *sector)
{
    uint8_t bytes[QCOW2_SECTOR];

    TRY(encode_sector(q, header, sector, bytes));
    TRY(io_write_exact(q->image.file, 0, bytes, sizeof(bytes)));
    return io_sync(q->image.file);
}

/* --- afterwards ----------------------------------------------------------------------------- */

static int punch_released(struct shadow *s, uint64_t end)
{
    for (size_t i = 0; i < s->released.count; i++) {
        const struct qimg_range run = range_clip(s->released.items[i], end);
        const int rc = run.len ? io_punch(s->q->image.file, run) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Gives back what nothing counts any more. The image is whole without it. */
static int trim(struct shadow *s)
{
    const unsigned bits = s->q->header.cluster_bits;
    struct io_stat st;
    uint64_t end;

    TRY(shadow_counts_end(&s->counts, &end));
    TRY(io_stat(s->q->image.file, &st));
    if (s->q->image.file->is_device)
        return punch_released(s, st.size);
    const bool exact = s->written_end > (end - 1) << bits && s->written_end <= end << bits;
    uint64_t size = exact ? s->written_end : end << bits;
    /* Bytes that the old state had without counting them are not ours to cut off. */
    if (s->file_size > s->counted_end << bits)
        size = max_u64(size, s->file_size);
    if (size < st.size)
        TRY(io_truncate(s->q->image.file, size));
    return punch_released(s, min_u64(size, st.size));
}

int shadow_commit(struct shadow *s)
{
    struct io_file *file = s->q->image.file;

    TRY(build_refcounts(s));
    TRY(shadow_guard_released(s));
    TRY(write_buffer(s));
    TRY(cover_taken(s));
    TRY(io_sync(file));
    s->flipped = true;
    TRY(qcow2_flip_header(s->q, &s->header, s->sector));
    (void)!trim(s);
    return 0;
}

static int explain(int rc, const char *what, struct qimg_error *err)
{
    if (rc == -EBADMSG) {
        (void)qimg_fail(err, EBADMSG, "%s%sa cluster is in use, but its refcount is 0",
                        what ? what : "", what ? ": " : "");
        return qimg_hint(err, "Repair the image with 'check -r all' first.");
    }
    if (rc == -EUCLEAN) {
        rc = explain(-EIO, what, err);
        (void)qimg_hint(err,
                        "An entry of its tables names a place where nothing can be: 'check' says "
                        "which, 'check -r all' mends what can be.");
        return rc;
    }
    return what ? qimg_fail_errno(err, -rc, "%s", what) : qimg_fail(err, -rc, "%s", strerror(-rc));
}

static uint64_t total(const struct range_vec *v)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < v->count; i++)
        sum += v->items[i].len;
    return sum;
}

/* Where the file has bytes that the old state did not count, clusters that seem free may hold
 * something: then nothing is moved there. */
static bool is_worth_gathering(const struct shadow *s)
{
    const uint64_t written = total(&s->taken) - total(&s->unwritten);

    if (s->file_size > s->counted_end << s->q->header.cluster_bits)
        return false;
    return s->flipped && !s->in_place && !s->q->image.file->is_device && written > 0 &&
           written <= max_u64(GATHER_BYTES, 8 * qcow2_cluster_size(s->q));
}

int shadow_finish(struct shadow *s, int rc, const char *what, struct qimg_error *err)
{
    struct qcow2 *q = s->q;
    const bool flipped = s->flipped, gather = rc == 0 && is_worth_gathering(s);
    const uint64_t first = s->first;

    shadow_end(s);
    if (rc < 0)
        return err->code ? rc : explain(rc, what, err);
    if (flipped)
        TRY(qcow2_reload(q, err));
    return gather ? shadow_gather(q, first, err) : 0;
}
