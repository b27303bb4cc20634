/* SPDX-License-Identifier: Apache-2.0 */
#include "disk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"

const char *const disk_file_names[DISK_FILES] = { "disk", "data", "base", "other" };

static uint64_t mix(uint64_t h)
{
    h = (h ^ (h >> 31)) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ (h >> 29);
}

/* 0 where all is zero, so that holes cost nothing. */
static uint64_t sector_hash(const uint8_t *bytes, uint64_t index)
{
    uint64_t h = mix(index + 1), any = 0;

    for (unsigned i = 0; i < DISK_SECTOR; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        any |= word;
        h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
        h ^= h >> 32;
    }
    return any ? mix(h) : 0;
}

static uint64_t range_hash(const struct disk_file *f, uint64_t begin, uint64_t end)
{
    uint64_t h = 0;

    for (uint64_t at = align_down(begin, DISK_SECTOR); at < end; at += DISK_SECTOR)
        h ^= sector_hash(f->bytes + at, at / DISK_SECTOR);
    return h;
}

unsigned disk_file_number(const char *name)
{
    for (unsigned i = 0; i < DISK_FILES; i++) {
        if (strcmp(name, disk_file_names[i]) == 0)
            return i;
    }
    abort();
}

void disk_load(struct disk *disk, struct io_engine *engine)
{
    for (unsigned i = 0; i < DISK_FILES; i++) {
        struct disk_file *f = &disk->files[i];
        const uint64_t size = io_sim_size(engine, disk_file_names[i]);
        f->size = size == UINT64_MAX ? 0 : size;
        f->room = align_up(f->size, DISK_SECTOR) + DISK_SECTOR;
        f->bytes = calloc(1, f->room);
        if (!f->bytes || (f->size && !io_sim_get(engine, disk_file_names[i], 0, f->bytes, f->size)))
            abort();
        f->hash = range_hash(f, 0, f->room);
    }
}

void disk_release(struct disk *disk)
{
    for (unsigned i = 0; i < DISK_FILES; i++)
        free(disk->files[i].bytes);
    *disk = (struct disk){ 0 };
}

void disk_copy(struct disk *to, const struct disk *from)
{
    for (unsigned i = 0; i < DISK_FILES; i++) {
        assert(to->files[i].room == from->files[i].room);
        memcpy(to->files[i].bytes, from->files[i].bytes, from->files[i].room);
        to->files[i].size = from->files[i].size;
        to->files[i].hash = from->files[i].hash;
    }
}

void disk_reserve(struct disk *disk, const struct disk_change *c)
{
    struct disk_file *f = &disk->files[c->file];
    const uint64_t end = c->op == IO_SIM_TRUNCATE ? c->off : c->off + c->len;
    const uint64_t room = align_up(end, DISK_SECTOR) + DISK_SECTOR;

    if (room <= f->room)
        return;
    f->bytes = realloc(f->bytes, room);
    if (!f->bytes)
        abort();
    memset(f->bytes + f->room, 0, room - f->room);
    f->room = room;
}

/* The bytes that a change may alter. */
static struct qimg_range touched(const struct disk_file *f, const struct disk_change *c)
{
    if (c->op == IO_SIM_TRUNCATE)
        return (struct qimg_range){ min_u64(c->off, f->room), f->room - min_u64(c->off, f->room) };
    return (struct qimg_range){ min_u64(c->off, f->room), min_u64(c->len, f->room - c->off) };
}

static void write_sectors(struct disk_file *f, const struct disk_change *c, const uint8_t *sectors)
{
    const uint64_t end = c->off + c->len;

    for (uint64_t at = c->off, i = 0; at < end; i++) {
        const uint64_t next = min_u64(align_down(at, DISK_SECTOR) + DISK_SECTOR, end);
        if (!sectors || sectors[i]) {
            memcpy(f->bytes + at, c->data + (at - c->off), next - at);
            f->size = max_u64(f->size, next);
        }
        at = next;
    }
}

void disk_apply(struct disk *disk, const struct disk_change *c, const uint8_t *sectors)
{
    struct disk_file *f = &disk->files[c->file];
    const struct qimg_range t = touched(f, c);

    f->hash ^= range_hash(f, t.off, t.off + t.len);
    switch (c->op) {
    case IO_SIM_WRITE:
        write_sectors(f, c, sectors);
        break;
    case IO_SIM_ZERO:
        memset(f->bytes + t.off, 0, t.len);
        f->size = max_u64(f->size, c->off + c->len);
        break;
    case IO_SIM_PUNCH:
        memset(f->bytes + t.off, 0, t.len);
        break;
    case IO_SIM_ALLOCATE:
        f->size = max_u64(f->size, c->off + c->len);
        break;
    case IO_SIM_TRUNCATE:
        memset(f->bytes + t.off, 0, t.len);
        f->size = c->off;
        break;
    default:
        abort();
    }
    f->hash ^= range_hash(f, t.off, t.off + t.len);
}

void disk_restore(struct disk *disk, const struct disk *base, const struct disk_change *c)
{
    struct disk_file *f = &disk->files[c->file];
    const struct disk_file *b = &base->files[c->file];
    const struct qimg_range t = touched(f, c);

    memcpy(f->bytes + t.off, b->bytes + t.off, t.len);
    f->size = b->size;
    f->hash = b->hash; /* right when the last of several is restored */
}

uint64_t disk_hash(const struct disk *disk)
{
    uint64_t h = 0;

    for (unsigned i = 0; i < DISK_FILES; i++)
        h = mix(h + disk->files[i].hash + mix(disk->files[i].size + i));
    return h;
}
