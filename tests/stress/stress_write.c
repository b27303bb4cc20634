/* SPDX-License-Identifier: Apache-2.0
 *
 * Several threads change one image at once, above a backing file: alone and in batches, bytes,
 * zeros, discards and flushes, and read back what they wrote. In the first half of the disk
 * they take turns sector by sector, so that most clusters are allocated by several at once; in
 * the other half each has stripes of its own, whose clusters come and go. Everything is compared
 * with a model, at once and after opening the image again. A plain main() for ThreadSanitizer.
 */
#include <err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "qimg/qimg.h"
#include "scratch.h"

#define SIZE    (8 * MiB)
#define SHARED  (4 * MiB) /* sectors in turn; behind it stripes */
#define SECTOR  512u
#define STRIPE  (256 * KiB)
#define THREADS 4u
#define DEPTH   12u
#define ROUNDS  250u

static uint8_t model[SIZE];

struct layout {
    const char *format, *options[3]; /* NULL-terminated keys and values by turns */
    uint64_t cluster;                /* what a discard gives up; 0 = nothing can be said */
    bool backing, synced;
};

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

struct writer_thread {
    pthread_t thread;
    struct qimg_image *image;
    uint64_t cluster;
    uint32_t number, seed;
};

static void check(struct qimg_image *image, uint64_t off, size_t len, const char *when)
{
    struct qimg_error error;
    uint8_t *buf = malloc(len);
    if (!buf || qimg_image_read(image, off, buf, len, &error) < 0)
        errx(1, "%s: cannot read", when);
    for (size_t i = 0; i < len; i++)
        if (buf[i] != model[off + i])
            errx(1, "%s: byte %llu is %u, not %u", when, (unsigned long long)(off + i), buf[i],
                 model[off + i]);
    free(buf);
}

static uint64_t my_sector(struct writer_thread *w)
{
    const uint64_t turns = SHARED / SECTOR / THREADS;
    return (next_random(&w->seed) % turns * THREADS + w->number) * SECTOR;
}

/* --- alone ---------------------------------------------------------------------------------- */

static void write_alone(struct writer_thread *w)
{
    uint8_t bytes[SECTOR];
    struct qimg_error error;
    const uint64_t off = my_sector(w);
    const uint8_t value = (uint8_t)next_random(&w->seed);
    memset(bytes, value, SECTOR);
    if (qimg_image_write(w->image, off, bytes, SECTOR, &error) < 0)
        errx(1, "write: %s", error.text);
    memset(model + off, value, SECTOR);
    check(w->image, off, SECTOR, "just written");
}

/* Whole clusters of @range read as zeros from now on; where that cannot be said, nothing is. */
static void discard(struct writer_thread *w, struct qimg_range range)
{
    struct qimg_error error;
    if (w->cluster == 0)
        return;
    if (qimg_image_discard(w->image, range.off, range.len, &error) < 0)
        errx(1, "discard: %s", error.text);
    const uint64_t begin = align_up(range.off, w->cluster);
    const uint64_t end = align_down(range.off + range.len, w->cluster);
    if (begin < end)
        memset(model + begin, 0, end - begin);
}

static void change_stripe(struct writer_thread *w)
{
    static const size_t most[] = { 3000, 70000, 200000 };
    struct qimg_error error;
    const uint64_t stripes = (SIZE - SHARED) / STRIPE / THREADS;
    const uint64_t begin =
        SHARED + (next_random(&w->seed) % stripes * THREADS + w->number) * STRIPE;
    const size_t limit = most[next_random(&w->seed) % 3];
    const size_t len = 1 + next_random(&w->seed) % limit;
    const uint64_t off = begin + next_random(&w->seed) % (STRIPE - len);
    const uint32_t what = next_random(&w->seed) % 8;
    if (what < 2) {
        if (qimg_image_write_zeroes(w->image, off, len, what ? QIMG_ZERO_MAY_UNMAP : 0, &error) < 0)
            errx(1, "zeroes: %s", error.text);
        memset(model + off, 0, len);
    } else if (what == 2) {
        discard(w, (struct qimg_range){ off, len });
    } else {
        for (size_t i = 0; i < len; i++)
            model[off + i] = (uint8_t)next_random(&w->seed);
        if (qimg_image_write(w->image, off, model + off, len, &error) < 0)
            errx(1, "write: %s", error.text);
    }
    check(w->image, begin, STRIPE, "stripe just changed");
}

static void run_alone(struct writer_thread *w)
{
    struct qimg_error error;
    for (unsigned i = 0; i < ROUNDS; i++) {
        write_alone(w);
        change_stripe(w);
        if (i % 50 == 0 && qimg_image_flush(w->image, &error) < 0)
            errx(1, "flush: %s", error.text);
    }
}

/* --- in batches ----------------------------------------------------------------------------- */

static void wait_all(struct qimg_queue *queue, unsigned count)
{
    struct qimg_completion done[DEPTH];
    while (count > 0) {
        const int got = qimg_queue_wait(queue, done, DEPTH, 1);
        for (int i = 0; i < got; i++)
            if (done[i].result < 0)
                errx(1, "queued: %s", strerror(-done[i].result));
        count -= (unsigned)got;
    }
}

/* Different sectors at once, some of them next to each other in one cluster. */
static void write_batch(struct writer_thread *w, struct qimg_queue *queue)
{
    static const uint64_t near = THREADS * SECTOR;
    uint64_t off = my_sector(w), offs[DEPTH];
    unsigned count = 0;
    for (; count < DEPTH && off + SECTOR <= SHARED; count++, off += near) {
        offs[count] = off;
        const bool zero = next_random(&w->seed) % 8 == 0;
        memset(model + off, zero ? 0 : (int)(1 + next_random(&w->seed) % 255), SECTOR);
        const int rc = zero ? qimg_queue_write_zeroes(queue, off, SECTOR, 0, NULL)
                            : qimg_queue_write(queue, off, model + off, SECTOR, NULL);
        if (rc < 0)
            errx(1, "not staged");
    }
    wait_all(queue, count);
    for (unsigned i = 0; i < count; i++)
        check(w->image, offs[i], SECTOR, "batch just written");
}

