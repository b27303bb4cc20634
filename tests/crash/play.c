/* SPDX-License-Identifier: Apache-2.0 */
#include "play.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool judge_end(struct play *p)
{
    struct judge strict = p->judge;
    struct disk end;

    disk_load(&end, p->stage.engine);
    strict.no_leaks = true;
    const bool sound = judge_sound(&strict, &end);
    const bool right =
        sound && judge_content(&strict, &end, &p->stage.tape, tape_span(&p->stage.tape, SIZE_MAX));
    memcpy(p->judge.text, strict.text, sizeof(strict.text));
    disk_release(&end);
    return right;
}

bool play_scene(struct play *p, const struct scene *scene, const struct layout *layout,
                uint64_t seed)
{
    *p = (struct play){ .scene = scene };
    stage_open(&p->stage, scene, layout, seed);
    p->judge =
        (struct judge){ .backing = p->stage.backing, .atomic = scene->atomic, .verb = scene->verb };
    disk_load(&p->start, p->stage.engine);
    p->judge.data_long = p->start.files[1].size >= layout->size;
    stage_record(&p->stage);
    const int rc = scene->run(&p->stage);
    if (rc < 0)
        (void)snprintf(p->judge.text, sizeof(p->judge.text), "%.60s (%.300s)", strerror(-rc),
                       p->stage.err.text);
    for (size_t i = 0; i < p->stage.tape.events.count; i++)
        disk_reserve(&p->start, &p->stage.tape.events.items[i].change);
    const bool right = rc == 0 && judge_end(p);
    if (!right)
        printf("%s/%s (seed %lu) WRONG without a crash: %s\n", layout->name, scene->name,
               (unsigned long)seed, p->judge.text);
    return right;
}

void play_release(struct play *p)
{
    stage_close(&p->stage);
    disk_release(&p->start);
}
