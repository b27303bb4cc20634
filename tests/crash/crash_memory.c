/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that runs out at every single allocation of opening, reading and writing, on real files:
 * the linker sends the allocations of the library through here (--wrap), and the n-th one fails,
 * for every n, once and from then on. Each run ends with an error that says something, or with
 * its whole work; nothing crashes or leaks (under AddressSanitizer), and the image is sound.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "fail.h"
#include "qimg/check.h"
#include "qimg/context.h"
#include "qimg/write.h"

#define FLOOR 80 /* allocations of one image, in one mode */

/* --- failing ---------------------------------------------------------------------------------- */

static atomic_bool counting;
static atomic_uint_least64_t calls;
static uint64_t failing; /* this call fails; 0 = none */
static bool forever;     /* and all behind it */

void *__real_malloc(size_t len);
void *__real_calloc(size_t n, size_t len);
void *__real_realloc(void *p, size_t len);
void *__real_reallocarray(void *p, size_t n, size_t len);
void *__real_aligned_alloc(size_t unit, size_t len);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t len);
void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t n, size_t len);
void *__wrap_realloc(void *p, size_t len);
void *__wrap_reallocarray(void *p, size_t n, size_t len);
void *__wrap_aligned_alloc(size_t unit, size_t len);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t len);
int __real_posix_memalign(void **out, size_t unit, size_t len);
int __wrap_posix_memalign(void **out, size_t unit, size_t len);

static bool fails(void)
{
    if (!atomic_load(&counting))
        return false;
    const uint64_t call = atomic_fetch_add(&calls, 1) + 1;
    if (failing == 0 || (forever ? call < failing : call != failing))
        return false;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t len)
{
    return fails() ? NULL : __real_malloc(len);
}

void *__wrap_calloc(size_t n, size_t len)
{
    return fails() ? NULL : __real_calloc(n, len);
}

void *__wrap_realloc(void *p, size_t len)
{
    return fails() ? NULL : __real_realloc(p, len);
}

void *__wrap_reallocarray(void *p, size_t n, size_t len)
{
    return fails() ? NULL : __real_reallocarray(p, n, len);
}

void *__wrap_aligned_alloc(size_t unit, size_t len)
{
    return fails() ? NULL : __real_aligned_alloc(unit, len);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t len)
{
    return fails() ? NULL : __real_strndup(text, len);
}

int __wrap_posix_memalign(void **out, size_t unit, size_t len)
{
    return fails() ? ENOMEM : __real_posix_memalign(out, unit, len);
}

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

static int run(const struct subject *s, struct qimg_error *err)
{
    const struct qimg_context_options how = { .engine = QIMG_ENGINE_THREADS, .threads = 1 };
    struct qimg_context *context;
    uint8_t *buf = __real_malloc(SIZE);

    if (!buf)
        abort();
    atomic_store(&calls, 0);
    atomic_store(&counting, true);
    int rc = qimg_context_new(&how, &context, err);
    if (rc == 0) {
        rc = work(context, s, buf, err);
        qimg_context_free(context);
    }
    atomic_store(&counting, false);
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

static unsigned try_subject(const struct subject *s)
{
    unsigned wrong = 0;
    uint64_t reported = 0;

    failing = 0;
    make(s);
    if (system("cp disk pristine") != 0)
        exit(1);
    for (failing = 1;; failing++) {
        struct qimg_error err;
        qimg_error_clear(&err);
        if (system("cp pristine disk") != 0)
            exit(1);
        const int rc = run(s, &err);
        reported += rc < 0;
        if (rc < 0 && err.text[0] == '\0' && ++wrong)
            printf("%s: allocation %" PRIu64 " fails without a word\n", s->name, failing);
        if (!sound() && ++wrong)
            printf("%s: allocation %" PRIu64 " leaves a bad image\n", s->name, failing);
        if (atomic_load(&calls) < failing)
            break;
    }
    printf("%s%s: %" PRIu64 " allocations, %" PRIu64 " reported\n", s->name,
           forever ? ", from then on" : "", failing - 1, reported);
    return wrong + (failing - 1 < FLOOR);
}

int main(void)
{
    char folder[] = "/tmp/qimg-memory-XXXXXX", command[80];
    unsigned wrong = 0;

    if (!mkdtemp(folder) || chdir(folder) < 0 || system("truncate -s 300K base") != 0)
        return 1;
    for (size_t i = 0; i < ARRAY_COUNT(subjects); i++) {
        for (int mode = 0; mode < 2; mode++) {
            forever = mode;
            wrong += try_subject(&subjects[i]);
        }
    }
    (void)snprintf(command, sizeof(command), "rm -r %s", folder);
    (void)!system(command);
    return wrong != 0;
}
