/* SPDX-License-Identifier: Apache-2.0
 *
 * Persistent bitmaps on disk. Nothing that a reader may be using is overwritten: tables, data and
 * directory go into new clusters, then one write of sector 0 changes the place of the directory,
 * and only when that is durable are the old ones given back. So a crash leaves the old list or the
 * new one, whole, and no failure harms a bitmap that was not meant. Data clusters that did not
 * change are shared between a bitmap's old and new table.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base_limits.h"
#include "bitmap_store.h"
#include "cleanup.h"
#include "meta.h"
#include "shadow.h"

/* --- the list ------------------------------------------------------------------------------- */

static int copy_item(struct bitmap_edit *edit, const struct qcow2_bitmap *from)
{
    struct qcow2_bitmap b = *from;

    b.bits = NULL;
    b.name = strdup(from->name);
    if (!b.name)
        return -ENOMEM;
    if (qcow2_bitmap_vec_push(&edit->list, b) < 0) {
        free(b.name);
        return -ENOMEM;
    }
    return 0;
}

int bitmap_edit_begin(struct bitmap_edit *edit, struct qcow2 *q, struct qimg_error *err)
{
    *edit = (struct bitmap_edit){ .q = q };
    for (size_t i = 0; i < q->bitmaps.count; i++)
        if (copy_item(edit, &q->bitmaps.items[i]) < 0)
            return qimg_fail_memory(err);
    return 0;
}

void bitmap_edit_release(struct bitmap_edit *edit)
{
    qcow2_bitmaps_release(&edit->list);
    cluster_run_vec_release(&edit->dropped);
}

ssize_t bitmap_edit_find(const struct bitmap_edit *edit, const char *name)
{
    for (size_t i = 0; i < edit->list.count; i++)
        if (strcmp(edit->list.items[i].name, name) == 0)
            return (ssize_t)i;
    return -1;
}

int bitmap_refuse_inconsistent(const struct qcow2_bitmap *b, struct qimg_error *err)
{
    qimg_fail(err, EINVAL, "Bitmap '%s' is inconsistent and cannot be used", b->name);
    return qimg_hint(err, "Try block-dirty-bitmap-remove to delete this bitmap from disk");
}

int bitmap_edit_load(struct bitmap_edit *edit, size_t i, struct qimg_error *err)
{
    struct qcow2_bitmap *b = &edit->list.items[i];

    if (b->bits)
        return 0;
    if (b->flags & QCOW2_BITMAP_IN_USE)
        return bitmap_refuse_inconsistent(b, err);
    return bitmap_bits_load(edit->q, b, &b->bits, err);
}

/* --- what is not needed any more ------------------------------------------------------------ */

static int drop(struct bitmap_edit *edit, uint64_t host_off, uint64_t len)
{
    const uint64_t cs = qcow2_cluster_size(edit->q);

    if (host_off == 0)
        return 0;
    return cluster_run_vec_push(&edit->dropped, (struct qimg_range){ host_off, align_up(len, cs) });
}

/* Table and data of a bitmap as it is on disk. @kept: words that stay in use (NULL: none). */
static int drop_stored(struct bitmap_edit *edit, const struct qcow2_bitmap *b,
                       const uint64_t *words, const struct bitmap_bits *kept)
{
    for (uint32_t i = 0; i < b->table_count; i++) {
        const uint64_t off = words[i] & QCOW2_OFFSET_MASK;
        const struct bits_piece *p = kept && i < kept->piece_count ? &kept->pieces[i] : NULL;
        if (!p || p->changed || p->host_off != off)
            TRY(drop(edit, off, 1));
    }
    return drop(edit, b->table_off, (uint64_t)b->table_count * BITMAP_WORD_BYTES);
}

int bitmap_edit_remove(struct bitmap_edit *edit, size_t i, struct qimg_error *err)
{
    struct qcow2_bitmap *b = &edit->list.items[i];
    AUTO_FREE uint64_t *words = NULL;

    /* Of a table that makes no sense nothing is given back: check -r finds what leaks. */
    const int rc = b->table_off ? bitmap_table_load(edit->q, b, &words) : 0;
    if (rc == -ENOMEM || (words && drop_stored(edit, b, words, NULL) < 0))
        return qimg_fail_memory(err);
    free(b->name);
    bitmap_bits_free(b->bits);
    memmove(b, b + 1, (edit->list.count - i - 1) * sizeof(*b));
    edit->list.count--;
    return 0;
}

