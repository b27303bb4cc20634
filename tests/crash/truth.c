/* SPDX-License-Identifier: Apache-2.0 */
#include "truth.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "cleanup.h"
#include "fail.h"

#define SECTOR 512u

const char *const below_names[BELOW_COUNT + 1] = { "base", "other", "-" };

static void *copy_of(const void *bytes, size_t len, size_t room)
{
    uint8_t *copy = calloc(1, room + 1);

    if (!copy)
        abort();
    if (bytes)
        memcpy(copy, bytes, min_u64(len, room));
    return copy;
}

uint64_t sectors_in(uint64_t size)
{
    return div_up(size, SECTOR);
}

/* --- bodies ----------------------------------------------------------------------------------- */

struct body body_new(uint64_t size)
{
    return (struct body){ .bytes = copy_of(NULL, 0, size),
                          .own = copy_of(NULL, 0, sectors_in(size)),
                          .size = size };
}

struct body body_copy(const struct body *from)
{
    return (struct body){
        .bytes = copy_of(from->bytes, from->size, from->size),
        .own = copy_of(from->own, sectors_in(from->size), sectors_in(from->size)),
        .size = from->size,
    };
}

void body_release(struct body *body)
{
    free(body->bytes);
    free(body->own);
    *body = (struct body){ 0 };
}

void body_resize(struct body *body, uint64_t size)
{
    const struct body old = *body;

    *body = (struct body){ .bytes = copy_of(old.bytes, old.size, size),
                           .own = copy_of(old.own, sectors_in(old.size), sectors_in(size)),
                           .size = size };
    free(old.bytes);
    free(old.own);
}

/* --- truths ----------------------------------------------------------------------------------- */

struct truth truth_copy(const struct truth *from)
{
    const size_t sectors = sectors_in(from->disk.size);
    struct truth to = *from;

    to.disk = body_copy(&from->disk);
    for (unsigned i = 0; i < to.snapshot_count; i++)
        to.snapshots[i].body = body_copy(&from->snapshots[i].body);
    for (unsigned i = 0; i < to.bitmap_count; i++) {
        to.bitmaps[i].must = copy_of(from->bitmaps[i].must, sectors, sectors);
        to.bitmaps[i].may = copy_of(from->bitmaps[i].may, sectors, sectors);
    }
    for (unsigned i = 0; i < BELOW_COUNT; i++)
        to.below[i] = body_copy(&from->below[i]);
    return to;
}

static void marks_release(struct marks *m)
{
    free(m->must);
    free(m->may);
    *m = (struct marks){ 0 };
}

void truth_release(struct truth *t)
{
    body_release(&t->disk);
    for (unsigned i = 0; i < t->snapshot_count; i++)
        body_release(&t->snapshots[i].body);
    for (unsigned i = 0; i < t->bitmap_count; i++)
        marks_release(&t->bitmaps[i]);
    for (unsigned i = 0; i < BELOW_COUNT; i++)
        body_release(&t->below[i]);
    *t = (struct truth){ 0 };
}

void truth_drop_snapshot(struct truth *t, unsigned index)
{
    body_release(&t->snapshots[index].body);
    t->snapshot_count--;
    for (unsigned i = index; i < t->snapshot_count; i++)
        t->snapshots[i] = t->snapshots[i + 1];
}

void truth_drop_bitmap(struct truth *t, unsigned index)
{
    marks_release(&t->bitmaps[index]);
    t->bitmap_count--;
    for (unsigned i = index; i < t->bitmap_count; i++)
        t->bitmaps[i] = t->bitmaps[i + 1];
}

static void read_sector(const struct body *body, uint64_t sector, uint8_t out[SECTOR])
{
    const uint64_t off = sector * SECTOR;

    memset(out, 0, SECTOR);
    if (off < body->size)
        memcpy(out, body->bytes + off, min_u64(SECTOR, body->size - off));
}

void truth_read_below(const struct truth *t, enum below backing, uint64_t sector,
                      uint8_t out[SECTOR])
{
    static const struct body nothing;

    read_sector(backing == BELOW_NONE ? &nothing : &t->below[backing], sector, out);
}

void truth_mark(struct truth *t, const struct truth *before, uint64_t off, uint64_t len,
                uint64_t least)
{
    for (unsigned i = 0; i < t->bitmap_count; i++) {
        struct marks *m = &t->bitmaps[i];
        const uint64_t unit = max_u64(m->granularity / SECTOR, least);
        const uint64_t end = min_u64(align_up(off + len, unit), sectors_in(t->disk.size));
        for (uint64_t s = align_down(off, unit); m->enabled && !m->in_use && s < end; s++)
            m->may[s] = 1;
        for (uint64_t s = off; m->enabled && !m->in_use && s < off + len; s++)
            m->must[s] |=
                memcmp(t->disk.bytes + s * SECTOR, before->disk.bytes + s * SECTOR, SECTOR) != 0;
    }
}

