/* SPDX-License-Identifier: Apache-2.0
 *
 * Every state that a crash may leave, of every operation on every layout: see states.h. Prints how
 * many distinct ones there were and holds that against what was recorded.
 *
 *   crash_states [SHARE OF]          one share of the work: pairs of operation and layout by turns
 *   QIMG_LONG=1                      more random states, more seeds
 *   QIMG_CRASH_ONLY=LAYOUT/SCENE     nothing else; one of both may be empty
 *   QIMG_CRASH_DUMP=FOLDER           writes each QIMG_CRASH_EVERY-th distinct state there
 *   QIMG_CRASH_QEMU_IMG=PROGRAM      has its "check" look at each of these, and removes what it
 *                                    finds no corruption in; run in FOLDER, where "base" and "data"
 *                                    are. States whose structures are the same are shown once:
 *                                    it does not look at what guests wrote
 *   QIMG_CRASH_RECORD=FILE           writes new minimums there
 */
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bits.h"
#include "hashes.h"
#include "play.h"
#include "qcow2_verify.h"

struct run {
    bool is_long;
    const char *only, *dump;
    char *qemu_img;
    uint64_t every, seen, sampled, shown, condemned;
    struct hashes structures; /* shown */
    FILE *record;
    uint64_t total, tried, wrong, below;
    const struct play *play; /* under way */
};

/* --- recorded minimums ------------------------------------------------------------------------ */

static const struct {
    const char *pair;
    unsigned states;
} minimums[] = {
#define MINIMUM(pair, states) { pair, states },
#include "minimums.def"
#undef MINIMUM
    { NULL, 0 },
};

static unsigned minimum_of(const char *pair)
{
    for (size_t i = 0; minimums[i].pair; i++) {
        if (strcmp(minimums[i].pair, pair) == 0)
            return minimums[i].states;
    }
    return UINT32_MAX; /* nothing recorded: it must be */
}

static void hold_against_minimum(struct run *run, const char *pair, uint64_t distinct)
{
    const unsigned minimum = minimum_of(pair);

    if (run->record)
        fprintf(run->record, "MINIMUM(\"%s\", %" PRIu64 ")\n", pair, distinct * 3 / 4);
    else if (minimum == UINT32_MAX)
        printf("  %s is not in minimums.def\n", pair);
    else if (distinct < minimum)
        printf("  %s has fewer than %u states\n", pair, minimum);
    run->below += !run->record && distinct < minimum;
}

/* --- samples for other programs --------------------------------------------------------------- */

static void write_file(const char *path, const struct disk_file *file)
{
    FILE *out = fopen(path, "wb");
    uint64_t end = file->size;

    while (end > 0 && file->bytes[end - 1] == 0)
        end--;
    if (!out || fwrite(file->bytes, 1, end, out) != end || fflush(out) != 0 ||
        ftruncate(fileno(out), (off_t)file->size) != 0 || fclose(out) != 0) {
        perror(path);
        exit(1);
    }
}

/* Does "qemu-img check" find leaks at most? */
static bool qemu_accepts(const struct run *run, char *path)
{
    char *const args[] = { run->qemu_img, "check", "-q", "-U", "-f", "qcow2", path, NULL };
    posix_spawn_file_actions_t quiet;
    pid_t child;
    int status;

    if (posix_spawn_file_actions_init(&quiet) != 0 ||
        posix_spawn_file_actions_addopen(&quiet, 2, "/dev/null", O_WRONLY, 0) != 0 ||
        posix_spawn(&child, run->qemu_img, &quiet, NULL, args, environ) != 0 ||
        waitpid(child, &status, 0) != child) {
        perror(run->qemu_img);
        exit(1);
    }
    (void)posix_spawn_file_actions_destroy(&quiet);
    return WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 3);
}

static void show_to_qemu(struct run *run, char *path)
{
    run->shown++;
    if (qemu_accepts(run, path)) {
        (void)!unlink(path);
        return;
    }
    run->condemned++;
    printf("  WRONG, says qemu-img check: %s\n", path);
}

