/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs the tests that criterion/criterion.h registered, each in a process of its own, some at a
 * time, and ends with the line that Criterion ends with.
 *
 *   unit_x [--filter SUITE/NAME] [-j PROCESSES]      patterns as in a shell
 *
 * QIMG_PATIENCE=N multiplies every time-out, for emulators.
 */
#include "criterion/criterion.h"

#include <fnmatch.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLAIN_TIMEOUT_S 60.0

enum verdict { PASSED, FAILED, SKIPPED };

struct run {
    pid_t pid;
    const struct plain_test *test;
};

static struct plain_test *tests;
static atomic_uint failed_expectations;

void plain_add(struct plain_test *test)
{
    test->next = tests;
    tests = test;
}

void plain_failed(struct plain_place at, const char *condition, const char *format, ...)
{
    atomic_fetch_add(&failed_expectations, 1);
    fprintf(stderr, "%s:%d: not so: %s:", at.file, at.line, condition);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    if (at.fatal)
        _exit(FAILED);
}

void plain_skip(const char *why)
{
    fprintf(stderr, "skipped: %s\n", why);
    _exit(SKIPPED);
}

/* The test with what its suite says for all. */
static struct plain_test completed(const struct plain_test *test)
{
    struct plain_test whole = *test;
    for (const struct plain_test *s = tests; s; s = s->next) {
        if (s->run || strcmp(s->suite, test->suite) != 0)
            continue;
        whole.init = whole.init ? whole.init : s->init;
        whole.fini = whole.fini ? whole.fini : s->fini;
        whole.timeout = whole.timeout > 0 ? whole.timeout : s->timeout;
    }
    return whole;
}

static unsigned seconds_for(const struct plain_test *test)
{
    const char *patience = getenv("QIMG_PATIENCE");
    const double factor = patience ? strtod(patience, NULL) : 1.0;
    return (unsigned)((test->timeout > 0 ? test->timeout : PLAIN_TIMEOUT_S) * factor) + 1;
}

static _Noreturn void run_here(const struct plain_test *test)
{
    const struct plain_test whole = completed(test);
    alarm(seconds_for(&whole));
    if (whole.init)
        whole.init();
    whole.run();
    if (whole.fini)
        whole.fini();
    exit(failed_expectations ? FAILED : PASSED);
}

static struct run started(const struct plain_test *test)
{
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0)
        run_here(test);
    if (pid < 0)
        abort();
    return (struct run){ pid, test };
}

static enum verdict judged(const struct plain_test *test, int status)
{
    if (test->signal != 0)
        return WIFSIGNALED(status) && WTERMSIG(status) == test->signal ? PASSED : FAILED;
    if (WIFEXITED(status) && WEXITSTATUS(status) <= SKIPPED)
        return (enum verdict)WEXITSTATUS(status);
    fprintf(stderr, "status 0x%x\n", (unsigned)status);
    return FAILED;
}

/* Waits for any of @runs, and leaves its place free. */
static void reap(struct run *runs, size_t count, unsigned *verdicts)
{
    int status;
    const pid_t pid = wait(&status);
    for (size_t i = 0; i < count; i++) {
        if (runs[i].pid != pid)
            continue;
        const enum verdict verdict = judged(runs[i].test, status);
        verdicts[verdict]++;
        if (verdict == FAILED)
            fprintf(stderr, "[FAIL] %s::%s\n", runs[i].test->suite, runs[i].test->name);
        runs[i].pid = 0;
    }
}

static struct run *free_place(struct run *runs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (runs[i].pid == 0)
            return &runs[i];
    return NULL;
}

static bool wanted(const struct plain_test *test, const char *filter)
{
    char name[256];
    snprintf(name, sizeof(name), "%s/%s", test->suite, test->name);
    return test->run && fnmatch(filter, name, 0) == 0;
}

int main(int argc, char **argv)
{
    const char *filter = "*";
    size_t processes = (size_t)sysconf(_SC_NPROCESSORS_ONLN);
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--filter") == 0)
            filter = argv[i + 1];
        else if (strcmp(argv[i], "-j") == 0)
            processes = strtoul(argv[i + 1], NULL, 10);
    }
    struct run *runs = calloc(processes, sizeof(*runs));
    if (!runs)
        abort();
    unsigned verdicts[3] = { 0 };
    for (const struct plain_test *test = tests; test; test = test->next) {
        if (!wanted(test, filter))
            continue;
        struct run *place;
        while ((place = free_place(runs, processes)) == NULL)
            reap(runs, processes, verdicts);
        *place = started(test);
    }
    for (size_t i = 0; i < processes; i++)
        while (runs[i].pid != 0)
            reap(runs, processes, verdicts);
    free(runs);
    printf("[====] Synthesis: Tested: %u | Passing: %u | Failing: %u | Crashing: 0\n",
           verdicts[PASSED] + verdicts[FAILED], verdicts[PASSED], verdicts[FAILED]);
    return verdicts[FAILED] || verdicts[PASSED] == 0 ? 1 : 0;
}
