/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "bits.h"
#include "build_qcow2.h"
#include "qimg/write.h"
#include "scratch.h"
#include "sim_rig.h"

#define BLOCK 4096u

/* One conversion of "a" (and "b") to "out". */
struct conversion {
    struct qimg_convert_options options;
    struct qimg_image *sources[2];
    struct qimg_error err;
};

static int convert(struct sim_rig *rig, struct conversion *c)
{
    qimg_error_clear(&c->err);
    c->options.sources = c->sources;
    c->options.source_count = c->sources[1] ? 2 : 1;
    if (!c->options.target)
        c->options.target = "out";
    return qimg_convert(rig->context, &c->options, &c->err);
}

static void expect_out(struct sim_rig *rig, const char *want, const char *what)
{
    char *got = sim_rig_pattern(rig, "out");

    cr_expect_not_null(got, "%s: no target", what);
    if (got)
        cr_expect_str_eq(got, want, "%s: %s", what, got);
    free(got);
}

/* How many operations of a kind touched "out" since the log's entry @from. */
static unsigned count_ops(struct sim_rig *rig, enum io_sim_op op, size_t from, uint64_t *bytes)
{
    size_t count;
    unsigned n = 0;
    const struct io_sim_entry *log = io_sim_log(rig->engine, &count);

    *bytes = 0;
    for (size_t i = from; i < count; i++) {
        if (log[i].op != op || strcmp(log[i].name, "out") != 0)
            continue;
        n++;
        *bytes += log[i].len;
    }
    return n;
}

static const struct {
    const char *name;
    struct qimg_convert_options options;
    const char *a, *b, *before, *want;
    uint64_t written; /* bytes of guest data and zeros; UINT64_MAX = not looked at */
} cases[] = {
    { "data is copied, holes are not",
      { .sparse_size = 4096 },
      "ab..cd",
      NULL,
      NULL,
      "ab..cd",
      4 * BLOCK },
    { "zeros in data are not written",
      { .sparse_size = 4096 },
      "a0b",
      NULL,
      NULL,
      "a.b",
      2 * BLOCK },
    { "-S 0 writes everything", { .sparse_size = 0 }, "a0.b", NULL, NULL, "a0.b" + 0, UINT64_MAX },
    { "longer -S keeps short zero runs",
      { .sparse_size = 16384 },
      "a0bc0000",
      NULL,
      NULL,
      "a.bc....",
      4 * BLOCK },
    { "sources follow each other", { .sparse_size = 4096 }, "ab", "..c", NULL, "ab..c", 3 * BLOCK },
    { "an older file is emptied",
      { .sparse_size = 4096 },
      "a.b",
      NULL,
      "xxxxxx",
      "a.b",
      2 * BLOCK },
    { "-n keeps what lies behind",
      { .sparse_size = 4096, .no_create = true },
      "a.0b",
      NULL,
      "xxxxxx",
      "a..bxx",
      UINT64_MAX },
    { "-n -S 0 writes zeros as data",
      { .sparse_size = 0, .no_create = true },
      "a.0b",
      NULL,
      "xxxx",
      "a..b",
      4 * BLOCK },
    { "-n, target is zero: zeros are left",
      { .sparse_size = 4096, .no_create = true, .target_is_zero = true },
      "a.0b",
      NULL,
      "....",
      "a..b",
      2 * BLOCK },
    { "out of order, one at a time",
      { .sparse_size = 4096, .out_of_order = true, .parallel = 1 },
      "abcdefgh",
      NULL,
      NULL,
      "abcdefgh",
      8 * BLOCK },
    { "direct",
      { .sparse_size = 4096, .target_cache = QIMG_CACHE_NONE },
      "ab.cd",
      NULL,
      NULL,
      "ab.cd",
      4 * BLOCK },
    { "salvage of what is whole",
      { .sparse_size = 4096, .salvage = true },
      "ab.cd",
      NULL,
      NULL,
      "ab.cd",
      4 * BLOCK },
    { "copy offload where there is none",
      { .sparse_size = 4096, .copy_offload = true },
      "ab.cd",
      NULL,
      NULL,
      "ab.cd",
      4 * BLOCK },
    { "an empty source", { .sparse_size = 4096 }, "", NULL, "xx", "", 0 },
    { "only a hole", { .sparse_size = 4096 }, "....", NULL, NULL, "....", BLOCK },
};

static void expect_written(struct sim_rig *rig, size_t from, uint64_t want, const char *what)
{
    uint64_t bytes;

    (void)count_ops(rig, IO_SIM_WRITE, from, &bytes);
    if (want != UINT64_MAX)
        cr_expect_eq(bytes, want, "%s: %lu bytes written", what, (unsigned long)bytes);
}

