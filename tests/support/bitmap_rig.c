/* SPDX-License-Identifier: Apache-2.0 */
#include "bitmap_rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitmap_verbs.h"
#include "bits.h"
#include "bytes.h"
#include "tier.h"

#define NAME  "disk"
#define SEEDS 8

static void must(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "bitmap_rig: %s\n", what);
    abort();
}

struct io_engine *bitmap_machine(const struct build_qcow2 *spec)
{
    struct built built = build_qcow2(spec);
    struct io_engine *engine;

    must(io_sim_new(NULL, NULL, &engine) == 0, "no simulator");
    must(io_sim_put(engine, NAME, built.bytes, built.len, built.len) == 0, "no file");
    built_release(&built);
    return engine;
}

struct qcow2 *bitmap_open(struct io_engine *engine, bool writable, struct qimg_error *err)
{
    const struct io_open_options how = { .writable = writable };
    const struct image_open_options as = { .writable = writable };
    struct io_file *file;
    struct image *image;

    const int rc = io_file_open(engine, NAME, &how, &file);
    if (rc < 0) {
        qimg_fail_errno(err, -rc, "open");
        return NULL;
    }
    if (qcow2_ops.open(file, &as, &image, err) < 0) {
        io_file_close(file);
        return NULL;
    }
    return qcow2_of(image);
}

int bitmap_do(struct io_engine *engine, const struct bitmap_step *steps, size_t count,
              struct qimg_error *err)
{
    struct qcow2 *q = bitmap_open(engine, true, err);
    struct bitmap_request request = { .steps = steps, .count = count, .shown = NAME };

    if (!q)
        return -err->code;
    const int rc = qcow2_change_bitmaps(&q->image, &request, err);
    qcow2_ops.close(&q->image);
    return rc;
}

/* --- what the bytes say --------------------------------------------------------------------- */

struct file {
    uint8_t *bytes;
    uint64_t len;
};

static uint64_t word(const struct file *f, uint64_t off, unsigned width)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < width; i++)
        v = v << 8 | (off + i < f->len ? f->bytes[off + i] : 0);
    return v;
}

static bool bit(const struct file *f, uint64_t table, uint64_t n)
{
    const uint64_t cluster = UINT64_C(1) << word(f, 20, 4);
    const uint64_t entry = word(f, table + n / (cluster * 8) * 8, 8);

    if (entry < 2)
        return entry;
    return word(f, entry + n % (cluster * 8) / 8, 1) >> n % 8 & 1;
}

static void print_bits(FILE *out, const struct file *f, uint64_t table, uint64_t count)
{
    for (uint64_t n = 0; n < count; n++) {
        uint64_t end = n;
        while (end < count && bit(f, table, end))
            end++;
        if (end - n == 1)
            fprintf(out, " %" PRIu64, n);
        else if (end > n)
            fprintf(out, " %" PRIu64 "-%" PRIu64, n, end - 1);
        n = end;
    }
}

static uint64_t print_bitmap(FILE *out, const struct file *f, uint64_t at)
{
    const uint64_t flags = word(f, at + 12, 4), granularity = UINT64_C(1) << word(f, at + 17, 1);
    const uint64_t name_len = word(f, at + 18, 2);

    fprintf(out, "%.*s %s%s%" PRIu64 ":", (int)name_len, (const char *)f->bytes + at + 24,
            flags & 1 ? "in-use " : "", flags & 2 ? "auto " : "", granularity);
    if (!(flags & 1))
        print_bits(out, f, word(f, at, 8), div_up(word(f, 24, 8), granularity));
    fprintf(out, "\n");
    return at + align_up(24 + name_len, 8);
}

static void print_bitmaps(FILE *out, const struct file *f)
{
    uint64_t at = word(f, 100, 4);

    while (word(f, at, 4) != 0x23852875 && word(f, at, 4) != 0)
        at += 8 + align_up(word(f, at + 4, 4), 8);
    if (word(f, at, 4) == 0 || !(word(f, 88, 8) & 1)) {
        fprintf(out, "no bitmaps\n");
        return;
    }
    uint64_t entry = word(f, at + 8 + 16, 8);
    must(entry < f->len, "the directory is past the end");
    for (uint64_t n = word(f, at + 8, 4); n > 0; n--)
        entry = print_bitmap(out, f, entry);
}

char *bitmap_text(struct io_engine *engine)
{
    struct file f = { .len = io_sim_size(engine, NAME) };
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    f.bytes = malloc(f.len + 1);
    must(out && f.bytes && io_sim_get(engine, NAME, 0, f.bytes, f.len), "cannot look at the file");
    print_bitmaps(out, &f);
    fclose(out);
    free(f.bytes);
    return text;
}

/* --- faults and cuts ------------------------------------------------------------------------ */

struct io_engine *bitmap_settled(struct io_engine *engine)
{
    struct io_engine *after;

    must(io_sim_power_cut(engine, &(struct io_sim_cut){ .survivors = IO_SIM_ALL }, &after) == 0,
         "no cut");
    return after;
}

static void cut_power(struct io_engine *engine, bool finished,
                      void (*judge)(struct io_engine *after, bool finished, void *user), void *user)
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
        must(io_sim_power_cut(engine, &cut, &after) == 0, "no cut");
        judge(after, finished, user);
        io_engine_free(after);
    }
}

struct io_engine *
bitmap_crash_everywhere(struct io_engine *start, int (*run)(struct io_engine *, void *user),
                        void (*judge)(struct io_engine *after, bool finished, void *user),
                        void *user)
{
    for (uint64_t n = 0;; n += tier_step(3)) {
        struct io_engine *engine = bitmap_settled(start);
        io_sim_stop_after(engine, n);
        const bool finished = run(engine, user) == 0;
        io_sim_stop_after(engine, UINT64_MAX);
        cut_power(engine, finished, judge, user);
        if (finished)
            return engine;
        io_engine_free(engine);
    }
}

unsigned bitmap_fail_everywhere(struct io_engine *start, int (*run)(struct io_engine *, void *user),
                                void (*judge)(struct io_engine *after, bool finished, void *user),
                                void *user)
{
    unsigned tried = 0;

    for (unsigned how = 0; how < 4; how++) {
        for (uint64_t n = 1 + how % tier_step(3);; n += tier_step(3), tried++) {
            struct io_engine *engine = bitmap_settled(start);
            io_sim_fault(engine, n, how & 1 ? IO_SIM_ENOSPC : IO_SIM_EIO, how & 2);
            const bool finished = run(engine, user) == 0;
            const bool reached = io_sim_operations(engine) >= n;
            io_sim_fault(engine, 0, IO_SIM_EIO, false);
            judge(engine, finished, user);
            io_engine_free(engine);
            if (!reached)
                break;
        }
    }
    return tried;
}
