/* SPDX-License-Identifier: Apache-2.0
 *
 * What rebase and stream have to say beyond errors: their plan, and what is left when they are
 * interrupted.
 */
#ifndef TOOLS_PULL_PRINT_H
#define TOOLS_PULL_PRINT_H

#include "job.h"

void pull_print_plan(const char *file, const struct qimg_pull_plan *plan, bool json);

/* Says why it failed; of an interruption, what has become of @file. Returns EXIT_FAILED. */
int pull_fail(struct job *job, const char *file, const struct qimg_pull_result *result,
              const struct qimg_error *err);

#endif
