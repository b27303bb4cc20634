/* SPDX-License-Identifier: Apache-2.0
 *
 * Option values that several commands read the same way, and the rows of the gate.
 */
#include <limits.h>
#include <string.h>

#include "args.h"
#include "opt.h"
#include "progress.h"

int opt_set_progress(struct tool *tool, void *slot, const char *value)
{
    enum progress_style *style = slot;
    *style = value ? PROGRESS_JSON : PROGRESS_SHOWN;
    if (!value || strcmp(value, "json") == 0)
        return EXIT_DONE;
    return tool_fail_usage(tool, "--progress expects 'json' or nothing, not '%s'", value);
}

int opt_set_output(struct tool *tool, void *slot, const char *value)
{
    bool *json = slot;
    *json = strcmp(value, "json") == 0;
    if (*json || strcmp(value, "human") == 0)
        return EXIT_DONE;
    return tool_fail_usage(tool, "--output expects 'human' or 'json', not '%s'", value);
}

int opt_set_size(struct tool *tool, void *slot, const char *value)
{
    return args_size(tool, "size", value, slot);
}

static int set_depth(struct tool *tool, void *slot, const char *value)
{
    uint64_t depth;
    if (args_number(tool, "depth", value, (struct args_bounds){ 1, UINT_MAX }, &depth))
        return EXIT_FAILED;
    *(unsigned *)slot = (unsigned)depth;
    return EXIT_DONE;
}

/* @slot is a list with room for TOOL_LIST_MAX entries and its NULL. */
static int add_to_list(struct tool *tool, void *slot, const char *value)
{
    const char **list = slot;
    size_t count = 0;
    while (list[count])
        count++;
    if (count == TOOL_LIST_MAX)
        return tool_fail(tool, "At most %d times the same --allow option", TOOL_LIST_MAX);
    list[count] = value;
    return EXIT_DONE;
}

int opt_allow_dir(struct tool *tool, void *slot, const char *value)
{
    (void)slot;
    return add_to_list(tool, tool->allow_dirs, value);
}

const struct opt_row opt_gate_rows[] = {
    { OPT_FLAG, 0, "allow-probe", NULL,
      "go by the content of a backing file whose format is not recorded",
      offsetof(struct tool, options.gate.allow_probe), NULL },
    { OPT_CALL, 0, "allow-dir", "DIR",
      "open backing and data files below DIR only (may be repeated)", 0, opt_allow_dir },
    { OPT_CALL, 0, "allow-format", "FMT", "open backing files of format FMT only (may be repeated)",
      offsetof(struct tool, allow_formats), add_to_list },
    { OPT_FLAG, 0, "verify", NULL,
      "refuse a backing file that is not what the fingerprint of it describes",
      offsetof(struct tool, options.gate.verify), NULL },
    { OPT_CALL, 0, "max-depth", "N", "open at most N images of a chain (default: 4096)",
      offsetof(struct tool, options.gate.max_depth), set_depth },
    { OPT_FLAG, 0, "no-backing", NULL, "open no backing files: what would need one fails",
      offsetof(struct tool, options.gate.no_backing), NULL },
    { OPT_FLAG, 0, "no-data-file", NULL, "open no external data files: what would need one fails",
      offsetof(struct tool, options.gate.no_data_file), NULL },
    OPT_ROWS_END,
};