Test(convert, writes_what_the_options_say_and_no_more)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sim_rig *rig = sim_rig_new(&(struct io_sim_options){ .seed = i });
        struct conversion c = { .options = cases[i].options };
        size_t from;

        sim_rig_raw(rig, "a", cases[i].a);
        if (cases[i].before)
            sim_rig_raw(rig, "out", cases[i].before);
        c.sources[0] = sim_rig_open(rig, "a", NULL);
        if (cases[i].b) {
            sim_rig_raw(rig, "b", cases[i].b);
            c.sources[1] = sim_rig_open(rig, "b", NULL);
        }
        (void)io_sim_log(rig->engine, &from);
        cr_expect_eq(convert(rig, &c), 0, "%s: %s", cases[i].name, c.err.text);
        char want[64];
        (void)snprintf(want, sizeof(want), "%s", cases[i].want);
        for (char *p = want; *p; p++)
            *p = *p == '0' ? '.' : *p;
        expect_out(rig, want, cases[i].name);
        expect_written(rig, from, cases[i].written, cases[i].name);
        qimg_image_close(c.sources[0]);
        qimg_image_close(c.sources[1]);
        sim_rig_free(rig);
    }
}

Test(convert, no_half_file_looks_whole_wherever_the_machine_stops)
{
    for (uint64_t n = 0; n < 200; n++) {
        struct sim_rig *rig = sim_rig_new(&(struct io_sim_options){ .seed = n });
        struct conversion c = { .options = { .sparse_size = 4096 } };

        sim_rig_raw(rig, "a", "ab.cdefgh.ijkl00mnop");
        c.sources[0] = sim_rig_open(rig, "a", NULL);
        io_sim_stop_after(rig->engine, io_sim_operations(rig->engine) + n);
        const int rc = convert(rig, &c);
        const uint64_t size = io_sim_size(rig->engine, "out");
        if (size == 20 * BLOCK)
            expect_out(rig, "ab.cdefgh.ijkl..mnop", "full length");
        if (rc == 0)
            cr_expect_eq(size, 20 * BLOCK);
        io_sim_stop_after(rig->engine, UINT64_MAX);
        qimg_image_close(c.sources[0]);
        sim_rig_free(rig);
        if (rc == 0)
            return;
    }
    cr_assert_fail("never finished");
}

Test(convert, a_failure_takes_a_new_file_away_and_empties_an_older_one)
{
    for (int older = 0; older < 2; older++) {
        struct sim_rig *rig = sim_rig_new(&(struct io_sim_options){ .space = 40 * BLOCK });
        struct conversion c = { .options = { .sparse_size = 4096 } };

        sim_rig_raw(rig, "a", "abcdefghijklmnopqrstuvwxyz");
        if (older)
            sim_rig_raw(rig, "out", "xx");
        c.sources[0] = sim_rig_open(rig, "a", NULL);
        cr_expect_eq(convert(rig, &c), -ENOSPC);
        cr_expect_not_null(strstr(c.err.text, "error while writing at byte "), "%s", c.err.text);
        cr_expect_not_null(strstr(c.err.text, ": No space left on device"), "%s", c.err.text);
        cr_expect_eq(io_sim_size(rig->engine, "out"), older ? 0 : UINT64_MAX);
        qimg_image_close(c.sources[0]);
        sim_rig_free(rig);
    }
}

Test(convert, a_read_error_names_the_byte)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    struct conversion c = { .options = { .sparse_size = 4096 } };

    sim_rig_raw(rig, "a", "..ab");
    c.sources[0] = sim_rig_open(rig, "a", NULL);
    io_sim_fault(rig->engine, io_sim_operations(rig->engine) + 2, IO_SIM_EIO, true);
    cr_expect_eq(convert(rig, &c), -EIO);
    cr_expect_str_eq(c.err.text, "error while reading at byte 8192: Input/output error");
    qimg_image_close(c.sources[0]);
    sim_rig_free(rig);
}

/* Cluster 1 does not unpack, cluster 3 is out of bounds. */
static void put_broken_image(struct sim_rig *rig)
{
    static const struct build_cluster clusters[] = {
        { .index = 0, .kind = BUILD_DATA, .fill = 'a' },
        { .index = 1, .kind = BUILD_COMPRESSED, .packed = "\xff\xff", .packed_len = 2 },
        { .index = 2, .kind = BUILD_DATA, .fill = 'c' },
    };
    struct built built = build_qcow2(
        &(struct build_qcow2){ .size = 3 * 65536, .clusters = clusters, .cluster_count = 3 });

    cr_assert_eq(io_sim_put(rig->engine, "broken", built.bytes, built.len, built.len), 0);
    built_release(&built);
}

