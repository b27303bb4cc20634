/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands of several verbs, each with options, man page and --help of its own.
 */
#ifndef TOOLS_VERB_H
#define TOOLS_VERB_H

#include "tool.h"

struct verb_set {
    const struct command *verbs; /* names are "COMMAND VERB"; ends with a NULL name */
    const char *note;            /* --help: the usage without a verb; "" = there is none */
    const char *missing;         /* the complaint where there is no argument at all */
    const char *otherwise; /* the verb that takes any other word as its operand; NULL = none */
};

/* Runs the verb that @argv[1] names. */
int verb_dispatch(struct tool *tool, const struct verb_set *set, int argc, char **argv);

#endif
