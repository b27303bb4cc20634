/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2_verify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "bytes.h"

#define OFFSET     UINT64_C(0x00fffffffffffe00)
#define COPIED     (UINT64_C(1) << 63)
#define COMPRESSED (UINT64_C(1) << 62)

struct walk {
    const uint8_t *bytes;
    size_t len;
    unsigned cb, order;
    bool v2, ext, data_file;
    uint64_t clusters; /* of the file, one more for what may begin at its end */
    uint64_t *counted; /* references found */
    uint64_t *stored;  /* what the file says */
    uint64_t hash;     /* of the structures */
    struct verdict verdict;
};

static void PRINTF_LIKE(2, 3) corrupt(struct walk *w, const char *fmt, ...)
{
    va_list args;

    if (w->verdict.corruptions++ > 0)
        return;
    va_start(args, fmt);
    vsnprintf(w->verdict.first, sizeof(w->verdict.first), fmt, args);
    va_end(args);
}

/* A big-endian word; behind the end of the file there are zeros. */
static uint64_t word(const struct walk *w, uint64_t off, unsigned width)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < width; i++)
        v = v << 8 | (off + i < w->len ? w->bytes[off + i] : 0);
    return v;
}

/* Counts a reference to what a guest wrote. */
static void refer_data(struct walk *w, uint64_t off, uint64_t len, const char *what)
{
    const uint64_t cs = UINT64_C(1) << w->cb;

    if (len == 0)
        return;
    for (uint64_t c = off / cs; c <= (off + len - 1) / cs; c++) {
        if (c >= w->clusters) {
            corrupt(w, "%s at %#" PRIx64 " is past the end", what, off);
            return;
        }
        w->counted[c]++;
    }
}

static void mix(struct walk *w, uint64_t value)
{
    w->hash = (w->hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    w->hash ^= w->hash >> 29;
}

/* Counts a reference to a structure. */
static void refer(struct walk *w, uint64_t off, uint64_t len, const char *what)
{
    const uint64_t end = min_u64(off + len, w->len);

    refer_data(w, off, len, what);
    mix(w, off);
    for (uint64_t at = off; at + 8 <= end; at += 8)
        mix(w, load_be64(w->bytes + at));
    for (uint64_t at = max_u64(off, align_down(end, 8)); at < end; at++)
        mix(w, w->bytes[at]);
}

static uint64_t stored_count(const struct walk *w, uint64_t block, uint64_t index)
{
    const unsigned width = 1u << w->order;

    if (w->order >= 3)
        return word(w, block + index * width / 8, width / 8);
    return word(w, block + index * width / 8, 1) >> (index * width % 8) & ((1u << width) - 1);
}

static void load_counts(struct walk *w)
{
    const uint64_t table = word(w, 48, 8), entries = word(w, 56, 4) << (w->cb - 3);
    const uint64_t per_block = UINT64_C(8) << w->cb >> w->order;

    refer(w, table, entries * 8, "refcount table");
    for (uint64_t i = 0; i < entries; i++) {
        const uint64_t raw = word(w, table + 8 * i, 8), block = raw & ~UINT64_C(511);
        if (raw == 0)
            continue;
        if (raw != block || !is_aligned(block, UINT64_C(1) << w->cb)) {
            corrupt(w, "refcount table entry %" PRIu64 " is %#" PRIx64, i, raw);
            continue;
        }
        refer(w, block, UINT64_C(1) << w->cb, "refcount block");
        for (uint64_t k = 0; k < per_block; k++) {
            const uint64_t count = stored_count(w, block, k), c = i * per_block + k;
            if (c < w->clusters)
                w->stored[c] = count;
            else
                w->verdict.leaks += count != 0;
        }
    }
}

static void walk_entry(struct walk *w, uint64_t at, uint64_t guest)
{
    const uint64_t cs = UINT64_C(1) << w->cb;
    const uint64_t raw = word(w, at, 8), off = raw & OFFSET;
    const uint64_t bitmap = w->ext ? word(w, at + 8, 8) : 0;

    if (raw & COMPRESSED) {
        const unsigned x = 62 - (w->cb - 8);
        const uint64_t start = raw & ((UINT64_C(1) << x) - 1);
        const uint64_t more = (raw & (COMPRESSED - 1)) >> x;
        if (raw & COPIED || bitmap || w->data_file)
            corrupt(w, "packed entry %#" PRIx64 " bitmap %#" PRIx64, raw, bitmap);
        refer_data(w, start, (more + 1) * 512 - start % 512, "packed cluster");
        return;
    }
    if (raw & UINT64_C(0x3f000000000001fe) || (raw & 1 && (w->v2 || w->ext)))
        corrupt(w, "reserved bits in entry %#" PRIx64, raw);
    if ((uint32_t)bitmap & (uint32_t)(bitmap >> 32) || ((uint32_t)bitmap && !off && !w->data_file))
        corrupt(w, "bitmap %#" PRIx64 " of entry %#" PRIx64, bitmap, raw);
    if (w->data_file) {
        if ((off || raw & COPIED) && (off != guest || !(raw & COPIED)))
            corrupt(w, "data file entry %#" PRIx64 " for %#" PRIx64, raw, guest);
        return;
    }
    if (off == 0)
        return;
    if (!is_aligned(off, cs))
        corrupt(w, "unaligned entry %#" PRIx64, raw);
    else
        refer_data(w, off, cs, "cluster");
}

static void walk_l1(struct walk *w, uint64_t l1, uint64_t count)
{
    const unsigned entry = w->ext ? 4 : 3;

    refer(w, l1, count * 8, "L1 table");
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t raw = word(w, l1 + 8 * i, 8), l2 = raw & OFFSET;
        if (raw & UINT64_C(0x7f000000000001ff))
            corrupt(w, "reserved bits in L1 entry %#" PRIx64, raw);
        if (l2 == 0)
            continue;
        refer(w, l2, UINT64_C(1) << w->cb, "L2 table");
        for (uint64_t k = 0; k < UINT64_C(1) << (w->cb - entry); k++)
            walk_entry(w, l2 + (k << entry), ((i << (w->cb - entry)) + k) << w->cb);
    }
}

