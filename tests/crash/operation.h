/* SPDX-License-Identifier: Apache-2.0
 *
 * Operations on an image as words, so that a sequence that fails can be kept as a line of text:
 *   4k-backing: write 17 3 9; snap-c; crash 77; repair
 * Arguments are any numbers; what they mean depends on what the image is then (an offset is taken
 * modulo the disk's size, and so on), so that a sequence from which operations were taken out is a
 * sequence still.
 */
#ifndef CRASH_OPERATION_H
#define CRASH_OPERATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* OPERATION(NAME, word, arguments, guest): @guest ones go into one session of writing; the others
 * end it. */
#define OPERATIONS \
    OPERATION(WRITE, "write", 3, true)     /* sector, sectors, fill */ \
    OPERATION(PACK, "pack", 2, true)       /* cluster, fill */ \
    OPERATION(ZERO, "zero", 2, true)       /* sector, sectors */ \
    OPERATION(UNMAP, "unmap", 2, true)     /* the same; storage may be given up */ \
    OPERATION(DISCARD, "discard", 2, true) /* the same */ \
    OPERATION(FLUSH, "flush", 0, true) \
    OPERATION(CLOSE, "close", 0, false) \
    OPERATION(SNAP_C, "snap-c", 0, false) \
    OPERATION(SNAP_A, "snap-a", 1, false) /* which */ \
    OPERATION(SNAP_D, "snap-d", 1, false) \
    OPERATION(RESIZE, "resize", 2, false) /* sectors; 1: what is added is preallocated */ \
    OPERATION(REBASE, "rebase", 1, false) /* onto which, or none */ \
    OPERATION(REBASE_U, "rebase-u", 1, false) \
    OPERATION(STREAM, "stream", 0, false) \
    OPERATION(COMMIT, "commit", 0, false) \
    OPERATION(BM_ADD, "bm-add", 1, false) /* which */ \
    OPERATION(BM_REMOVE, "bm-remove", 1, false) \
    OPERATION(BM_CLEAR, "bm-clear", 1, false) \
    OPERATION(BM_ENABLE, "bm-enable", 1, false) \
    OPERATION(BM_DISABLE, "bm-disable", 1, false) \
    OPERATION(BM_MERGE, "bm-merge", 1, false) /* into which */ \
    OPERATION(AMEND, "amend", 1, false)       /* what: version, refcount width, lazy */ \
    OPERATION(REPAIR, "repair", 0, false) \
    OPERATION(CRASH, "crash", 1, false) /* which state */

enum operation_kind {
#define OPERATION(name, word, arguments, guest) OP_##name,
    OPERATIONS
#undef OPERATION
        OP_COUNT,
};

#define OPERATION_ARGUMENTS 3
#define SEQUENCE_MAX        64

struct operation {
    enum operation_kind kind;
    unsigned arg[OPERATION_ARGUMENTS];
};

struct sequence {
    struct operation items[SEQUENCE_MAX];
    size_t count;
};

const char *operation_word(enum operation_kind kind);
bool operation_is_guests(enum operation_kind kind);

/* One at random. */
struct operation operation_random(uint64_t *state);

/* "write 1 2 3; flush". False: not understood. */
bool sequence_parse(const char *text, struct sequence *out);

/* Cut where @room is too small. */
void sequence_print(const struct sequence *sequence, char *buf, size_t room);

#endif
