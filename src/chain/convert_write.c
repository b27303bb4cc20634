/* SPDX-License-Identifier: Apache-2.0
 *
 * What is to be written of the bytes that were fetched: zeros are left out or become zeros of the
 * target (-S), data is packed (-c), and into a new image whole clusters go.
 */
#include <errno.h>
#include <string.h>

#include "bits.h"
#include "convert.h"
#include "copy_worker.h"

static int push(struct copy_slot *slot, struct copy_write write)
{
    return copy_write_vec_push(&slot->writes, write);
}

/* Zeros need no writing where the target has them. */
static int push_zeros(const struct convert *c, struct copy_slot *slot, struct qimg_range range)
{
    if (c->target.reads_zero || range.len == 0)
        return 0;
    return push(slot, (struct copy_write){ .range = range });
}

/* --- plain data ----------------------------------------------------------------------------- */

/* Bytes of the target, one behind the other in memory. */
struct area {
    uint64_t off, len;
    const uint8_t *buf;
};

/* Data in @part of @all, and what lies around it in the same clusters: those bytes are at hand, and
 * writing them is cheaper than a cluster with holes in it. */
static int push_data(const struct convert *c, struct copy_slot *slot, const struct area *all,
                     struct qimg_range part)
{
    const uint64_t begin = max_u64(align_down(part.off, c->grow), all->off);
    const uint64_t end = min_u64(align_up(part.off + part.len, c->grow), all->off + all->len);
    const uint8_t *data = all->buf + (begin - all->off);
    struct copy_write *last =
        slot->writes.count ? &slot->writes.items[slot->writes.count - 1] : NULL;

    if (c->grow > 1 && last && last->data && !last->lender && last->range.off >= all->off &&
        last->range.off + last->range.len >= begin) {
        last->range.len = max_u64(last->range.len, end - last->range.off);
        return 0;
    }
    return push(slot, (struct copy_write){ .range = { begin, end - begin }, .data = data });
}

/* Zeros between data of @part: as whole clusters, because data grows over the rest. */
static struct qimg_range shrink(const struct convert *c, struct qimg_range part,
                                struct qimg_range zeros)
{
    const uint64_t part_end = part.off + part.len;
    uint64_t begin = zeros.off, end = zeros.off + zeros.len;

    if (begin > part.off)
        begin = align_up(begin, c->grow);
    if (end < part_end)
        end = align_down(end, c->grow);
    return (struct qimg_range){ begin, end > begin ? end - begin : 0 };
}

/* @part of @all, seen by itself. */
static int split_part(const struct convert *c, struct copy_slot *slot, const struct area *all,
                      struct qimg_range part)
{
    const uint8_t *buf = all->buf + (part.off - all->off);

    for (uint64_t at = 0; at < part.len;) {
        bool data;
        const uint64_t off = part.off + at;
        const size_t n = sparse_next(c->rule, off, buf + at, part.len - at, &data);
        TRY(data ? push_data(c, slot, all, (struct qimg_range){ off, n })
                 : push_zeros(c, slot, shrink(c, part, (struct qimg_range){ off, n })));
        at += n;
    }
    return 0;
}

static bool is_here(const struct copy_piece *piece)
{
    return !piece->done && !piece->lent;
}

/* What the file system is to copy is not looked at: zeros in it are data, as in QEMU. */
static int push_lent(struct copy_slot *slot, const struct copy_piece *piece)
{
    return push(slot, (struct copy_write){ .range = { piece->off, piece->run.len },
                                           .data = piece->buf,
                                           .lender = piece });
}

/* The pieces from @first on whose bytes follow each other in the target: returns the index behind
 * the last. */
static size_t area_end(const struct copy_slot *slot, size_t first, struct area *area)
{
    const struct copy_piece *pieces = slot->pieces.items;
    size_t end = first + 1;

    *area = (struct area){ pieces[first].off, pieces[first].run.len, pieces[first].buf };
    while (is_here(&pieces[first]) && end < slot->pieces.count && is_here(&pieces[end]) &&
           pieces[end].off == area->off + area->len)
        area->len += pieces[end++].run.len;
    return end;
}

/* Where one block of the target is the measure, all of an area is seen at once. A longer one is
 * applied to each run of the map by itself, as QEMU does, so that the same holes come out. */
static int write_plain(const struct convert *c, struct copy_slot *slot)
{
    const bool merge = max_u64(c->rule.min_len, c->rule.align) <= 4 * KiB;

    for (size_t i = 0, end; i < slot->pieces.count; i = end) {
        struct area area;

        end = area_end(slot, i, &area);
        if (slot->pieces.items[i].lent)
            TRY(push_lent(slot, &slot->pieces.items[i]));
        if (!is_here(&slot->pieces.items[i]))
            continue;
        if (merge) {
            TRY(split_part(c, slot, &area, (struct qimg_range){ area.off, area.len }));
            continue;
        }
        for (size_t k = i; k < end; k++) {
            const struct copy_piece *piece = &slot->pieces.items[k];
            TRY(split_part(c, slot, &area, (struct qimg_range){ piece->off, piece->run.len }));
        }
    }
    return 0;
}

/* --- packed clusters ------------------------------------------------------------------------ */

/* A packed cluster is a whole one: where the target goes on behind the end of the sources, the rest
 * of their last cluster would be lost. */
static bool is_whole(const struct convert *c, const struct area *cluster)
{
    return cluster->len == c->unit || cluster->off + cluster->len == c->target.image->size;
}

/* One cluster; *used of the slot's scratch is taken. */
static int pack_cluster(const struct convert *c, struct copy_slot *slot, const struct area *cluster,
                        size_t *used)
{
    const struct qimg_range range = { cluster->off, cluster->len };
    uint8_t *packed = slot->scratch + *used;

    if (c->rule.min_len > 0 && sparse_is_zero(cluster->buf, cluster->len))
        return push_zeros(c, slot, range);
    if (!is_whole(c, cluster)) {
        copy_slot_fail(slot, cluster->off, -EINVAL, true);
        return 0;
    }
    const ssize_t len = packers_pack(c->packers, cluster->buf, c->unit, packed, c->unit - 1);
    if (len == -ENOSPC)
        return push(slot, (struct copy_write){ .range = range, .data = cluster->buf });
    if (len < 0)
        return (int)len;
    *used += (size_t)len;
    return push(slot,
                (struct copy_write){ .range = range, .data = packed, .packed_len = (uint32_t)len });
}

/* The slot is whole clusters; only the one at the end of the disk is filled up with zeros. */
static int write_packed(const struct convert *c, struct copy_slot *slot)
{
    size_t used = 0;

    memset(slot->buf + slot->used, 0, align_up(slot->used, c->unit) - slot->used);
    for (size_t i = 0; i < slot->pieces.count;) {
        struct area area;

        i = area_end(slot, i, &area);
        for (uint64_t at = 0; at < area.len; at += c->unit) {
            const struct area cluster = { area.off + at, min_u64(c->unit, area.len - at),
                                          area.buf + at };
            TRY(pack_cluster(c, slot, &cluster, &used));
        }
    }
    return 0;
}

int convert_transform(const struct copy_job *job, struct copy_slot *slot)
{
    const struct convert *c = (const struct convert *)job;

    return c->packers ? write_packed(c, slot) : write_plain(c, slot);
}
