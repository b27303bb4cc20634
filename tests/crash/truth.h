/* SPDX-License-Identifier: Apache-2.0
 *
 * What an image, its internal snapshots and bitmaps, and the files below it hold: as a model says
 * that they do, or as somebody has seen it on a disk; and whether the one is the other.
 */
#ifndef CRASH_TRUTH_H
#define CRASH_TRUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRUTH_SNAPSHOTS 3
#define TRUTH_BITMAPS   2
#define TRUTH_WHY       300 /* bytes of a sentence */

/* What may lie below the image. */
enum below { BELOW_BASE, BELOW_OTHER, BELOW_NONE };

#define BELOW_COUNT 2
extern const char *const below_names[BELOW_COUNT + 1];

/* The bytes of a disk. */
struct body {
    uint8_t *bytes; /* owned */
    uint8_t *own;   /* owned, one a sector: the image itself says what is there */
    uint64_t size;
};

/* An internal snapshot. Where it has nothing of its own, bytes are of no meaning. */
struct kept {
    char id[8], name[16];
    struct body body;
};

/* A persistent bitmap; masks have one byte a sector. Of one that was seen, both are its bits. */
struct marks {
    char name[4];
    bool enabled, in_use;
    unsigned granularity; /* bytes */
    uint8_t *must, *may;  /* owned: bits that are set at least, at most */
};

struct truth {
    struct body disk;
    enum below backing;
    struct kept snapshots[TRUTH_SNAPSHOTS];
    unsigned snapshot_count;
    struct marks bitmaps[TRUTH_BITMAPS];
    unsigned bitmap_count;
    unsigned version, refcount_bits;
    bool lazy;
    struct body below[BELOW_COUNT];
};

/* Zeros, nothing of its own. */
struct body body_new(uint64_t size);
struct body body_copy(const struct body *from);
void body_release(struct body *body);

/* What is added is zeros. */
void body_resize(struct body *body, uint64_t size);

uint64_t sectors_in(uint64_t size);

struct truth truth_copy(const struct truth *from);
void truth_release(struct truth *truth);
void truth_drop_snapshot(struct truth *truth, unsigned index);
void truth_drop_bitmap(struct truth *truth, unsigned index);

/* What a reader finds in sector @sector below an image over @backing. */
void truth_read_below(const struct truth *truth, enum below backing, uint64_t sector,
                      uint8_t out[512]);

/* Bitmaps that record: sectors @off .. @off + @len may be marked, in whole units of @unit sectors;
 * they must be, where the disk of @truth differs from @before. */
void truth_mark(struct truth *truth, const struct truth *before, uint64_t off, uint64_t len,
                uint64_t unit);

/* Is all of @seen as @truth says? */
bool truth_equals(const struct truth *seen, const struct truth *truth, char why[TRUTH_WHY]);

/* Is @seen something that a crash may have left on the way through @truths? Each sector, of the
 * disk and of what lies below, is of one of them; with @atomic all of one. */
bool truth_left(const struct truth *seen, const struct truth *truths, size_t count, bool atomic,
                char why[TRUTH_WHY]);

/* @truth takes over from @seen what only an image can tell: which sectors it has itself. */
void truth_learn(struct truth *truth, const struct truth *seen);

/* What was seen after a crash is the truth from now on. */
void truth_adopt(struct truth *seen);

#endif
