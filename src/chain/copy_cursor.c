/* SPDX-License-Identifier: Apache-2.0
 *
 * Plans walk an image's merged map here: a few dozen runs are looked up at a time.
 */
#include <assert.h>

#include "bits.h"
#include "checked.h"
#include "copy.h"
#include "run_read.h"

/* Where mapping metadata cannot be read in salvage mode, this much is given up at a time. */
#define SALVAGE_STEP (64 * KiB)

void copy_cursor_init(struct copy_cursor *cursor, struct qimg_image *image, uint64_t end)
{
    *cursor = (struct copy_cursor){ .image = image, .end = end };
}

static int load(struct copy_cursor *cursor, struct qimg_error *err)
{
    const struct qimg_range want =
        range_clip((struct qimg_range){ .off = cursor->at, .len = cursor->end - cursor->at },
                   cursor->image ? cursor->image->size : 0);

    cursor->run_at = 0;
    cursor->run_count = 1;
    cursor->runs[0] = (struct run){
        .guest_off = cursor->at,
        .len = cursor->end - cursor->at,
        .host_off = QIMG_NO_OFFSET,
        .kind = RUN_UNALLOCATED,
    };
    if (want.len == 0)
        return 0;

    int found =
        chain_map_lookup(cursor->image->map, want, cursor->runs, ARRAY_COUNT(cursor->runs), err);
    if (found < 0 && cursor->salvage) {
        const uint64_t step_end = align_down(cursor->at, SALVAGE_STEP) + SALVAGE_STEP;
        cursor->runs[0].kind = RUN_BAD;
        cursor->runs[0].len = min_u64(step_end - cursor->at, want.len);
        return 0;
    }
    TRY(found);
    assert(found > 0 && cursor->runs[0].guest_off == cursor->at);
    cursor->run_count = (size_t)found;
    chain_map_ahead(cursor->image->map, cursor->at);
    return 0;
}

int copy_cursor_peek(struct copy_cursor *cursor, struct run *run, struct qimg_error *err)
{
    assert(cursor->at < cursor->end);
    if (cursor->run_at == cursor->run_count)
        TRY(load(cursor, err));

    const struct run *whole = &cursor->runs[cursor->run_at];
    const uint64_t skip = cursor->at - whole->guest_off;
    *run = run_part(whole, skip, whole->len - skip);
    return 0;
}

void copy_cursor_advance(struct copy_cursor *cursor, uint64_t len)
{
    cursor->at += len;
    assert(cursor->at <= cursor->end);
    while (cursor->run_at < cursor->run_count) {
        const struct run *run = &cursor->runs[cursor->run_at];
        if (cursor->at - run->guest_off < run->len)
            break;
        cursor->run_at++;
    }
}
