/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands that look at an image or change it in place.
 */
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "checked.h"
#include "cleanup.h"
#include "fail.h"
#include "library_job.h"
#include "qimg/admin.h"
#include "qimg/bitmap.h"
#include "qimg/check.h"
#include "qimg/measure.h"
#include "qimg/write.h"

const char library_tree[] =
    "{\"fixture\": 1, \"name\": \"tree\", \"images\": ["
    " {\"file\": \"root.raw\", \"format\": \"raw\", \"size\": \"160k\","
    "  \"content\": [{\"at\": 0, \"length\": \"100k\", \"pattern\": \"counter\"}]},"
    " {\"file\": \"base.qcow2\", \"backing\": \"root.raw\","
    "  \"options\": {\"cluster_size\": \"4k\"},"
    "  \"content\": [{\"at\": \"20k\", \"length\": \"30k\","
    "    \"pattern\": \"random\", \"seed\": 1}]},"
    " {\"file\": \"other.qcow2\", \"backing\": \"root.raw\","
    "  \"options\": {\"cluster_size\": \"4k\"},"
    "  \"content\": [{\"at\": \"40k\", \"length\": \"30k\","
    "    \"pattern\": \"random\", \"seed\": 2}]},"
    " {\"file\": \"disk.qcow2\", \"backing\": \"base.qcow2\","
    "  \"options\": {\"cluster_size\": \"4k\"},"
    "  \"snapshots\": [{\"name\": \"s\", \"date\": 7, \"content\":"
    "    [{\"at\": \"8k\", \"length\": \"8k\", \"pattern\": \"byte\", \"value\": 3}]}],"
    "  \"content\": [{\"at\": \"4k\", \"length\": \"10k\", \"pattern\": \"random\", \"seed\": 3},"
    "    {\"at\": \"60k\", \"length\": \"8k\", \"pattern\": \"byte\", \"value\": 5,"
    "     \"compressed\": true},"
    "    {\"at\": \"100k\", \"length\": \"9k\", \"pattern\": \"random\", \"seed\": 4}]},"
    " {\"file\": \"marked.qcow2\", \"size\": \"160k\", \"options\": {\"cluster_size\": \"4k\"},"
    "  \"content\": [{\"at\": \"4k\", \"length\": \"10k\", \"pattern\": \"random\", \"seed\": 6}],"
    "  \"bitmaps\": [{\"name\": \"b\", \"dirty\": [{\"at\": \"4k\", \"length\": \"10k\"}]}]},"
    " {\"file\": \"leaky.qcow2\", \"size\": \"160k\", \"options\": {\"cluster_size\": \"4k\"},"
    "  \"content\": [{\"at\": \"4k\", \"length\": \"10k\", \"pattern\": \"random\", \"seed\": 7}],"
    "  \"leaks\": 3},"
    " {\"file\": \"gone.qcow2\", \"size\": \"160k\", \"absent\": true},"
    " {\"file\": \"lost.qcow2\", \"backing\": \"gone.qcow2\","
    "  \"content\": [{\"at\": \"4k\", \"length\": \"10k\", \"pattern\": \"random\", \"seed\": 8}]},"
    " {\"file\": \"found/gone.qcow2\", \"size\": \"160k\"}]}";

int library_with(struct qimg_context *context, const char *name, bool writable,
                 int (*on)(struct qimg_image *image, struct qimg_error *err),
                 struct qimg_error *err)
{
    const struct qimg_open_options how = { .format = "qcow2",
                                           .writable = writable,
                                           .check = strcmp(name, "leaky.qcow2") == 0 };
    struct qimg_image *image;

    TRY(qimg_image_open(context, name, &how, &image, err));
    const int rc = on(image, err);
    qimg_image_close(image);
    return rc;
}

/* --- in place --------------------------------------------------------------------------------- */

static int amend_one(struct qimg_image *image, const char *key, const char *value,
                     struct qimg_error *err)
{
    const struct qimg_option option = { key, value };
    const struct qimg_amend_options how = { .options = &option, .option_count = 1 };

    return qimg_image_amend(image, &how, err);
}

static int amend_counts(struct qimg_image *image, struct qimg_error *err)
{
    return amend_one(image, "refcount_bits", "64", err);
}

static int amend(struct qimg_context *context, struct qimg_error *err)
{
    return library_with(context, "disk.qcow2", true, amend_counts, err);
}

static int amend_version(struct qimg_image *image, struct qimg_error *err)
{
    return amend_one(image, "compat", "v2", err);
}

static int downgrade(struct qimg_context *context, struct qimg_error *err)
{
    return library_with(context, "marked.qcow2", true, amend_version, err);
}

