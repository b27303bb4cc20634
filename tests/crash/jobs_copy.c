/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands that move data from image to image.
 */
#include <string.h>

#include "bits.h"
#include "checked.h"
#include "fail.h"
#include "library_job.h"
#include "qimg/commit.h"
#include "qimg/jobs.h"
#include "qimg/rebase.h"

/* --- new images ------------------------------------------------------------------------------- */

static int open_source(struct qimg_context *context, const char *name, struct qimg_image **out,
                       struct qimg_error *err)
{
    return qimg_image_open(context, name, &(struct qimg_open_options){ .format = "qcow2" }, out,
                           err);
}

static int convert_to(struct qimg_context *context, const char *source,
                      struct qimg_convert_options how, struct qimg_error *err)
{
    struct qimg_image *image;

    TRY(open_source(context, source, &image, err));
    how.sources = &image;
    how.source_count = 1;
    how.target_cache = QIMG_CACHE_WRITEBACK;
    how.sparse_size = 4096;
    const int rc = qimg_convert(context, &how, err);
    qimg_image_close(image);
    return rc;
}

static int convert_raw(struct qimg_context *context, struct qimg_error *err)
{
    return convert_to(context, "disk.qcow2",
                      (struct qimg_convert_options){ .target = "new.raw", .target_format = "raw" },
                      err);
}

static int convert_packed(struct qimg_context *context, struct qimg_error *err)
{
    return convert_to(context, "disk.qcow2",
                      (struct qimg_convert_options){
                          .target = "new.qcow2", .target_format = "qcow2", .compress = true },
                      err);
}

static int convert_bitmaps(struct qimg_context *context, struct qimg_error *err)
{
    return convert_to(context, "marked.qcow2",
                      (struct qimg_convert_options){
                          .target = "new.qcow2", .target_format = "qcow2", .bitmaps = true },
                      err);
}

/* -n */
static int convert_into(struct qimg_context *context, struct qimg_error *err)
{
    return convert_to(context, "disk.qcow2",
                      (struct qimg_convert_options){
                          .target = "marked.qcow2", .target_format = "qcow2", .no_create = true },
                      err);
}

static int dd(struct qimg_context *context, struct qimg_error *err)
{
    const struct qimg_range range = { 4 * KiB, 64 * KiB };

    return convert_to(
        context, "disk.qcow2",
        (struct qimg_convert_options){
            .target = "new.raw", .target_format = "raw", .range = &range, .dd_words = true },
        err);
}

static int create(struct qimg_context *context, struct qimg_error *err)
{
    const struct qimg_option options[] = { { "preallocation", "metadata" },
                                           { "extended_l2", "on" } };
    const struct qimg_create_options how = { .format = "qcow2",
                                             .backing_name = "disk.qcow2",
                                             .backing_format = "qcow2",
                                             .fingerprint = true,
                                             .sync = true,
                                             .options = options,
                                             .option_count = ARRAY_COUNT(options) };

    return qimg_create(context, "new.qcow2", &how, err);
}

/* --- comparing -------------------------------------------------------------------------------- */

static void difference(void *user, const struct qimg_compare_difference *what)
{
    (void)user;
    (void)what;
}

static int compare(struct qimg_context *context, struct qimg_error *err)
{
    struct qimg_compare_options how = { .difference = difference };
    struct qimg_compare_result result;

    TRY(open_source(context, "disk.qcow2", &how.a, err));
    int rc = open_source(context, "other.qcow2", &how.b, err);
    if (rc == 0) {
        rc = qimg_compare(context, &how, &result, err);
        qimg_image_close(how.b);
    }
    qimg_image_close(how.a);
    return rc;
}

/* --- along a chain ---------------------------------------------------------------------------- */

static int commit(struct qimg_context *context, struct qimg_error *err)
{
    const struct qimg_commit_options how = { .name = "disk.qcow2", .open.format = "qcow2" };
    struct qimg_commit_result result;

    return qimg_commit(context, &how, &result, err);
}

static int rebase_onto(struct qimg_image *image, const char *name, struct qimg_error *err)
{
    const struct qimg_rebase_options how = { .backing_name = name,
                                             .backing_format = name ? "qcow2" : NULL };
    struct qimg_pull_result result;

    return qimg_rebase(image, &how, &result, err);
}

static int rebase_image(struct qimg_image *image, struct qimg_error *err)
{
    return rebase_onto(image, "other.qcow2", err);
}

static int rebase(struct qimg_context *context, struct qimg_error *err)
{
    return library_with(context, "disk.qcow2", true, rebase_image, err);
}

static int flatten_image(struct qimg_image *image, struct qimg_error *err)
{
    return rebase_onto(image, NULL, err);
}

static int rebase_none(struct qimg_context *context, struct qimg_error *err)
{
    return library_with(context, "disk.qcow2", true, flatten_image, err);
}

static int rename_backing(struct qimg_image *image, struct qimg_error *err)
{
    return qimg_image_set_backing(image, "other.qcow2", "qcow2", err);
}

static int rebase_unsafe(struct qimg_context *context, struct qimg_error *err)
{
    return library_with(context, "disk.qcow2", true, rename_backing, err);
}

static int stream_image(struct qimg_image *image, struct qimg_error *err)
{
    const struct qimg_stream_options how = { .base = NULL };
    struct qimg_pull_result result;

    return qimg_stream(image, &how, &result, err);
}

static int stream(struct qimg_context *context, struct qimg_error *err)
{
    return library_with(context, "disk.qcow2", true, stream_image, err);
}

const struct library_job copy_jobs[] = {
    { .command = "convert", .run = convert_raw, .images = { "new.raw" } },
    { .command = "convert", .run = convert_packed, .images = { "new.qcow2" } },
    { .command = "convert", .run = convert_bitmaps, .images = { "new.qcow2" } },
    { .command = "convert", .run = convert_into, .images = { "marked.qcow2" } },
    { .command = "dd", .run = dd, .images = { "new.raw" } },
    { .command = "create", .run = create, .images = { "new.qcow2" } },
    { .command = "compare", .run = compare, .images = { "disk.qcow2" }, .suspect = true },
    { .command = "commit", .run = commit, .images = { "disk.qcow2", "base.qcow2" } },
    { .command = "rebase", .run = rebase, .images = { "disk.qcow2" } },
    { .command = "rebase", .run = rebase_none, .images = { "disk.qcow2" } },
    { .command = "rebase", .run = rebase_unsafe, .images = { "disk.qcow2" } },
    { .command = "stream", .run = stream, .images = { "disk.qcow2" } },
    { .command = NULL },
};
