/* SPDX-License-Identifier: Apache-2.0 */
#include "look.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitmap_bits.h"
#include "bits.h"
#include "cleanup.h"
#include "qcow2.h"
#include "qcow2_guest.h"
#include "qcow2_verify.h"
#include "view.h"

#define SECTOR 512u

void look_root(uint64_t sector, uint8_t out[SECTOR])
{
    memset(out, (int)(0xa0 + sector % 13), SECTOR);
}

/* --- one image -------------------------------------------------------------------------------- */

static int learn_own(struct image *image, struct body *body)
{
    struct extent_vec extents = { 0 };
    const int rc = image_map(image, (struct qimg_range){ 0, body->size }, &extents, NULL);

    for (size_t i = 0; rc == 0 && i < extents.count; i++) {
        const struct extent *e = &extents.items[i];
        const uint64_t end = min_u64(e->guest_off + e->len, body->size);
        if (e->kind != EXTENT_RESERVED && e->guest_off < end)
            memset(body->own + e->guest_off / SECTOR, 1, sectors_in(end) - e->guest_off / SECTOR);
    }
    extent_vec_release(&extents);
    return rc;
}

/* What it has itself; zeros where it has nothing. */
static int read_own(struct image *image, uint64_t size, struct body *out)
{
    struct guest g = { .image = image };

    image->size = size;
    *out = body_new(size);
    TRY(guest_read(&g, (struct qimg_range){ 0, size }, out->bytes));
    return learn_own(image, out);
}

static int look_snapshots(struct truth *t, struct image *image, struct qimg_error *err)
{
    const struct qcow2 *q = qcow2_of(image);

    if (q->snapshots.count > TRUTH_SNAPSHOTS)
        return qimg_fail(err, EBADMSG, "%zu snapshots", q->snapshots.count);
    for (size_t i = 0; i < q->snapshots.count; i++) {
        const struct qcow2_snapshot *s = &q->snapshots.items[i];
        struct kept *kept = &t->snapshots[t->snapshot_count];
        (void)snprintf(kept->id, sizeof(kept->id), "%s", s->id);
        (void)snprintf(kept->name, sizeof(kept->name), "%s", s->name);
        TRY(qcow2_select_snapshot(image, s->id, s->name, err));
        t->snapshot_count++;
        const int rc = read_own(image, s->disk_size, &kept->body);
        if (rc < 0)
            return qimg_fail(err, -rc, "snapshot %s cannot be read", kept->id);
    }
    return 0;
}

static int read_bits(const struct bitmap_bits *bits, struct marks *m)
{
    const uint64_t unit = m->granularity / SECTOR;
    AUTO_FREE uint8_t *piece = malloc(bits->piece_len);

    if (!piece)
        abort();
    for (uint64_t bit = 0, loaded = UINT64_MAX; bit < bits->count; bit++) {
        const uint64_t index = bit / (bits->piece_len * UINT64_C(8));
        const uint64_t within = bit % (bits->piece_len * UINT64_C(8));
        const uint64_t end = min_u64((bit + 1) * unit, sectors_in(bits->size));
        if (index != loaded)
            TRY(bitmap_bits_read(bits, (uint32_t)index, piece));
        loaded = index;
        for (uint64_t s = bit * unit; s < end; s++)
            m->must[s] = m->may[s] = piece[within / 8] >> (within % 8) & 1;
    }
    return 0;
}

static int look_bitmap(struct truth *t, const struct qcow2 *q, const struct qcow2_bitmap *b,
                       struct qimg_error *err)
{
    struct marks *m = &t->bitmaps[t->bitmap_count++];
    struct bitmap_bits *bits;

    *m = (struct marks){
        .enabled = b->flags & QCOW2_BITMAP_AUTO,
        .in_use = b->flags & QCOW2_BITMAP_IN_USE,
        .granularity = 1u << b->granularity_bits,
        .must = calloc(1, sectors_in(t->disk.size) + 1),
        .may = calloc(1, sectors_in(t->disk.size) + 1),
    };
    if (!m->must || !m->may)
        abort();
    (void)snprintf(m->name, sizeof(m->name), "%s", b->name);
    if (m->in_use)
        return 0; /* whatever it holds, nobody trusts it */
    TRY(bitmap_bits_load(q, b, &bits, err));
    const int rc = read_bits(bits, m);
    bitmap_bits_free(bits);
    return rc < 0 ? qimg_fail(err, -rc, "bitmap %s cannot be read", m->name) : 0;
}