static void check_copied(struct walk *w, uint64_t raw, const char *what)
{
    const uint64_t c = (raw & OFFSET) >> w->cb;

    if ((raw & OFFSET) == 0 || raw & COMPRESSED || c >= w->clusters)
        return;
    if ((w->stored[c] == 1) != (raw >> 63))
        corrupt(w, "COPIED of %s %#" PRIx64 " with count %" PRIu64, what, raw, w->stored[c]);
}

static void check_flags(struct walk *w, uint64_t l1, uint64_t count)
{
    const unsigned entry = w->ext ? 4 : 3;

    for (uint64_t i = 0; i < count; i++) {
        const uint64_t raw = word(w, l1 + 8 * i, 8);
        check_copied(w, raw, "L1 entry");
        for (uint64_t k = 0; raw & OFFSET && k < UINT64_C(1) << (w->cb - entry); k++) {
            if (!w->data_file)
                check_copied(w, word(w, (raw & OFFSET) + (k << entry), 8), "L2 entry");
        }
    }
}

static void walk_snapshots(struct walk *w)
{
    const uint64_t start = word(w, 64, 8);
    uint64_t at = start;

    for (uint64_t n = word(w, 60, 4); n > 0; n--) {
        at = align_up(at, 8);
        walk_l1(w, word(w, at, 8), word(w, at + 8, 4));
        at += 40 + word(w, at + 36, 4) + word(w, at + 12, 2) + word(w, at + 14, 2);
    }
    refer(w, start, at - start, "snapshot table");
}

/* Where the data of header extension @type lies; 0 = there is none. */
static uint64_t extension(const struct walk *w, uint32_t type)
{
    const uint64_t end = word(w, 8, 8) ? word(w, 8, 8) : UINT64_C(1) << w->cb;

    for (uint64_t at = w->v2 ? 72 : word(w, 100, 4); at + 8 <= end;) {
        const uint64_t found = word(w, at, 4);
        if (found == type)
            return at + 8;
        if (found == 0)
            return 0;
        at += 8 + align_up(word(w, at + 4, 4), 8);
    }
    return 0;
}

