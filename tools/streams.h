/* SPDX-License-Identifier: Apache-2.0
 *
 * Standard input, output and error as the caller left them to us.
 */
#ifndef TOOLS_STREAMS_H
#define TOOLS_STREAMS_H

#include "tool.h"

/* Before any file is opened: where the caller closed one of the three, its number is taken, so
 * that no image gets it and is printed into. */
void streams_init(void);

/* Closes standard output. Returns @code, or a failure after saying so where output was lost; a
 * reader that has seen enough is none. */
int streams_close(const struct tool *tool, int code);

#endif
