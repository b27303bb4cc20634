/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs of `qimg fixture`, a line each in fixture_verbs.def, and what those that build share.
 */
#ifndef TOOLS_FIXTURE_VERBS_H
#define TOOLS_FIXTURE_VERBS_H

#include "job.h"
#include "opt.h"
#include "qimg/fixture.h"
#include "tool.h"

#define FIXTURE_VERB(name, operands, summary) \
    int fixture_##name(struct tool *tool, int argc, char **argv);
#include "fixture_verbs.def"
#undef FIXTURE_VERB

/* How images are written: what every verb that builds takes. */
struct fixture_writing {
    bool force, no_sync, quiet;
    enum progress_style progress_style;
};

/* @member: of type struct fixture_writing. */
/* clang-format off */
#define FIXTURE_WRITING_ROWS(args, member) \
    { OPT_FLAG, 0, "force", NULL, "overwrite files that are there", \
      offsetof(args, member.force), NULL }, \
    { OPT_FLAG, 0, "no-sync", NULL, "do not wait until the disk has it all", \
      offsetof(args, member.no_sync), NULL }, \
    { OPT_MAYBE, 'p', "progress", "json", \
      "show how far the work is (json: on stderr, an object a line)", \
      offsetof(args, member.progress_style), opt_set_progress }, \
    { OPT_FLAG, 'q', "quiet", NULL, "print errors only", offsetof(args, member.quiet), NULL }
/* clang-format on */

/* Builds the specification @text, called @name in complaints, into @directory. */
int fixture_build_text(struct tool *tool, const struct fixture_writing *how, const char *name,
                       const char *text, const char *directory);

/* Where the ready specifications are. */
const char *fixture_share(void);

/* A whole file, NUL-terminated and malloc'ed; NULL after a complaint. */
char *fixture_read_file(struct tool *tool, const char *name, size_t *len);

#endif
