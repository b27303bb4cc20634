/* SPDX-License-Identifier: Apache-2.0
 *
 * Re-pointing under power cuts: whatever the disk held when it stopped, the image opens with the
 * old name or the new one, and everything else in its header is as it was.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "build_qcow2.h"
#include "io_sim.h"
#include "qcow2.h"

#define NAME  "disk"
#define SEEDS 12

static const struct build_extension v3_like_qemu[] = {
    { .type = QCOW2_EXT_BACKING_FORMAT, .data = "raw", .len = 3 },
    { .type = QCOW2_EXT_FEATURE_NAMES, .data = NULL, .len = 384 },
    { .type = 0x12345678, .data = "kept as it is", .len = 13 },
};
static const struct build_extension bare_v3[] = {
    { .type = QCOW2_EXT_FEATURE_NAMES, .data = NULL, .len = 384 },
};
static const struct build_extension nameless_v3[] = {
    { .type = QCOW2_EXT_FEATURE_NAMES, .data = NULL, .len = 384 },
    { .type = 0x12345678, .data = "kept as it is", .len = 13 },
};
static const struct build_extension small[] = {
    { .type = 0x12345678, .data = "kept as it is", .len = 13 },
    { .type = QCOW2_EXT_BACKING_FORMAT, .data = "qcow2", .len = 5 },
};

static char long_name[1024]; /* 1023 n's */
static char other_long_name[1024];
static char record[241]; /* 240 r's */
static char other_record[241];

struct step {
    const char *name, *format;
    const char *record; /* sealed with it; NULL = only set_backing */
};

static const struct crash_case {
    const char *title;
    struct build_qcow2 spec;
    struct step steps[4];
} crash_cases[] = {
    { "64 KiB clusters, feature names, another name",
      { .size = MiB, .extensions = v3_like_qemu, .extension_count = 3, .backing_name = "old" },
      { { "new.qcow2", "qcow2", NULL },
        { long_name, "host_device", NULL },
        { "newer.raw", "raw", NULL } } },
    { "a first name beside feature names",
      { .size = MiB, .extensions = bare_v3, .extension_count = 1 },
      { { "first", "qcow2", NULL },
        { long_name, "raw", NULL },
        { "x", "vmdk", NULL },
        { NULL, NULL, NULL } } },
    { "a first name, an extension that lies across the end of sector 0",
      { .size = MiB, .extensions = nameless_v3, .extension_count = 2 },
      { { "first-name", "qcow2", NULL },
        { NULL, NULL, NULL },
        { "again", "raw", NULL },
        { NULL, NULL, NULL } } },
    { "long names, back and forth",
      { .size = MiB, .extensions = bare_v3, .extension_count = 1 },
      { { long_name, "raw", NULL },
        { other_long_name, "qcow2", NULL },
        { long_name, "raw", NULL },
        { "s", "raw", NULL } } },
    { "version 2",
      { .version = 2, .size = MiB, .extensions = small, .extension_count = 2, .backing_name = "o" },
      { { long_name, "raw", NULL },
        { "short", "qcow2", NULL },
        { NULL, NULL, NULL },
        { "again", "raw", NULL } } },
    { "4 KiB clusters, long names",
      { .cluster_bits = 12,
        .size = MiB,
        .extensions = small,
        .extension_count = 2,
        .backing_name = "old" },
      { { long_name, "raw", NULL },
        { other_long_name, "qcow2", NULL },
        { long_name, "raw", NULL },
        { "s", "raw", NULL } } },
    { "512-byte clusters",
      { .cluster_bits = 9,
        .size = MiB,
        .extensions = small,
        .extension_count = 2,
        .backing_name = "old" },
      { { "name.qcow2", "qcow2", NULL }, { "other", "raw", NULL }, { NULL, NULL, NULL } } },
    { "a fingerprint comes, changes with the name, and goes",
      { .size = MiB, .extensions = v3_like_qemu, .extension_count = 3, .backing_name = "old" },
      { { "old", "raw", record },
        { long_name, "qcow2", other_record },
        { "new", "raw", record },
        { "newer", "raw", NULL } } },
    { "a fingerprint in 4 KiB clusters, version 2",
      { .version = 2,
        .cluster_bits = 12,
        .size = MiB,
        .extensions = small,
        .extension_count = 2,
        .backing_name = "o" },
      { { "o", "qcow2", record }, { long_name, "raw", other_record }, { NULL, NULL, NULL } } },
    { "unknown header bytes and autoclear bits",
      { .size = MiB,
        .header_length = 160,
        .header_fill = 0xab,
        .backing_name = "old",
        .extensions = small,
        .extension_count = 2 },
      { { "new", "raw", NULL }, { "news", "qcow2", NULL } } },
};

