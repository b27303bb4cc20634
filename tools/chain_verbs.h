/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs of `qimg chain`: one file each, chain_NAME.c, and a line in chain_verbs.def.
 */
#ifndef TOOLS_CHAIN_VERBS_H
#define TOOLS_CHAIN_VERBS_H

#include "qimg/doctor.h"
#include "tool.h"

#define CHAIN_VERB(name, operands, summary) \
    int chain_##name(struct tool *tool, int argc, char **argv);
#include "chain_verbs.def"
#undef CHAIN_VERB

/* EXIT_DONE, EXIT_CHAIN_BROKEN, EXIT_CHAIN_WARNINGS, EXIT_CHAIN_UNVISITED. */
int chain_exit_code(enum qimg_severity worst);

#endif
