/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may be opened on an image's word. Each rule is one function that answers yes or says why
 * not; gate_ask() is the list of them. Names from images are printed escaped.
 */
#include "gate.h"

#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "str.h"

char *gate_printable(const char *name)
{
    struct str text = { 0 };
    for (const char *p = name; *p; p++) {
        const unsigned char c = (unsigned char)*p;
        if (c < 0x20 || c == 0x7f)
            str_printf(&text, "\\x%02x", c);
        else
            str_append(&text, p, 1);
    }
    return str_take(&text);
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

/* What printf, or $'', makes bytes of again: all that means something to either goes as \OOO. */
static void put_escaped(struct str *to, const char *name)
{
    for (const char *p = name; *p; p++)
        if (is_control(*p) || strchr("'\\%", *p) || (p == name && *p == '-'))
            str_printf(to, "\\%03o", (unsigned char)*p);
        else
            str_append(to, p, 1);
}

static void put_quoted(struct str *to, const char *name)
{
    for (const char *p = name; *p; p++)
        if (*p == '\'')
            str_puts(to, "'\\''");
        else
            str_append(to, p, 1);
}

/* Control characters go by printf, which every sh has and terminals survive. It cannot end with a
 * line feed, which $() takes away: $'' is only for shells that know it. */
char *gate_shell_quoted(const char *name)
{
    bool controls = false;
    for (const char *p = name; *p; p++)
        controls |= is_control(*p);
    const bool ends_line = controls && name[strlen(name) - 1] == '\n';

    struct str text = { 0 };
    str_puts(&text, !controls ? "'" : ends_line ? "$'" : "\"$(printf '");
    if (controls)
        put_escaped(&text, name);
    else
        put_quoted(&text, name);
    str_puts(&text, controls && !ends_line ? "')\"" : "'");
    return str_take(&text);
}

char *gate_shell_operand(const char *name)
{
    AUTO_FREE char *local = str_format("%s%s", *name == '-' ? "./" : "", name);
    return local ? gate_shell_quoted(local) : NULL;
}

static const char *role_name(enum gate_role role)
{
    return role == GATE_BACKING ? "backing file" : "data file";
}

/* "backing file 'b' of image 'a' @why" */
static int refuse(const struct gate_request *request, const char *why, struct qimg_error *err)
{
    AUTO_FREE char *recorded = gate_printable(request->recorded);
    AUTO_FREE char *holder = gate_printable(request->holder);
    if (!recorded || !holder)
        return qimg_fail_memory(err);
    return qimg_fail(err, EPERM, "%s '%s' of image '%s' %s", role_name(request->role), recorded,
                     holder, why);
}

int gate_hint_format(const struct gate_request *request, const char *format, struct qimg_error *err)
{
    AUTO_FREE char *recorded = gate_shell_quoted(request->recorded);
    AUTO_FREE char *holder = gate_shell_operand(request->holder);
    if (!recorded || !holder)
        return -EPERM;
    return qimg_hint(err, "To record the format: qimg rebase -u -F %s -b %s %s", format, recorded,
                     holder);
}

void gate_hint_broken(const struct qimg_context *context, const struct gate_request *request,
                      struct qimg_error *err)
{
    const bool missing = err->code == ENOENT || err->code == ENOTDIR;
    const bool other_format = strncmp(err->text, "Image is not in ", 16) == 0;
    if (context->gate.policy != QIMG_POLICY_STRICT || request->role != GATE_BACKING ||
        !(missing || other_format))
        return;
    AUTO_FREE char *name = gate_printable(request->holder);
    AUTO_FREE char *holder = gate_shell_operand(request->holder);
    AUTO_FREE char *recorded = gate_shell_quoted(request->recorded);
    const char *format = request->recorded_format ? request->recorded_format : "FORMAT";
    if (!name || !holder || !recorded)
        return;
    if (missing)
        (void)qimg_hint(err, "%s names it: qimg rebase -u -F %s -b NEW %s", name, format, holder);
    else
        (void)qimg_hint(err, "%s names %s as %s: qimg rebase -u -F FORMAT -b %s %s", name, recorded,
                        format, recorded, holder);
}

/* --- the rules --------------------------------------------------------------------------- */

static int may_follow(const struct qimg_gate_options *gate, const struct gate_request *request,
                      struct qimg_error *err)
{
    if (gate->policy == QIMG_POLICY_AUDIT)
        return refuse(request, "is not opened: the policy is audit", err);
    if (request->role == GATE_BACKING && gate->no_backing)
        return refuse(request, "is not opened: --no-backing was given", err);
    if (request->role == GATE_DATA_FILE && gate->no_data_file)
        return refuse(request, "is not opened: --no-data-file was given", err);
    return 0;
}

static int may_go_deeper(const struct qimg_gate_options *gate, const struct gate_request *request,
                         struct qimg_error *err)
{
    if (request->role != GATE_BACKING || request->depth < gate->max_depth)
        return 0;
    char why[96];
    (void)snprintf(why, sizeof(why), "would be image %u of the chain (at most %u are opened)",
                   request->depth + 1, gate->max_depth);
    (void)refuse(request, why, err);
    return qimg_hint(err, "To allow longer chains: --max-depth=N");
}

static int may_guess(const struct qimg_gate_options *gate, const struct gate_request *request,
                     bool *probe, struct qimg_error *err)
{
    if (request->role != GATE_BACKING || request->recorded_format)
        return 0;
    if (gate->policy == QIMG_POLICY_STRICT && !gate->allow_probe) {
        (void)refuse(request, "has no recorded format", err);
        return gate_hint_format(request, "FORMAT", err);
    }
    *probe = true;
    return 0;
}

static int may_have_format(const struct qimg_gate_options *gate, const struct gate_request *request,
                           const char *format, struct qimg_error *err)
{
    if (!gate->allow_formats || !format)
        return 0;
    for (const char *const *f = gate->allow_formats; *f; f++)
        if (strcmp(*f, format) == 0)
            return 0;
    char why[96];
    (void)snprintf(why, sizeof(why), "has format '%.32s', which --allow-format does not list",
                   format);
    return refuse(request, why, err);
}

/* --- questions --------------------------------------------------------------------------- */

int gate_ask(const struct qimg_context *context, const struct gate_request *request, bool *probe,
             struct qimg_error *err)
{
    const struct qimg_gate_options *gate = &context->gate;
    *probe = false;
    TRY(may_follow(gate, request, err));
    TRY(may_go_deeper(gate, request, err));
    TRY(may_guess(gate, request, probe, err));
    return may_have_format(gate, request,
                           request->role == GATE_DATA_FILE ? "raw" : request->recorded_format, err);
}

const struct io_bounds *gate_bounds(const struct qimg_context *context)
{
    return context->gate.allow_dirs ? &context->bounds : NULL;
}

int gate_explain_bounds(const struct gate_request *request, int rc, struct qimg_error *err)
{
    char found[PATH_MAX];
    if (rc == -ENOTSUP)
        return refuse(request, "cannot be held to --allow-dir: /proc is not mounted", err);
    if (rc == -ESTALE)
        return refuse(request, "was renamed again and again while it was opened", err);
    if (rc != -EXDEV)
        return 0;
    (void)refuse(request, "lies outside the directories that --allow-dir lists", err);
    AUTO_FREE char *path = gate_printable(realpath(request->path, found) ? found : request->path);
    return path ? qimg_hint(err, "It leads to '%s'", path) : -EPERM;
}

int gate_check_probed(const struct qimg_context *context, const struct gate_request *request,
                      const char *format, bool leads_on, struct qimg_error *err)
{
    const struct qimg_gate_options *gate = &context->gate;
    TRY(may_have_format(gate, request, format, err));
    if (gate->policy != QIMG_POLICY_STRICT || !leads_on)
        return 0;
    (void)refuse(request,
                 "has no recorded format, and what probing found names a further file itself", err);
    (void)gate_hint_format(request, format, err);
    return qimg_hint(err, "Do so only if you trust the references in '%s'", request->path);
}