static void fill_long_names(void)
{
    memset(long_name, 'n', 1023);
    memset(other_long_name, 'm', 1023);
    memset(record, 'r', sizeof(record) - 1);
    memset(other_record, 'q', 100);
}

static struct qcow2 *open_disk(struct io_engine *engine, bool writable, struct qimg_error *err)
{
    const struct io_open_options how = { .writable = writable };
    const struct image_open_options as = { .writable = writable, .info_only = true };
    struct io_file *file;
    struct image *image;

    cr_assert_eq(io_file_open(engine, NAME, &how, &file), 0);
    if (qcow2_ops.open(file, &as, &image, err) < 0) {
        io_file_close(file);
        return NULL;
    }
    return qcow2_of(image);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool says_record(const struct qcow2 *q, const char *want)
{
    const struct image *image = &q->image;

    if (!want)
        return !image->fingerprint;
    return image->fingerprint && image->fingerprint_len == strlen(want) &&
           memcmp(image->fingerprint, want, strlen(want)) == 0;
}

static bool says(const struct qcow2 *q, const struct step *step)
{
    return says_record(q, step->record) && same_text(q->image.backing_name, step->name) &&
           same_text(q->image.backing_format, step->name ? step->format : NULL);
}

static void expect_kept(const struct qcow2 *q, const struct build_qcow2 *spec, const char *title)
{
    size_t kept = 0, had = 0;

    for (size_t i = 0; i < spec->extension_count; i++)
        had += spec->extensions[i].type == 0x12345678;
    for (size_t i = 0; i < q->extensions.list.count; i++) {
        const struct qcow2_extension *e = &q->extensions.list.items[i];
        kept += e->type == 0x12345678 && e->len == 13 && memcmp(e->data, "kept as it is", 13) == 0;
    }
    cr_expect_eq(kept, had, "%s: unknown extension", title);
    cr_expect_eq(q->image.size, spec->size, "%s", title);
    for (unsigned i = 0; i < qcow2_unknown_header_len(&q->header); i++)
        cr_expect_eq(q->unknown_header[i], spec->header_fill, "%s: header byte %u", title, i);
}

/* Cuts the power in every way that is tried, and looks at what is left. */
static void expect_old_or_new(struct io_engine *engine, const struct crash_case *c,
                              const struct step *old, const struct step *new, bool finished)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        const struct io_sim_cut cut = {
            .survivors = seed == 0   ? IO_SIM_NONE
                         : seed == 1 ? IO_SIM_ALL
                                     : IO_SIM_RANDOM,
            .seed = seed,
            .torn = seed > 1,
        };
        struct io_engine *after;
        struct qimg_error err;
        cr_assert_eq(io_sim_power_cut(engine, &cut, &after), 0);
        struct qcow2 *q = open_disk(after, false, &err);
        cr_assert_not_null(q, "%s, to %s, seed %lu: %s", c->title, new->name, (unsigned long)seed,
                           err.text);
        cr_expect(says(q, new) || (!finished && says(q, old)), "%s, to %s, seed %lu: says %s (%s)",
                  c->title, new->name, (unsigned long)seed, q->image.backing_name,
                  q->image.backing_format);
        expect_kept(q, &c->spec, c->title);
        qcow2_ops.close(&q->image);
        io_engine_free(after);
    }
}

/* A durable copy of @engine's disk on which nothing has happened yet. */
static struct io_engine *settled(struct io_engine *engine)
{
    struct io_engine *after;

    cr_assert_eq(io_sim_power_cut(engine, &(struct io_sim_cut){ .survivors = IO_SIM_ALL }, &after),
                 0);
    return after;
}

static int record_step(struct image *image, const struct step *step, struct qimg_error *err)
{
    const struct backing_seal seal = {
        .name = step->name,
        .format = step->format,
        .fingerprint = (const uint8_t *)step->record,
        .fingerprint_len = step->record ? (uint32_t)strlen(step->record) : 0,
    };

    return step->record ? qcow2_seal(image, &seal, err)
                        : qcow2_set_backing(image, step->name, step->format, err);
}

