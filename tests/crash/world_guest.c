/* SPDX-License-Identifier: Apache-2.0
 *
 * What a guest does in a world. Every sector that it writes is told from all others, and after each
 * operation the whole disk is read back through the chain.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "bytes.h"
#include "cleanup.h"
#include "qimg/write.h"
#include "world.h"

#define SECTOR 512u

struct deed {
    struct world *world;
    const struct truth *before;
    struct truth *after;
    uint64_t sector, sectors;
};

static uint64_t cluster_sectors(const struct world *w)
{
    return (1u << w->layout->cluster_bits) / SECTOR;
}

static struct qimg_range bytes_of(const struct deed *k)
{
    const uint64_t off = k->sector * SECTOR;

    return (struct qimg_range){ off, min_u64(k->sectors * SECTOR, k->after->disk.size - off) };
}

static void fill(uint8_t *bytes, struct qimg_range range, unsigned value)
{
    memset(bytes, (int)(1 + value % 200), range.len);
    for (uint64_t at = 0; at + 8 <= range.len; at += SECTOR)
        store_be64(bytes + at, (range.off + at) << 16 | value);
}

static int do_write(const struct deed *k, const struct operation *op, struct qimg_error *err)
{
    const struct qimg_range range = bytes_of(k);
    uint8_t *bytes = k->after->disk.bytes + range.off;

    fill(bytes, range, op->arg[2]);
    return qimg_image_write(k->world->image, range.off, bytes, range.len, err);
}

static int do_pack(const struct deed *k, const struct operation *op, struct qimg_error *err)
{
    const struct qimg_range range = bytes_of(k);
    uint8_t *bytes = k->after->disk.bytes + range.off;

    fill(bytes, range, op->arg[1]);
    return qimg_image_write_compressed(k->world->image, range.off, bytes, range.len, err);
}

static int do_zero(const struct deed *k, const struct operation *op, struct qimg_error *err)
{
    const struct qimg_range range = bytes_of(k);

    memset(k->after->disk.bytes + range.off, 0, range.len);
    return qimg_image_write_zeroes(k->world->image, range.off, range.len,
                                   op->kind == OP_UNMAP ? QIMG_ZERO_MAY_UNMAP : 0, err);
}

/* Each sector is as it was, zeros, or what lies below. */
static bool is_discarded(const struct deed *k, uint64_t sector, const uint8_t *now)
{
    static const uint8_t zeros[SECTOR];
    uint8_t below[SECTOR];

    truth_read_below(k->before, k->before->backing, sector, below);
    return memcmp(now, k->before->disk.bytes + sector * SECTOR, SECTOR) == 0 ||
           memcmp(now, zeros, SECTOR) == 0 || memcmp(now, below, SECTOR) == 0;
}

static int do_discard(const struct deed *k, const struct operation *op, struct qimg_error *err)
{
    const struct qimg_range range = bytes_of(k);
    uint8_t *bytes = k->after->disk.bytes + range.off;

    (void)op;
    TRY(qimg_image_discard(k->world->image, range.off, range.len, err));
    TRY(qimg_image_read(k->world->image, range.off, bytes, range.len, err));
    for (uint64_t s = 0; s < k->sectors; s++)
        if (!is_discarded(k, k->sector + s, bytes + s * SECTOR))
            return qimg_fail(err, EIO, "a discarded sector, %" PRIu64 ", reads otherwise",
                             k->sector + s);
    return 0;
}

static int do_flush(const struct deed *k, const struct operation *op, struct qimg_error *err)
{
    (void)op;
    return qimg_image_flush(k->world->image, err);
}

static bool reads_right(const struct deed *k, struct qimg_error *err)
{
    const struct body *disk = &k->after->disk;
    AUTO_FREE uint8_t *now = malloc(disk->size + 1);

    if (!now)
        abort();
    if (qimg_image_read(k->world->image, 0, now, disk->size, err) < 0)
        return world_wrong(k->world, "reading: %s", err->text);
    for (uint64_t i = 0; i < disk->size; i++)
        if (now[i] != disk->bytes[i])
            return world_wrong(k->world, "live: byte %" PRIu64 " is %#x, not %#x", i, now[i],
                               disk->bytes[i]);
    return true;
}

/* Sectors, or for pack a cluster. */
static void place(struct deed *k, const struct operation *op)
{
    const uint64_t all = sectors_in(k->after->disk.size);
    const uint64_t unit = op->kind == OP_PACK ? cluster_sectors(k->world) : 1;

    if (op->kind == OP_FLUSH)
        return;
    k->sector = op->arg[0] % div_up(all, unit) * unit;
    k->sectors = min_u64(op->kind == OP_PACK ? unit : op->arg[1], all - k->sector);
}

bool world_guest(struct world *w, const struct operation *op)
{
    static int (*const doers[OP_COUNT])(const struct deed *, const struct operation *,
                                        struct qimg_error *) = {
        [OP_WRITE] = do_write, [OP_PACK] = do_pack,       [OP_ZERO] = do_zero,
        [OP_UNMAP] = do_zero,  [OP_DISCARD] = do_discard, [OP_FLUSH] = do_flush,
    };
    struct deed k = { .world = w, .after = world_next_truth(w) };
    struct qimg_error err;

    k.before = k.after - 1;
    place(&k, op);
    const int rc = k.sectors || op->kind == OP_FLUSH ? doers[op->kind](&k, op, &err) : 0;
    if (op->kind == OP_PACK && (rc == -ENOTSUP || rc == -EIO)) { /* EIO: over data, as QEMU */
        world_forget_next(w);
        w->totals->refused[op->kind]++;
        return true;
    }
    if (rc < 0)
        return world_wrong(w, "%s: %s", operation_word(op->kind), err.text);
    /* Zeros go to whole clusters where these are zeros already. */
    truth_mark(k.after, k.before, k.sector, k.sectors,
               op->kind == OP_WRITE ? 1 : cluster_sectors(w));
    tape_mark(&w->tape, NULL, 0, "", op->kind == OP_FLUSH);
    w->totals->done[op->kind]++;
    return reads_right(&k, &err);
}
