/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that runs out at every single allocation of opening, reading and writing, on real files:
 * the linker sends the allocations of the library through here (--wrap), and the n-th one fails,
 * for every n, once and from then on. Each run ends with an error that says something, or with
 * its whole work; nothing crashes or leaks (under AddressSanitizer), and the image is sound.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "fail.h"
#include "fail_point.h"
#include "qimg/check.h"
#include "qimg/context.h"
#include "qimg/write.h"

#define FLOOR 80 /* allocations of one image, in one mode */

/* --- the work --------------------------------------------------------------------------------- */

static const struct subject {
    const char *name, *options;
    unsigned cluster_size;
} subjects[] = {
    { "64k", "cluster_size=64k", 65536 },
    { "4k, backing", "cluster_size=4k", 4096 },
    { "512", "cluster_size=512,refcount_bits=64", 512 },
    { "subclusters", "cluster_size=64k,extended_l2=on", 65536 },
};

#define SIZE (512 * KiB)

static void must(int rc, const struct qimg_error *err, const char *what)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "memory: %s: %s\n", what, err->text);
    exit(1);
}

static void make(const struct subject *s)
{
    char command[300];

    (void)snprintf(command, sizeof(command),
                   "qemu-img create -q -f qcow2 -o %s %s disk %" PRIu64 " && "
                   "qemu-io -f qcow2 -c 'write -P 1 0 100k' -c 'write -c -P 2 128k %u' disk "
                   ">/dev/null",
                   s->options, strstr(s->name, "backing") ? "-b base -F raw" : "", (uint64_t)SIZE,
                   s->cluster_size);
    if (system(command) != 0)
        exit(1);
}

static int work_on(struct qimg_image *image, const struct subject *s, uint8_t *buf,
                   struct qimg_error *err)
{
    TRY(qimg_image_read(image, 0, buf, SIZE, err));
    TRY(qimg_image_write(image, 1000, buf, 5000, err));
    TRY(qimg_image_write(image, 128 * KiB + 512, buf, 512, err));
    TRY(qimg_image_write(image, 300 * KiB, buf, 70 * KiB, err));
    TRY(qimg_image_write_zeroes(image, 8 * KiB, 40 * KiB, QIMG_ZERO_MAY_UNMAP, err));
    TRY(qimg_image_discard(image, 64 * KiB, 30 * KiB, err));
    TRY(qimg_image_flush(image, err));
    memset(buf, 7, s->cluster_size);
    TRY(qimg_image_write_compressed(image, 448 * KiB, buf, s->cluster_size, err));
    return qimg_image_read(image, 1000, buf, 5000, err);
}

static int work(struct qimg_context *context, const struct subject *s, uint8_t *buf,
                struct qimg_error *err)
{
    const struct qimg_open_options how = { .format = "qcow2", .writable = true };
    struct qimg_image *image;

    TRY(qimg_image_open(context, "disk", &how, &image, err));
    const int rc = work_on(image, s, buf, err);
    struct qimg_error end;
    const int ended = qimg_image_finish(image, rc < 0 ? &end : err);
    qimg_image_close(image);
    return rc < 0 ? rc : ended;
}

struct point {
    uint64_t number; /* of the allocation that fails ... */
    bool forever;    /* ... with all behind it */
    uint64_t met;    /* so many there were */
};

static int run(const struct subject *s, struct point *at, struct qimg_error *err)
{
    const struct qimg_context_options how = { .engine = QIMG_ENGINE_THREADS, .threads = 1 };
    struct qimg_context *context;
    uint8_t *buf = malloc(SIZE);

    if (!buf)
        abort();
    fail_arm(FAIL_MEMORY, at->number, at->forever);
    int rc = qimg_context_new(&how, &context, err);
    if (rc == 0) {
        rc = work(context, s, buf, err);
        qimg_context_free(context);
    }
    at->met = fail_disarm();
    free(buf);
    return rc;
}

static bool sound(void)
{
    const struct qimg_open_options how = { .format = "qcow2", .check = true, .no_backing = true };
    const struct qimg_check_options options = { .fix = QIMG_CHECK_FIX_NONE };
    struct qimg_check_result result;
    struct qimg_context *context;
    struct qimg_image *image;
    struct qimg_error err;

    must(qimg_context_new(NULL, &context, &err), &err, "context");
    must(qimg_image_open(context, "disk", &how, &image, &err), &err, "open");
    must(qimg_image_check(image, &options, &result, &err), &err, "check");
    qimg_image_close(image);
    qimg_context_free(context);
    return result.corruptions == 0 && result.check_errors == 0;
}

/* --- all of them ------------------------------------------------------------------------------ */

static unsigned try_subject(const struct subject *s, bool forever)
{
    struct point at = { .forever = forever };
    unsigned wrong = 0;
    uint64_t reported = 0;

    make(s);
    if (system("cp disk pristine") != 0)
        exit(1);
    for (at.number = 1;; at.number++) {
        struct qimg_error err;
        qimg_error_clear(&err);
        if (system("cp pristine disk") != 0)
            exit(1);
        const int rc = run(s, &at, &err);
        reported += rc < 0;
        if (rc < 0 && err.text[0] == '\0' && ++wrong)
            printf("%s: allocation %" PRIu64 " fails without a word\n", s->name, at.number);
        if (!sound() && ++wrong)
            printf("%s: allocation %" PRIu64 " leaves a bad image\n", s->name, at.number);
        if (at.met < at.number)
            break;
    }
    printf("%s%s: %" PRIu64 " allocations, %" PRIu64 " reported\n", s->name,
           forever ? ", from then on" : "", at.met, reported);
    return wrong + (at.met < FLOOR);
}

int main(void)
{
    char folder[] = "/tmp/qimg-memory-XXXXXX", command[80];
    unsigned wrong = 0;

    if (!mkdtemp(folder) || chdir(folder) < 0 || system("truncate -s 300K base") != 0)
        return 1;
    for (size_t i = 0; i < ARRAY_COUNT(subjects); i++) {
        for (int forever = 0; forever < 2; forever++)
            wrong += try_subject(&subjects[i], forever);
    }
    (void)snprintf(command, sizeof(command), "rm -r %s", folder);
    (void)!system(command);
    return wrong != 0;
}
