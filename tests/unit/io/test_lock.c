/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bits.h"
#include "engines.h"

#define READ  IO_PERM_CONSISTENT_READ
#define WRITE IO_PERM_WRITE
#define SIZE  IO_PERM_RESIZE

/* Facts of QEMU: what each kind of opener takes. */
static const struct io_lock reader = { READ, WRITE | SIZE };
static const struct io_lock writer = { READ | WRITE, WRITE | SIZE };
static const struct io_lock raw_reader = { READ, 0 };
static const struct io_lock raw_writer = { READ | WRITE, 0 };
static const struct io_lock creator = { WRITE | SIZE, SIZE };
static const struct io_lock nothing = { 0, 0 };

static const struct {
    const char *name;
    const struct io_lock *first, *second;
    int want;
    enum io_permission permission;
    bool shared;
} cases[] = {
    { "two readers", &reader, &reader, 0, 0, false },
    { "reader, then writer", &reader, &writer, -EAGAIN, WRITE, false },
    { "writer, then reader", &writer, &reader, -EAGAIN, WRITE, true },
    { "two writers", &writer, &writer, -EAGAIN, WRITE, false },
    { "two raw writers", &raw_writer, &raw_writer, 0, 0, false },
    { "raw writer, then qcow2 reader", &raw_writer, &reader, -EAGAIN, WRITE, true },
    { "raw reader, then writer", &raw_reader, &writer, 0, 0, false },
    { "raw reader, then create", &raw_reader, &creator, 0, 0, false },
    { "reader, then create", &reader, &creator, -EAGAIN, WRITE, false },
    { "create, then reader", &creator, &reader, -EAGAIN, WRITE, true },
    { "nothing, then writer", &nothing, &writer, 0, 0, false },
};

static struct io_file *open_again(struct rig *rig)
{
    const struct io_open_options options = { .writable = true };
    struct io_file *file = NULL;

    cr_assert_eq(io_file_open(rig->engine, rig_path(rig, "a"), &options, &file), 0);
    return file;
}

/* A child takes the first lock and waits to be killed. */
static pid_t holder(struct rig *rig, const struct io_lock *lock)
{
    int ready[2];
    char byte;

    cr_assert_eq(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
        struct io_lock_conflict conflict;
        struct io_file *file = open_again(rig);
        byte = io_lock(file, *lock, &conflict) == 0 ? 'y' : 'n';
        if (write(ready[1], &byte, 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    cr_assert_eq(byte, 'y');
    close(ready[0]);
    close(ready[1]);
    return child;
}

static void end(pid_t child)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

Test(lock, two_processes_exclude_each_other_as_two_qemus_do)
{
    struct rig rig;
    struct io_lock_conflict conflict;

    rig_real(&rig, IO_ENGINE_AUTO);
    io_file_close(rig_create(&rig, "a"));
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const pid_t child = holder(&rig, cases[i].first);
        struct io_file *file = open_again(&rig);

        memset(&conflict, 0xff, sizeof(conflict));
        cr_expect_eq(io_lock(file, *cases[i].second, &conflict), cases[i].want, "%s",
                     cases[i].name);
        if (cases[i].want < 0) {
            cr_expect_eq(conflict.permission, cases[i].permission, "%s: %d", cases[i].name,
                         (int)conflict.permission);
            cr_expect_eq(conflict.shared, cases[i].shared, "%s", cases[i].name);
            cr_expect_eq(conflict.byte, 0, "%s", cases[i].name);
        }
        end(child);
        cr_expect_eq(io_lock(file, *cases[i].second, &conflict), 0, "%s: after its death",
                     cases[i].name);
        io_file_close(file);
    }
    rig_teardown(&rig);
}

Test(lock, the_simulator_and_two_openers_in_one_process_behave_alike)
{
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        for (struct rig rig = { 0 }; rig_next(&rig);) {
            struct io_lock_conflict conflict;
            struct io_file *first = rig_create(&rig, "a"), *second = open_again(&rig);
            cr_assert_eq(io_lock(first, *cases[i].first, &conflict), 0);
            cr_expect_eq(io_lock(second, *cases[i].second, &conflict), cases[i].want, "%s: %s",
                         rig.c->name, cases[i].name);
            if (cases[i].want < 0) {
                cr_expect_eq(conflict.permission, cases[i].permission, "%s", cases[i].name);
                cr_expect_eq(conflict.shared, cases[i].shared, "%s", cases[i].name);
            }
            io_file_close(second);
            io_file_close(first);
        }
    }
}

Test(lock, a_refused_change_keeps_the_old_locks_and_a_smaller_one_frees)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        struct io_lock_conflict conflict;
        struct io_file *first = rig_create(&rig, "a"), *second = open_again(&rig);
        cr_assert_eq(io_lock(first, reader, &conflict), 0);
        cr_assert_eq(io_lock(second, reader, &conflict), 0);
        cr_expect_eq(io_lock(first, writer, &conflict), -EAGAIN, "%s", rig.c->name);
        cr_expect_eq(io_lock(second, writer, &conflict), -EAGAIN, "%s: first still denies",
                     rig.c->name);
        cr_expect_eq(io_lock(first, raw_reader, &conflict), 0, "%s", rig.c->name);
        cr_expect_eq(io_lock(second, writer, &conflict), 0, "%s: first denies no more",
                     rig.c->name);
        io_file_close(second);
        io_file_close(first);
    }
}

/* --- with QEMU ---------------------------------------------------------------------------- */