/* --- comparing -------------------------------------------------------------------------------- */

static bool PRINTF_LIKE(2, 3) wrong(char why[TRUTH_WHY], const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(why, TRUTH_WHY, fmt, args);
    va_end(args);
    return false;
}

/* Over another file below it, a snapshot reads otherwise where it has nothing itself; and over none
 * nobody can tell nothing from zeros. */
static bool same_kept(const struct truth *seen, const struct kept *a, const struct kept *b,
                      char why[TRUTH_WHY])
{
    static const uint8_t zeros[SECTOR];

    if (strcmp(a->id, b->id) != 0 || strcmp(a->name, b->name) != 0 || a->body.size != b->body.size)
        return wrong(why, "snapshot %s '%s' of %" PRIu64 " bytes, not %s '%s' of %" PRIu64, a->id,
                     a->name, a->body.size, b->id, b->name, b->body.size);
    for (uint64_t s = 0; s < sectors_in(a->body.size); s++) {
        const uint64_t off = s * SECTOR;
        const uint8_t *is = a->body.own[s] ? a->body.bytes + off : zeros;
        const uint8_t *shall = b->body.own[s] ? b->body.bytes + off : zeros;
        if ((seen->backing != BELOW_NONE && a->body.own[s] != b->body.own[s]) ||
            memcmp(is, shall, SECTOR) != 0)
            return wrong(why, "snapshot %s: sector %" PRIu64 " (%s) begins with %#x, not %#x",
                         a->id, s, a->body.own[s] ? "own" : "not own", is[0], shall[0]);
    }
    return true;
}

static const struct marks *find_marks(const struct truth *t, const char *name)
{
    for (unsigned i = 0; i < t->bitmap_count; i++)
        if (strcmp(t->bitmaps[i].name, name) == 0)
            return &t->bitmaps[i];
    return NULL;
}

/* @crashed: one that records may say that it was not stored. */
static bool same_bitmaps(const struct truth *seen, const struct truth *t, bool crashed,
                         char why[TRUTH_WHY])
{
    if (seen->bitmap_count != t->bitmap_count)
        return wrong(why, "%u bitmaps, not %u", seen->bitmap_count, t->bitmap_count);
    for (unsigned i = 0; i < t->bitmap_count; i++) {
        const struct marks *shall = &t->bitmaps[i], *is = find_marks(seen, shall->name);
        if (!is || is->enabled != shall->enabled ||
            (is->in_use != shall->in_use && !(crashed && is->in_use && is->enabled)))
            return wrong(why, "bitmap %s is %s", shall->name,
                         !is          ? "not there"
                         : is->in_use ? "in use"
                                      : "otherwise");
    }
    return true;
}

/* All but the bytes of disks and the bits of bitmaps. */
static bool same_frame(const struct truth *seen, const struct truth *t, bool crashed,
                       char why[TRUTH_WHY])
{
    if (seen->backing != t->backing)
        return wrong(why, "the backing file is %s, not %s", below_names[seen->backing],
                     below_names[t->backing]);
    if (seen->version != t->version || seen->refcount_bits != t->refcount_bits ||
        seen->lazy != t->lazy)
        return wrong(why, "version %u, %u bits, %s", seen->version, seen->refcount_bits,
                     seen->lazy ? "lazy" : "not lazy");
    if (seen->snapshot_count != t->snapshot_count)
        return wrong(why, "%u snapshots, not %u", seen->snapshot_count, t->snapshot_count);
    for (unsigned i = 0; i < t->snapshot_count; i++)
        if (!same_kept(seen, &seen->snapshots[i], &t->snapshots[i], why))
            return false;
    return same_bitmaps(seen, t, crashed, why);
}

/* What bitmaps must have: what they had to in @t, and what @seen has otherwise than @t. */
static bool bits_suffice(const struct truth *seen, const struct truth *t, char why[TRUTH_WHY])
{
    for (unsigned i = 0; i < seen->bitmap_count; i++) {
        const struct marks *is = &seen->bitmaps[i], *shall = find_marks(t, is->name);
        const uint64_t end = sectors_in(min_u64(seen->disk.size, t->disk.size));
        for (uint64_t s = 0; shall && !is->in_use && s < end; s++) {
            const bool changed = is->enabled && memcmp(seen->disk.bytes + s * SECTOR,
                                                       t->disk.bytes + s * SECTOR, SECTOR) != 0;
            if ((shall->must[s] || changed) && !is->must[s])
                return wrong(why, "bitmap %s does not have sector %" PRIu64, is->name, s);
        }
    }
    return true;
}

