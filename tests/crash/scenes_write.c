/* SPDX-License-Identifier: Apache-2.0
 *
 * What a guest does: writes over every kind of cluster, zeros, discards, packed clusters.
 */
#include "bits.h"
#include "scene.h"

/* Clusters whose kinds differ, see scene.c. */
static const unsigned kinds[] = { 6, 0, 2, 4, 5, 8, 11 };

static int each_in_part(struct stage *s)
{
    const uint64_t cs = stage_cluster(s), len = min_u64(cs / 2, 1536);

    TRY(stage_begin(s));
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        TRY(stage_write(s, kinds[i] * cs + cs / 4, max_u64(len, 512), (uint8_t)(0x40 + i)));
        if (i == 3)
            TRY(stage_flush(s));
    }
    return stage_end(s);
}

static int each_whole(struct stage *s)
{
    const uint64_t cs = stage_cluster(s);

    TRY(stage_begin(s));
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++)
        TRY(stage_write(s, kinds[i] * cs, cs, (uint8_t)(0x50 + i)));
    TRY(stage_flush(s));
    TRY(stage_write(s, 3 * cs, cs, 0x58));
    TRY(stage_write(s, 6 * cs, 2 * cs, 0x59));
    return stage_end(s);
}

static int across(struct stage *s)
{
    const uint64_t cs = stage_cluster(s), half = max_u64(cs / 2, 512);

    TRY(stage_begin(s));
    TRY(stage_write(s, half, 6 * cs, 0x61));
    TRY(stage_flush(s));
    TRY(stage_write(s, 5 * cs + half, 5 * cs, 0x62));
    return stage_end(s);
}

/* Takes new L2 tables and refcount blocks where clusters are small. */
static int everything(struct stage *s)
{
    const uint64_t size = align_down(s->layout->size, 512), part = align_up(size / 5, 512);

    TRY(stage_begin(s));
    for (uint64_t off = 0; off < size; off += part) {
        TRY(stage_write(s, off, min_u64(part, size - off), (uint8_t)(0x71 + off / part)));
        if (off / part == 2)
            TRY(stage_flush(s));
    }
    return stage_end(s);
}

static bool can_pack(const struct layout *l)
{
    return !l->spec.data_file_name && l->spec.cluster_size > 512;
}

static int packed(struct stage *s)
{
    const uint64_t cs = stage_cluster(s);

    TRY(stage_begin(s));
    TRY(stage_packed(s, 6 * cs, 0x31));
    TRY(stage_packed(s, 7 * cs, 0x32));
    TRY(stage_flush(s));
    TRY(stage_packed(s, 11 * cs, 0x33));
    TRY(stage_write(s, 7 * cs, 512, 0x34));
    TRY(stage_discard(s, 2 * cs, cs));
    return stage_end(s);
}

static int zeros(struct stage *s, unsigned flags)
{
    const uint64_t cs = stage_cluster(s);

    TRY(stage_begin(s));
    TRY(stage_zero(s, 0, cs, flags));
    TRY(stage_zero(s, 2 * cs, 3 * cs, flags));
    TRY(stage_flush(s));
    TRY(stage_zero(s, 8 * cs, 2 * cs, flags));
    TRY(stage_zero(s, cs + cs / 2 - cs / 2 % 512, 512, flags));
    TRY(stage_write(s, 2 * cs, 512, 0x35));
    return stage_end(s);
}

static int zero(struct stage *s)
{
    return zeros(s, 0);
}

static int zero_unmap(struct stage *s)
{
    return zeros(s, WRITE_MAY_UNMAP);
}

/* What was given up is used again. */
static int discard(struct stage *s)
{
    const uint64_t cs = stage_cluster(s);

    TRY(stage_begin(s));
    TRY(stage_discard(s, 0, 6 * cs));
    TRY(stage_flush(s));
    TRY(stage_flush(s));
    TRY(stage_write(s, 11 * cs, 2 * cs, 0x36));
    TRY(stage_discard(s, 8 * cs, 3 * cs));
    TRY(stage_write(s, 0, cs, 0x37));
    return stage_end(s);
}

static int churn(struct stage *s)
{
    TRY(stage_begin(s));
    TRY(stage_walk(s, 14));
    return stage_end(s);
}

const struct scene write_scenes[] = {
    { .name = "write-part", .run = each_in_part },
    { .name = "write-whole", .run = each_whole },
    { .name = "write-across", .run = across },
    { .name = "write-everything", .run = everything },
    { .name = "write-packed", .run = packed, .fits = can_pack },
    { .name = "zero", .run = zero },
    { .name = "zero-unmap", .run = zero_unmap },
    { .name = "discard", .run = discard },
    { .name = "churn", .run = churn },
};
const size_t write_scene_count = ARRAY_COUNT(write_scenes);
