/* SPDX-License-Identifier: Apache-2.0
 *
 * What the installed qemu-img says of images that guest writes have gone over: sound, and with the
 * same content; also after it made a snapshot of them. A missing oracle is a failure.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "qcow2_verify.h"
#include "qcow2_walk.h"
#include "scratch.h"
#include "str.h"
#include "tier.h"

static int run(const char *dir, const char *command)
{
    AUTO_FREE char *line = str_format("cd '%s' && { %s; } >out 2>&1", dir, command);

    cr_assert_not_null(line);
    return system(line);
}

static void put(const char *dir, const char *name, const void *bytes, uint64_t len)
{
    AUTO_FREE char *path = str_format("%s/%s", dir, name);
    FILE *f = fopen(path, "wb");

    cr_assert_not_null(f);
    cr_assert_eq(fwrite(bytes, 1, len, f), len);
    cr_assert_eq(fclose(f), 0);
}

/* A file of the simulator into @dir. */
static void dump(struct io_engine *engine, const char *dir, const char *name)
{
    const uint64_t len = io_sim_size(engine, name);
    AUTO_FREE uint8_t *bytes = len == UINT64_MAX ? NULL : malloc(len + 1);

    if (!bytes)
        return;
    cr_assert(io_sim_get(engine, name, 0, bytes, len));
    put(dir, name, bytes, len);
}

static uint8_t *load(const char *dir, const char *name, size_t *len)
{
    AUTO_FREE char *path = str_format("%s/%s", dir, name);
    FILE *f = fopen(path, "rb");
    uint8_t *bytes;

    cr_assert_not_null(f, "%s", path);
    cr_assert_eq(fseek(f, 0, SEEK_END), 0);
    *len = (size_t)ftell(f);
    bytes = calloc(1, *len + 1);
    rewind(f);
    cr_assert_eq(fread(bytes, 1, *len, f), *len);
    fclose(f);
    return bytes;
}

static void dump_all(const struct walk_layout *l, struct io_engine *engine, const char *dir)
{
    uint64_t len;
    const uint8_t *backing = walk_backing(l, &len);

    if (backing)
        put(dir, "base", backing, len);
    dump(engine, dir, "disk");
    dump(engine, dir, "data");
}

static void expect_qemu_agrees(const struct walk_layout *l, const char *dir, const uint8_t *model)
{
    size_t len;

    cr_assert_eq(run(dir, "qemu-img check disk"), 0, "%s: check", l->title);
    cr_assert_eq(run(dir, "qemu-img convert -O raw disk raw"), 0, "%s: convert", l->title);
    AUTO_FREE uint8_t *raw = load(dir, "raw", &len);
    cr_assert_eq(len, l->size, "%s", l->title);
    cr_assert_eq(memcmp(raw, model, len), 0, "%s: content", l->title);
}

/* Some steps, then a clean close; returns what the guest must read. */
static uint8_t *walk(const struct walk_layout *l, struct io_engine *engine, uint64_t seed)
{
    struct guest g;
    bool flushed;
    uint8_t *model = malloc(l->size);

    cr_assert_not_null(model);
    cr_assert_eq(walk_open(&g, l, engine), 0, "%s: %s", l->title, g.err.text);
    for (unsigned n = 0; n < (l->steps ? l->steps : 60); n++)
        cr_assert_eq(walk_step(&g, &seed, &flushed), 0, "%s: step %u", l->title, n);
    memcpy(model, g.model, l->size);
    cr_assert_eq(guest_close(&g), 0, "%s: %s", l->title, g.err.text);
    return model;
}

Test(qcow2_write_qemu, check_and_convert_agree, .timeout = 120)
{
    for (size_t i = 0; i < WALK_LAYOUTS; i++) {
        const struct walk_layout *l = &walk_layouts[i];
        struct io_engine *engine = walk_fresh(l, i);
        char *dir = scratch_new();
        AUTO_FREE uint8_t *model = walk(l, engine, i + walk_seed());
        dump_all(l, engine, dir);
        expect_qemu_agrees(l, dir, model);
        scratch_remove(dir);
        io_engine_free(engine);
    }
}

/* Takes "disk" back from @dir, as it stands after QEMU changed it. */
static void take_back(struct io_engine *engine, const char *dir)
{
    size_t len;
    AUTO_FREE uint8_t *bytes = load(dir, "disk", &len);

    cr_assert_eq(io_sim_put(engine, "disk", bytes, len, len), 0);
}

Test(qcow2_write_qemu, a_snapshot_keeps_what_it_had, .timeout = 120)
{
    unsigned done = 0;

    for (size_t i = 0; i < WALK_LAYOUTS; i += tier_sample(3)) {
        const struct walk_layout *l = &walk_layouts[i];
        struct io_engine *engine = walk_fresh(l, i);
        char *dir = scratch_new();
        AUTO_FREE uint8_t *before = walk(l, engine, i + walk_seed());
        dump_all(l, engine, dir);
        if (run(dir, "qemu-img snapshot -c one disk") == 0) { /* else counts are too narrow */
            take_back(engine, dir);
            AUTO_FREE uint8_t *after = walk(l, engine, i + 100);
            const struct verdict v = qcow2_verify_file(engine, "disk");
            cr_assert_eq(v.corruptions + v.leaks, 0, "%s: %s", l->title, v.first);
            dump(engine, dir, "disk");
            expect_qemu_agrees(l, dir, after);
            const bool applied = run(dir, "qemu-img snapshot -a one disk") == 0;
            /* QEMU raises counts before it lowers others, which narrow ones cannot hold. */
            cr_assert(applied || l->spec.refcount_bits <= 4, "%s", l->title);
            if (applied)
                expect_qemu_agrees(l, dir, before);
            done++;
        }
        scratch_remove(dir);
        io_engine_free(engine);
    }
    cr_expect_geq(done, 14 / tier_sample(3));
}