static struct io_engine *crash_everywhere(struct io_engine *start, const struct crash_case *c,
                                          const struct step *old, const struct step *new)
{
    for (uint64_t n = 0;; n++) {
        struct io_engine *engine = settled(start);
        struct qimg_error err;
        struct qcow2 *q = open_disk(engine, true, &err);
        cr_assert_not_null(q, "%s: %s", c->title, err.text);
        io_sim_stop_after(engine, io_sim_operations(engine) + n);
        const int rc = record_step(&q->image, new, &err);
        expect_old_or_new(engine, c, old, new, rc == 0);
        cr_expect(says(q, rc == 0 ? new : old), "%s: the open image", c->title);
        qcow2_ops.close(&q->image);
        if (rc == 0)
            return engine;
        io_engine_free(engine);
    }
}

Test(qcow2_backing, a_power_cut_leaves_the_old_or_the_new_name)
{
    static const uint8_t names[384];

    fill_long_names();
    for (size_t i = 0; i < ARRAY_COUNT(crash_cases); i++) {
        const struct crash_case *c = &crash_cases[i];
        struct build_qcow2 spec = c->spec;
        struct build_extension list[3];
        struct io_engine *engine;

        for (size_t k = 0; k < spec.extension_count; k++) {
            list[k] = spec.extensions[k];
            if (!list[k].data)
                list[k].data = names;
        }
        spec.extensions = list;
        struct built built = build_qcow2(&spec);
        cr_assert_eq(io_sim_new(NULL, NULL, &engine), 0);
        cr_assert_eq(io_sim_put(engine, NAME, built.bytes, built.len, built.len), 0);
        built_release(&built);

        struct qimg_error err;
        struct qcow2 *q = open_disk(engine, false, &err);
        cr_assert_not_null(q, "%s: %s", c->title, err.text);
        struct step old = { q->image.backing_name ? strdup(q->image.backing_name) : NULL,
                            q->image.backing_format ? strdup(q->image.backing_format) : NULL,
                            NULL };
        qcow2_ops.close(&q->image);
        struct step from = old;
        for (size_t k = 0; k < ARRAY_COUNT(c->steps); k++) {
            struct io_engine *next = crash_everywhere(engine, c, &from, &c->steps[k]);
            io_engine_free(engine);
            engine = next;
            from = c->steps[k];
        }
        free((void *)(uintptr_t)old.name);
        free((void *)(uintptr_t)old.format);
        io_engine_free(engine);
    }
}

/* --- without crashes -------------------------------------------------------------------------- */

static struct qcow2 *open_built(const struct build_qcow2 *spec, struct io_engine **engine)
{
    struct built built = build_qcow2(spec);
    struct qimg_error err;

    cr_assert_eq(io_sim_new(NULL, NULL, engine), 0);
    cr_assert_eq(io_sim_put(*engine, NAME, built.bytes, built.len, built.len), 0);
    built_release(&built);
    struct qcow2 *q = open_disk(*engine, true, &err);
    cr_assert_not_null(q, "%s", err.text);
    return q;
}

Test(qcow2_backing, what_cannot_be_recorded_is_refused_and_changes_nothing)
{
    static char too_long[1025];
    static const struct {
        struct build_qcow2 spec;
        const char *name, *format;
        int want;
    } cases[] = {
        { { .size = MiB, .backing_name = "old" }, too_long, "raw", -EINVAL },
        { { .size = MiB, .backing_name = "old" }, "n", "a-format-of-16-b", -EINVAL },
        { { .size = MiB, .backing_name = "old", .cluster_bits = 9 }, long_name, "raw", -ENOSPC },
        { { .size = MiB, .data_file = true, .autoclear = 2 }, "n", "raw", -EINVAL },
    };

    fill_long_names();
    memset(too_long, 'x', 1024);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct io_engine *engine;
        struct qimg_error err;
        struct qcow2 *q = open_built(&cases[i].spec, &engine);
        const uint64_t before = io_sim_operations(engine);
        const int rc = qcow2_set_backing(&q->image, cases[i].name, cases[i].format, &err);
        cr_expect_eq(rc, cases[i].want, "case %zu: %d", i, rc);
        cr_expect_str_eq(err.text, strerror(-cases[i].want));
        size_t count;
        const struct io_sim_entry *log = io_sim_log(engine, &count);
        for (uint64_t k = before; k < count; k++)
            cr_expect_eq(log[k].op, IO_SIM_READ, "case %zu writes", i);
        qcow2_ops.close(&q->image);
        io_engine_free(engine);
    }
}

