/* SPDX-License-Identifier: Apache-2.0
 *
 * Printing chains and findings, for people and as JSON: what all verbs of `chain` share.
 */
#ifndef TOOLS_CHAIN_PRINT_H
#define TOOLS_CHAIN_PRINT_H

#include "chain_verbs.h"
#include "out.h"

/* One line an image, each below the one that names it. */
void chain_print_tree(FILE *file, const struct qimg_chain *chain);

/* The chain in Graphviz's language. */
void chain_print_dot(FILE *file, const struct qimg_chain *chain);

/* "error[format-missing]: SENTENCE", and below it what to do:
 *     try: COMMAND
 *     note: ADVICE                                                */
void chain_print_findings(FILE *file, const struct qimg_findings *findings);

/* Members of an object that is open. */
void chain_print_json(struct out *out, const struct qimg_chain *chain);
void chain_print_findings_json(struct out *out, const char *key,
                               const struct qimg_findings *findings);

#endif