static void run_in_batches(struct writer_thread *w)
{
    struct qimg_queue *queue = NULL;
    struct qimg_error error;
    if (qimg_queue_new(w->image, DEPTH, &queue, &error) < 0)
        errx(1, "%s", error.text);
    for (unsigned i = 0; i < ROUNDS / 4; i++) {
        write_batch(w, queue);
        change_stripe(w);
        if (i % 20 == 0) {
            if (qimg_queue_flush(queue, NULL) < 0)
                errx(1, "flush not staged");
            wait_all(queue, 1);
        }
    }
    qimg_queue_free(queue);
}

static void *run_writer(void *arg)
{
    struct writer_thread *w = arg;
    if (w->number % 2)
        run_alone(w);
    else
        run_in_batches(w);
    return NULL;
}

/* --- one image ------------------------------------------------------------------------------ */

static void make(struct qimg_context *context, const struct layout *layout, const char *name,
                 const char *backing)
{
    struct qimg_error error;
    struct qimg_option options[2];
    size_t count = 0;
    for (; layout->options[count]; count++) {
        const char *equals = strchr(layout->options[count], '=');
        options[count] = (struct qimg_option){
            strndup(layout->options[count], (size_t)(equals - layout->options[count])), equals + 1
        };
    }
    const struct qimg_create_options how = { .format = layout->format,
                                             .backing_name = layout->backing ? backing : NULL,
                                             .backing_format = layout->backing ? "raw" : NULL,
                                             .has_size = true,
                                             .size = SIZE,
                                             .options = options,
                                             .option_count = count };
    if (qimg_create(context, name, &how, &error) < 0)
        errx(1, "%s", error.text);
    for (size_t i = 0; i < count; i++)
        free((char *)(uintptr_t)options[i].key);
}

static void make_backing(const char *name)
{
    FILE *f = fopen(name, "w");
    for (size_t i = 0; i < SIZE; i++)
        model[i] = (uint8_t)(i / SECTOR % 7 == 3 ? 0 : 1 + i / SECTOR % 13);
    if (!f || fwrite(model, 1, SIZE, f) != SIZE || fclose(f) != 0)
        err(1, "%s", name);
}

static struct qimg_image *open_image(struct qimg_context *context, const struct layout *layout,
                                     const char *name, bool writable)
{
    struct qimg_image *image = NULL;
    struct qimg_error error;
    /* Syncs would take most of the time; one layout pays for them. */
    const struct qimg_open_options how = { .format = layout->format,
                                           .writable = writable,
                                           .cache = layout->synced ? QIMG_CACHE_WRITEBACK
                                                                   : QIMG_CACHE_UNSAFE };
    if (qimg_image_open(context, name, &how, &image, &error) < 0)
        errx(1, "%s", error.text);
    return image;
}

static void run(struct qimg_context *context, const struct layout *layout, uint32_t seed)
{
    struct writer_thread writers[THREADS];
    struct qimg_error error;
    char command[64];
    make_backing("backing");
    make(context, layout, "image", "backing");
    if (!layout->backing)
        memset(model, 0, SIZE);
    struct qimg_image *image = open_image(context, layout, "image", true);
    for (unsigned i = 0; i < THREADS; i++) {
        writers[i] = (struct writer_thread){
            .image = image, .number = i, .seed = seed + i, .cluster = layout->cluster
        };
        if (pthread_create(&writers[i].thread, NULL, run_writer, &writers[i]) != 0)
            errx(1, "no thread");
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(writers[i].thread, NULL);
    check(image, 0, SIZE, "all done");
    if (qimg_image_finish(image, &error) < 0)
        errx(1, "%s", error.text);
    qimg_image_close(image);
    image = open_image(context, layout, "image", false);
    check(image, 0, SIZE, "opened again");
    qimg_image_close(image);
    snprintf(command, sizeof(command), "qemu-img check -q -f %s image", layout->format);
    if (strcmp(layout->format, "raw") != 0 && system(command) != 0)
        errx(1, "%s: not clean", command);
    if (unlink("image") != 0)
        err(1, "image");
}

int main(void)
{
    static const struct layout layouts[] = {
        { .format = "raw", .cluster = 1 },
        { .format = "qcow2", .cluster = 64 * KiB, .backing = true, .synced = true },
        { .format = "qcow2",
          .options = { "cluster_size=4k" },
          .cluster = 4 * KiB,
          .backing = true },
        { .format = "qcow2", .options = { "cluster_size=512" }, .cluster = 512 },
        { .format = "qcow2", .options = { "compat=0.10" }, .backing = true },
        { .format = "qcow2",
          .options = { "extended_l2=on" },
          .cluster = 64 * KiB,
          .backing = true },
    };
    const struct qimg_context_options options = { .map_budget = 64 * KiB };
    struct qimg_context *context = NULL;
    struct qimg_error error;
    char *dir = scratch_new();
    if (chdir(dir) != 0 || qimg_context_new(&options, &context, &error) < 0)
        errx(1, "no context");
    for (size_t i = 0; i < ARRAY_COUNT(layouts); i++)
        run(context, &layouts[i], (uint32_t)i * 1000);
    qimg_context_free(context);
    scratch_remove(dir);
    return 0;
}
