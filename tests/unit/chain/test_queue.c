/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "bits.h"
#include "qimg/image.h"
#include "scratch.h"
#include "tier.h"

static char *directory;
static struct qimg_context *context;

static void set_up(void)
{
    struct qimg_error err;
    directory = scratch_new();
    cr_assert_eq(chdir(directory), 0);
    cr_assert_eq(qimg_context_new(NULL, &context, &err), 0);
    /* Made by the oracle: compressed clusters below, half of one overwritten above. */
    cr_assert_eq(system("qemu-img create -q -f qcow2 base 1M && "
                        "qemu-io -c 'write -c -P 5 0 64k' -c 'write -c -P 6 64k 64k' "
                        "-c 'write -P 7 128k 64k' base >/dev/null && "
                        "qemu-img create -q -f qcow2 -o cluster_size=4k -b base -F qcow2 top && "
                        "qemu-io -c 'write -P 8 32k 4k' top >/dev/null"),
                 0);
}

static void tear_down(void)
{
    qimg_context_free(context);
    scratch_remove(directory);
}

TestSuite(queue, .init = set_up, .fini = tear_down);
TestSuite(info, .init = set_up, .fini = tear_down);

static uint8_t byte_at(uint64_t off)
{
    if (off >= 32 * KiB && off < 36 * KiB)
        return 8;
    return off < 192 * KiB ? (uint8_t)(5 + off / (64 * KiB)) : 0;
}

/* How often two reads were handed over before anybody waited for them. */
static uint64_t sent_early(enum qimg_cache cache)
{
    static _Alignas(4096) uint8_t buf[2][4096];
    const struct qimg_open_options how = { .cache = cache };
    struct qimg_stats before, after;
    struct qimg_queue *queue = NULL;
    struct qimg_image *image = NULL;
    struct qimg_error err;
    uint64_t off = 0;

    cr_assert_eq(qimg_image_open(context, "base", &how, &image, &err), 0, "%s", err.text);
    cr_assert_eq(qimg_image_read(image, 128 * KiB, buf[0], 4096, &err), 0); /* loads the map */
    cr_assert_eq(qimg_queue_new(image, 32, &queue, &err), 0, "%s", err.text);
    qimg_context_stats(context, &before);
    for (unsigned i = 0; i < 2; i++, off += 4096)
        cr_assert_eq(qimg_queue_read(queue, 128 * KiB + off, buf[i], 4096, NULL), 0);
    qimg_context_stats(context, &after);
    qimg_queue_free(queue);
    qimg_image_close(image);
    return after.submits - before.submits;
}

Test(queue, a_device_is_not_left_idle_while_requests_gather)
{
    cr_expect_eq(sent_early(QIMG_CACHE_NONE), 1);
    cr_expect_eq(sent_early(QIMG_CACHE_WRITEBACK), 0);
}

Test(queue, many_reads_complete_each_with_its_tag_and_bytes)
{
    enum { DEPTH = 8, LEN = 24 * 1024 };
    static uint8_t buf[DEPTH][LEN];
    struct qimg_completion done[DEPTH];
    struct qimg_queue *queue = NULL;
    struct qimg_image *image = NULL;
    struct qimg_error err;
    unsigned seen = 0;
    cr_assert_eq(qimg_image_open(context, "top", NULL, &image, &err), 0, "%s", err.text);
    cr_assert_eq(qimg_queue_new(image, DEPTH, &queue, &err), 0, "%s", err.text);
    for (size_t i = 0; i < DEPTH; i++)
        cr_assert_eq(qimg_queue_read(queue, i * LEN + 100, buf[i], LEN, buf[i]), 0);
    cr_expect_eq(qimg_queue_read(queue, 0, buf[0], 1, NULL), -EAGAIN);
    while (seen < DEPTH) {
        const int count = qimg_queue_wait(queue, done, DEPTH, 1);
        cr_assert_gt(count, 0);
        for (int k = 0; k < count; k++) {
            const size_t i = (size_t)((uint8_t(*)[LEN])done[k].tag - buf);
            cr_expect_eq(done[k].result, 0);
            for (size_t b = 0; b < LEN; b++)
                cr_assert_eq(buf[i][b], byte_at(i * LEN + 100 + b), "read %zu byte %zu", i, b);
        }
        seen += (unsigned)count;
    }
    cr_expect_eq(qimg_queue_wait(queue, done, DEPTH, 1), 0);
    qimg_queue_free(queue);
    qimg_image_close(image);
}