static void walk_bitmap_table(struct walk *w, uint64_t table, uint64_t count)
{
    refer(w, table, count * 8, "bitmap table");
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t raw = word(w, table + 8 * i, 8);
        if (raw & ~(OFFSET | 1) || !is_aligned(raw & OFFSET, UINT64_C(1) << w->cb) ||
            (raw & 1 && raw != 1))
            corrupt(w, "bitmap table entry %#" PRIx64, raw);
        else if (raw & OFFSET)
            refer_data(w, raw, UINT64_C(1) << w->cb, "bitmap");
    }
}

static void walk_bitmaps(struct walk *w)
{
    const uint64_t ext = extension(w, 0x23852875);

    if (w->v2 || !(word(w, 88, 8) & 1) || ext == 0)
        return;
    const uint64_t len = word(w, ext + 8, 8), directory = word(w, ext + 16, 8);
    uint64_t at = directory;
    refer(w, directory, len, "bitmap directory");
    for (uint64_t n = word(w, ext, 4); n > 0 && w->verdict.corruptions == 0; n--) {
        walk_bitmap_table(w, word(w, at, 8), word(w, at + 8, 4));
        at += align_up(24 + word(w, at + 18, 2) + word(w, at + 20, 4), 8);
    }
    if (at != directory + len)
        corrupt(w, "bitmap directory of %" PRIu64 " bytes ends at %#" PRIx64, len, at);
}

static void compare(struct walk *w)
{
    for (uint64_t c = 0; c < w->clusters; c++) {
        if (w->stored[c] < w->counted[c])
            corrupt(w, "cluster %" PRIu64 ": count %" PRIu64 ", references %" PRIu64, c,
                    w->stored[c], w->counted[c]);
        if (w->stored[c] > w->counted[c]) {
            if (w->verdict.leaks++ == 0 && w->verdict.corruptions == 0)
                snprintf(w->verdict.first, sizeof(w->verdict.first),
                         "leak: cluster %" PRIu64 ": count %" PRIu64 ", references %" PRIu64, c,
                         w->stored[c], w->counted[c]);
        }
    }
}

static struct walk walk_file(const uint8_t *bytes, size_t len)
{
    struct walk w = { .bytes = bytes, .len = len, .hash = len };
    const bool v3 = word(&w, 4, 4) >= 3;
    const uint64_t incompatible = v3 ? word(&w, 72, 8) : 0;

    w.cb = (unsigned)word(&w, 20, 4);
    w.order = v3 ? (unsigned)word(&w, 96, 4) : 4;
    w.v2 = !v3;
    w.ext = incompatible & 16;
    w.data_file = incompatible & 4;
    if (word(&w, 0, 4) != 0x514649fb || w.cb < 9 || w.cb > 21 || incompatible & 3) {
        corrupt(&w, "header, or dirty, or corrupt");
        return w;
    }
    w.clusters = div_up(len, UINT64_C(1) << w.cb) + 1;
    w.counted = calloc(w.clusters, sizeof(uint64_t));
    w.stored = calloc(w.clusters, sizeof(uint64_t));
    if (!w.counted || !w.stored)
        abort();
    refer(&w, 0, UINT64_C(1) << w.cb, "header");
    load_counts(&w);
    walk_l1(&w, word(&w, 40, 8), word(&w, 36, 4));
    walk_snapshots(&w);
    walk_bitmaps(&w);
    check_flags(&w, word(&w, 40, 8), word(&w, 36, 4));
    compare(&w);
    free(w.counted);
    free(w.stored);
    return w;
}

struct verdict qcow2_verify(const uint8_t *bytes, size_t len)
{
    return walk_file(bytes, len).verdict;
}

uint64_t qcow2_structure_hash(const uint8_t *bytes, size_t len)
{
    return walk_file(bytes, len).hash;
}

struct verdict qcow2_verify_file(struct io_engine *engine, const char *name)
{
    const uint64_t len = io_sim_size(engine, name);
    uint8_t *bytes = len == UINT64_MAX ? NULL : malloc(len + 1);

    if (!bytes || !io_sim_get(engine, name, 0, bytes, len))
        abort();
    const struct verdict verdict = qcow2_verify(bytes, len);
    free(bytes);
    return verdict;
}
