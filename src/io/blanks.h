/* SPDX-License-Identifier: Apache-2.0
 *
 * Parts of one file that are known to be all zeros, so that who finds them named again and again
 * need not read them again: the hole that was met last, and a few of the parts that were read.
 * Bounded memory, of which there is none until some zeros were met: most files never ask for it.
 *
 * Holds for a file that nobody changes, or until blanks_forget(). Under the owner's lock.
 */
#ifndef IO_BLANKS_H
#define IO_BLANKS_H

#include "io.h"

struct blanks {
    struct qimg_range hole;
    struct qimg_range *read; /* owned: a hash by offset, where the later one wins */
    unsigned met;            /* parts that were noted, as far as that matters */
};

void blanks_release(struct blanks *b);
void blanks_forget(struct blanks *b);

/* Is @part (len > 0) of @file known to be zeros? The file system is asked, too, once that has
 * proved worth its while. */
bool blanks_have(struct blanks *b, struct io_file *file, struct qimg_range part);

/* @part was read, and is zeros. */
void blanks_note(struct blanks *b, struct qimg_range part);

#endif
