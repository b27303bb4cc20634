/* SPDX-License-Identifier: Apache-2.0
 *
 * The epochs of meta.h: one function, meta_flush(), holds the order in which metadata reaches the
 * disk; meta_barrier() makes each step wait for the one before.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_limits.h"
#include "checked.h"
#include "cleanup.h"
#include "meta_internal.h"

unsigned meta_test_dropped, meta_test_reached;

const char *const meta_site_names[META_SITE_COUNT] = {
#define META_SITE_NAME(name, why) #name,
    META_SITES(META_SITE_NAME)
#undef META_SITE_NAME
};

int meta_failed(const struct qcow2 *q)
{
    return q->meta->failed;
}

int meta_fail(struct qcow2 *q, int rc)
{
    assert(rc < 0);
    if (q->meta->failed == 0)
        q->meta->failed = rc;
    return q->meta->failed;
}

static int sync_all(struct qcow2 *q)
{
    struct meta *m = q->meta;

    if (m->data_unsynced && q->image.data_file)
        TRY(io_sync(q->image.data_file));
    if (m->unsynced || (m->data_unsynced && !q->image.data_file))
        TRY(io_sync(q->image.file));
    m->unsynced = m->data_unsynced = false;
    return 0;
}

int meta_barrier(struct qcow2 *q, enum meta_site site)
{
    TRY(meta_failed(q));
    if (!q->meta->unsynced && !q->meta->data_unsynced)
        return 0;
    meta_test_reached |= 1u << site;
    if (meta_test_dropped & 1u << site)
        return 0;
    const int rc = sync_all(q);
    return rc < 0 ? meta_fail(q, rc) : 0;
}

/* --- the header sector ---------------------------------------------------------------------- */

/* Writes sector 0: @header, and behind its fields what @rest has (NULL: what stands there). */
static int write_sector(struct qcow2 *q, const struct qcow2_header *header, const uint8_t *rest)
{
    const size_t room = max_u64(QCOW2_SECTOR, header->header_length);
    AUTO_FREE uint8_t *head = calloc(1, room);
    uint8_t sector[QCOW2_SECTOR];

    if (!head)
        return -ENOMEM;
    struct writer w = writer_of(head, room);
    TRY(qcow2_header_encode(header, q->unknown_header, &w));
    if (rest)
        memcpy(sector, rest, sizeof(sector));
    else
        TRY(io_read_exact(q->image.file, 0, sector, sizeof(sector), NULL));
    memcpy(sector, head, min_u64(header->header_length, sizeof(sector)));
    q->meta->unsynced = true;
    const int rc = io_write_exact(q->image.file, 0, sector, sizeof(sector));
    if (rc < 0)
        return meta_fail(q, rc);
    q->meta->disk_header = *header;
    return 0;
}

/* (2) where the refcount table moved: nothing but its place may change yet. */
static int write_reftable_place(struct qcow2 *q)
{
    struct qcow2_header header = q->meta->disk_header;

    header.reftable_off = q->header.reftable_off;
    header.reftable_clusters = q->header.reftable_clusters;
    TRY(write_sector(q, &header, NULL));
    q->meta->reftable_moved = false;
    return 0;
}

static int write_header(struct qcow2 *q)
{
    struct meta *m = q->meta;

    TRY(write_sector(q, &q->header, m->has_sector ? m->sector : NULL));
    m->header_dirty = m->has_sector = false;
    return 0;
}

void header_changed(struct qcow2 *q)
{
    q->meta->header_dirty = true;
}

void header_changed_with(struct qcow2 *q, const uint8_t sector[QCOW2_SECTOR])
{
    memcpy(q->meta->sector, sector, QCOW2_SECTOR);
    q->meta->has_sector = q->meta->header_dirty = true;
}

void meta_header_written(struct qcow2 *q)
{
    q->meta->disk_header = q->header;
}

static void marked_text(struct meta *m, const char *why)
{
    snprintf(m->corruption, sizeof(m->corruption),
             "qcow2: Marking image as corrupt: %s; further corruption events will be suppressed",
             why);
}

int meta_mark_corrupt(struct qcow2 *q, const char *why)
{
    struct meta *m = q->meta;

    if (m->failed)
        return -EIO;
    marked_text(m, why);
    if (q->header.version >= 3) {
        struct qcow2_header header = m->disk_header;
        header.incompatible |= QCOW2_INCOMPAT_CORRUPT;
        q->header.incompatible |= QCOW2_INCOMPAT_CORRUPT;
        if (write_sector(q, &header, NULL) == 0)
            (void)!meta_barrier(q, META_CORRUPT_BIT);
    }
    (void)meta_fail(q, -EIO);
    return -EIO;
}

const char *meta_corruption(const struct qcow2 *q)
{
    return q->meta && q->meta->corruption[0] ? q->meta->corruption : NULL;
}

/* --- flush ---------------------------------------------------------------------------------- */

