/* SPDX-License-Identifier: Apache-2.0
 *
 * Making findings (qimg/doctor.h). The ids are findings.def's.
 *
 *     struct finding *f = finding_new(out, FINDING_DIRTY, level, image->name);
 *     finding_field(f, "incompatible features", "dirty");
 *     finding_say(f, "image '%s' ...", printable);
 *     finding_remedy(f, "qimg check -r all %s", quoted);
 *     return finding_end(f);
 *
 * Running out of memory on the way is remembered and told by finding_end().
 */
#ifndef CHAIN_FINDING_H
#define CHAIN_FINDING_H

#include "fail.h"
#include "qimg/doctor.h"
#include "str.h"

enum finding_id {
#define FINDING(name, id, severity, meaning) FINDING_##name,
#include "findings.def"
#undef FINDING
    FINDING_COUNT
};

/* One being made. Lives on the caller's stack. */
struct finding {
    struct qimg_findings *out;
    struct qimg_finding made;
    struct str sentence, remedy, advice;
    bool failed;
};

/* @image: its name as opened; NULL = none. Copied. */
struct finding finding_begin(struct qimg_findings *out, enum finding_id id, size_t level,
                             const char *image);

/* Both are copied; @value may be NULL. */
void finding_field(struct finding *f, const char *field, const char *value);

/* Each call adds to what was said: sentences follow each other after a space, commands and
 * advice on a line of their own. Names from images must have passed finding_show() for sentences
 * and advice, and gate_shell_operand() or gate_shell_quoted() for commands. */
void finding_say(struct finding *f, const char *fmt, ...) PRINTF_LIKE(2, 3);
void finding_remedy(struct finding *f, const char *fmt, ...) PRINTF_LIKE(2, 3);
void finding_advise(struct finding *f, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Appends it. 0 or -ENOMEM; nothing of it is left then. */
MUST_CHECK int finding_end(struct finding *f);

/* A name between quotes, fit for a terminal, to be freed: 'base.qcow2'. NULL: no memory. */
char *finding_show(const char *name);

/* Counts a severity that was reported earlier. */
void findings_count(struct qimg_findings *out, enum qimg_severity severity);

#endif