static bool bits_not_more(const struct truth *seen, const struct truth *t, char why[TRUTH_WHY])
{
    for (unsigned i = 0; i < seen->bitmap_count; i++) {
        const struct marks *is = &seen->bitmaps[i], *shall = find_marks(t, is->name);
        for (uint64_t s = 0; shall && !is->in_use && s < sectors_in(t->disk.size); s++)
            if (is->must[s] && !shall->may[s])
                return wrong(why, "bitmap %s has sector %" PRIu64, is->name, s);
    }
    return true;
}

static bool same_body(const struct body *seen, const struct body *body, const char *name,
                      char why[TRUTH_WHY])
{
    if (seen->size != body->size)
        return wrong(why, "%s of %" PRIu64 " bytes, not %" PRIu64, name, seen->size, body->size);
    for (uint64_t i = 0; i < seen->size; i++)
        if (seen->bytes[i] != body->bytes[i])
            return wrong(why, "%s: byte %" PRIu64 " (sector %" PRIu64 ") is %#x, not %#x", name, i,
                         i / SECTOR, seen->bytes[i], body->bytes[i]);
    return true;
}

static bool same_bodies(const struct truth *seen, const struct truth *t, char why[TRUTH_WHY])
{
    return same_body(&seen->disk, &t->disk, "the disk", why) &&
           same_body(&seen->below[BELOW_BASE], &t->below[BELOW_BASE], "the base", why) &&
           same_body(&seen->below[BELOW_OTHER], &t->below[BELOW_OTHER], "the other base", why);
}

bool truth_equals(const struct truth *seen, const struct truth *t, char why[TRUTH_WHY])
{
    return same_frame(seen, t, false, why) && same_bodies(seen, t, why) &&
           bits_suffice(seen, t, why) && bits_not_more(seen, t, why);
}

/* --- what a crash may leave ------------------------------------------------------------------- */

static bool left_whole(const struct truth *seen, const struct truth *truths, size_t count,
                       char why[TRUTH_WHY])
{
    for (size_t i = count; i-- > 0;)
        if (same_frame(seen, &truths[i], true, why) && same_bodies(seen, &truths[i], why) &&
            bits_suffice(seen, &truths[i], why))
            return true;
    return false;
}

/* @at: of the body within a truth. */
static bool sector_known(const struct body *seen, const struct truth *truths, size_t count,
                         size_t at, uint64_t sector)
{
    uint8_t is[SECTOR], was[SECTOR];

    read_sector(seen, sector, is);
    for (size_t i = 0; i < count; i++) {
        read_sector((const struct body *)((const char *)&truths[i] + at), sector, was);
        if (memcmp(is, was, SECTOR) == 0)
            return true;
    }
    return false;
}

static const char *body_name(size_t at)
{
    return at == offsetof(struct truth, disk) ? "the disk" : "what lies below";
}

static bool left_body(const struct truth *seen, const struct truth *truths, size_t count, size_t at,
                      char why[TRUTH_WHY])
{
    const struct body *body = (const struct body *)((const char *)seen + at);
    bool known = false;

    for (size_t i = 0; i < count; i++)
        known |= body->size == ((const struct body *)((const char *)&truths[i] + at))->size;
    if (!known)
        return wrong(why, "%s of %" PRIu64 " bytes", body_name(at), body->size);
    for (uint64_t s = 0; s < sectors_in(body->size); s++)
        if (!sector_known(body, truths, count, at, s))
            return wrong(why, "%s: sector %" PRIu64 " begins with %#x, of none of %zu versions",
                         body_name(at), s, body->bytes[s * SECTOR], count);
    return true;
}

bool truth_left(const struct truth *seen, const struct truth *truths, size_t count, bool atomic,
                char why[TRUTH_WHY])
{
    bool known = false;

    if (atomic)
        return left_whole(seen, truths, count, why);
    for (size_t i = 0; !known && i < count; i++)
        known = same_frame(seen, &truths[i], true, why);
    return known && left_body(seen, truths, count, offsetof(struct truth, disk), why) &&
           left_body(seen, truths, count, offsetof(struct truth, below[BELOW_BASE]), why) &&
           left_body(seen, truths, count, offsetof(struct truth, below[BELOW_OTHER]), why) &&
           bits_suffice(seen, &truths[0], why);
}

/* --- learning --------------------------------------------------------------------------------- */

void truth_learn(struct truth *t, const struct truth *seen)
{
    memcpy(t->disk.own, seen->disk.own, sectors_in(t->disk.size));
    for (unsigned i = 0; i < t->snapshot_count; i++) {
        body_release(&t->snapshots[i].body);
        t->snapshots[i].body = body_copy(&seen->snapshots[i].body);
    }
}

void truth_adopt(struct truth *seen)
{
    const size_t sectors = sectors_in(seen->disk.size);

    for (unsigned i = 0; i < seen->bitmap_count; i++) {
        struct marks *m = &seen->bitmaps[i];
        memset(m->in_use ? m->must : m->may, m->in_use ? 0 : 1, sectors);
    }
}