static int flush_epoch(struct qcow2 *q)
{
    struct meta *m = q->meta;

    TRY(meta_failed(q));
    TRY(release_due(q));
    TRY(alloc_cover(q));
    TRY(pages_write(q, META_NEW));
    if (m->reftable_moved || pages_dirty(m, META_REFTABLE)) {
        TRY(meta_barrier(q, META_COUNTS_BEFORE_TABLE));
        TRY(pages_write(q, META_REFTABLE));
        if (m->reftable_moved)
            TRY(write_reftable_place(q));
    }
    if (pages_dirty(m, META_LINKS)) {
        TRY(meta_barrier(q, META_COUNTS_BEFORE_LINKS));
        TRY(pages_write(q, META_LINKS));
    }
    if (m->header_dirty) {
        TRY(meta_barrier(q, META_LINKS_BEFORE_HEADER));
        TRY(write_header(q));
    }
    const uint64_t stamp = q->image.pins ? q->image.pins->stamp(q->image.pins->user) : 0;
    TRY(meta_barrier(q, META_FLUSHED));
    release_flushed(q, stamp);
    return 0;
}

static int flush_failed(struct qcow2 *q, int rc, struct qimg_error *err)
{
    const char *corruption = meta_corruption(q);

    if (corruption)
        return qimg_fail(err, -rc, "%s", corruption);
    return qimg_fail_errno(err, -rc, "Could not write metadata");
}

int meta_flush(struct qcow2 *q, struct qimg_error *err)
{
    const int rc = flush_epoch(q);

    return rc < 0 ? flush_failed(q, rc, err) : 0;
}

int meta_settle(struct qcow2 *q, struct qimg_error *err)
{
    const struct meta *m = q->meta;

    TRY(meta_flush(q, err));
    for (size_t before = SIZE_MAX; m->released.count > 0 && m->released.count < before;) {
        before = m->released.count;
        TRY(meta_flush(q, err)); /* lowers what the last one unlinked */
    }
    return 0;
}

int meta_make_room(struct qcow2 *q, struct qimg_error *err)
{
    const struct meta *m = q->meta;

    return m->dirty.count * m->page_size > META_BUDGET ? meta_flush(q, err) : 0;
}

/* --- open and close ------------------------------------------------------------------------- */

/* L1 as long as the header says; invariant (3) of struct qcow2 makes the rest zeros. */
static int complete_l1(struct qcow2 *q)
{
    const uint32_t count = q->header.l1_count;

    if (q->l1_loaded >= count && q->l1)
        return 0;
    uint64_t *l1 = reallocarray(q->l1, (size_t)count + 1, sizeof(*l1));
    if (!l1)
        return -ENOMEM;
    memset(l1 + q->l1_loaded, 0, (count - q->l1_loaded) * sizeof(*l1));
    q->l1 = l1;
    q->l1_loaded = count;
    return 0;
}

/* An unaligned block is told when it is needed (refcount_write.c). One past the end would read as
 * counts of 0, and used clusters be taken for free ones. */
static int load_reftable(struct qcow2 *q, uint64_t file_size)
{
    struct meta *m = q->meta;
    const uint64_t len = (uint64_t)q->header.reftable_clusters << q->header.cluster_bits;

    m->reftable_count = len / QCOW2_REFTABLE_ENTRY_BYTES;
    m->reftable = malloc(len);
    if (!m->reftable)
        return -ENOMEM;
    TRY(io_read_exact(q->image.file, q->header.reftable_off, m->reftable, len, NULL));
    for (uint64_t i = 0; i < m->reftable_count; i++) {
        m->reftable[i] = load_be64(&m->reftable[i]) & QCOW2_REFTABLE_OFFSET_MASK;
        if (m->reftable[i] >= file_size)
            return -EBADMSG;
    }
    return 0;
}

static int load(struct qcow2 *q)
{
    struct meta *m = q->meta;
    const uint64_t cs = qcow2_cluster_size(q);
    struct io_stat st;

    TRY(io_stat(q->image.file, &st));
    m->is_device = q->image.file->is_device;
    m->host_end = m->is_device ? align_down(st.size, cs) : QCOW2_OFFSET_MASK + 1 - QCOW2_SECTOR;
    m->fresh_off = m->is_device ? UINT64_MAX : align_up(st.size, cs);
    m->block_bits = q->header.cluster_bits + 3 - q->header.refcount_order;
    m->disk_header = q->header;
    TRY(pages_open(q));
    TRY(complete_l1(q));
    TRY(load_reftable(q, st.size));
    return overlap_open(q);
}

int meta_open(struct qcow2 *q, struct qimg_error *err)
{
    assert(q->writable && !q->info_only && !q->meta);
    q->meta = calloc(1, sizeof(*q->meta));
    const int rc = q->meta ? load(q) : -ENOMEM;
    if (rc == 0)
        return 0;
    meta_close(q);
    if (rc == -EBADMSG)
        return qimg_fail(err, EIO,
                         "Could not read metadata: a refcount block is outside the image "
                         "(check -r all mends that)");
    return qimg_fail_errno(err, -rc, "Could not read metadata");
}

void meta_close(struct qcow2 *q)
{
    struct meta *m = q->meta;

    if (!m)
        return;
    io_queue_free(m->queue);
    if (m->buckets)
        pages_close(m);
    overlap_close(m);
    released_vec_release(&m->released);
    free(m->reftable);
    free(m);
    q->meta = NULL;
}
