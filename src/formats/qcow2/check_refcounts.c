/* SPDX-License-Identifier: Apache-2.0
 *
 * The counts on disk: loading them, looking at the table that leads to them, and comparing them
 * with what was walked.
 */
#include <stdlib.h>

#include "bits.h"
#include "check.h"
#include "checked.h"
#include "cleanup.h"

#define REFTABLE_RESERVED UINT64_C(0x1ff)
#define AHEAD_BYTES       (4 * MiB)
#define AHEAD_MOST        64u
#define READABLE_END      ((UINT64_C(1) << 63) - GiB) /* QEMU reads nothing behind that */

static uint64_t block_off(const struct check *c, uint64_t index)
{
    return c->reftable[index] & QCOW2_REFTABLE_OFFSET_MASK;
}

/* Of a block that need not be read to know that it cannot be. */
static uint8_t block_state_by_place(const struct check *c, uint64_t index)
{
    const uint64_t off = block_off(c, index), size = qcow2_cluster_size(c->q);

    if (!is_aligned(off, size))
        return BLOCK_UNALIGNED;
    return range_within((struct qimg_range){ off, size }, READABLE_END) ? 0 : BLOCK_FAILED;
}

/* --- loading -------------------------------------------------------------------------------- */

struct loading {
    struct check *c;
    uint64_t next;  /* table entry to be sent */
    uint64_t count; /* entries that matter: blocks of clusters inside the file */
    uint64_t ones;  /* 8 bytes of a block, all of whose counts are 1 */
    unsigned under_way;
    int rc;
};

struct block_read {
    struct io_request request;
    struct iovec iov;
    struct loading *loading;
    uint64_t index;
    uint8_t *bytes;
};

/* Nearly all counts are 0 or 1: these go by words. */
static int keep_block(struct loading *l, uint64_t index, const uint8_t *bytes)
{
    struct check *c = l->c;
    const unsigned order = c->q->header.refcount_order;
    const uint64_t first = index * check_counts_of_block(c), in_word = 64u >> order;
    const uint64_t n = min_u64(check_counts_of_block(c), c->disk.length - first);
    uint64_t i = 0, ones = 0;

    for (; i + in_word <= n; i += in_word) {
        uint64_t word;
        memcpy(&word, bytes + (i << order) / 8, sizeof(word));
        if (word == l->ones) {
            ones += in_word;
            continue;
        }
        TRY(counts_add_run(&c->disk, first + i - ones, ones));
        ones = 0;
        for (uint64_t k = i; word && k < i + in_word; k++)
            TRY(counts_set(&c->disk, first + k, qcow2_refcount_get(bytes, order, k)));
    }
    TRY(counts_add_run(&c->disk, first + i - ones, ones));
    for (; i < n; i++)
        TRY(counts_set(&c->disk, first + i, qcow2_refcount_get(bytes, order, i)));
    return 0;
}

static void block_arrived(struct io_request *request);

/* The next block that there is and that lies inside the file; others count 0. */
static void send_next(struct loading *l, struct block_read *read)
{
    struct check *c = l->c;
    const uint64_t size = qcow2_cluster_size(c->q);

    for (; l->next < l->count; l->next++) {
        const uint64_t off = block_off(c, l->next);
        c->block_state[l->next] = block_state_by_place(c, l->next);
        if (off == 0 || off >= c->file_size || c->block_state[l->next])
            continue;
        read->index = l->next++;
        read->iov = (struct iovec){ read->bytes, size };
        read->request = (struct io_request){
            .op = IO_READ,
            .file = c->q->image.file,
            .off = off,
            .len = size,
            .iov = &read->iov,
            .iov_count = 1,
            .advance = block_arrived,
            .user = read,
        };
        l->under_way++;
        io_queue_add(c->queue, &read->request);
        return;
    }
}

static void block_arrived(struct io_request *request)
{
    struct block_read *read = request->user;
    struct loading *l = read->loading;

    l->under_way--;
    l->c->block_state[read->index] = request->result < 0 ? BLOCK_FAILED : 0;
    if (request->result == 0 && l->rc == 0)
        l->rc = keep_block(l, read->index, read->bytes);
    if (l->rc == 0)
        send_next(l, read);
}

static int load_blocks(struct check *c)
{
    const uint64_t size = qcow2_cluster_size(c->q);
    const unsigned n = (unsigned)min_u64(max_u64(AHEAD_BYTES / size, 2), AHEAD_MOST);
    struct loading l = { .c = c,
                         .count = min_u64(c->reftable_count,
                                          div_up(c->disk.length, check_counts_of_block(c))) };
    AUTO_FREE struct block_read *reads = calloc(n, sizeof(*reads));
    AUTO_FREE uint8_t *bytes = io_buffer_new(n * size);

    if (!reads || !bytes)
        return -ENOMEM;
    for (unsigned i = 0; i < 64u >> c->q->header.refcount_order; i++)
        qcow2_refcount_put((uint8_t *)&l.ones, c->q->header.refcount_order, i, 1);
    for (unsigned i = 0; i < n; i++) {
        reads[i].loading = &l;
        reads[i].bytes = bytes + i * size;
        send_next(&l, &reads[i]);
    }
    while (l.under_way > 0)
        io_queue_run(c->queue, 1);
    return l.rc;
}