static int change_bitmaps(struct qimg_image *image, struct qimg_error *err)
{
    const struct qimg_bitmap_action actions[] = {
        { .verb = QIMG_BITMAP_ADD, .name = "new", .granularity = 512 },
        { .verb = QIMG_BITMAP_MERGE, .name = "new", .source = "b" },
        { .verb = QIMG_BITMAP_DISABLE, .name = "new" },
        { .verb = QIMG_BITMAP_CLEAR, .name = "b" },
        { .verb = QIMG_BITMAP_ENABLE, .name = "new" },
        { .verb = QIMG_BITMAP_REMOVE, .name = "b" },
    };

    return qimg_image_change_bitmaps(image, actions, ARRAY_COUNT(actions), err);
}

static int bitmap(struct qimg_context *context, struct qimg_error *err)
{
    return library_with(context, "marked.qcow2", true, change_bitmaps, err);
}

static int repair(struct qimg_image *image, struct qimg_error *err)
{
    const struct qimg_check_options how = { .fix = QIMG_CHECK_FIX_ALL,
                                            .undo_name = "undo",
                                            .explain = true };
    struct qimg_check_result found;

    TRY(qimg_image_check(image, &how, &found, err));
    return found.check_errors ? qimg_fail(err, EIO, "check could not look at all") : 0;
}

static int check(struct qimg_context *context, struct qimg_error *err)
{
    return library_with(context, "leaky.qcow2", true, repair, err);
}

static int resize_to(struct qimg_image *image, uint64_t size, enum qimg_preallocation preallocation,
                     struct qimg_error *err)
{
    const struct qimg_resize_options how = { .size = size,
                                             .shrink = true,
                                             .preallocation = preallocation };

    return qimg_image_resize(image, &how, err);
}

static int grow_image(struct qimg_image *image, struct qimg_error *err)
{
    return resize_to(image, 3 * MiB, QIMG_PREALLOC_OFF, err);
}

static int grow(struct qimg_context *context, struct qimg_error *err)
{
    return library_with(context, "disk.qcow2", true, grow_image, err);
}

static int fill_image(struct qimg_image *image, struct qimg_error *err)
{
    return resize_to(image, 200 * KiB, QIMG_PREALLOC_FULL, err);
}

static int grow_full(struct qimg_context *context, struct qimg_error *err)
{
    return library_with(context, "marked.qcow2", true, fill_image, err);
}

static int shrink_image(struct qimg_image *image, struct qimg_error *err)
{
    return resize_to(image, 50 * KiB, QIMG_PREALLOC_OFF, err);
}

static int shrink(struct qimg_context *context, struct qimg_error *err)
{
    return library_with(context, "disk.qcow2", true, shrink_image, err);
}

static int create_snapshot(struct qimg_image *image, struct qimg_error *err)
{
    return qimg_snapshot_create(image, "new", NULL, err);
}

static int snapshot_create(struct qimg_context *context, struct qimg_error *err)
{
    return library_with(context, "disk.qcow2", true, create_snapshot, err);
}

static int apply_snapshot(struct qimg_image *image, struct qimg_error *err)
{
    return qimg_snapshot_apply(image, "s", NULL, err);
}

static int snapshot_apply(struct qimg_context *context, struct qimg_error *err)
{
    return library_with(context, "disk.qcow2", true, apply_snapshot, err);
}

static int delete_snapshot(struct qimg_image *image, struct qimg_error *err)
{
    return qimg_snapshot_delete(image, "s", NULL, err);
}

static int snapshot_delete(struct qimg_context *context, struct qimg_error *err)
{
    return library_with(context, "disk.qcow2", true, delete_snapshot, err);
}

/* --- requests --------------------------------------------------------------------------------- */

static int requests(struct qimg_image *image, struct qimg_error *err)
{
    static uint8_t buf[40 * KiB];

    memset(buf, 9, sizeof(buf));
    TRY(qimg_image_write(image, 3 * KiB, buf, 5 * KiB, err));
    TRY(qimg_image_write(image, 70 * KiB, buf, 30 * KiB, err));
    TRY(qimg_image_write_zeroes(image, 10 * KiB, 10 * KiB, QIMG_ZERO_MAY_UNMAP, err));
    TRY(qimg_image_discard(image, 100 * KiB, 8 * KiB, err));
    TRY(qimg_image_flush(image, err));
    TRY(qimg_image_write_compressed(image, 120 * KiB, buf, 4 * KiB, err));
    TRY(qimg_image_read(image, 0, buf, sizeof(buf), err));
    return qimg_image_finish(image, err);
}

