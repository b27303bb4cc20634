/* SPDX-License-Identifier: Apache-2.0 */
#include "image_input.h"

#include <string.h>

#include "bits.h"
#include "build_qcow2.h"
#include "bytes.h"
#include "disk.h"

/* --- seeds ----------------------------------------------------------------------------------- */

/* 512 bytes of zeros in raw deflate. */
static const uint8_t packed_zeros[] = {
    0x63, 0x60, 0x18, 0x05, 0xa3, 0x60, 0x14, 0x0c, 0x00, 0x00
};

static const struct build_cluster clusters[] = {
    { .index = 0, .count = 3, .fill = 1 },
    { .index = 4, .kind = BUILD_ZERO },
    { .index = 5, .kind = BUILD_ZERO_ALLOC },
    { .index = 6,
      .kind = BUILD_COMPRESSED,
      .packed = packed_zeros,
      .packed_len = sizeof(packed_zeros) },
    { .index = 70, .fill = 2 },
};
static const struct build_cluster plain[] = { { .index = 1 }, { .index = 65 } };
static const struct build_cluster parts[] = {
    { .index = 0, .kind = BUILD_SUBCLUSTERS, .alloc = 0xff, .zero = 0xff00 },
    { .index = 2, .kind = BUILD_ZERO },
};
static const struct build_snapshot snapshots[] = {
    { .id = "1", .name = "first", .clusters = plain, .cluster_count = 2 },
    { .id = "2", .name = "", .no_extra = true },
};
static const struct build_bitmap bitmaps[] = { { .name = "b0", .flags = 2 },
                                               { .name = "longer name", .flags = 1 } };
static const struct build_extension texts[] = { { 0xe2792aca, "raw", 3, false, 0 },
                                                { 0x1234, "unknown", 7, false, 0 } };
static const struct build_extension data_file[] = { { 0x44415441, "data", 4, false, 0 } };
static const struct build_extension on_qcow2[] = { { 0xe2792aca, "qcow2", 5, false, 0 } };

static const struct build_qcow2 seeds[] = {
    { .cluster_bits = 9,
      .size = 64000,
      .clusters = clusters,
      .cluster_count = 5,
      .snapshots = snapshots,
      .snapshot_count = 2,
      .bitmaps = bitmaps,
      .bitmap_count = 2,
      .extensions = texts,
      .extension_count = 2,
      .backing_name = "base" },
    { .version = 2,
      .cluster_bits = 9,
      .size = 40000,
      .clusters = plain,
      .cluster_count = 2,
      .backing_name = "base" },
    { .cluster_bits = 14,
      .size = 100000,
      .extended_l2 = true,
      .zstd = true,
      .clusters = parts,
      .cluster_count = 2,
      .refcount_bits = 1 },
    { .cluster_bits = 9,
      .size = 40000,
      .data_file = true,
      .autoclear = 2,
      .clusters = plain,
      .cluster_count = 2,
      .extensions = data_file,
      .extension_count = 1 },
    { .cluster_bits = 9,
      .size = 4096,
      .incompatible = UINT64_C(1) << 40,
      .extensions = texts,
      .extension_count = 2 },
    { .cluster_bits = 9,
      .size = 64000,
      .refcount_bits = 64,
      .compatible = 1,
      .incompatible = 1,
      .clusters = clusters,
      .cluster_count = 5,
      .snapshots = snapshots,
      .snapshot_count = 1,
      .extensions = on_qcow2,
      .extension_count = 1,
      .backing_name = "base" },
    { .cluster_bits = 10,
      .size = 65536,
      .refcount_bits = 2,
      .bitmaps = bitmaps,
      .bitmap_count = 1 },
    { .cluster_bits = 12,
      .size = 65536,
      .clusters = plain,
      .cluster_count = 1,
      .refcount_bits = 8 },
};

uint8_t *image_seed(unsigned index, size_t before, size_t *len)
{
    if (index >= sizeof(seeds) / sizeof(seeds[0]))
        return NULL;
    struct built built = build_qcow2(&seeds[index]);
    uint8_t *bytes = calloc(1, before + built.len);
    require(bytes != NULL);
    memcpy(bytes + before, built.bytes, built.len);
    *len = before + built.len;
    built_release(&built);
    return bytes;
}

/* --- changes --------------------------------------------------------------------------------- */

struct target {
    uint8_t *bytes;
    size_t len;
    uint64_t cluster;
    uint64_t *chance;
};

static uint64_t host_cluster(const struct target *t)
{
    return fuzz_below(t->chance, t->len / t->cluster + 2) * t->cluster;
}

/* A number that a field may break on. */
static uint64_t any_number(const struct target *t)
{
    switch (fuzz_below(t->chance, 6)) {
    case 0:
        return fuzz_below(t->chance, 20);
    case 1:
        return host_cluster(t);
    case 2:
        return UINT64_MAX - fuzz_below(t->chance, 3);
    case 3:
        return (UINT64_C(1) << fuzz_below(t->chance, 64)) - fuzz_below(t->chance, 2);
    case 4:
        return fuzz_below(t->chance, 4 * t->len + 1);
    default:
        return fuzz_random(t->chance);
    }
}

