/* SPDX-License-Identifier: Apache-2.0
 *
 * Is a state of the disk one that a crash may leave? It opens; two checks of it, ours and one
 * written without our code, find no corruption (leaks are allowed); snapshots hold what they
 * held; each sector of the guest is of a version that is possible now.
 */
#ifndef CRASH_JUDGE_H
#define CRASH_JUDGE_H

#include "fail.h"
#include "tape.h"
#include "view.h"

struct judge {
    /* A job over more than one image judges in its own way; NULL: as said above. */
    bool (*sound)(struct judge *judge, const struct disk *disk);
    bool (*content)(struct judge *judge, const struct disk *disk, const struct tape *tape,
                    struct span span);
    void *user;
    struct backing backing;
    bool atomic;    /* one version as a whole, not sector by sector */
    bool verb;      /* bitmaps and features belong to what a version is */
    bool data_long; /* the data file stays at least as long as the disk */
    bool no_leaks;  /* asked of states that no crash made */
    char text[400]; /* what is wrong */
};

/* Structures alone. */
bool judge_sound(struct judge *judge, const struct disk *disk);

/* What a reader sees, for versions @span of @tape. */
bool judge_content(struct judge *judge, const struct disk *disk, const struct tape *tape,
                   struct span span);

/* Says what is wrong; false, for whoever found it to return. */
bool judge_wrong(struct judge *judge, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