/* --- storing -------------------------------------------------------------------------------- */

static int take(const struct bitmap_edit *edit, const struct bitmap_space *space, uint64_t len,
                uint64_t *host_off)
{
    return space->alloc(space->user, div_up(len, qcow2_cluster_size(edit->q)), host_off);
}

/* Is there nothing but @value in @buf? */
static bool is_filled(const uint8_t *buf, size_t len, uint8_t value)
{
    return len == 0 || (buf[0] == value && memcmp(buf, buf + 1, len - 1) == 0);
}

/* The table's word for piece @i, whose content is written where it is new. "All ones" is said
 * only of whole pieces: behind the last bit there may be no ones. */
static int store_piece(const struct bitmap_edit *edit, const struct bitmap_space *space,
                       const struct bitmap_bits *bits, uint32_t i, uint8_t *buf, uint64_t *word)
{
    const struct bits_piece *p = &bits->pieces[i];

    *word = p->ones ? BITMAP_ALL_ONES : p->host_off;
    if (!p->changed)
        return 0;
    TRY(bitmap_bits_read(bits, i, buf));
    if (is_filled(buf, bits->piece_len, 0)) {
        *word = 0;
        return 0;
    }
    if (bitmap_piece_is_full(bits, i) && is_filled(buf, bits->piece_len, 0xff)) {
        *word = BITMAP_ALL_ONES;
        return 0;
    }
    TRY(take(edit, space, bits->piece_len, word));
    return space->write(space->user, *word, buf, bits->piece_len);
}

static int store_pieces(const struct bitmap_edit *edit, const struct bitmap_space *space,
                        const struct bitmap_bits *bits, uint8_t *table)
{
    AUTO_FREE uint8_t *buf = malloc(bits->piece_len);
    uint64_t word;

    if (!buf)
        return -ENOMEM;
    for (uint32_t i = 0; i < bits->piece_count; i++) {
        TRY(store_piece(edit, space, bits, i, buf, &word));
        store_be64(table + (size_t)i * BITMAP_WORD_BYTES, word);
    }
    return 0;
}

/* @len bytes of a table into new clusters. Only what is needed is written, in whole sectors. */
static int store_table(const struct bitmap_edit *edit, const struct bitmap_space *space,
                       const uint8_t *bytes, size_t len, uint64_t *host_off)
{
    TRY(take(edit, space, len, host_off));
    return space->write(space->user, *host_off, bytes, align_up(len, QCOW2_SECTOR));
}

static int store_bitmap(struct bitmap_edit *edit, const struct bitmap_space *space,
                        struct qcow2_bitmap *b)
{
    struct bitmap_bits *bits = b->bits;
    const size_t len = (size_t)bits->piece_count * BITMAP_WORD_BYTES;
    AUTO_FREE uint8_t *table = calloc(1, align_up(len, QCOW2_SECTOR));
    uint64_t table_off;

    if (!table)
        return -ENOMEM;
    TRY(store_pieces(edit, space, bits, table));
    TRY(store_table(edit, space, table, len, &table_off));
    if (bits->words)
        TRY(drop_stored(edit, b, bits->words, bits));
    b->table_off = table_off;
    b->table_count = bits->piece_count;
    return 0;
}

static size_t entry_len(const struct qcow2_bitmap *b)
{
    return align_up(QCOW2_BITMAP_BYTES + strlen(b->name), 8);
}

static void encode_entry(struct writer *w, const struct qcow2_bitmap *b)
{
    const size_t name_len = strlen(b->name);

    write_be64(w, b->table_off);
    write_be32(w, b->table_count);
    write_be32(w, b->flags);
    write_u8(w, QCOW2_BITMAP_DIRTY_TRACKING);
    write_u8(w, b->granularity_bits);
    write_be16(w, (uint16_t)name_len);
    write_be32(w, 0);
    write_bytes(w, b->name, name_len);
    write_zeros(w, entry_len(b) - QCOW2_BITMAP_BYTES - name_len);
}

