/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "bits.h"
#include "engines.h"
#include "io_sim.h"

static int try_open(struct rig *rig, const char *name, bool writable, bool create)
{
    const struct io_open_options options = { .writable = writable, .create = create };
    struct io_file *file = NULL;
    const int rc = io_file_open(rig->engine, name, &options, &file);

    io_file_close(file);
    return rc;
}

Test(file, only_regular_files_and_block_devices_are_opened, .timeout = 10)
{
    struct rig rig;
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    rig_real(&rig, IO_ENGINE_AUTO);
    cr_assert_eq(mkfifo(rig_path(&rig, "fifo"), 0600), 0);
    cr_assert_eq(mkdir(rig_path(&rig, "dir"), 0700), 0);
    const int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", rig_path(&rig, "socket"));
    cr_assert_eq(bind(sock, (struct sockaddr *)&address, sizeof(address)), 0);

    const char *names[] = { rig_path(&rig, "fifo"), rig_path(&rig, "dir"), rig_path(&rig, "socket"),
                            "/dev/null", "/dev/tty" };
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        for (int how = 0; how < 3; how++) {
            const int rc = try_open(&rig, names[i], how > 0, how > 1);
            const bool said =
                (i == 1 && how > 0 && rc == -EISDIR) || ((i == 2 || i == 4) && rc == -ENXIO);
            cr_expect(said || (i != 2 && rc == -EMEDIUMTYPE), "%s: how %d: %s", names[i], how,
                      strerror(-rc));
        }
    }
    cr_expect_eq(try_open(&rig, rig_path(&rig, "absent"), false, false), -ENOENT);
    close(sock);
    rig_teardown(&rig);
}

Test(file, create_tells_whether_it_made_the_file_and_never_truncates)
{
    struct rig rig;
    const struct io_open_options options = { .writable = true, .create = true };
    struct io_file *file;
    struct io_stat st;

    rig_real(&rig, IO_ENGINE_AUTO);
    cr_assert_eq(io_file_open(rig.engine, rig_path(&rig, "a"), &options, &file), 0);
    cr_expect(file->created);
    cr_assert_eq(io_write_exact(file, 0, "hello", 5), 0);
    io_file_close(file);
    cr_assert_eq(io_file_open(rig.engine, rig_path(&rig, "a"), &options, &file), 0);
    cr_expect_not(file->created);
    cr_assert_eq(io_stat(file, &st), 0);
    cr_expect_eq(st.size, 5);
    io_file_close(file);

    cr_assert_eq(symlink(rig_path(&rig, "target"), rig_path(&rig, "link")), 0);
    cr_assert_eq(io_file_open(rig.engine, rig_path(&rig, "link"), &options, &file), 0);
    cr_expect_not(file->created, "the link was there before");
    cr_expect_eq(access(rig_path(&rig, "target"), F_OK), 0);
    io_file_close(file);
    rig_teardown(&rig);
}

Test(file, names_start_in_the_directory_in_which_the_engine_was_made)
{
    struct rig outer, rig;

    rig_real(&outer, IO_ENGINE_AUTO);
    cr_assert_eq(chdir(outer.dir), 0);
    rig_real(&rig, IO_ENGINE_AUTO);
    cr_assert_eq(chdir("/"), 0);
    cr_expect_eq(try_open(&rig, "here", true, true), 0);
    cr_expect_eq(access(rig_path(&outer, "here"), F_OK), 0);
    cr_expect_eq(io_sync_directory(rig.engine, "here"), 0);
    cr_expect_eq(io_sync_directory(rig.engine, rig_path(&outer, "here")), 0);
    cr_expect_eq(io_unlink(rig.engine, "here"), 0);
    cr_expect_eq(access(rig_path(&outer, "here"), F_OK), -1);
    cr_expect_eq(io_unlink(rig.engine, "here"), -ENOENT);
    rig_teardown(&rig);
    rig_teardown(&outer);
}

Test(file, o_direct_is_refused_where_there_is_none_and_leaves_no_file)
{
    struct rig rig;
    const struct io_open_options options = { .writable = true, .create = true, .direct = true };
    struct io_file *file = NULL;

    /* procfs has no O_DIRECT and sysfs neither; their files are regular. */
    rig_real(&rig, IO_ENGINE_AUTO);
    const struct io_open_options read_only = { .direct = true };
    cr_expect_eq(io_file_open(rig.engine, "/proc/self/status", &read_only, &file), -EINVAL);
    const int rc = io_file_open(rig.engine, rig_path(&rig, "a"), &options, &file);
    if (rc == -EINVAL)
        cr_expect_eq(access(rig_path(&rig, "a"), F_OK), -1, "a file was left behind");
    io_file_close(file);
    rig_teardown(&rig);
}

Test(file, flags_of_an_open_file_are_what_was_asked_for)
{
    struct rig rig;
    const struct io_open_options cases[] = {
        { .writable = true, .create = true },
        { .writable = false },
        { .writable = true, .write_through = true },
    };

    rig_real(&rig, IO_ENGINE_AUTO);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct io_file *file;
        bool found = false;

        cr_assert_eq(io_file_open(rig.engine, rig_path(&rig, "a"), &cases[i], &file), 0);
        for (int fd = 3; fd < 64; fd++) {
            struct stat st;
            if (fstat(fd, &st) < 0 || st.st_ino != file->inode || st.st_dev != file->device)
                continue;
            const int flags = fcntl(fd, F_GETFL);
            found = true;
            cr_expect_eq(flags & O_NONBLOCK, 0, "case %zu", i);
            cr_expect_eq(!!(flags & O_DSYNC), cases[i].write_through, "case %zu", i);
            cr_expect_eq(flags & O_ACCMODE, cases[i].writable ? O_RDWR : O_RDONLY);
            cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC, "case %zu", i);
        }
        cr_expect(found);
        io_file_close(file);
    }
    rig_teardown(&rig);
}

Test(file, a_failed_sync_is_final)
{
    struct io_engine *engine;
    struct io_file *file;
    const struct io_open_options options = { .writable = true, .create = true };

    cr_assert_eq(io_sim_new(NULL, NULL, &engine), 0);
    cr_assert_eq(io_file_open(engine, "a", &options, &file), 0);
    cr_assert_eq(io_write_exact(file, 0, "x", 1), 0);
    io_sim_fault(engine, io_sim_operations(engine) + 1, IO_SIM_EIO, false);
    cr_expect_eq(io_sync(file), -EIO);
    cr_expect_eq(io_sync(file), -EIO, "the second answer must not be believed");

    struct io_queue *queue;
    struct io_request request = { .op = IO_SYNC, .file = file };
    cr_assert_eq(io_queue_new(engine, &(struct io_queue_profile){ .depth = 1 }, &queue), 0);
    io_queue_add(queue, &request);
    cr_assert_eq(io_queue_run(queue, 1), 1);
    cr_expect_eq(request.result, -EIO);
    io_queue_free(queue);
    io_file_close(file);
    io_engine_free(engine);
}

Test(file, no_flush_syncs_nothing)
{
    struct io_engine *engine;
    struct io_file *file;
    const struct io_open_options options = { .writable = true, .create = true, .no_flush = true };

    cr_assert_eq(io_sim_new(NULL, NULL, &engine), 0);
    cr_assert_eq(io_file_open(engine, "a", &options, &file), 0);
    const uint64_t before = io_sim_operations(engine);
    cr_expect_eq(io_sync(file), 0);
    cr_expect_eq(io_sim_operations(engine), before);
    io_file_close(file);
    io_engine_free(engine);
}
