/* SPDX-License-Identifier: Apache-2.0
 *
 * Another process holds the lock: a child of ours, which tells when it has it. What is said then
 * is in tests/cli/test_races.py.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lock_holder.h"

#define WHOLE_FILE (-1) /* by flock(), which is another kind of lock */

/* Holds byte @byte of @path until it is killed. */
static pid_t hold(const char *path, off_t byte)
{
    int ready[2];
    char told;

    cr_assert_eq(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
        struct flock lock = { .l_type = F_RDLCK, .l_start = byte, .l_len = 1 };
        const int fd = open(path, O_RDWR);
        const int rc = byte == WHOLE_FILE ? flock(fd, LOCK_SH) : fcntl(fd, F_OFD_SETLK, &lock);
        if (fd < 0 || rc < 0 || write(ready[1], "", 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    close(ready[1]);
    cr_assert_eq(read(ready[0], &told, 1), 1, "the child could not lock");
    close(ready[0]);
    return child;
}

static void end(pid_t child)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

Test(chain_lock_holder, is_the_process_that_holds_that_byte_of_that_file)
{
    char path[] = "/tmp/qimg-holder-XXXXXX", want[64];
    const int fd = mkstemp(path);
    struct stat st;

    cr_assert_geq(fd, 0);
    cr_assert_eq(fstat(fd, &st), 0);
    const struct io_file file = { .device = st.st_dev, .inode = st.st_ino };
    const struct io_file other = { .device = st.st_dev, .inode = st.st_ino + 1 };
    const pid_t bystander = hold(path, WHOLE_FILE);
    cr_expect_null(lock_holder(&file, 101), "nobody does");
    const pid_t child = hold(path, 101);
    (void)snprintf(want, sizeof(want), " (process %d)", child);
    char *who = lock_holder(&file, 101);
    cr_assert_not_null(who);
    cr_expect_not_null(strstr(who, want), "%s", who);
    cr_expect_null(strstr(who, "others"), "%s", who);
    free(who);
    cr_expect_null(lock_holder(&file, 100), "another byte");
    cr_expect_null(lock_holder(&other, 101), "another file");
    const pid_t second = hold(path, 101);
    who = lock_holder(&file, 101);
    cr_assert_not_null(who);
    cr_expect_not_null(strstr(who, ") and others"), "%s", who);
    free(who);
    end(child);
    end(second);
    end(bystander);
    cr_expect_null(lock_holder(&file, 101), "both are gone");
    close(fd);
    unlink(path);
}
