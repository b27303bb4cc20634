/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a program under limits and reports what it used, for the python tests.
 *
 *   confine [--nofile N] [--no-io-uring] [--no-landlock] [--report FILE] -- ARGV0 PROGRAM
 *           [ARGUMENT...]
 *
 * --no-io-uring  a seccomp filter answers EPERM to io_uring_setup, as container runtimes do
 * --no-landlock  the same with ENOSYS for landlock_create_ruleset, as an older kernel does
 * --nofile N     RLIMIT_NOFILE, soft and hard
 * --report FILE  "<peak KiB> <user+system microseconds>" of the program, when it has ended
 *
 * Why a program of its own: a child that python starts inherits python's own peak memory (the
 * kernel keeps the high-water mark over exec), and a filter can't be set there without threads
 * getting in the way. Exits as the program did; a signal is passed on as 128 + its number.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what)
{
    fprintf(stderr, "confine: %s: %s\n", what, strerror(errno));
    _exit(125);
}

static void refuse(unsigned call, unsigned answer)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | answer),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = { sizeof(rules) / sizeof(rules[0]), rules };

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        die("PR_SET_NO_NEW_PRIVS");
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        die("PR_SET_SECCOMP");
}

static void limit_files(const char *text)
{
    const rlim_t count = strtoul(text, NULL, 10);
    const struct rlimit limit = { count, count };

    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("RLIMIT_NOFILE");
}

static void report(const char *path)
{
    struct rusage usage;
    FILE *file = fopen(path, "w");

    if (!file || getrusage(RUSAGE_CHILDREN, &usage) < 0)
        die(path);
    fprintf(file, "%ld %ld\n", usage.ru_maxrss,
            (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
                usage.ru_stime.tv_usec);
    fclose(file);
}

int main(int argc, char **argv)
{
    const char *nofile = NULL, *report_path = NULL;
    int no_io_uring = 0, no_landlock = 0, status, i;

    for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (!strcmp(argv[i], "--no-io-uring"))
            no_io_uring = 1;
        else if (!strcmp(argv[i], "--no-landlock"))
            no_landlock = 1;
        else if (!strcmp(argv[i], "--nofile") && i + 1 < argc)
            nofile = argv[++i];
        else if (!strcmp(argv[i], "--report") && i + 1 < argc)
            report_path = argv[++i];
        else
            break;
    }
    if (i + 2 >= argc || strcmp(argv[i], "--") != 0) {
        fprintf(stderr, "usage: confine [options] -- ARGV0 PROGRAM [ARGUMENT...]\n");
        return 125;
    }
    const pid_t child = fork();
    if (child < 0)
        die("fork");
    if (child == 0) {
        const char *program = argv[i + 2];

        prctl(PR_SET_PDEATHSIG, 9);
        if (nofile)
            limit_files(nofile);
        if (no_io_uring)
            refuse(SYS_io_uring_setup, EPERM);
        if (no_landlock)
            refuse(SYS_landlock_create_ruleset, ENOSYS);
        argv[i + 2] = argv[i + 1]; /* the name it is run under */
        execv(program, argv + i + 2);
        die(program);
    }
    if (waitpid(child, &status, 0) < 0)
        die("waitpid");
    if (report_path)
        report(report_path);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