/* qemu-io that holds @args' image until the pipe is closed. */
static FILE *qemu_holds(struct rig *rig, const char *options)
{
    char command[8192];

    snprintf(command, sizeof(command), "qemu-io %s %s >%s 2>&1", options, rig_path(rig, "q"),
             rig_path(rig, "out"));
    FILE *pipe = popen(command, "w");
    cr_assert_not_null(pipe);
    fputs("read 0 512\n", pipe);
    fflush(pipe);
    for (int i = 0; i < 200; i++) { /* until it has answered */
        char line[256] = "";
        FILE *out = fopen(rig_path(rig, "out"), "r");
        if (out && fgets(line, sizeof(line), out) && strstr(line, "read 512/512")) {
            fclose(out);
            return pipe;
        }
        if (out)
            fclose(out);
        usleep(20000);
    }
    cr_assert_fail("qemu-io did not answer");
    return pipe;
}

/* Runs "@what NAME @rest", with its output in the file "out". */
static int run(struct rig *rig, const char *what, const char *rest)
{
    char command[16384];

    snprintf(command, sizeof(command), "%s %s %s >%s 2>&1", what, rig_path(rig, "q"), rest,
             rig_path(rig, "out"));
    return system(command);
}

Test(lock, qimg_sees_the_locks_of_a_running_qemu, .timeout = 30)
{
    static const struct {
        const char *options;
        const struct io_lock *ours;
        int want;
        enum io_permission permission;
        bool shared;
    } held[] = {
        { "-f qcow2", &reader, -EAGAIN, WRITE, true },
        { "-f qcow2", &writer, -EAGAIN, WRITE, false },
        { "-f qcow2", &raw_reader, 0, 0, false },
        { "-r -f qcow2", &reader, 0, 0, false },
        { "-r -f qcow2", &writer, -EAGAIN, WRITE, false },
        { "-r -U -f qcow2", &writer, 0, 0, false },
    };
    struct rig rig;
    struct io_lock_conflict conflict;
    const struct io_open_options options = { .writable = true };

    rig_real(&rig, IO_ENGINE_AUTO);
    cr_assert_eq(run(&rig, "qemu-img create -q -f qcow2", "1M"), 0);
    for (size_t i = 0; i < ARRAY_COUNT(held); i++) {
        struct io_file *file;
        FILE *qemu = qemu_holds(&rig, held[i].options);

        cr_assert_eq(io_file_open(rig.engine, rig_path(&rig, "q"), &options, &file), 0);
        cr_expect_eq(io_lock(file, *held[i].ours, &conflict), held[i].want, "case %zu", i);
        if (held[i].want < 0) {
            cr_expect_eq(conflict.permission, held[i].permission, "case %zu", i);
            cr_expect_eq(conflict.shared, held[i].shared, "case %zu", i);
        }
        io_file_close(file);
        pclose(qemu);
        unlink(rig_path(&rig, "out"));
    }
    rig_teardown(&rig);
}

Test(lock, qemu_sees_ours, .timeout = 30)
{
    static const struct {
        const struct io_lock *ours;
        const char *command, *rest;
        const char *want; /* in its output; "" = it succeeds */
    } seen[] = {
        { &writer, "qemu-img info", "", "Failed to get shared \"write\" lock" },
        { &writer, "qemu-img info -U", "", "" },
        { &reader, "qemu-img info", "", "" },
        { &reader, "qemu-img resize", "2M", "Failed to get \"write\" lock" },
        { &writer, "qemu-img resize", "2M", "Failed to get \"write\" lock" },
        { &nothing, "qemu-img resize", "2M", "" },
    };
    struct rig rig;
    struct io_lock_conflict conflict;
    const struct io_open_options options = { .writable = true };
    struct io_file *file;

    rig_real(&rig, IO_ENGINE_AUTO);
    cr_assert_eq(run(&rig, "qemu-img create -q -f qcow2", "1M"), 0);
    cr_assert_eq(io_file_open(rig.engine, rig_path(&rig, "q"), &options, &file), 0);
    for (size_t i = 0; i < ARRAY_COUNT(seen); i++) {
        char text[4096] = "";

        cr_assert_eq(io_lock(file, *seen[i].ours, &conflict), 0);
        const int rc = run(&rig, seen[i].command, seen[i].rest);
        FILE *out = fopen(rig_path(&rig, "out"), "r");
        text[fread(text, 1, sizeof(text) - 1, out)] = '\0';
        fclose(out);
        cr_expect_eq(rc == 0, seen[i].want[0] == '\0', "case %zu: %s", i, text);
        cr_expect(strstr(text, seen[i].want), "case %zu: %s", i, text);
    }
    io_file_close(file);
    rig_teardown(&rig);
}

static void write_lock_byte(struct rig *rig, long byte)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
    FILE *file = fopen(rig_path(rig, "a"), "r+");

    cr_assert_eq(fcntl(fileno(file), F_OFD_SETLK, &lock), 0); /* stays open, and so locked */
}

Test(lock, an_exclusive_lock_on_our_very_byte_names_it)
{
    struct rig rig;
    struct io_lock_conflict conflict = { 0 };

    rig_real(&rig, IO_ENGINE_AUTO);
    struct io_file *file = rig_create(&rig, "a");
    write_lock_byte(&rig, 201);
    cr_expect_eq(io_lock(file, reader, &conflict), -EAGAIN);
    cr_expect_eq(conflict.byte, 201);
    io_file_close(file);
    rig_teardown(&rig);
}