Test(queue, reads_past_the_end_are_refused)
{
    struct qimg_image *image = NULL;
    struct qimg_error err;
    uint8_t byte;
    cr_assert_eq(qimg_image_open(context, "top", NULL, &image, &err), 0, "%s", err.text);
    cr_expect_eq(qimg_image_read(image, MiB - 1, &byte, 1, &err), 0);
    cr_expect_eq(qimg_image_read(image, MiB, &byte, 1, &err), -EINVAL);
    cr_expect_eq(qimg_image_read(image, UINT64_MAX, &byte, 1, &err), -EINVAL);
    qimg_image_close(image);
}

static int count_visit(void *user, const struct qimg_info *info)
{
    cr_expect_str_eq(info->format, "qcow2");
    cr_expect_str_eq(info->child->format, "file");
    ++*(int *)user;
    return 0;
}

Test(info, a_chain_is_shown_whole_or_not_at_all)
{
    struct qimg_error err;
    int visits = 0;
    cr_expect_eq(qimg_chain_info(context, "top", NULL, true, count_visit, &visits, &err), 0);
    cr_expect_eq(visits, 2);
    cr_assert_eq(system("rm base && ln -s top base"), 0);
    visits = 0;
    cr_expect_eq(qimg_chain_info(context, "top", NULL, true, count_visit, &visits, &err), -ELOOP);
    cr_expect_str_eq(err.text, "Backing file 'base' creates an infinite loop.");
    cr_assert_eq(unlink("base"), 0);
    cr_expect_eq(qimg_chain_info(context, "top", NULL, true, count_visit, &visits, &err), -ENOENT);
    cr_expect_eq(visits, 0);
}

/* Of the first 64 pages of a file. */
static unsigned pages_cached(const char *name)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t present[64];
    unsigned count = 0;
    const int fd = open(name, O_RDONLY | O_CLOEXEC);
    void *at = mmap(NULL, 64 * page, PROT_READ, MAP_SHARED, fd, 0);
    cr_assert(at != MAP_FAILED && mincore(at, 64 * page, present) == 0);
    for (size_t i = 0; i < 64; i++)
        count += present[i] & 1;
    munmap(at, 64 * page);
    close(fd);
    return count;
}

Test(queue, all_files_of_a_chain_leave_the_page_cache)
{
    static uint8_t buf[1 << 20];
    struct qimg_image *image;
    struct qimg_error err;
    struct statfs fs;
    uint64_t cached;
    if (emulated())
        cr_skip_test("an emulator's mincore() counts the pages of its host");
    cr_assert_eq(qimg_image_open(context, "top", NULL, &image, &err), 0, "%s", err.text);
    cr_assert_eq(qimg_image_read(image, 0, buf, sizeof(buf), &err), 0, "%s", err.text);
    cr_assert(pages_cached("top") > 0 && pages_cached("base") > 0);
    cr_assert_eq(qimg_image_uncache(image, &cached, &err), 0, "%s", err.text);
    cr_assert_eq(statfs(".", &fs), 0);
    if (fs.f_type == TMPFS_MAGIC) /* has no other place for them */
        cr_assert(cached >= 128 * KiB);
    else
        cr_assert(cached == 0 && pages_cached("top") == 0 && pages_cached("base") == 0);
    qimg_image_close(image);
}
