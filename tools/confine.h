/* SPDX-License-Identifier: Apache-2.0
 *
 * What a command declares that it will do to files. Declared before tool_context(), which enters
 * the sandbox accordingly: what was not declared cannot be done afterwards. Without any declaration
 * a command can read files, and write to what is open already (standard output).
 */
#ifndef TOOLS_CONFINE_H
#define TOOLS_CONFINE_H

#include "sandbox.h"
#include "tool.h"

/* The image @name is read. A command that says so says it of all images that the user named:
 * then --allow-dir bounds what can be read at all. */
void confine_reads(struct tool *tool, const char *name, bool image_opts);

/* No image is read, so that no stranger influences the command: it is confined only where the user
 * asked for it. */
void confine_reads_nothing(struct tool *tool);

/* The image @name is changed in place, and its data file. */
void confine_changes(struct tool *tool, const char *name, bool image_opts);

/* So are images that it names. */
void confine_changes_named(struct tool *tool);

/* Files that are there are changed, wherever they are. */
void confine_changes_any(struct tool *tool);

/* The file @name is made, or written anew. */
void confine_makes(struct tool *tool, const char *name);

/* The same for the data file that a new image @image will record as @name (may be NULL). */
void confine_makes_beside(struct tool *tool, const char *image, const char *name);

/* Files are made, renamed and removed wherever the user said. */
void confine_anything(struct tool *tool);

/* Other processes are looked at, and what another user may read. */
void confine_inspects(struct tool *tool);

/* Other programs are started, until confine_no_more_programs(). */
void confine_programs(struct tool *tool);
void confine_no_more_programs(struct tool *tool);

/* Enters the sandbox. EXIT_DONE; EXIT_FAILED after saying what is missing, where the user asked
 * for all of it. */
int confine_enter(struct tool *tool);

#endif
