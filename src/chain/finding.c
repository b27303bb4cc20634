/* SPDX-License-Identifier: Apache-2.0
 *
 * Findings: the table of what there may be, and the making of one.
 */
#include "finding.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gate.h"
#include "vec.h"

static const struct qimg_finding_kind kinds[] = {
#define FINDING(name, id, severity, meaning) { id, QIMG_SEVERITY_##severity, meaning },
#include "findings.def"
#undef FINDING
    { NULL, QIMG_SEVERITY_NOTE, NULL },
};

const struct qimg_finding_kind *qimg_finding_kinds(void)
{
    return kinds;
}

const char *qimg_severity_name(enum qimg_severity severity)
{
    static const char *const names[] = {
        [QIMG_SEVERITY_NOTE] = "note",
        [QIMG_SEVERITY_WARNING] = "warning",
        [QIMG_SEVERITY_UNVISITED] = "unvisited",
        [QIMG_SEVERITY_ERROR] = "error",
    };
    return names[severity];
}

static void release_finding(struct qimg_finding *finding)
{
    free(finding->image);
    free(finding->field);
    free(finding->value);
    free(finding->sentence);
    free(finding->remedy);
    free(finding->advice);
}

void qimg_findings_release(struct qimg_findings *findings)
{
    for (size_t i = 0; i < findings->count; i++)
        release_finding(&findings->items[i]);
    free(findings->items);
    *findings = (struct qimg_findings){ 0 };
}

/* --- making one ---------------------------------------------------------------------------- */

static char *copy_text(struct finding *f, const char *text)
{
    char *copy = text ? strdup(text) : NULL;
    f->failed |= text && !copy;
    return copy;
}

struct finding finding_begin(struct qimg_findings *out, enum finding_id id, size_t level,
                             const char *image)
{
    struct finding f = { .out = out };
    f.made.id = kinds[id].id;
    f.made.severity = kinds[id].severity;
    f.made.level = level;
    f.made.image = copy_text(&f, image);
    return f;
}

void finding_field(struct finding *f, const char *field, const char *value)
{
    f->made.field = copy_text(f, field);
    f->made.value = copy_text(f, value);
}

PRINTF_LIKE(3, 0)
static void add(struct str *to, const char *between, const char *fmt, va_list args)
{
    char *text;
    if (to->len > 0)
        str_puts(to, between);
    if (vasprintf(&text, fmt, args) < 0) {
        to->failed = true;
        return;
    }
    str_puts(to, text);
    free(text);
}

#define DEFINE_ADD(name, member, between) \
    void name(struct finding *f, const char *fmt, ...) \
    { \
        va_list args; \
        va_start(args, fmt); \
        add(&f->member, between, fmt, args); \
        va_end(args); \
    }

DEFINE_ADD(finding_say, sentence, " ")
DEFINE_ADD(finding_remedy, remedy, "\n")
DEFINE_ADD(finding_advise, advice, "\n")

/* NULL where nothing was said. */
static char *take_text(struct finding *f, struct str *from)
{
    if (from->len == 0 && !from->failed) {
        str_release(from);
        return NULL;
    }
    char *text = str_take(from);
    f->failed |= !text;
    return text;
}

static int push(struct qimg_findings *out, struct qimg_finding finding)
{
    if (out->count == out->room) {
        const size_t room = out->room ? out->room * 2 : 8;
        struct qimg_finding *items = reallocarray(out->items, room, sizeof(*items));
        if (!items)
            return -ENOMEM;
        out->items = items;
        out->room = room;
    }
    out->items[out->count++] = finding;
    return 0;
}

int finding_end(struct finding *f)
{
    f->made.sentence = take_text(f, &f->sentence);
    f->made.remedy = take_text(f, &f->remedy);
    f->made.advice = take_text(f, &f->advice);
    if (f->failed || push(f->out, f->made) < 0) {
        release_finding(&f->made);
        return -ENOMEM;
    }
    findings_count(f->out, f->made.severity);
    return 0;
}

char *finding_show(const char *name)
{
    char *printable = gate_printable(name);
    char *shown = printable ? str_format("'%s'", printable) : NULL;
    free(printable);
    return shown;
}

void findings_count(struct qimg_findings *out, enum qimg_severity severity)
{
    if (severity > out->worst)
        out->worst = severity;
}
