/* SPDX-License-Identifier: Apache-2.0
 *
 * The option -l of commands that read: which internal snapshot of their source is meant.
 */
#ifndef TOOLS_SNAPSHOT_ARG_H
#define TOOLS_SNAPSHOT_ARG_H

#include "tool.h"

struct snapshot_arg {
    const char *either;    /* id or name */
    const char *id, *name; /* given as snapshot.id=, snapshot.name= */
    char *text;            /* owned: what they point into */
};

/* For OPT_CALL: "NAME", or "snapshot.id=1,snapshot.name=x". @slot is a struct snapshot_arg. */
int snapshot_arg_set(struct tool *tool, void *slot, const char *value);

bool snapshot_arg_given(const struct snapshot_arg *snapshot);

/* As args_open(), at that snapshot. */
int snapshot_arg_open(const struct tool *tool, struct qimg_context *context, const char *name,
                      const struct qimg_open_options *options, const struct snapshot_arg *snapshot,
                      struct qimg_image **out);

void snapshot_arg_release(struct snapshot_arg *snapshot);

#endif
