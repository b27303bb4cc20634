/* SPDX-License-Identifier: Apache-2.0
 *
 * See build_qcow2.h. Two passes would be needed for refcounts of refcount blocks; instead the
 * blocks are counted while they are added, until no more are needed.
 */
#include "build_qcow2.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct builder {
    const struct build_qcow2 *spec;
    unsigned version, cluster_bits, entry_bytes, refcount_bits;
    uint64_t cluster_size;
    uint8_t *bytes;
    uint64_t len, room; /* bytes laid out, always whole clusters */
    uint64_t packed_at; /* where the next packed cluster goes, 0 = new cluster */
    uint8_t *used;      /* a byte a host cluster: its refcount, small */
    uint64_t used_room;
    struct built out;
};

static void *must(void *p)
{
    if (!p)
        abort();
    return p;
}

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* --- bytes ---------------------------------------------------------------------------------- */

static void put(struct builder *b, uint64_t off, unsigned width, uint64_t value)
{
    const uint64_t be = htobe64(value);

    require(off + width <= b->len && width <= 8);
    memcpy(b->bytes + off, (const uint8_t *)&be + 8 - width, width);
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t be;

    memcpy(&be, p, sizeof(be));
    return be64toh(be);
}

static void put_bytes(struct builder *b, uint64_t off, const void *src, size_t len)
{
    require(off + len <= b->len);
    if (len)
        memcpy(b->bytes + off, src, len);
}

static void grow_to(struct builder *b, uint64_t len)
{
    if (len > b->room) {
        const uint64_t room = len * 2;
        b->bytes = must(realloc(b->bytes, room));
        memset(b->bytes + b->room, 0, room - b->room);
        b->room = room;
    }
    b->len = len;
}

static void count(struct builder *b, uint64_t off, uint64_t len)
{
    const uint64_t last = (off + len - 1) >> b->cluster_bits;

    if (last >= b->used_room) {
        const uint64_t room = (last + 1) * 2;
        b->used = must(realloc(b->used, room));
        memset(b->used + b->used_room, 0, room - b->used_room);
        b->used_room = room;
    }
    for (uint64_t i = off >> b->cluster_bits; i <= last; i++)
        b->used[i]++;
}

/* Space for @len bytes in new, counted clusters. */
static uint64_t add_clusters(struct builder *b, uint64_t len)
{
    const uint64_t off = b->len;
    const uint64_t whole = (len + b->cluster_size - 1) & ~(b->cluster_size - 1);

    grow_to(b, off + whole);
    if (whole)
        count(b, off, whole);
    return off;
}

/* --- clusters ------------------------------------------------------------------------------- */

/* A place in the middle of clusters, for packed bytes: they share host clusters, and straddle two
 * of them where the second is still free. */
static uint64_t add_packed(struct builder *b, const void *packed, uint32_t len)
{
    const uint64_t room_end = (b->packed_at + b->cluster_size - 1) & ~(b->cluster_size - 1);
    const bool fits = b->packed_at + len <= room_end || room_end == b->len;
    const uint64_t off = b->packed_at && fits ? b->packed_at : b->len;

    if (off + len > b->len)
        grow_to(b, (off + len + b->cluster_size - 1) & ~(b->cluster_size - 1));
    put_bytes(b, off, packed, len);
    count(b, off, len);
    b->packed_at = off + len;
    return off;
}

static uint64_t packed_word(const struct builder *b, uint64_t off, uint32_t len)
{
    const unsigned x = 62 - (b->cluster_bits - 8);
    const uint64_t more = (off + len - 1) / 512 - off / 512;

    return UINT64_C(1) << 62 | more << x | off;
}

static uint64_t add_data(struct builder *b, const struct build_cluster *c, uint64_t index)
{
    if (b->spec->data_file)
        return index << b->cluster_bits;
    const uint64_t off = add_clusters(b, b->cluster_size);
    memset(b->bytes + off, c->fill, b->cluster_size);
    return off;
}

static void entry_words(struct builder *b, const struct build_cluster *c, uint64_t index,
                        uint64_t words[2])
{
    const bool extended = b->spec->extended_l2;
    const uint64_t copied = c->shared ? 0 : UINT64_C(1) << 63;

    words[0] = words[1] = 0;
    switch (c->kind) {
    case BUILD_DATA:
        words[0] = add_data(b, c, index) | copied;
        words[1] = UINT32_MAX;
        break;
    case BUILD_ZERO:
        words[0] = extended ? 0 : 1;
        words[1] = (uint64_t)UINT32_MAX << 32;
        break;
    case BUILD_ZERO_ALLOC:
        words[0] = add_data(b, c, index) | copied | (extended ? 0 : 1);
        words[1] = (uint64_t)UINT32_MAX << 32;
        break;
    case BUILD_COMPRESSED:
        words[0] = packed_word(b, add_packed(b, c->packed, c->packed_len), c->packed_len);
        break;
    case BUILD_SUBCLUSTERS:
        words[0] = add_data(b, c, index) | copied;
        words[1] = (uint64_t)c->zero << 32 | c->alloc;
        break;
    case BUILD_WORD:
        words[0] = c->word;
        words[1] = c->bitmap;
        break;
    }
}

