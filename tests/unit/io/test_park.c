/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bits.h"
#include "engines.h"
#include "tier.h"

#define FILES 300

static void limit_descriptors(rlim_t soft, rlim_t hard)
{
    const struct rlimit limit = { soft, hard };

    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static const char *name_of(struct rig *rig, unsigned i)
{
    char name[32];

    snprintf(name, sizeof(name), "f%u", i);
    return rig_path(rig, name);
}

static void make_files(struct rig *rig, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        FILE *file = fopen(name_of(rig, i), "w");
        cr_assert_not_null(file);
        fprintf(file, "file %04u", i);
        fclose(file);
    }
}

static void open_files(struct rig *rig, struct io_file **files, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct io_open_options options = { .direct = false };
        const int rc = io_file_open(rig->engine, name_of(rig, i), &options, &files[i]);
        cr_assert_eq(rc, 0, "file %u: %s", i, strerror(-rc));
    }
}

static void expect_content(const char *text, unsigned i)
{
    char want[32];

    snprintf(want, sizeof(want), "file %04u", i);
    cr_expect_eq(memcmp(text, want, 9), 0, "file %u reads %.9s", i, text);
}

/* 300 files under a hard limit of 64: all by exact reads, then all in one queue at once. */
static unsigned many_files(enum io_engine_choice choice)
{
    static struct io_file *files[FILES];
    static struct io_request requests[FILES];
    static struct iovec pieces[FILES];
    static char text[FILES][16];
    struct rig rig;
    struct io_queue *queue;

    rig_real(&rig, choice);
    make_files(&rig, FILES);
    open_files(&rig, files, FILES);
    for (unsigned i = 0; i < FILES; i++) {
        cr_assert_eq(io_read_exact(files[i], 0, text[i], 9, NULL), 0, "file %u", i);
        expect_content(text[i], i);
    }
    memset(text, 0, sizeof(text));
    cr_assert_eq(io_queue_new(rig.engine, &(struct io_queue_profile){ .depth = 256 }, &queue), 0);
    for (unsigned i = 0; i < FILES; i++) {
        pieces[i] = (struct iovec){ text[i], 9 };
        requests[i] = (struct io_request){
            .op = IO_READ, .file = files[i], .len = 9, .iov = &pieces[i], .iov_count = 1
        };
        io_queue_add(queue, &requests[i]);
    }
    unsigned done = 0;
    while (done < FILES)
        done += io_queue_run(queue, 1);
    unsigned right = 0;
    for (unsigned i = 0; i < FILES; i++) {
        cr_expect_eq(requests[i].result, 0, "file %u: %s", i, strerror(-requests[i].result));
        expect_content(text[i], i);
        right += requests[i].result == 0;
        io_file_close(files[i]);
    }
    io_queue_free(queue);
    rig_teardown(&rig);
    return right;
}

Test(park, three_hundred_files_under_a_limit_of_64_with_threads, .timeout = 60)
{
    limit_descriptors(64, 64);
    cr_expect_eq(many_files(IO_ENGINE_THREADS), FILES);
}

Test(park, three_hundred_files_under_a_limit_of_64_with_io_uring, .timeout = 60)
{
    if (emulated())
        cr_skip_test("an emulator has no io_uring");
    limit_descriptors(64, 64);
    cr_expect_eq(many_files(IO_ENGINE_URING), FILES);
}

Test(park, the_soft_limit_is_raised_before_anything_is_parked)
{
    static struct io_file *files[FILES];
    struct rig rig;
    struct rlimit now;

    limit_descriptors(64, 4096);
    rig_real(&rig, IO_ENGINE_AUTO);
    make_files(&rig, FILES);
    open_files(&rig, files, FILES);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &now), 0);
    cr_expect_eq(now.rlim_cur, 4096);
    cr_expect_eq(access("/proc/self/fd/299", F_OK), 0, "all are open");
    for (unsigned i = 0; i < FILES; i++)
        io_file_close(files[i]);
    rig_teardown(&rig);
}

Test(park, a_few_files_do_not_touch_the_limit)
{
    struct rig rig;
    struct rlimit now;

    limit_descriptors(64, 4096);
    rig_real(&rig, IO_ENGINE_AUTO);
    io_file_close(rig_create(&rig, "a"));
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &now), 0);
    cr_expect_eq(now.rlim_cur, 64);
    rig_teardown(&rig);
}

Test(park, a_name_that_is_another_file_now_is_stale)
{
    static struct io_file *files[100];
    struct rig rig;
    char byte;

    limit_descriptors(64, 64);
    rig_real(&rig, IO_ENGINE_AUTO);
    make_files(&rig, 100);
    open_files(&rig, files, 100); /* file 0 is long parked */
    cr_assert_eq(rename(name_of(&rig, 1), name_of(&rig, 0)), 0);
    cr_expect_eq(io_read_exact(files[0], 0, &byte, 1, NULL), -ESTALE);
    cr_expect_eq(io_read_exact(files[1], 0, &byte, 1, NULL), -ESTALE, "its name is gone");
    cr_expect_eq(io_read_exact(files[2], 0, &byte, 1, NULL), 0);
    for (unsigned i = 0; i < 100; i++)
        io_file_close(files[i]);
    rig_teardown(&rig);
}

Test(park, locks_come_back_with_the_descriptor)
{
    static struct io_file *files[100];
    const struct io_lock reads = { IO_PERM_CONSISTENT_READ, IO_PERM_WRITE };
    const struct io_lock writes = { IO_PERM_WRITE, 0 };
    const struct io_open_options writable = { .writable = true };
    struct io_lock_conflict conflict;
    struct io_file *other;
    struct rig rig;
    char byte;

    limit_descriptors(64, 64);
    rig_real(&rig, IO_ENGINE_AUTO);
    make_files(&rig, 100);
    open_files(&rig, files, 1);
    cr_assert_eq(io_lock(files[0], reads, &conflict), 0);
    open_files(&rig, files + 1, 99); /* opens 0..98 again; the first one is parked */
    cr_assert_eq(io_file_open(rig.engine, name_of(&rig, 0), &writable, &other), 0);
    cr_expect_eq(io_lock(other, writes, &conflict), 0, "a parked file holds no locks");
    cr_expect_eq(io_read_exact(files[0], 0, &byte, 1, NULL), -EAGAIN);
    cr_assert_eq(io_lock(other, (struct io_lock){ 0 }, &conflict), 0);
    cr_expect_eq(io_read_exact(files[0], 0, &byte, 1, NULL), 0);
    cr_expect_eq(io_lock(other, writes, &conflict), -EAGAIN, "and now it does again");
    io_file_close(other);
    for (unsigned i = 0; i < 100; i++)
        io_file_close(files[i]);
    rig_teardown(&rig);
}