static int look_bitmaps(struct truth *t, struct image *image, struct qimg_error *err)
{
    const struct qcow2 *q = qcow2_of(image);

    if (q->bitmaps.count > TRUTH_BITMAPS)
        return qimg_fail(err, EBADMSG, "%zu bitmaps", q->bitmaps.count);
    for (size_t i = 0; i < q->bitmaps.count; i++)
        TRY(look_bitmap(t, q, &q->bitmaps.items[i], err));
    return 0;
}

static void look_header(struct truth *t, const struct image *image)
{
    const struct qcow2_header *h = &qcow2_of_const(image)->header;

    t->version = h->version;
    t->refcount_bits = 1u << h->refcount_order;
    t->lazy = h->compatible & QCOW2_COMPAT_LAZY_REFCOUNTS;
    for (t->backing = BELOW_BASE; t->backing < BELOW_NONE; t->backing++)
        if (image->backing_name && strcmp(image->backing_name, below_names[t->backing]) == 0)
            return;
}

/* Fills what the image has not itself. */
static void fill_from_below(struct truth *t)
{
    uint8_t sector[SECTOR];

    for (uint64_t s = 0; s < sectors_in(t->disk.size); s++) {
        if (t->disk.own[s])
            continue;
        truth_read_below(t, t->backing, s, sector);
        memcpy(t->disk.bytes + s * SECTOR, sector, min_u64(SECTOR, t->disk.size - s * SECTOR));
    }
}

/* --- what lies below -------------------------------------------------------------------------- */

static int look_base(struct body *out, const struct disk_file *file, struct qimg_error *err)
{
    uint8_t sector[SECTOR];
    struct image *image;

    TRY(view_open(file, NULL, false, &image, err));
    const int rc = read_own(image, image->size, out);
    view_close(image);
    for (uint64_t s = 0; rc == 0 && s < sectors_in(out->size); s++) {
        if (out->own[s])
            continue;
        look_root(s, sector);
        memcpy(out->bytes + s * SECTOR, sector, min_u64(SECTOR, out->size - s * SECTOR));
    }
    return rc < 0 ? qimg_fail(err, -rc, "the base cannot be read") : 0;
}

static int look_below(struct truth *t, const struct disk *disk, struct qimg_error *err)
{
    const struct disk_file *base = &disk->files[disk_file_number("base")];
    const struct disk_file *other = &disk->files[disk_file_number("other")];

    if (base->size == 0)
        return 0;
    TRY(look_base(&t->below[BELOW_BASE], base, err));
    t->below[BELOW_OTHER] = body_new(other->size);
    memcpy(t->below[BELOW_OTHER].bytes, other->bytes, other->size);
    return 0;
}

int look(struct truth *out, const struct disk *disk, const struct truth *known, bool with_below,
         struct qimg_error *err)
{
    struct image *image;

    *out = (struct truth){ 0 };
    if (with_below)
        TRY(look_below(out, disk, err));
    else
        for (unsigned i = 0; i < BELOW_COUNT; i++)
            out->below[i] = body_copy(&known->below[i]);
    TRY(view_open(&disk->files[0], &disk->files[1], false, &image, err));
    look_header(out, image);
    int rc = read_own(image, image->size, &out->disk);
    if (rc < 0)
        rc = qimg_fail(err, -rc, "the disk cannot be read");
    else
        fill_from_below(out);
    if (rc == 0)
        rc = look_bitmaps(out, image, err);
    if (rc == 0)
        rc = look_snapshots(out, image, err);
    view_close(image);
    return rc;
}

/* --- soundness -------------------------------------------------------------------------------- */

bool look_sound(const struct disk *disk, bool base, bool leaks_allowed, char why[TRUTH_WHY])
{
    struct disk as = *disk;
    struct qimg_error err;

    if (base)
        as.files[0] = disk->files[disk_file_number("base")];
    const struct verdict v = qcow2_verify(as.files[0].bytes, as.files[0].size);
    if (v.corruptions || (v.leaks && !leaks_allowed))
        (void)snprintf(why, TRUTH_WHY, "%s: %u corruptions, %u leaks: %s", base ? "base" : "disk",
                       v.corruptions, v.leaks, v.first);
    else if (view_check(&as, leaks_allowed, &err) < 0)
        (void)snprintf(why, TRUTH_WHY, "%s: %.250s", base ? "base" : "disk", err.text);
    else
        return true;
    return false;
}