static void put_cluster(struct builder *b, uint64_t l1_off, const struct build_cluster *c,
                        uint64_t index)
{
    const uint64_t per_table = b->cluster_size / b->entry_bytes;
    const uint64_t slot = l1_off + 8 * (index / per_table);
    uint64_t l2_off = get64(b->bytes + slot) & UINT64_C(0x00fffffffffffe00);
    uint64_t words[2];

    if (l2_off == 0) {
        l2_off = add_clusters(b, b->cluster_size);
        put(b, slot, 8, l2_off | UINT64_C(1) << 63);
    }
    entry_words(b, c, index, words);
    const uint64_t entry = l2_off + index % per_table * b->entry_bytes;
    put(b, entry, 8, words[0]);
    if (b->entry_bytes == 16)
        put(b, entry + 8, 8, words[1]);
}

static void put_clusters(struct builder *b, uint64_t l1_off, const struct build_cluster *list,
                         size_t list_len)
{
    for (size_t i = 0; i < list_len; i++) {
        for (uint64_t k = 0; k < (list[i].count ? list[i].count : 1); k++)
            put_cluster(b, l1_off, &list[i], list[i].index + k);
    }
}

static uint32_t l1_needed(const struct builder *b)
{
    const uint64_t covered = b->cluster_size / b->entry_bytes * b->cluster_size;

    return (uint32_t)((b->spec->size + covered - 1) / covered);
}

/* --- snapshots and bitmaps -------------------------------------------------------------------- */

static uint32_t snapshot_extra_len(const struct build_snapshot *s)
{
    if (s->no_extra)
        return 0;
    return s->extra_len ? s->extra_len : 24;
}

static uint64_t snapshot_len(const struct build_snapshot *s)
{
    const uint64_t len = 40 + snapshot_extra_len(s) + strlen(s->id) + strlen(s->name);

    return (len + 7) & ~UINT64_C(7);
}

static void put_snapshot_extra(struct builder *b, uint64_t off, const struct build_snapshot *s)
{
    const uint32_t len = snapshot_extra_len(s);
    const uint64_t disk_size = s->disk_size ? s->disk_size : b->spec->size;
    const uint64_t values[3] = { s->vm_state_size, disk_size, s->icount ? s->icount : UINT64_MAX };

    memset(b->bytes + off, 0xee, len);
    for (unsigned i = 0; i < 3 && 8 * (i + 1) <= len; i++)
        put(b, off + 8 * i, 8, values[i]);
}

static void put_snapshot(struct builder *b, uint64_t off, const struct build_snapshot *s,
                         uint64_t l1_off)
{
    const size_t id_len = strlen(s->id), name_len = strlen(s->name);
    const uint32_t extra_len = snapshot_extra_len(s);

    put(b, off, 8, l1_off);
    put(b, off + 8, 4, l1_needed(b));
    put(b, off + 12, 2, id_len);
    put(b, off + 14, 2, name_len);
    put(b, off + 16, 4, s->date_sec);
    put(b, off + 20, 4, s->date_nsec);
    put(b, off + 24, 8, s->vm_clock_nsec);
    put(b, off + 32, 4, s->vm_state_size <= UINT32_MAX ? s->vm_state_size : 0);
    put(b, off + 36, 4, extra_len);
    put_snapshot_extra(b, off + 40, s);
    put_bytes(b, off + 40 + extra_len, s->id, id_len);
    put_bytes(b, off + 40 + extra_len + id_len, s->name, name_len);
}

static void put_snapshots(struct builder *b)
{
    const struct build_qcow2 *spec = b->spec;
    uint64_t *l1_offs = must(calloc(spec->snapshot_count + 1, sizeof(*l1_offs)));
    uint64_t len = 0;

    for (size_t i = 0; i < spec->snapshot_count; i++) {
        const struct build_snapshot *s = &spec->snapshots[i];
        l1_offs[i] = add_clusters(b, 8 * (uint64_t)l1_needed(b));
        put_clusters(b, l1_offs[i], s->clusters, s->cluster_count);
        len += snapshot_len(s);
    }
    if (len)
        b->out.snapshots_off = add_clusters(b, len);
    uint64_t off = b->out.snapshots_off;
    for (size_t i = 0; i < spec->snapshot_count; i++) {
        put_snapshot(b, off, &spec->snapshots[i], l1_offs[i]);
        off += snapshot_len(&spec->snapshots[i]);
    }
    free(l1_offs);
}

