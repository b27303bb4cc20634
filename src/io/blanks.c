/* SPDX-License-Identifier: Apache-2.0
 *
 * See blanks.h. A system call for each part would cost whole chains of sound images more than it
 * saves; who met many zeros is likely to meet more.
 */
#include "blanks.h"

#include <stdlib.h>
#include <string.h>

#include "bits.h"

#define READ_BITS     9          /* of the table of parts that were read: 8 KiB */
#define STEP_BACK     (64 * MiB) /* of who goes through a hole backwards */
#define MET_BY_CHANCE 16         /* so many say nothing yet */

void blanks_release(struct blanks *b)
{
    free(b->read);
    *b = (struct blanks){ 0 };
}

void blanks_forget(struct blanks *b)
{
    b->hole.len = 0;
    if (b->read)
        memset(b->read, 0, sizeof(*b->read) << READ_BITS);
}

static struct qimg_range *place_of(const struct blanks *b, uint64_t off)
{
    return &b->read[off * HASH_FACTOR >> (64 - READ_BITS)];
}

static bool lies_in(struct qimg_range part, const struct qimg_range *whole)
{
    return part.off >= whole->off && part.off - whole->off < whole->len &&
           part.len <= whole->len - (part.off - whole->off);
}

/* Is there a hole at @off that has all of @part? */
static bool ask(struct blanks *b, struct io_file *file, uint64_t off, struct qimg_range part)
{
    struct io_extent at;

    if (io_extents(file, off, &at) < 0 || at.data)
        return false;
    b->hole = (struct qimg_range){ at.off, at.len };
    return lies_in(part, &b->hole);
}

bool blanks_have(struct blanks *b, struct io_file *file, struct qimg_range part)
{
    const uint64_t known = b->hole.len ? b->hole.off : 0;

    if (b->met < MET_BY_CHANCE)
        return false;
    if (lies_in(part, &b->hole) || (b->read && lies_in(part, place_of(b, part.off))))
        return true;
    if (part.off < known && known - part.off <= STEP_BACK &&
        ask(b, file, align_down(part.off, STEP_BACK), part))
        return true;
    return ask(b, file, part.off, part);
}

void blanks_note(struct blanks *b, struct qimg_range part)
{
    if (b->met < MET_BY_CHANCE)
        b->met++;
    else if (!b->read)
        b->read = calloc(UINT64_C(1) << READ_BITS, sizeof(*b->read));
    if (b->read)
        *place_of(b, part.off) = part;
}
