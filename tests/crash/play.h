/* SPDX-License-Identifier: Apache-2.0
 *
 * A scene that was played to its end, and what is needed to judge states of its disk.
 */
#ifndef CRASH_PLAY_H
#define CRASH_PLAY_H

#include "scene.h"
#include "states.h"

struct play {
    const struct scene *scene;
    struct stage stage; /* ended: its tape is complete */
    struct disk start;  /* before the scene */
    struct judge judge;
};

/* Returns whether the scene succeeds and the image is right at its end; says so where not. */
bool play_scene(struct play *play, const struct scene *scene, const struct layout *layout,
                uint64_t seed);
void play_release(struct play *play);

static inline bool scene_fits(const struct scene *scene, const struct layout *layout)
{
    return !scene->fits || scene->fits(layout);
}

#endif