/* A table of 8-byte words at @off, as far as the file goes (*loaded of @count). */
static int load_words(struct check *c, uint64_t off, uint64_t count, uint64_t **words,
                      uint64_t *loaded)
{
    const uint64_t in_file = off < c->file_size ? div_up(c->file_size - off, 8) : 0;
    const uint64_t n = min_u64(count, in_file);
    AUTO_FREE uint64_t *table = malloc(n ? n * 8 : 1);

    if (!table)
        return -ENOMEM;
    TRY(io_read_exact(c->q->image.file, off, table, n * 8, NULL));
    for (uint64_t i = 0; i < n; i++)
        table[i] = load_be64(&table[i]);
    *words = TAKE(table);
    *loaded = n;
    return 0;
}

static int load_table(struct check *c)
{
    const struct qcow2_header *h = &c->q->header;
    const uint64_t count = (uint64_t)h->reftable_clusters << (h->cluster_bits - 3);
    uint64_t loaded = 0;

    free(c->reftable);
    free(c->block_state);
    c->reftable = NULL;
    c->reftable_count = 0;
    c->block_state = NULL;
    TRY(load_words(c, h->reftable_off, count, &c->reftable, &loaded));
    c->reftable_count = (uint32_t)loaded;
    c->block_state = calloc(loaded ? loaded : 1, 1);
    return c->block_state ? 0 : -ENOMEM;
}

int check_load_counts(struct check *c)
{
    const uint64_t clusters = div_up(c->file_size, qcow2_cluster_size(c->q));

    if (clusters > INT32_MAX)
        return -EFBIG;
    TRY(load_table(c));
    counts_release(&c->disk);
    TRY(counts_init(&c->disk, max_u64(clusters, 1)));
    c->one_block = UINT64_MAX;
    c->two_in_one = false;
    repair_forget_metadata(c);
    return load_blocks(c);
}

/* --- single counts -------------------------------------------------------------------------- */

static int load_one_block(struct check *c, uint64_t off)
{
    if (c->one_block == off)
        return 0;
    if (!c->one_block_bytes)
        c->one_block_bytes = malloc(qcow2_cluster_size(c->q));
    if (!c->one_block_bytes)
        return -ENOMEM;
    c->one_block = UINT64_MAX;
    TRY(io_read_exact(c->q->image.file, off, c->one_block_bytes, qcow2_cluster_size(c->q), NULL));
    c->one_block = off;
    return 0;
}

int check_disk_count(struct check *c, uint64_t cluster, uint64_t *count)
{
    const uint64_t index = cluster / check_counts_of_block(c);

    *count = 0;
    if (index >= c->reftable_count)
        return 0;
    const uint64_t off = block_off(c, index);
    if (block_state_by_place(c, index))
        return -EIO;
    if (off == 0 || off >= c->file_size)
        return 0;
    if (cluster < c->disk.length) {
        *count = counts_get(&c->disk, cluster);
        return c->block_state[index] & BLOCK_FAILED ? -EIO : 0;
    }
    TRY(load_one_block(c, off));
    *count = qcow2_refcount_get(c->one_block_bytes, c->q->header.refcount_order,
                                cluster % check_counts_of_block(c));
    return 0;
}

/* --- the table ------------------------------------------------------------------------------ */

/* Its counts are gone, and what it counted is counted anew. Where the file can be made to hold it,
 * as QEMU does, nothing else need change; otherwise all blocks are made anew. */
static int check_block_outside(struct check *c, uint64_t index, struct place place)
{
    const struct qimg_range bytes = { block_off(c, index), qcow2_cluster_size(c->q) };

    REPORT(c, REFBLOCK_OUTSIDE, place, c->fix_errors, check_verb(c->fix_errors), index);
    if (c->fix_errors) {
        const int rc = check_extend(c, bytes);
        if (rc == 0)
            return check_refer(c, bytes, place);
        REPORT(c, NOT_EXTENDED, place, false, strerror(-rc));
        c->rebuild = true;
    }
    c->res->corruptions++;
    return 0;
}

static int check_block(struct check *c, uint64_t index)
{
    const uint64_t size = qcow2_cluster_size(c->q), off = block_off(c, index);
    const struct place place = AT(c->q->header.reftable_off + index * QCOW2_REFTABLE_ENTRY_BYTES);

    if (c->reftable[index] & REFTABLE_RESERVED) {
        REPORT(c, REFTABLE_RESERVED, place, false, index);
    } else if (!is_aligned(off, size)) {
        REPORT(c, REFBLOCK_UNALIGNED, place, false, index);
    } else if (check_cluster_of(c, off) >= c->mem.length) {
        return check_block_outside(c, index, place);
    } else {
        if (off == 0)
            return 0;
        const uint64_t cluster = check_cluster_of(c, off), others = counts_get(&c->mem, cluster);
        TRY(check_refer(c, (struct qimg_range){ off, size }, place));
        const uint64_t count = counts_get(&c->mem, cluster);
        if (count == 1) {
            c->two_in_one |= others > 0; /* one bit: the overflow was told */
            return 0;
        }
        REPORT(c, REFBLOCK_SHARED, AT(off), false, index, count);
    }
    c->res->corruptions++;
    c->rebuild = true;
    return 0;
}

