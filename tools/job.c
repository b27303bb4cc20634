/* SPDX-License-Identifier: Apache-2.0
 *
 * Signals become flags, flags become the answer of a progress callback.
 */
#include "job.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* timeout(1) and a terminal that closes send two signals at once, which count as one. */
#define APART_NS 100000000

static volatile sig_atomic_t stop_signal;
static struct timespec stopped_at; /* written by the handler alone */
static bool hint_wanted;
static bool die; /* a job was cancelled */

static void catch_signal(int number, void (*handler)(int))
{
    struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
    sigfillset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

static void on_usr1(int number)
{
    (void)number;
    progress_ask();
}

static int64_t ns_between(struct timespec a, struct timespec b)
{
    return (int64_t)(b.tv_sec - a.tv_sec) * 1000000000 + (b.tv_nsec - a.tv_nsec);
}

static void on_stop(int number)
{
    static const char hint[] = "\nstopping; once more ends it at once\n";
    const int saved = errno;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!stop_signal) {
        stop_signal = number;
        stopped_at = now;
        if (hint_wanted && write(STDERR_FILENO, hint, sizeof(hint) - 1) < 0)
            hint_wanted = false;
    } else if (ns_between(stopped_at, now) >= APART_NS) {
        catch_signal(number, SIG_DFL);
        raise(number); /* delivered when this handler returns */
    }
    errno = saved;
}

static void listen_for_signals(void)
{
    static const int stops[] = { SIGINT, SIGTERM, SIGHUP };
    for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
        struct sigaction was;
        if (sigaction(stops[i], NULL, &was) == 0 && was.sa_handler != SIG_IGN)
            catch_signal(stops[i], on_stop);
    }
    catch_signal(SIGUSR1, on_usr1);
}

void job_begin(struct job *job, const struct tool *tool, struct progress_spec spec)
{
    *job = (struct job){ 0 };
    progress_init(&job->progress, tool, spec);
    hint_wanted = !tool->as_qemu && isatty(STDERR_FILENO);
    listen_for_signals();
}

void job_start(struct job *job)
{
    progress_start(&job->progress);
}

int job_progress(void *user, uint64_t done, uint64_t total)
{
    struct job *job = user;
    progress_update(&job->progress, done, total);
    return stop_signal;
}

bool job_stopped(void)
{
    return stop_signal != 0;
}

int job_fail(struct job *job, const struct qimg_error *err, const char *kept, ...)
{
    const struct tool *tool = job->progress.tool;
    progress_settle(&job->progress);
    job->failed = true;
    if (err->code != ECANCELED || !stop_signal) {
        job->error = strdup(err->text);
        return tool_fail_error(tool, "", err);
    }
    char *text = NULL;
    va_list ap;
    va_start(ap, kept);
    if (vasprintf(&text, kept, ap) < 0)
        text = NULL;
    va_end(ap);
    job->cancelled = true;
    tool_fail(tool, "interrupted; %s", text ? text : "");
    job->error = text;
    return EXIT_FAILED;
}

void job_complete(struct job *job)
{
    progress_complete(&job->progress);
    job_settle(job);
}

void job_settle(struct job *job)
{
    progress_settle(&job->progress);
    job->answered = true;
}

void job_clear(struct job *job)
{
    progress_clear(&job->progress);
}

static const char *result_of(const struct job *job, int code)
{
    if (job->cancelled)
        return "cancelled";
    return !job->failed && (job->answered || code == EXIT_DONE) ? "done" : "failed";
}

int job_end(struct job *job, int code)
{
    const struct progress_outcome outcome = {
        .result = result_of(job, code),
        .error = job->error,
        .exit_code = job->cancelled ? 128 + stop_signal : code,
    };
    progress_end(&job->progress, &outcome);
    free(job->error);
    die |= job->cancelled;
    return code;
}

void job_die_if_cancelled(void)
{
    if (!die)
        return;
    catch_signal(stop_signal, SIG_DFL);
    raise(stop_signal);
}
