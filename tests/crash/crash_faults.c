/* SPDX-License-Identifier: Apache-2.0
 *
 * EIO, ENOSPC and short transfers at every single operation on files, once and from then on, of
 * every scene; interruptions, too, in a long run. What fails says so; after it the image is as
 * sound as after a crash, both as it stands and as a power cut would leave it; and who goes on with
 * the open image after the failure does no harm. What does not fail has done its work to the last
 * byte.
 *
 *   crash_faults [SHARE OF]          QIMG_LONG=1: on every layout
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "play.h"

#define FAULTS_FLOOR 9800 /* over all shares; three quarters of what was counted */

static const struct {
    const char *name;
    enum io_sim_fault_kind kind;
    bool forever;
} faults[] = {
    { "EIO once", IO_SIM_EIO, false },       { "EIO from then on", IO_SIM_EIO, true },
    { "ENOSPC once", IO_SIM_ENOSPC, false }, { "ENOSPC from then on", IO_SIM_ENOSPC, true },
    { "short", IO_SIM_SHORT, false },        { "EINTR", IO_SIM_EINTR, false },
};

#define HARMLESS 4 /* from this one on, nobody needs to notice */

struct run {
    uint64_t injected, reported, wrong;
};

struct attempt {
    const struct scene *scene;
    const struct layout *layout;
    size_t fault;
    uint64_t at;              /* operation of the scene; 1 = the first */
    const struct tape *whole; /* of the scene without a fault */
};

static void complain(struct run *run, const struct attempt *a, const char *what, const char *why)
{
    run->wrong++;
    printf("%s/%s: %s at operation %" PRIu64 ": %s: %s\n", a->layout->name, a->scene->name,
           faults[a->fault].name, a->at, what, why);
}

/* Versions that are possible: a verb's are those of the run without a fault. */
static struct span versions(const struct attempt *a, const struct tape *tape, int rc)
{
    return a->scene->verb ? (struct span){ rc == 0, 1 } : tape_span(tape, SIZE_MAX);
}

static void judge_disk(struct run *run, const struct attempt *a, struct stage *stage,
                       struct io_engine *engine, int rc, const char *what)
{
    struct judge judge = { .backing = stage->backing,
                           .atomic = a->scene->atomic,
                           .verb = a->scene->verb };
    const struct tape *tape = a->scene->verb ? a->whole : &stage->tape;
    struct disk disk;

    disk_load(&disk, engine);
    if (!judge_sound(&judge, &disk) || !judge_content(&judge, &disk, tape, versions(a, tape, rc)))
        complain(run, a, what, judge.text);
    disk_release(&disk);
}

static void judge_cut(struct run *run, const struct attempt *a, struct stage *stage, int rc)
{
    static const enum io_sim_survivors survivors[] = { IO_SIM_NONE, IO_SIM_RANDOM };

    for (size_t i = 0; i < ARRAY_COUNT(survivors); i++) {
        if (survivors[i] == IO_SIM_RANDOM && a->scene->whole)
            continue;
        const struct io_sim_cut cut = { .survivors = survivors[i], .seed = a->at };
        struct io_engine *after;
        if (io_sim_power_cut(stage->engine, &cut, &after) < 0)
            abort();
        judge_disk(run, a, stage, after, rc, "after a power cut");
        io_engine_free(after);
    }
}

/* Returns whether the operation was reached. */
static bool inject(struct run *run, const struct attempt *a, bool persist)
{
    struct stage stage;

    stage_open(&stage, a->scene, a->layout, 1);
    stage_record(&stage);
    stage.persist = persist;
    const uint64_t at = io_sim_operations(stage.engine) + a->at;
    io_sim_fault(stage.engine, at, faults[a->fault].kind, faults[a->fault].forever);
    const int rc = a->scene->run(&stage);
    const bool reached = io_sim_operations(stage.engine) >= at;
    io_sim_fault(stage.engine, 0, IO_SIM_EIO, false);
    run->injected += reached;
    run->reported += reached && rc < 0;
    if (rc < 0 && stage.err.code && stage.err.text[0] == '\0')
        complain(run, a, "says nothing", strerror(-rc));
    if (rc < 0 && a->fault >= HARMLESS)
        complain(run, a, "fails", stage.err.text);
    judge_disk(run, a, &stage, stage.engine, rc, "as it stands");
    if (rc < 0)
        judge_cut(run, a, &stage, rc);
    stage_close(&stage);
    return reached;
}

static void try_pair(struct run *run, const struct scene *scene, const struct layout *layout)
{
    const struct run before = *run;
    struct play play;

    if (!play_scene(&play, scene, layout, 1))
        run->wrong++;
    for (size_t f = 0; f < ARRAY_COUNT(faults) - !getenv("QIMG_LONG"); f++) {
        struct attempt a = { scene, layout, f, 1, &play.stage.tape };
        for (; inject(run, &a, a.at % 2 == 0); a.at++)
            continue;
    }
    play_release(&play);
    printf("%s/%s: %" PRIu64 " faults, %" PRIu64 " reported\n", layout->name, scene->name,
           run->injected - before.injected, run->reported - before.reported);
    (void)!fflush(stdout);
}

/* Small ones that differ; QIMG_LONG takes all. */
static bool is_chosen(const struct layout *layout)
{
    static const char *const chosen[] = { "4k-backing", "4k-v2", "4k-data", "512-r64-backing" };

    for (size_t i = 0; i < ARRAY_COUNT(chosen); i++) {
        if (strcmp(layout->name, chosen[i]) == 0)
            return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    const uint64_t share = argc > 2 ? strtoull(argv[1], NULL, 10) : 0;
    const uint64_t of = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    const uint64_t floor = FAULTS_FLOOR / of;
    const char *only = getenv("QIMG_CRASH_ONLY");
    const bool all = only || getenv("QIMG_LONG");
    struct run run = { 0 };
    uint64_t pair = 0;

    for (size_t s = 0; scene_at(s); s++) {
        for (size_t l = 0; l < layout_count; l++) {
            char name[80];
            (void)snprintf(name, sizeof(name), "%s/%s", layouts[l].name, scene_at(s)->name);
            if ((all || is_chosen(&layouts[l])) && scene_fits(scene_at(s), &layouts[l]) &&
                pair++ % of == share && (!only || strstr(name, only)))
                try_pair(&run, scene_at(s), &layouts[l]);
        }
    }
    printf("share %" PRIu64 " of %" PRIu64 ": %" PRIu64 " faults, %" PRIu64 " reported, %" PRIu64
           " wrong\n",
           share, of, run.injected, run.reported, run.wrong);
    return run.wrong || (!only && run.injected < floor);
}