static int io(struct qimg_context *context, struct qimg_error *err)
{
    return library_with(context, "disk.qcow2", true, requests, err);
}

static int wait_for(struct qimg_queue *queue, unsigned count, struct qimg_error *err)
{
    struct qimg_completion done[16];
    int rc = 0;

    while (count > 0) {
        const int n = qimg_queue_wait(queue, done, ARRAY_COUNT(done), 1);
        for (int i = 0; i < n; i++)
            rc = done[i].result < 0 ? done[i].result : rc;
        if (n <= 0)
            return qimg_fail(err, EIO, "nothing comes back");
        count -= (unsigned)n;
    }
    return rc < 0 ? qimg_fail_errno(err, -rc, "a request") : 0;
}

static int queue_requests(struct qimg_image *image, struct qimg_error *err)
{
    static uint8_t buf[8][4 * KiB];
    struct qimg_queue *queue;
    unsigned sent = 0;
    int rc = 0;

    TRY(qimg_queue_new(image, 16, &queue, err));
    for (unsigned i = 0; rc == 0 && i < 8; i++, sent += rc == 0)
        rc = i % 2
                 ? qimg_queue_write(queue, i * 16 * KiB, memset(buf[i], 7, 4 * KiB), 4 * KiB, NULL)
                 : qimg_queue_read(queue, i * 16 * KiB, buf[i], 4 * KiB, NULL);
    if (rc < 0)
        (void)qimg_fail_errno(err, -rc, "sending");
    const int waited = wait_for(queue, sent, rc < 0 ? &(struct qimg_error){ 0 } : err);
    qimg_queue_free(queue);
    TRY(rc < 0 ? rc : waited);
    return qimg_image_finish(image, err);
}

static int bench(struct qimg_context *context, struct qimg_error *err)
{
    return library_with(context, "disk.qcow2", true, queue_requests, err);
}

/* --- looking ---------------------------------------------------------------------------------- */

static int visit(void *user, const struct qimg_info *about)
{
    (void)user;
    (void)about;
    return 0;
}

static int info(struct qimg_context *context, struct qimg_error *err)
{
    const struct qimg_open_options how = { .format = NULL, .info_only = true };

    return qimg_chain_info(context, "disk.qcow2", &how, true, visit, NULL, err);
}

static int map_image(struct qimg_image *image, struct qimg_error *err)
{
    struct qimg_range range = { 0, qimg_image_size(image) };
    struct qimg_extent extents[4];

    while (range.len > 0) {
        const int n = qimg_image_map(image, range, true, extents, ARRAY_COUNT(extents), err);
        TRY(n);
        for (int i = 0; i < n; i++) {
            range.off += extents[i].len;
            range.len -= extents[i].len;
        }
    }
    return 0;
}

static int map(struct qimg_context *context, struct qimg_error *err)
{
    return library_with(context, "disk.qcow2", false, map_image, err);
}

static int measure_image(struct qimg_image *image, struct qimg_error *err)
{
    const struct qimg_measure_options how = { .source = image, .format = "qcow2" };
    struct qimg_measure_result result;

    return qimg_measure(&how, &result, err);
}

static int measure(struct qimg_context *context, struct qimg_error *err)
{
    return library_with(context, "marked.qcow2", false, measure_image, err);
}

const struct library_job image_jobs[] = {
    { .command = "amend", .run = amend, .images = { "disk.qcow2" } },
    { .command = "amend", .run = downgrade, .images = { "marked.qcow2" } },
    { .command = "bench", .run = bench, .images = { "disk.qcow2" } },
    { .command = "bitmap", .run = bitmap, .images = { "marked.qcow2" } },
    { .command = "check", .run = check, .images = { "leaky.qcow2" }, .suspect = true },
    { .command = "info", .run = info, .images = { "disk.qcow2" } },
    { .command = "io", .run = io, .images = { "disk.qcow2" } },
    { .command = "map", .run = map, .images = { "disk.qcow2" } },
    { .command = "measure", .run = measure, .images = { "marked.qcow2" } },
    { .command = "resize", .run = grow, .images = { "disk.qcow2" } },
    { .command = "resize", .run = grow_full, .images = { "marked.qcow2" } },
    { .command = "resize", .run = shrink, .images = { "disk.qcow2" } },
    { .command = "snapshot", .run = snapshot_create, .images = { "disk.qcow2" } },
    { .command = "snapshot", .run = snapshot_apply, .images = { "disk.qcow2" } },
    { .command = "snapshot", .run = snapshot_delete, .images = { "disk.qcow2" } },
    { .command = NULL },
};
