/* SPDX-License-Identifier: Apache-2.0
 *
 * Conversions into images by many threads: plain, packed, over a backing file, and into images
 * with tiny clusters, where everybody wants the same tables. Each is read back and compared. A
 * plain main() for ThreadSanitizer.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "qimg/qimg.h"
#include "scratch.h"

#define SIZE   (12 * MiB)
#define BLOCK  (4 * KiB)
#define ROUNDS 2u

static uint8_t disk[SIZE], seen[SIZE];

static const struct round_case {
    const char *name;
    struct qimg_option option; /* key NULL: none */
    const char *backing;
    bool compress;
} cases[] = {
    { .name = "plain" },
    { .name = "packed", .compress = true },
    { .name = "packed, small", .compress = true, .option = { "cluster_size", "4k" } },
    { .name = "overlay", .backing = "base" },
    { .name = "tiny clusters", .option = { "cluster_size", "512" } },
    { .name = "subclusters", .option = { "extended_l2", "on" }, .backing = "base" },
};

/* Zeros, text and noise by turns. */
static void fill_disk(void)
{
    uint32_t state = 3;

    for (size_t at = 0; at < SIZE; at += BLOCK) {
        const unsigned kind = (state = state * 1664525u + 1013904223u) >> 30;
        for (size_t i = 0; kind > 0 && i < BLOCK; i++) {
            if (kind > 1 || i % 64 == 0)
                state = state * 1664525u + 1013904223u;
            disk[at + i] = (uint8_t)(state >> 24);
        }
    }
}

static void make_raw(struct qimg_context *context, const char *name, const uint8_t *bytes)
{
    const struct qimg_create_options how = { .format = "raw", .has_size = true, .size = SIZE };
    const struct qimg_open_options open = { .format = "raw", .writable = true };
    struct qimg_image *image;
    struct qimg_error error;

    if (qimg_create(context, name, &how, &error) < 0 ||
        qimg_image_open(context, name, &open, &image, &error) < 0)
        errx(1, "%s", error.text);
    if (bytes && qimg_image_write(image, 0, bytes, SIZE, &error) < 0)
        errx(1, "%s", error.text);
    if (qimg_image_finish(image, &error) < 0)
        errx(1, "%s", error.text);
    qimg_image_close(image);
}

static struct qimg_image *open_image(struct qimg_context *context, const char *name,
                                     const char *format)
{
    const struct qimg_open_options how = { .format = format };
    struct qimg_image *image;
    struct qimg_error error;

    if (qimg_image_open(context, name, &how, &image, &error) < 0)
        errx(1, "%s", error.text);
    return image;
}

static void convert(struct qimg_context *context, const struct round_case *c)
{
    struct qimg_image *source = open_image(context, "source", "raw");
    const struct qimg_convert_options how = {
        .sources = &source,
        .source_count = 1,
        .target = "target",
        .target_format = "qcow2",
        .options = &c->option,
        .option_count = c->option.key != NULL,
        .backing_name = c->backing,
        .backing_format = c->backing ? "raw" : NULL,
        .compress = c->compress,
        .target_cache = QIMG_CACHE_UNSAFE,
        .sparse_size = BLOCK,
        .parallel = 16,
    };
    struct qimg_error error;

    if (qimg_convert(context, &how, &error) < 0)
        errx(1, "%s: %s", c->name, error.text);
    qimg_image_close(source);
    struct qimg_image *target = open_image(context, "target", "qcow2");
    if (qimg_image_read(target, 0, seen, SIZE, &error) < 0)
        errx(1, "%s: %s", c->name, error.text);
    if (memcmp(seen, disk, SIZE) != 0)
        errx(1, "%s: other bytes", c->name);
    qimg_image_close(target);
}

int main(void)
{
    const struct qimg_context_options options = { .threads = 8 };
    struct qimg_context *context;
    struct qimg_error error;
    char *scratch = scratch_new();

    if (chdir(scratch) < 0 || qimg_context_new(&options, &context, &error) < 0)
        errx(1, "cannot begin");
    fill_disk();
    make_raw(context, "source", disk);
    make_raw(context, "base", NULL);
    for (unsigned round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
            convert(context, &cases[i]);
    qimg_context_free(context);
    if (chdir("/") < 0)
        err(1, "chdir");
    scratch_remove(scratch);
    return 0;
}
