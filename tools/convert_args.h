/* SPDX-License-Identifier: Apache-2.0
 *
 * The options of convert, and which of them go together.
 */
#ifndef TOOLS_CONVERT_ARGS_H
#define TOOLS_CONVERT_ARGS_H

#include "args.h"
#include "job.h"
#include "opt.h"
#include "snapshot_arg.h"

struct convert_args {
    const char *format, *source_cache, *target_format, *target_cache, *backing, *backing_format;
    struct snapshot_arg snapshot;
    struct args_options options;
    bool image_opts, bitmaps, skip_broken_bitmaps, salvage, target_image_opts, no_create;
    bool target_is_zero, compress, force_share, out_of_order, copy_offload, quiet, sync;
    bool sparse_given, only_help;
    enum progress_style progress_style;
    uint64_t sparse_size, parallel, rate_limit, compression_level;
    size_t source_count;
    enum qimg_cache source_cache_mode, target_cache_mode;
};

extern const struct opt_row convert_rows[];

/* Checks what can be checked before anything is opened. @operands is how many there are. Sets
 * only_help where -o help was answered. EXIT_DONE or EXIT_FAILED. */
int convert_check(struct tool *tool, struct convert_args *args, int operands);

void convert_args_release(struct convert_args *args);

#endif