static void sample(void *user, const struct disk *disk, uint64_t hash)
{
    struct run *run = user;
    const struct stage *stage = &run->play->stage;
    const struct disk_file *file = &disk->files[0];
    char path[512];

    if (!run->dump || run->seen++ % run->every != 0)
        return;
    run->sampled++;
    if (run->qemu_img &&
        !hashes_add(&run->structures, qcow2_structure_hash(file->bytes, file->size)))
        return;
    (void)snprintf(path, sizeof(path), "%s/%s.%s.%016" PRIx64 ".qcow2", run->dump,
                   stage->layout->name, run->play->scene->name, hash);
    write_file(path, file);
    if (run->qemu_img)
        show_to_qemu(run, path);
}

/* --- one pair ------------------------------------------------------------------------------- */

static void count_syncs(const struct tape *tape, size_t *changes, size_t *syncs)
{
    *changes = *syncs = 0;
    for (size_t i = 0; i < tape->events.count; i++) {
        const bool is_sync = tape->events.items[i].change.op == IO_SIM_SYNC;
        *syncs += is_sync;
        *changes += !is_sync;
    }
}

static uint64_t try_seed(struct run *run, const struct scene *scene, const struct layout *layout,
                         uint64_t seed)
{
    struct states_result result;
    struct play play;
    size_t changes, syncs;

    run->wrong += !play_scene(&play, scene, layout, seed);
    run->play = &play;
    const struct states_how how = {
        .random = run->is_long ? 300 : 8,
        .tears = run->is_long ? 0 : 15,
        .whole = scene->whole,
        .seed = seed,
        .sample = sample,
        .user = run,
    };
    states_of(&play.stage.tape, &play.start, &play.judge, &how, &result);
    count_syncs(&play.stage.tape, &changes, &syncs);
    if (seed == 1 || result.wrong)
        printf("%s/%s: %zu changes, %zu syncs, %" PRIu64 " distinct states of %" PRIu64 "\n",
               layout->name, scene->name, changes, syncs, result.distinct, result.tried);
    if (result.wrong)
        printf("  WRONG %" PRIu64 " (seed %" PRIu64 "): %s\n", result.wrong, seed, result.first);
    run->wrong += result.wrong;
    run->tried += result.tried;
    play_release(&play);
    return result.distinct;
}

static void try_pair(struct run *run, const struct scene *scene, const struct layout *layout)
{
    const bool seeded = strcmp(scene->name, "churn") == 0;
    const uint64_t seeds = !seeded ? 1 : run->is_long ? 5 : 3;
    uint64_t distinct = 0;
    char pair[80];

    (void)snprintf(pair, sizeof(pair), "%s/%s", layout->name, scene->name);
    if (run->only && !strstr(pair, run->only))
        return;
    for (uint64_t seed = 1; seed <= seeds; seed++)
        distinct += try_seed(run, scene, layout, seed);
    hold_against_minimum(run, pair, distinct);
    run->total += distinct;
    (void)!fflush(stdout);
}

static uint64_t number(const char *text, uint64_t otherwise)
{
    return text ? strtoull(text, NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    const uint64_t share = number(argc > 2 ? argv[1] : NULL, 0);
    const uint64_t of = number(argc > 2 ? argv[2] : NULL, 1);
    const char *record = getenv("QIMG_CRASH_RECORD");
    struct run run = {
        .is_long = getenv("QIMG_LONG") != NULL,
        .only = getenv("QIMG_CRASH_ONLY"),
        .dump = getenv("QIMG_CRASH_DUMP"),
        .qemu_img = getenv("QIMG_CRASH_QEMU_IMG"),
        .every = number(getenv("QIMG_CRASH_EVERY"), 1),
        .record = record ? fopen(record, "a") : NULL,
    };
    uint64_t pair = 0;

    for (size_t s = 0; scene_at(s); s++) {
        for (size_t l = 0; l < layout_count; l++) {
            if (scene_fits(scene_at(s), &layouts[l]) && pair++ % of == share)
                try_pair(&run, scene_at(s), &layouts[l]);
        }
    }
    printf("share %" PRIu64 " of %" PRIu64 ": %" PRIu64 " distinct states, %" PRIu64
           " tried, %" PRIu64 " wrong\n",
           share, of, run.total, run.tried, run.wrong);
    if (run.dump)
        printf("%" PRIu64 " sampled, %" PRIu64 " shown, %" PRIu64 " condemned\n", run.sampled,
               run.shown, run.condemned);
    hashes_release(&run.structures);
    if (run.record)
        (void)!fclose(run.record);
    return run.wrong || run.condemned || run.below || run.total == 0;
}
