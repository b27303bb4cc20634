/* SPDX-License-Identifier: Apache-2.0 */
#include "engines.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "io_sim.h"
#include "scratch.h"
#include "tier.h"

static const struct engine_case engine_cases[] = {
    { "threads", false, IO_ENGINE_THREADS, false },
    { "threads, direct", false, IO_ENGINE_THREADS, true },
    { "auto", false, IO_ENGINE_AUTO, false },
    { "auto, direct", false, IO_ENGINE_AUTO, true },
    { "simulator", true, IO_ENGINE_AUTO, false },
    { "simulator, direct", true, IO_ENGINE_AUTO, true },
    { "io_uring", false, IO_ENGINE_URING, false },
    { "io_uring, direct", false, IO_ENGINE_URING, true },
};

static void take_note(void *user, const char *text)
{
    struct rig *rig = user;

    rig->note_count++;
    snprintf(rig->notes, sizeof(rig->notes), "%s", text);
}

void rig_setup(struct rig *rig, const struct engine_case *c)
{
    const struct io_sim_options options = {
        .seed = 42, .request_align = 512, .memory_align = 512, .short_in_1000 = 200
    };

    *rig = (struct rig){ .c = c, .dir = scratch_new() };
    cr_assert_eq(workers_new(2, &rig->workers), 0);
    const int rc = c->simulated
                       ? io_sim_new(&options, rig->workers, &rig->engine)
                       : io_engine_new(c->choice, rig->workers, take_note, rig, &rig->engine);
    cr_assert_eq(rc, 0, "%s: %s", c->name, strerror(-rc));
}

void rig_real(struct rig *rig, enum io_engine_choice choice)
{
    static struct engine_case real = { .name = "real" };

    real.choice = choice;
    rig_setup(rig, &real);
}

void rig_teardown(struct rig *rig)
{
    io_engine_free(rig->engine);
    workers_free(rig->workers);
    scratch_remove(rig->dir);
}

bool rig_next(struct rig *rig)
{
    const size_t count = ARRAY_COUNT(engine_cases) - (emulated() ? 2 : 0);
    const struct engine_case *next = rig->c ? rig->c + 1 : engine_cases;

    if (rig->c)
        rig_teardown(rig);
    if (next == engine_cases + count)
        return false;
    rig_setup(rig, next);
    return true;
}

const char *rig_path(const struct rig *rig, const char *name)
{
    static char paths[8][4096];
    static unsigned turn;
    char *path = paths[turn++ % ARRAY_COUNT(paths)];

    snprintf(path, sizeof(paths[0]), "%s/%s", rig->dir, name);
    return path;
}

struct io_file *rig_create(struct rig *rig, const char *name)
{
    const struct io_open_options options = { .writable = true,
                                             .create = true,
                                             .direct = rig->c->direct };
    struct io_file *file = NULL;

    const int rc = io_file_open(rig->engine, rig_path(rig, name), &options, &file);
    cr_assert_eq(rc, 0, "%s: %s: %s", rig->c->name, name, strerror(-rc));
    return file;
}

void fill_pattern(void *buf, size_t len, unsigned seed)
{
    uint8_t *bytes = buf;

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)((i * 131 + seed * 37 + (i >> 8)) | 1);
}