static uint64_t bitmap_len(const struct build_bitmap *m)
{
    return (24 + strlen(m->name) + 7) & ~UINT64_C(7);
}

static uint64_t bitmap_directory_len(const struct build_qcow2 *spec)
{
    uint64_t len = 0;

    for (size_t i = 0; i < spec->bitmap_count; i++)
        len += bitmap_len(&spec->bitmaps[i]);
    return len;
}

static void put_bitmap(struct builder *b, uint64_t off, const struct build_bitmap *m)
{
    const unsigned granularity_bits = m->granularity_bits ? m->granularity_bits : 16;
    const uint64_t bits =
        (b->spec->size + (UINT64_C(1) << granularity_bits) - 1) >> granularity_bits;
    const uint64_t clusters =
        (((bits + 63) & ~UINT64_C(63)) / 8 + b->cluster_size - 1) >> b->cluster_bits;

    put(b, off, 8, add_clusters(b, 8 * clusters)); /* a table of zeros: nothing is dirty */
    put(b, off + 8, 4, clusters);
    put(b, off + 12, 4, m->flags);
    put(b, off + 16, 1, 1);
    put(b, off + 17, 1, granularity_bits);
    put(b, off + 18, 2, strlen(m->name));
    put_bytes(b, off + 24, m->name, strlen(m->name));
}

static void put_bitmaps(struct builder *b)
{
    const struct build_qcow2 *spec = b->spec;

    if (spec->bitmap_count == 0)
        return;
    b->out.bitmap_directory_off = add_clusters(b, bitmap_directory_len(spec));
    uint64_t off = b->out.bitmap_directory_off;
    for (size_t i = 0; i < spec->bitmap_count; i++) {
        put_bitmap(b, off, &spec->bitmaps[i]);
        off += bitmap_len(&spec->bitmaps[i]);
    }
}

/* --- refcounts -------------------------------------------------------------------------------- */

static void put_count(struct builder *b, uint64_t block, uint64_t index, uint8_t value)
{
    const unsigned bits = b->refcount_bits;

    if (bits >= 8) {
        put(b, block + index * bits / 8, bits / 8, value);
        return;
    }
    const uint8_t most = (uint8_t)((1u << bits) - 1);
    const unsigned shift = (unsigned)(index * bits % 8);
    b->bytes[block + index * bits / 8] |= (uint8_t)((value < most ? value : most) << shift);
}

static void put_refcounts(struct builder *b)
{
    const uint64_t per_block = b->cluster_size * 8 / b->refcount_bits;
    uint64_t blocks = 0;

    while (blocks * per_block < b->len >> b->cluster_bits) {
        require(8 * (blocks + 1) <= b->cluster_size);
        const uint64_t block = add_clusters(b, b->cluster_size);
        put(b, b->out.reftable_off + 8 * blocks++, 8, block);
    }
    for (uint64_t i = 0; i < b->len >> b->cluster_bits; i++) {
        const uint64_t block = get64(b->bytes + b->out.reftable_off + 8 * (i / per_block));
        put_count(b, block, i % per_block, i < b->used_room ? b->used[i] : 0);
    }
}

/* --- header ----------------------------------------------------------------------------------- */

static uint64_t put_extension(struct builder *b, uint64_t off, const struct build_extension *e)
{
    put(b, off, 4, e->type);
    put(b, off + 4, 4, e->wrong_len ? e->claimed_len : e->len);
    put_bytes(b, off + 8, e->data, e->len);
    return off + 8 + ((e->len + 7) & ~7u);
}

static uint64_t put_extensions(struct builder *b, uint64_t off)
{
    const struct build_qcow2 *spec = b->spec;

    for (size_t i = 0; i < spec->extension_count; i++)
        off = put_extension(b, off, &spec->extensions[i]);
    if (spec->bitmap_count) {
        const uint64_t fields[3] = { htobe64((uint64_t)spec->bitmap_count << 32),
                                     htobe64(bitmap_directory_len(spec)),
                                     htobe64(b->out.bitmap_directory_off) };
        off = put_extension(b, off, &(struct build_extension){ 0x23852875, fields, 24, false, 0 });
    }
    return spec->no_end_marker ? off : off + 8; /* type 0, length 0: zeros already */
}

