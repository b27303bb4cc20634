/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a command and says what it took:
 *
 *     timed REPORT COMMAND [ARGUMENT ...]
 *
 * writes "SECONDS PEAK_KIB" to the file REPORT and exits as COMMAND did. The peak memory that the
 * kernel keeps for a process begins with that of the process it was forked from: started by a
 * script's interpreter, a small program would seem to need as much as the interpreter. This one is
 * as small as can be.
 */
#include <err.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    struct rusage usage;
    pid_t pid;
    int status;

    if (argc < 3)
        errx(2, "usage: timed REPORT COMMAND [ARGUMENT ...]");
    FILE *report = fopen(argv[1], "w");
    if (!report)
        err(2, "%s", argv[1]);
    const double start = now();
    if (posix_spawnp(&pid, argv[2], NULL, NULL, argv + 2, environ) != 0)
        errx(2, "%s cannot be run", argv[2]);
    if (wait4(pid, &status, 0, &usage) < 0)
        err(2, "wait");
    fprintf(report, "%.6f %ld\n", now() - start, usage.ru_maxrss);
    if (fclose(report) != 0)
        err(2, "%s", argv[1]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
