/* SPDX-License-Identifier: Apache-2.0
 *
 * Operations on images, to be broken off: each prepares an image of one layout, then does what it
 * is about, telling a tape after each step what the guest must see.
 */
#ifndef CRASH_SCENE_H
#define CRASH_SCENE_H

#include "qcow2_guest.h"
#include "tape.h"
#include "view.h"

struct layout {
    const char *name;
    uint64_t size;
    struct create_spec spec;
    bool backing;
};

extern const struct layout layouts[];
extern const size_t layout_count;

struct stage {
    const struct layout *layout;
    struct backing backing;
    struct io_engine *engine; /* owned */
    struct tape tape;
    struct guest guest; /* open while guest.image is not NULL */
    bool recording, verb;
    char *text;   /* owned: version 0's */
    bool persist; /* after a failure: tries to go on, and ends writing */
    uint64_t seed;
    struct qimg_error err; /* of what failed */
};

struct scene {
    const char *name;
    bool verb;   /* takes the image from one version to another ... */
    bool atomic; /* ... at once */
    bool whole;  /* ... by a write that must not be torn (docs/formats/qcow2.md) */
    bool (*fits)(const struct layout *layout); /* NULL: all */
    int (*prepare)(struct stage *stage);       /* further content; NULL = none */
    int (*run)(struct stage *stage);
};

extern const struct scene write_scenes[], bitmap_scenes[], verb_scenes[], head_scenes[];
extern const size_t write_scene_count, bitmap_scene_count, verb_scene_count, head_scene_count;

/* All scenes, one behind the other; NULL behind the last. */
const struct scene *scene_at(size_t index);

/* A durable image with clusters of every kind, and what the scene adds. Aborts where that fails.
 * @options NULL: none. */
void stage_open(struct stage *stage, const struct scene *scene, const struct layout *layout,
                uint64_t seed);

/* Notes version 0, and records what the engine does from now on. */
void stage_record(struct stage *stage);

void stage_close(struct stage *stage);

/* --- for scenes: 0 or -errno, which ends the scene ------------------------------------------ */

uint64_t stage_cluster(const struct stage *stage);

/* Opens the image and begins writing; ends both. */
int stage_begin(struct stage *stage);
int stage_end(struct stage *stage);

int stage_write(struct stage *stage, uint64_t off, uint64_t len, uint8_t fill);
int stage_packed(struct stage *stage, uint64_t off, uint8_t fill);
int stage_zero(struct stage *stage, uint64_t off, uint64_t len, unsigned flags);
int stage_discard(struct stage *stage, uint64_t off, uint64_t len);
int stage_flush(struct stage *stage);
int stage_walk(struct stage *stage, unsigned steps);

/* Runs @verb on the image opened for it, and notes the version it led to. */
typedef int (*stage_verb)(struct image *image, const void *argument, struct qimg_error *err);
int stage_do(struct stage *stage, stage_verb verb, const void *argument);

#endif