static void put_v3_fields(struct builder *b, uint32_t header_length)
{
    const struct build_qcow2 *spec = b->spec;
    unsigned order = 0;

    while (1u << order < b->refcount_bits)
        order++;
    put(b, 72, 8,
        spec->incompatible | (spec->data_file ? 4u : 0) | (spec->zstd ? 8u : 0) |
            (spec->extended_l2 ? 16u : 0));
    put(b, 80, 8, spec->compatible);
    put(b, 88, 8, spec->autoclear | (spec->bitmap_count ? 1u : 0));
    put(b, 96, 4, order);
    put(b, 100, 4, header_length);
    if (header_length > 104)
        put(b, 104, 1, spec->zstd);
    for (uint64_t i = 112; i < header_length && i < b->cluster_size; i++)
        b->bytes[i] = spec->header_fill;
}

static void put_header(struct builder *b)
{
    const struct build_qcow2 *spec = b->spec;
    const uint32_t usual_length = b->version == 2 ? 72 : 112;
    const uint32_t header_length = spec->header_length ? spec->header_length : usual_length;

    put(b, 0, 4, 0x514649fb);
    put(b, 4, 4, b->version);
    put(b, 20, 4, b->cluster_bits);
    put(b, 24, 8, spec->size);
    put(b, 32, 4, spec->crypt_method);
    put(b, 36, 4, l1_needed(b) + spec->l1_extra);
    put(b, 40, 8, b->out.l1_off);
    put(b, 48, 8, b->out.reftable_off);
    put(b, 56, 4, 1);
    put(b, 60, 4, spec->snapshot_count);
    put(b, 64, 8, b->out.snapshots_off);
    if (b->version != 2)
        put_v3_fields(b, header_length);
    b->out.extensions_end = put_extensions(b, header_length);
    if (spec->backing_name) {
        const uint64_t off = spec->backing_off ? spec->backing_off : b->out.extensions_end;
        const size_t len = strlen(spec->backing_name);
        put(b, 8, 8, off);
        put(b, 16, 4, spec->backing_len ? spec->backing_len : len);
        put_bytes(b, off, spec->backing_name, len);
    }
}

/* --- the whole -------------------------------------------------------------------------------- */

static void cut(struct builder *b)
{
    if (b->spec->file_size > b->len)
        grow_to(b, b->spec->file_size);
    b->len = b->spec->file_size;
}

struct built build_qcow2(const struct build_qcow2 *spec)
{
    struct builder b = { .spec = spec };

    b.version = spec->version ? spec->version : 3;
    b.cluster_bits = spec->cluster_bits ? spec->cluster_bits : 16;
    b.cluster_size = UINT64_C(1) << b.cluster_bits;
    b.entry_bytes = spec->extended_l2 ? 16 : 8;
    b.refcount_bits = spec->refcount_bits ? spec->refcount_bits : 16;

    add_clusters(&b, b.cluster_size);
    b.out.reftable_off = add_clusters(&b, b.cluster_size);
    b.out.l1_off = add_clusters(&b, 8 * ((uint64_t)l1_needed(&b) + spec->l1_extra));
    put_clusters(&b, b.out.l1_off, spec->clusters, spec->cluster_count);
    put_snapshots(&b);
    put_bitmaps(&b);
    put_refcounts(&b);
    put_header(&b);
    for (size_t i = 0; i < spec->patch_count; i++)
        put(&b, spec->patches[i].off, spec->patches[i].width, spec->patches[i].value);
    if (spec->cut)
        cut(&b);
    free(b.used);
    b.out.bytes = b.bytes;
    b.out.len = b.len;
    return b.out;
}

void built_release(struct built *built)
{
    free(built->bytes);
    *built = (struct built){ 0 };
}

void build_qcow2_file(const struct build_qcow2 *spec, const char *path)
{
    struct built built = build_qcow2(spec);
    FILE *f = fopen(path, "wb");

    require(f && fwrite(built.bytes, 1, built.len, f) == built.len);
    require(fclose(f) == 0);
    built_release(&built);
}

uint64_t built_l2_entry_off(const struct built *built, const struct build_qcow2 *spec,
                            uint64_t index)
{
    const uint64_t cluster_size = UINT64_C(1) << (spec->cluster_bits ? spec->cluster_bits : 16);
    const uint64_t entry_bytes = spec->extended_l2 ? 16 : 8;
    const uint64_t per_table = cluster_size / entry_bytes;
    const uint64_t l2_off = get64(built->bytes + built->l1_off + 8 * (index / per_table)) &
                            UINT64_C(0x00fffffffffffe00);

    return l2_off ? l2_off + index % per_table * entry_bytes : 0;
}
