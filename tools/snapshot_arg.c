/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot_arg.h"

#include <stdlib.h>
#include <string.h>

#include "args.h"

static int set_parts(struct tool *tool, struct snapshot_arg *snapshot, const char *value)
{
    free(snapshot->text);
    snapshot->text = strdup(value);
    char *rest = snapshot->text, *member;
    while ((member = strsep(&rest, ","))) {
        char *equals = strchr(member, '=');
        if (equals)
            *equals = '\0';
        if (strcmp(member, "snapshot.id") == 0 && equals) {
            snapshot->id = equals + 1;
        } else if (strcmp(member, "snapshot.name") == 0 && equals) {
            snapshot->name = equals + 1;
        } else {
            tool_fail(tool, "Invalid parameter '%s'", member);
            return tool_fail(tool, "Failed in parsing snapshot param '%s'", value);
        }
    }
    return EXIT_DONE;
}

int snapshot_arg_set(struct tool *tool, void *slot, const char *value)
{
    struct snapshot_arg *snapshot = slot;
    if (strncmp(value, "snapshot.", strlen("snapshot.")) == 0)
        return set_parts(tool, snapshot, value);
    snapshot->either = value;
    return EXIT_DONE;
}

bool snapshot_arg_given(const struct snapshot_arg *snapshot)
{
    return snapshot->either || snapshot->id || snapshot->name;
}

/* What may be an id or a name is tried as an id first. */
int snapshot_arg_open(const struct tool *tool, struct qimg_context *context, const char *name,
                      const struct qimg_open_options *options, const struct snapshot_arg *snapshot,
                      struct qimg_image **out)
{
    struct qimg_error err;
    struct qimg_open_options at = *options;
    at.snapshot_id = snapshot->id;
    at.snapshot_name = snapshot->name;
    if (!snapshot->either || (options->image_opts && options->format))
        return args_open(tool, context, name, &at, out);
    qimg_error_clear(&err);
    at.snapshot_id = snapshot->either;
    at.snapshot_name = NULL;
    if (qimg_image_open(context, name, &at, out, &err) == 0)
        return EXIT_DONE;
    at.snapshot_id = NULL;
    at.snapshot_name = snapshot->either;
    return args_open(tool, context, name, &at, out);
}

void snapshot_arg_release(struct snapshot_arg *snapshot)
{
    free(snapshot->text);
}
