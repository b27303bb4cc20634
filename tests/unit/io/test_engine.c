/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bits.h"
#include "engines.h"
#include "tier.h"

static const struct io_queue_profile direct = { .depth = 8, .direct = true };

/* From here on this process's io_uring_setup() fails so, as under a container's filter. */
static void refuse_rings(unsigned failure)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | failure),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = { ARRAY_COUNT(code), code };

    if (emulated())
        cr_skip_test("an emulator has no filters");
    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

/* Was a file written and read all the same, and the way down noted once? */
static bool works_without_ring(unsigned failure)
{
    struct rig rig;
    struct io_queue *first, *second;
    char text[8] = "";
    struct iovec piece = { text, 4 };

    refuse_rings(failure);
    rig_real(&rig, IO_ENGINE_AUTO);
    struct io_file *file = rig_create(&rig, "a");
    cr_assert_eq(io_write_exact(file, 0, "data", 4), 0);
    cr_expect_str_eq(io_engine_name(rig.engine, &direct), "io_uring", "not tried yet");
    cr_assert_eq(io_queue_new(rig.engine, &direct, &first), 0);
    cr_assert_eq(io_queue_new(rig.engine, &direct, &second), 0);
    cr_expect_str_eq(io_engine_name(rig.engine, &direct), "threads");
    cr_expect_eq(rig.note_count, 1, "noted once: %u", rig.note_count);
    cr_expect(strstr(rig.notes, strerror((int)failure)), "%s", rig.notes);

    struct io_request request = {
        .op = IO_READ, .file = file, .len = 4, .iov = &piece, .iov_count = 1
    };
    io_queue_add(second, &request);
    const unsigned done = io_queue_run(second, 1);
    const bool works =
        done == 1 && request.result == 0 && strcmp(text, "data") == 0 && rig.note_count == 1;
    io_queue_free(first);
    io_queue_free(second);
    io_file_close(file);
    rig_teardown(&rig);
    return works;
}

Test(engine, auto_uses_threads_where_a_filter_says_eperm)
{
    cr_assert(works_without_ring(EPERM));
}

Test(engine, auto_uses_threads_where_the_kernel_says_enosys)
{
    cr_assert(works_without_ring(ENOSYS));
}

Test(engine, auto_uses_threads_where_there_is_no_memory_for_a_ring)
{
    cr_assert(works_without_ring(ENOMEM));
}

Test(engine, io_uring_by_name_fails_where_it_is_refused)
{
    struct rig rig;
    struct io_queue *queue = NULL;

    refuse_rings(EPERM);
    rig_real(&rig, IO_ENGINE_URING);
    cr_expect_eq(io_queue_new(rig.engine, &direct, &queue), -EPERM);
    cr_expect_eq(rig.note_count, 0);
    rig_teardown(&rig);
}

static unsigned entries(const char *path)
{
    DIR *dir = opendir(path);
    unsigned count = 0;

    cr_assert_not_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

Test(engine, opening_and_reading_starts_no_thread_and_makes_no_ring)
{
    struct rig rig;
    char byte = 'x';
    const unsigned threads = entries("/proc/self/task"), open_files = entries("/proc/self/fd");

    rig_real(&rig, IO_ENGINE_AUTO);
    struct io_file *file = rig_create(&rig, "a");
    cr_assert_eq(io_write_exact(file, 0, &byte, 1), 0);
    cr_assert_eq(io_read_exact(file, 0, &byte, 1, NULL), 0);
    cr_expect_eq(entries("/proc/self/task"), threads);
    cr_expect_eq(entries("/proc/self/fd"), open_files + 2, "the directory and the file");
    io_file_close(file);
    rig_teardown(&rig);
    cr_expect_eq(entries("/proc/self/fd"), open_files);
}

Test(engine, small_buffered_reads_from_the_page_cache_start_no_thread)
{
    struct rig rig;
    struct io_queue *queue;
    char block[4096] = "";
    struct iovec piece = { block, sizeof(block) };
    const unsigned threads = entries("/proc/self/task");

    if (emulated())
        cr_skip_test("an emulator has no preadv2()");
    rig_real(&rig, IO_ENGINE_AUTO);
    struct io_file *file = rig_create(&rig, "a");
    cr_assert_eq(io_write_exact(file, 0, block, sizeof(block)), 0);
    cr_assert_eq(io_queue_new(rig.engine, &(struct io_queue_profile){ .depth = 4 }, &queue), 0);
    struct io_request request = {
        .op = IO_READ, .file = file, .len = sizeof(block), .iov = &piece, .iov_count = 1
    };
    io_queue_add(queue, &request);
    cr_expect_eq(io_queue_run(queue, 1), 1);
    cr_expect_eq(entries("/proc/self/task"), threads);
    io_queue_free(queue);
    io_file_close(file);
    rig_teardown(&rig);
}
