/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUPPORT_SCRATCH_H
#define SUPPORT_SCRATCH_H

/* A fresh directory for one test's files, below $TMPDIR or /tmp; aborts where it cannot be made.
 * scratch_remove() deletes it with all that is in it. The path is malloc'ed. */
char *scratch_new(void);
void scratch_remove(char *path);

#endif