static int store_directory(struct bitmap_edit *edit, const struct bitmap_space *space)
{
    struct qcow2_bitmaps_ext *d = &edit->directory;

    *d = (struct qcow2_bitmaps_ext){ .count = (uint32_t)edit->list.count };
    for (size_t i = 0; i < edit->list.count; i++)
        d->directory_len += entry_len(&edit->list.items[i]);
    if (d->count == 0)
        return 0;
    assert(d->count <= LIMIT_QCOW2_BITMAPS && d->directory_len <= LIMIT_QCOW2_BITMAP_DIR_BYTES);
    AUTO_FREE uint8_t *bytes = calloc(1, align_up(d->directory_len, QCOW2_SECTOR));
    if (!bytes)
        return -ENOMEM;
    struct writer w = writer_of(bytes, d->directory_len);
    for (size_t i = 0; i < edit->list.count; i++)
        encode_entry(&w, &edit->list.items[i]);
    assert(!w.overrun && w.left == 0);
    return store_table(edit, space, bytes, d->directory_len, &d->directory_off);
}

static int store_all(struct bitmap_edit *edit, const struct bitmap_space *space)
{
    const struct qcow2_bitmaps_ext *old = &edit->q->extensions.bitmaps;

    for (size_t i = 0; i < edit->list.count; i++)
        if (edit->list.items[i].bits)
            TRY(store_bitmap(edit, space, &edit->list.items[i]));
    TRY(store_directory(edit, space));
    if (edit->q->extensions.has_bitmaps)
        TRY(drop(edit, old->directory_off, old->directory_len));
    return 0;
}

int bitmap_edit_store_one(struct bitmap_edit *edit, size_t i, const struct bitmap_space *space)
{
    struct qcow2_bitmap *b = &edit->list.items[i];

    TRY(store_bitmap(edit, space, b));
    bitmap_bits_free(b->bits);
    b->bits = NULL;
    return 0;
}

int bitmap_edit_drop(const struct bitmap_edit *edit, const struct bitmap_space *space)
{
    for (size_t i = 0; i < edit->dropped.count; i++)
        TRY(space->drop(space->user, edit->dropped.items[i]));
    return 0;
}

int bitmap_edit_store(struct bitmap_edit *edit, const struct bitmap_space *space,
                      struct qimg_error *err)
{
    const int rc = store_all(edit, space);

    return rc < 0 ? qimg_fail_errno(err, -rc, "Failed to update bitmap extension") : 0;
}

/* --- spaces --------------------------------------------------------------------------------- */

static int meta_alloc(void *user, uint64_t count, uint64_t *host_off)
{
    return clusters_alloc_loose(user, count, host_off);
}

static int meta_write(void *user, uint64_t host_off, const void *buf, size_t len)
{
    return meta_new_bytes(user, host_off, buf, len);
}

static int meta_drop(void *user, struct qimg_range clusters)
{
    return clusters_unref(user, clusters, META_KIND_BITMAPS, RELEASE_PUNCH);
}

struct bitmap_space bitmap_space_of_meta(struct qcow2 *q)
{
    return (struct bitmap_space){
        .user = q, .alloc = meta_alloc, .write = meta_write, .drop = meta_drop
    };
}

static int shadowed_alloc(void *user, uint64_t count, uint64_t *host_off)
{
    return shadow_alloc(user, count, host_off);
}

static int shadowed_write(void *user, uint64_t host_off, const void *buf, size_t len)
{
    return shadow_put(user, host_off, buf, len);
}

static int shadowed_drop(void *user, struct qimg_range clusters)
{
    return shadow_unref(user, clusters);
}

struct bitmap_space bitmap_space_of_shadow(struct shadow *s)
{
    return (struct bitmap_space){
        .user = s, .alloc = shadowed_alloc, .write = shadowed_write, .drop = shadowed_drop
    };
}

/* --- the open image ------------------------------------------------------------------------- */

void bitmap_edit_adopt(struct bitmap_edit *edit)
{
    struct qcow2 *q = edit->q;

    for (size_t i = 0; i < edit->list.count; i++) {
        bitmap_bits_free(edit->list.items[i].bits);
        edit->list.items[i].bits = NULL;
    }
    for (size_t i = 0; i < q->bitmaps.count; i++) {
        struct qcow2_bitmap *old = &q->bitmaps.items[i];
        const ssize_t at = old->recording ? bitmap_edit_find(edit, old->name) : -1;
        if (at >= 0 && edit->list.items[at].recording)
            edit->list.items[at].bits = TAKE(old->bits);
    }
    qcow2_bitmaps_release(&q->bitmaps);
    q->bitmaps = edit->list;
    edit->list = (struct qcow2_bitmap_vec){ 0 };
}
