/* SPDX-License-Identifier: Apache-2.0
 *
 * What rebase and stream share: the image is opened, and either a plan of the work is printed or
 * the work is done, with its progress told.
 */
#ifndef TOOLS_PULL_COMMAND_H
#define TOOLS_PULL_COMMAND_H

#include "job.h"

struct pull_command {
    struct tool *tool;
    const char *file;
    struct qimg_open_options open; /* writable is the plan's opposite */
    struct progress_spec progress; /* and silent where there is only a plan */
    bool plan, json;               /* print a plan, as JSON */
    const void *args;              /* the command's own */
    int (*make_plan)(const struct pull_command *command, struct qimg_image *image,
                     struct qimg_pull_plan *plan, struct qimg_error *err);
    /* Returns an exit code. */
    int (*work)(const struct pull_command *command, struct qimg_image *image, struct job *job);
};

/* Returns the exit code. */
int pull_command_run(struct pull_command *command);

/* Says why it failed; of an interruption, what has become of the image. Returns EXIT_FAILED. */
int pull_command_fail(const struct pull_command *command, struct job *job,
                      const struct qimg_pull_result *result, const struct qimg_error *err);

#endif
