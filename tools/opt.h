/* SPDX-License-Identifier: Apache-2.0
 *
 * Options as rows. A subcommand is a table of rows and a struct of arguments; opt_parse() fills
 * the one from the command line by the other, and prints --help from the same rows, so that what
 * is accepted and what is documented cannot drift apart.
 *
 * Rows are shared by macros: OPT_IMAGE(struct x_args) needs the members that it names.
 */
#ifndef TOOLS_OPT_H
#define TOOLS_OPT_H

#include <stddef.h>

#include "tool.h"

enum opt_kind {
    OPT_END,     /* closes a table */
    OPT_FLAG,    /* sets a bool */
    OPT_TEXT,    /* sets a const char * */
    OPT_CALL,    /* calls @set with the address of the member */
    OPT_MAYBE,   /* the same; only the long name takes the argument, as --NAME=ARG, and it may be
                    left out: @value is NULL then */
    OPT_IGNORED, /* accepted, of no effect */
    OPT_OPERAND, /* not an option: a line of --help */
};

struct opt_row {
    enum opt_kind kind;
    char letter;      /* 0 = only the long name */
    const char *name; /* long name; of an operand what --help shows; NULL = only the letter */
    const char *arg;  /* what --help calls the argument; NULL = takes none */
    const char *help; /* lines; NULL = an older spelling that --help leaves out */
    size_t at;        /* offset in the arguments */
    int (*set)(struct tool *tool, void *slot, const char *value); /* EXIT_DONE or an exit code */
};

/* Parses @argv by @rows into @args (which holds the defaults) and leaves optind at the first
 * operand: operands are moved behind the options, as GNU getopt does.
 * Returns how many operands there are, or -1 where all is said and done (help was printed, an
 * option was wrong): then tool->exit_code is set. */
int opt_parse(struct tool *tool, const struct opt_row *rows, void *args, int argc, char **argv);

/* The same for a command that opens nothing on an image's word: without the gate's options. */
int opt_parse_ungated(struct tool *tool, const struct opt_row *rows, void *args, int argc,
                      char **argv);

/* The same for a command of QEMU's that has further options here, the rows @ours: under QEMU's name
 * they are unknown, and --help lists them apart. */
int opt_parse_beyond(struct tool *tool, const struct opt_row *rows, const struct opt_row *ours,
                     void *args, int argc, char **argv);

/* The same for the options before the subcommand: stops at the first operand. */
int opt_parse_global(struct tool *tool, const struct opt_row *rows, int argc, char **argv);

/* "Arguments" of --help. */
void opt_print_rows(const struct opt_row *rows);

/* What may be opened on an image's word; args of these rows is the tool itself. */
extern const struct opt_row opt_gate_rows[];

/* How the work is done; part of every table of ours, but QEMU's commands know none of it. */
extern const struct opt_row opt_engine_rows[];

#define OPT_IMAGE_ROWS(args) \
    { OPT_TEXT, \
      'f', \
      "format", \
      "FMT", \
      "format of FILE (default: found by its content)", \
      offsetof(args, format), \
      NULL }, \
    { \
        OPT_FLAG, 0, "image-opts", NULL, "FILE is a list of options (key=value,...), not a name", \
            offsetof(args, image_opts), NULL \
    }

#define OPT_SHARE_ROW(args) \
    { \
        OPT_FLAG, 'U', "force-share", NULL, "open the image although others may write to it", \
            offsetof(args, force_share), NULL \
    }

#define OPT_OUTPUT_ROW(args) \
    { \
        OPT_CALL, 0, "output", "human|json", "how to print the result (default: human)", \
            offsetof(args, json), opt_set_output \
    }

#define OPT_QUIET_ROW(args) \
    { \
        OPT_FLAG, 'q', "quiet", NULL, "print errors only", offsetof(args, quiet), NULL \
    }

#define OPT_PROGRESS_ROW(args) \
    { \
        OPT_MAYBE, 'p', "progress", "json", \
            "show how far the work is (json: on stderr, an object a line)", \
            offsetof(args, progress_style), opt_set_progress \
    }

#define OPT_OBJECT_ROW \
    { \
        OPT_IGNORED, 0, "object", "OBJDEF", "accepted for compatibility, not used", 0, NULL \
    }

#define OPT_FILE_ROW \
    { \
        OPT_OPERAND, 0, "FILE", NULL, "the image (with --image-opts, a list of options)", 0, NULL \
    }

#define OPT_ROWS_END \
    { \
        OPT_END, 0, NULL, NULL, NULL, 0, NULL \
    }

/* Sets a bool: is it JSON? */
int opt_set_output(struct tool *tool, void *slot, const char *value);

/* Sets an enum progress_style. */
int opt_set_progress(struct tool *tool, void *slot, const char *value);

/* --allow-dir: one more directory of @tool's. */
int opt_allow_dir(struct tool *tool, void *slot, const char *value);

/* Sets a uint64_t (--map-budget and the like). */
int opt_set_size(struct tool *tool, void *slot, const char *value);

#endif