int check_blocks(struct check *c)
{
    for (uint64_t i = 0; i < c->reftable_count; i++)
        if (c->reftable[i])
            TRY(check_block(c, i));
    return 0;
}

/* --- comparing ------------------------------------------------------------------------------ */

struct comparing {
    struct check *c;
    bool fix;
};

static int unreadable(struct check *c, uint64_t cluster)
{
    const uint64_t index = cluster / check_counts_of_block(c);
    const struct place place = AT(c->q->header.reftable_off + index * QCOW2_REFTABLE_ENTRY_BYTES);

    if (!c->signaled && c->block_state[index] & BLOCK_UNALIGNED) {
        REPORT(c, REFBLOCK_BAD_OFFSET, place, false, block_off(c, index), index);
        c->signaled = true;
    }
    REPORT(c, COUNT_UNREADABLE, place, false, cluster, strerror(EIO));
    c->res->check_errors++;
    return 0;
}

static int count_mismatch(const struct comparing *k, uint64_t cluster)
{
    struct check *c = k->c;
    const uint64_t disk = counts_get(&c->disk, cluster), mem = counts_get(&c->mem, cluster);
    const bool low = disk < mem;
    const bool mend = k->fix && disk != 0 && (low ? c->fix_errors : c->fix_leaks);
    const struct place place = AT(cluster << c->q->header.cluster_bits);

    if (disk == 0)
        c->rebuild = true;
    if (low)
        REPORT(c, COUNT_LOW, place, mend, check_verb(mend), cluster, disk, mem);
    else
        REPORT(c, COUNT_HIGH, place, mend, mend ? "Repairing" : "Leaked", cluster, disk, mem);
    if (!mend) {
        *(low ? &c->res->corruptions : &c->res->leaks) += 1;
        return 0;
    }
    *(low ? &c->res->corruptions_fixed : &c->res->leaks_fixed) += 1;
    c->block_state[cluster / check_counts_of_block(c)] |= low ? BLOCK_RAISED : BLOCK_LOWERED;
    c->disk_changed = true;
    return counts_set(&c->disk, cluster, mem);
}

static bool is_unreadable(const struct check *c, uint64_t index)
{
    return index < c->reftable_count && c->block_state[index] & (BLOCK_UNALIGNED | BLOCK_FAILED);
}

/* The counts of clusters behind the file's last whole one. */
static int cover(struct check *c)
{
    for (uint64_t i = c->disk.length; i < c->mem.length; i++) {
        const uint64_t index = i / check_counts_of_block(c);
        uint64_t count = 0;
        const int rc = check_disk_count(c, i, &count);
        if (rc < 0) {
            const uint8_t state = block_state_by_place(c, index);
            c->block_state[index] |= state ? state : BLOCK_FAILED;
        }
        TRY(counts_grow(&c->disk, i + 1));
        TRY(counts_set(&c->disk, i, count));
    }
    return 0;
}

/* The last cluster that is in use, clusters that nobody can tell about left out. */
static uint64_t highest_used(const struct check *c)
{
    uint64_t end = c->mem.length, last;

    do {
        last = max_u64(counts_last_used(&c->mem, end), counts_last_used(&c->disk, end));
        end = last / check_counts_of_block(c) * check_counts_of_block(c);
    } while (end > 0 && is_unreadable(c, last / check_counts_of_block(c)));
    return is_unreadable(c, last / check_counts_of_block(c)) ? 0 : last;
}

/* The clusters of one block. */
static int compare_block(const struct comparing *k, uint64_t index)
{
    struct check *c = k->c;
    const uint64_t first = index * check_counts_of_block(c);
    const uint64_t end = min_u64(first + check_counts_of_block(c), c->mem.length);

    if (is_unreadable(c, index)) {
        for (uint64_t i = first; i < end; i++)
            TRY(unreadable(c, i));
        return 0;
    }
    for (uint64_t i = first;; i++) {
        i = counts_first_difference(&c->mem, &c->disk, i, end);
        if (i == end)
            return 0;
        TRY(count_mismatch(k, i));
    }
}

int check_compare(struct check *c, bool fix, uint64_t *highest)
{
    const struct comparing k = { c, fix };
    const uint64_t blocks = div_up(c->mem.length, check_counts_of_block(c));

    TRY(cover(c));
    *highest = highest_used(c);
    for (uint64_t i = 0; i < blocks; i++)
        TRY(compare_block(&k, i));
    return 0;
}