Test(qcow2_backing, a_kept_extension_too_large_for_sector_0_still_takes_a_name)
{
    static const uint8_t large[700];
    const struct build_extension list[] = {
        { .type = 0x77777777, .data = large, .len = sizeof(large) },
    };
    const struct build_qcow2 spec = { .size = MiB, .extensions = list, .extension_count = 1 };
    struct io_engine *engine;
    struct qimg_error err;

    struct qcow2 *q = open_built(&spec, &engine);
    cr_expect_eq(qcow2_set_backing(&q->image, "base", "qcow2", &err), 0);
    qcow2_ops.close(&q->image);
    q = open_disk(engine, false, &err);
    cr_assert_not_null(q, "%s", err.text);
    cr_expect(says(q, &(struct step){ "base", "qcow2", NULL }));
    cr_expect_eq(q->extensions.list.count, 2);
    qcow2_ops.close(&q->image);
    io_engine_free(engine);
}

Test(qcow2_backing, a_failed_sync_is_reported_and_final)
{
    const struct build_qcow2 spec = { .size = MiB, .backing_name = "old" };

    for (uint64_t fault = 1; fault <= 5; fault++) {
        struct io_engine *engine;
        struct qimg_error err;
        struct qcow2 *q = open_built(&spec, &engine);
        fill_long_names();
        const uint64_t at = io_sim_operations(engine) + fault;
        io_sim_fault(engine, at, IO_SIM_EIO, false);
        const int rc = qcow2_set_backing(&q->image, long_name, "raw", &err);
        cr_expect_eq(rc, io_sim_operations(engine) >= at ? -EIO : 0, "fault %lu",
                     (unsigned long)fault);
        qcow2_ops.close(&q->image);
        io_engine_free(engine);
    }
}

/* --- with a fingerprint ---------------------------------------------------------------------- */

/* QEMU rewrites the header with all names of features and the name behind it. */
Test(qcow2_backing, a_fingerprint_needs_room_for_the_header_as_qemu_writes_it)
{
    static const uint8_t bytes[140];
    static const struct build_extension big[] = {
        { .type = 0x12345678, .data = long_name, .len = 1023 },
    };
    static const struct {
        const char *what;
        struct build_qcow2 spec;
        int want;
    } cases[] = {
        { "512", { .cluster_bits = 9, .size = MiB, .backing_name = "b" }, -ENOSPC },
        { "1 KiB", { .cluster_bits = 10, .size = MiB, .backing_name = "b" }, 0 },
        { "version 2, 512",
          { .version = 2, .cluster_bits = 9, .size = MiB, .backing_name = "b" },
          0 },
        { "an unknown extension in the way",
          { .size = MiB, .backing_name = "b", .extensions = big, .extension_count = 1 },
          -ENOSPC },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct io_engine *engine;
        struct qimg_error err;
        struct qcow2 *q = open_built(&cases[i].spec, &engine);
        struct backing_seal seal = {
            .name = "b",
            .format = "raw",
            .fingerprint = bytes,
            .fingerprint_len = 140,
            .dry_run = true,
        };
        const uint64_t before = atomic_load(&engine->stats.writes);
        cr_expect_eq(qcow2_seal(&q->image, &seal, &err), cases[i].want, "%s", cases[i].what);
        cr_expect_null(q->image.fingerprint, "%s", cases[i].what);
        seal.dry_run = false;
        if (cases[i].want == 0)
            cr_expect_eq(qcow2_seal(&q->image, &seal, &err), 0, "%s", cases[i].what);
        else
            cr_expect_eq(qcow2_seal(&q->image, &seal, &err), cases[i].want, "%s", cases[i].what);
        cr_expect_eq(q->image.fingerprint != NULL, cases[i].want == 0, "%s", cases[i].what);
        if (cases[i].want < 0)
            cr_expect_eq(atomic_load(&engine->stats.writes), before, "%s: writes nothing",
                         cases[i].what);
        qcow2_ops.close(&q->image);
        io_engine_free(engine);
    }
}
