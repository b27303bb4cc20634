/* SPDX-License-Identifier: Apache-2.0
 *
 * A command's long job: how far it is, and the signals that ask about it or stop it. Every
 * command that may take long has one, and is written like this:
 *
 *     struct x_args { ...; enum progress_style progress_style; bool quiet; };
 *     rows: OPT_PROGRESS_ROW(struct x_args), OPT_QUIET_ROW(struct x_args)
 *
 *     struct job job;
 *     job_begin(&job, tool, (struct progress_spec){
 *         .style = args->progress_style, .quiet = args->quiet, .step = 1 });
 *     job_start(&job);                               "    (0.00/100%)"
 *     options.progress = job_progress;               what qimg_x() calls, and is stopped by
 *     options.user = &job;
 *     int code = EXIT_DONE;
 *     if (qimg_x(context, &options, &err) < 0)
 *         code = job_fail(&job, &err, "'%s' is as it was before", name);
 *     else
 *         job_complete(&job);                        "    (100.00/100%)"
 *     (what is printed as the result)
 *     return job_end(&job, code);
 *
 * SIGINT, SIGTERM and SIGHUP stop the job: job_progress() returns non-zero, the library answers
 * -ECANCELED with all in a consistent state, and job_fail() says what was kept. main() then dies
 * by that signal, as a program without handlers would: the shell sees 130, 143 or 129. A job that
 * was done before it noticed is done, and exits with 0. A second signal ends the program at once,
 * as SIGKILL would. What the caller had ignored (nohup) stays ignored.
 *
 * SIGUSR1 prints how far the job is, as qemu-img does.
 */
#ifndef TOOLS_JOB_H
#define TOOLS_JOB_H

#include "progress.h"

struct job {
    struct progress progress;
    bool cancelled, failed, answered;
    char *error; /* for the last object of --progress=json */
};

/* From here on signals are heard. */
void job_begin(struct job *job, const struct tool *tool, struct progress_spec spec);

void job_start(struct job *job);

/* A qimg_progress_fn; @user is the struct job. */
int job_progress(void *user, uint64_t done, uint64_t total);

/* The library's answer was negative. Prints it, or,
 * where a signal stopped the job, "NAME: interrupted; KEPT". Returns EXIT_FAILED. */
int job_fail(struct job *job, const struct qimg_error *err, const char *kept, ...)
    TOOL_PRINTF(3, 4);

/* Did a signal ask to stop? For loops that have no progress to tell. */
bool job_stopped(void);

/* All was done. */
void job_complete(struct job *job);

/* Words for the user follow: a bar's line ends here. Part of job_complete() and job_fail(). */
void job_settle(struct job *job);

/* Words come before the end: a bar makes room, and is drawn anew below them. */
void job_clear(struct job *job);

/* The last of a job, called once, whatever happened. Returns @code. */
int job_end(struct job *job, int code);

/* For main(): dies by the signal that stopped a job, if one did. */
void job_die_if_cancelled(void);

#endif