Test(convert, salvage_makes_zeros_of_what_cannot_be_read)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    struct conversion c = { .options = { .sparse_size = 4096 } };

    put_broken_image(rig);
    c.sources[0] = sim_rig_open(rig, "broken", "qcow2");
    cr_expect_eq(convert(rig, &c), -EIO);
    cr_expect_str_eq(c.err.text, "error while reading at byte 65536: Input/output error");
    cr_expect_eq(io_sim_size(rig->engine, "out"), UINT64_MAX);

    c.options.salvage = true;
    cr_expect_eq(convert(rig, &c), 0, "%s", c.err.text);
    expect_out(rig, "aaaaaaaaaaaaaaaa................cccccccccccccccc", "salvaged");
    cr_expect_eq(strncmp(rig->notes,
                         "error while reading offset 65536: Input/output error\n"
                         "error while reading offset 66048: ",
                         86),
                 0, "%s", rig->notes);
    qimg_image_close(c.sources[0]);
    sim_rig_free(rig);
}

Test(convert, a_wrong_table_word_is_a_block_status_error)
{
    static const struct build_cluster clusters[] = {
        { .index = 0, .kind = BUILD_DATA, .fill = 'a' },
        { .index = 1, .kind = BUILD_WORD, .word = UINT64_C(1) << 63 | 0x50200 },
    };
    struct built built = build_qcow2(
        &(struct build_qcow2){ .size = 2 * 65536, .clusters = clusters, .cluster_count = 2 });
    struct sim_rig *rig = sim_rig_new(NULL);
    struct conversion c = { .options = { .sparse_size = 4096 } };

    cr_assert_eq(io_sim_put(rig->engine, "a", built.bytes, built.len, built.len), 0);
    c.sources[0] = sim_rig_open(rig, "a", "qcow2");
    cr_expect_eq(convert(rig, &c), -EIO);
    cr_expect_str_eq(c.err.text,
                     "error while reading block status at offset 65536: Input/output error");
    qimg_image_close(c.sources[0]);
    built_release(&built);
    sim_rig_free(rig);
}

static int cancel_half_way(void *user, uint64_t done, uint64_t total)
{
    *(uint64_t *)user = total;
    return done >= total / 2;
}

Test(convert, cancelling_leaves_no_file)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    uint64_t total = 0;
    struct conversion c = {
        .options = { .sparse_size = 4096, .progress = cancel_half_way, .user = &total }
    };

    sim_rig_raw(rig, "a", "ab..cd");
    c.sources[0] = sim_rig_open(rig, "a", NULL);
    cr_expect_eq(convert(rig, &c), -ECANCELED);
    cr_expect_eq(total, 4 * BLOCK, "what the map says is zero is no work");
    cr_expect_eq(io_sim_size(rig->engine, "out"), UINT64_MAX);
    qimg_image_close(c.sources[0]);
    sim_rig_free(rig);
}

Test(convert, a_new_file_is_durable_unless_the_cache_mode_is_unsafe)
{
    static const struct {
        enum qimg_cache cache;
        bool sync, want;
    } modes[] = { { QIMG_CACHE_WRITEBACK, false, true },
                  { QIMG_CACHE_NONE, false, true },
                  { QIMG_CACHE_UNSAFE, false, false },
                  { QIMG_CACHE_UNSAFE, true, true } };

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        struct sim_rig *rig = sim_rig_new(NULL);
        struct conversion c = { .options = { .sparse_size = 4096,
                                             .target_cache = modes[i].cache,
                                             .sync = modes[i].sync } };
        struct io_engine *after;
        uint8_t byte = 0;

        sim_rig_raw(rig, "a", "abc");
        c.sources[0] = sim_rig_open(rig, "a", NULL);
        cr_expect_eq(convert(rig, &c), 0, "%s", c.err.text);
        cr_assert_eq(io_sim_power_cut(rig->engine, &(struct io_sim_cut){ 0 }, &after), 0);
        const bool there = io_sim_get(after, "out", 2 * BLOCK, &byte, 1) && byte == 'c';
        cr_expect_eq(there, modes[i].want, "mode %zu", i);
        io_engine_free(after);
        qimg_image_close(c.sources[0]);
        sim_rig_free(rig);
    }
}