/* What may stand in a table. */
static uint64_t any_entry(const struct target *t)
{
    const uint64_t flags = (fuzz_below(t->chance, 2) ? QCOW2_COPIED : 0) |
                           (fuzz_below(t->chance, 6) ? 0 : QCOW2_COMPRESSED) |
                           (fuzz_below(t->chance, 4) ? 0 : QCOW2_ZERO);
    const uint64_t skew = fuzz_below(t->chance, 8) ? 0 : 512 * fuzz_below(t->chance, 8);

    return flags | (fuzz_below(t->chance, 8) ? host_cluster(t) + skew : any_number(t));
}

static void change_header(const struct target *t)
{
    static const struct {
        uint8_t off, width;
    } fields[] = {
        { 4, 4 },  { 8, 8 },  { 16, 4 }, { 20, 4 }, { 24, 8 },  { 32, 4 },
        { 36, 4 }, { 40, 8 }, { 48, 8 }, { 56, 4 }, { 60, 4 },  { 64, 8 },
        { 72, 8 }, { 80, 8 }, { 88, 8 }, { 96, 4 }, { 100, 4 }, { 104, 1 },
    };
    const size_t i = fuzz_below(t->chance, sizeof(fields) / sizeof(fields[0]));
    const uint64_t value = any_number(t);

    if (fields[i].width == 8)
        store_be64(t->bytes + fields[i].off, value);
    else if (fields[i].width == 4)
        store_be32(t->bytes + fields[i].off, (uint32_t)value);
    else
        t->bytes[fields[i].off] = (uint8_t)value;
}

/* An offset that the header names, or one that a table names there. */
static uint64_t find_table(const struct target *t)
{
    static const uint8_t roots[] = { 40, 40, 48, 64 }; /* L1, refcount table, snapshots */
    uint64_t at = load_be64(t->bytes + roots[fuzz_below(t->chance, sizeof(roots))]);

    for (uint64_t depth = fuzz_below(t->chance, 3); depth > 0; depth--) {
        const uint64_t entry = at + 8 * fuzz_below(t->chance, 3);
        if (entry < at || entry > t->len - 8)
            break;
        at = load_be64(t->bytes + entry) & QCOW2_OFFSET_MASK;
    }
    return at < t->len ? at : fuzz_below(t->chance, t->len / t->cluster + 1) * t->cluster;
}

static void change_table(const struct target *t)
{
    const uint64_t at = min_u64(find_table(t) + 8 * fuzz_below(t->chance, 24), t->len - 8);
    const uint64_t old = load_be64(t->bytes + at);

    switch (fuzz_below(t->chance, 5)) {
    case 0:
        store_be64(t->bytes + at, old ^ UINT64_C(1) << fuzz_below(t->chance, 64));
        return;
    case 1: /* as another one: two tables, or a table and data, in one place */
        memmove(t->bytes + at, t->bytes + fuzz_below(t->chance, t->len / 8) * 8, 8);
        return;
    case 2:
        t->bytes[at + fuzz_below(t->chance, 8)] = (uint8_t)fuzz_below(t->chance, 256);
        return;
    case 3: /* a short number: counts, lengths */
        store_be32(t->bytes + at, (uint32_t)any_number(t));
        return;
    default:
        store_be64(t->bytes + at, any_entry(t));
    }
}

static void change_anything(const struct target *t)
{
    const uint64_t at = fuzz_below(t->chance, t->len / 8) * 8;

    if (fuzz_below(t->chance, 2))
        t->bytes[at + fuzz_below(t->chance, 8)] ^= (uint8_t)(1u << fuzz_below(t->chance, 8));
    else
        store_be64(t->bytes + at, any_number(t));
}

size_t image_mutate(uint8_t *image, size_t len, size_t max, uint64_t seed)
{
    if (len < 512)
        return 0;
    const uint32_t bits = load_be32(image + 20);
    const struct target t = { .bytes = image,
                              .len = len,
                              .cluster = UINT64_C(1) << (bits >= 9 && bits <= 16 ? bits : 9),
                              .chance = &seed };

    for (uint64_t changes = 1 + fuzz_below(&seed, 3); changes > 0; changes--) {
        const uint64_t what = fuzz_below(&seed, 8);
        if (what < 2)
            change_header(&t);
        else if (what < 7)
            change_table(&t);
        else
            change_anything(&t);
    }
    if (fuzz_below(&seed, 16)) { /* what is no image at all is soon known */
        store_be32(image, QCOW2_MAGIC);
        store_be32(image + 4, fuzz_below(&seed, 8) ? 3 : 2);
    }
    if (max > len && fuzz_below(&seed, 16) == 0)
        return 1 + fuzz_below(&seed, len);
    return len;
}