Test(convert, chains_of_packed_and_plain_clusters_are_merged)
{
    static const struct build_cluster base[] = {
        { .index = 0, .count = 4, .kind = BUILD_DATA, .fill = 'a' },
    };
    static const struct build_cluster top[] = {
        { .index = 1, .kind = BUILD_ZERO },
        { .index = 3, .kind = BUILD_DATA, .fill = 'b' },
    };
    struct built lower = build_qcow2(
        &(struct build_qcow2){ .size = 5 * 65536, .clusters = base, .cluster_count = 1 });
    static const struct build_extension format = { .type = 0xe2792aca, .data = "qcow2", .len = 5 };
    struct built upper = build_qcow2(&(struct build_qcow2){ .size = 5 * 65536,
                                                            .clusters = top,
                                                            .cluster_count = 2,
                                                            .backing_name = "base",
                                                            .extensions = &format,
                                                            .extension_count = 1 });
    struct sim_rig *rig = sim_rig_new(NULL);
    struct conversion c = { .options = { .sparse_size = 4096 } };

    cr_assert_eq(io_sim_put(rig->engine, "base", lower.bytes, lower.len, lower.len), 0);
    cr_assert_eq(io_sim_put(rig->engine, "top", upper.bytes, upper.len, upper.len), 0);
    c.sources[0] = sim_rig_open(rig, "top", "qcow2");
    cr_expect_eq(convert(rig, &c), 0, "%s", c.err.text);
    expect_out(rig,
               "aaaaaaaaaaaaaaaa................aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb................",
               "merged");
    qimg_image_close(c.sources[0]);
    built_release(&lower);
    built_release(&upper);
    sim_rig_free(rig);
}

/* --- on a real file system ------------------------------------------------------------------- */

/* A raw file of data, open. */
static struct qimg_image *data_on_disk(struct qimg_context *context, uint64_t size)
{
    const struct qimg_create_options how = { .format = "raw", .has_size = true, .size = size };
    const struct qimg_open_options writable = { .format = "raw", .writable = true };
    struct qimg_image *image;
    struct qimg_error err;
    uint8_t *buf = malloc(size);

    cr_assert_not_null(buf);
    memset(buf, 7, size);
    cr_assert_eq(qimg_create(context, "a", &how, &err), 0, "%s", err.text);
    cr_assert_eq(qimg_image_open(context, "a", &writable, &image, &err), 0, "%s", err.text);
    cr_assert_eq(qimg_image_write(image, 0, buf, size, &err), 0, "%s", err.text);
    free(buf);
    return image;
}

static bool on_ext4(void)
{
    struct statfs fs;

    return statfs(".", &fs) == 0 && fs.f_type == EXT4_SUPER_MAGIC;
}

/* Where the disk has the last word anyway, it would only be calls. */
Test(convert, storage_is_reserved_ahead_where_nothing_waits_for_the_disk)
{
    static const struct {
        const char *format;
        enum qimg_cache cache;
    } targets[] = {
        { "raw", QIMG_CACHE_UNSAFE },
        { "qcow2", QIMG_CACHE_UNSAFE },
        { "raw", QIMG_CACHE_WRITEBACK },
        { "qcow2", QIMG_CACHE_WRITEBACK },
    };
    const struct qimg_context_options threads = { .engine = QIMG_ENGINE_THREADS };
    struct qimg_context *context;
    struct qimg_error err;
    char *dir = scratch_new();

    cr_assert_eq(chdir(dir), 0);
    cr_assert_eq(qimg_context_new(&threads, &context, &err), 0);
    struct qimg_image *source = data_on_disk(context, 8 * MiB);
    for (size_t i = 0; i < ARRAY_COUNT(targets); i++) {
        const struct qimg_convert_options options = {
            .sources = &source,
            .source_count = 1,
            .target = "out",
            .target_format = targets[i].format,
            .target_cache = targets[i].cache,
            .sparse_size = 4096,
        };
        const uint64_t before = atomic_load(&context->engine->stats.reserves);
        cr_assert_eq(qimg_convert(context, &options, &err), 0, "%s", err.text);
        const uint64_t reserves = atomic_load(&context->engine->stats.reserves) - before;
        const bool wanted = on_ext4() && targets[i].cache == QIMG_CACHE_UNSAFE;
        cr_expect_eq(reserves > 0, wanted, "%s %d", targets[i].format, targets[i].cache);
    }
    qimg_image_close(source);
    qimg_context_free(context);
    cr_assert_eq(chdir("/"), 0);
    scratch_remove(dir);
}
