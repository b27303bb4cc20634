/* SPDX-License-Identifier: Apache-2.0
 *
 * chain audit: may a stranger's image be taken in? The policy is put together from a preset or a
 * file and from options; the library gives verdict and reasons.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "chain_verbs.h"
#include "opt.h"
#include "out.h"
#include "text.h"

#define POLICY_FILE_MAX (1 << 20)

struct audit_args {
    const char *preset, *policy_file, *expect, *formats, *max_size, *max_file_size, *max_tables,
        *max_read, *max_expansion, *allow, *note, *reject;
    bool list, json;
};

#define TEXT(name, arg, member, help) \
    { \
        OPT_TEXT, 0, name, arg, help, offsetof(struct audit_args, member), NULL \
    }

static const struct opt_row rows[] = {
    TEXT("policy", "upload|import|host", preset,
         "whose image it is: a stranger's (the default), somebody's, mine"),
    TEXT("policy-file", "FILE", policy_file, "the same, and settings, as JSON"),
    TEXT("expect", "FMT", expect, "the format that IMAGE is claimed to have"),
    TEXT("formats", "FMT,...", formats, "formats that are taken (default: raw,qcow2)"),
    TEXT("max-size", "SIZE", max_size, "of the disk (default: 64T; 0: any)"),
    TEXT("max-file-size", "SIZE", max_file_size, "of the file (default: any)"),
    TEXT("max-tables", "SIZE", max_tables, "metadata to be read (default: 1G)"),
    TEXT("max-read", "SIZE", max_read, "data that reading the whole disk yields (default: any)"),
    TEXT("max-expansion", "N", max_expansion,
         "times that it may be the file's size (default: 100)"),
    TEXT("allow", "ID,...", allow, "these are no reasons"),
    TEXT("note", "ID,...", note, "these are told, and no reasons"),
    TEXT("reject", "ID,...", reject, "these are reasons"),
    { OPT_FLAG, 0, "list", NULL, "list all reasons, and what each policy makes of them",
      offsetof(struct audit_args, list), NULL },
    { OPT_CALL, 0, "allow-dir", "DIR",
      "of policy host: the backing file must lie below DIR (may be repeated)", 0, opt_allow_dir },
    OPT_OUTPUT_ROW(struct audit_args),
    { OPT_OPERAND, 0, "IMAGE", NULL, "the file to be judged", 0, NULL },
    OPT_ROWS_END,
};

/* --- the policy ---------------------------------------------------------------------------- */

static int read_policy(struct tool *tool, const char *name, struct qimg_audit_policy **out)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    FILE *file = fopen(name, "re");
    char *text = malloc(POLICY_FILE_MAX);
    int code = EXIT_FAILED;
    if (!file || !text) {
        tool_fail(tool, "Could not open '%s': %s", name, strerror(file ? ENOMEM : errno));
    } else {
        const size_t len = fread(text, 1, POLICY_FILE_MAX, file);
        if (ferror(file) || len == POLICY_FILE_MAX)
            tool_fail(tool, "Could not read '%s'", name);
        else if (qimg_audit_policy_parse(text, len, out, &err) < 0)
            tool_fail(tool, "%s: %s", name, err.text);
        else
            code = EXIT_DONE;
    }
    free(text);
    if (file)
        (void)fclose(file);
    return code;
}

/* --allow-dir: directories in which a backing file may lie. */
static char *join_directories(const struct tool *tool)
{
    char *joined = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&joined, &len);
    if (!to)
        return NULL;
    for (const char *const *dir = tool->allow_dirs; *dir; dir++)
        fprintf(to, "%s%s", dir == tool->allow_dirs ? "" : ":", *dir);
    return fclose(to) == 0 ? joined : NULL;
}

static int apply(struct tool *tool, const struct audit_args *args, struct qimg_audit_policy *policy)
{
    char *directories = tool->allow_dirs[0] ? join_directories(tool) : NULL;
    const struct {
        const char *key, *value;
    } settings[] = {
        { "expect", args->expect },
        { "formats", args->formats },
        { "max-size", args->max_size },
        { "max-file-size", args->max_file_size },
        { "max-tables", args->max_tables },
        { "max-read", args->max_read },
        { "max-expansion", args->max_expansion },
        { "allow", args->allow },
        { "note", args->note },
        { "reject", args->reject },
        { "directories", directories },
    };
    struct qimg_error err;
    int code = EXIT_DONE;
    qimg_error_clear(&err);
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]) && code == EXIT_DONE; i++)
        if (settings[i].value &&
            qimg_audit_policy_set(policy, settings[i].key, settings[i].value, &err) < 0)
            code = tool_fail_error(tool, "", &err);
    free(directories);
    return code;
}

static int make_policy(struct tool *tool, const struct audit_args *args,
                       struct qimg_audit_policy **out)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    if (args->preset && args->policy_file)
        return tool_fail_usage(tool, "--policy and --policy-file exclude each other");
    if (args->policy_file) {
        if (read_policy(tool, args->policy_file, out))
            return EXIT_FAILED;
    } else if (qimg_audit_policy_new(args->preset, out, &err) < 0) {
        return tool_fail_error(tool, "", &err);
    }
    if (apply(tool, args, *out) == EXIT_DONE)
        return EXIT_DONE;
    qimg_audit_policy_free(*out);
    return EXIT_FAILED;
}

static int list(void)
{
    static const char *const actions[] = { "-", "note", "reject" };
    printf("%-20s %-8s %-8s %-8s meaning\n", "id", "upload", "import", "host");
    for (const struct qimg_audit_kind *kind = qimg_audit_kinds(); kind->id; kind++)
        printf("%-20s %-8s %-8s %-8s %s\n", kind->id, actions[kind->upload], actions[kind->import],
               actions[kind->host], kind->meaning);
    return EXIT_DONE;
}

/* --- one image ------------------------------------------------------------------------------- */

static void print_human(const char *name, const struct qimg_audit_report *r)
{
    char a[TEXT_SIZE_ROOM], b[TEXT_SIZE_ROOM], c[TEXT_SIZE_ROOM];
    fputs(r->accepted ? "ACCEPT " : "REJECT ", stdout);
    text_show(stdout, name);
    printf(" (%s)\n", r->format);
    for (size_t i = 0; i < r->findings.count; i++) {
        const struct qimg_finding *f = &r->findings.items[i];
        const bool note = f->severity != QIMG_SEVERITY_ERROR;
        printf("  %s%-*s ", note ? "note: " : "", note ? 14 : 20, f->id);
        text_show(stdout, f->sentence);
        putchar('\n');
    }
    if (r->cost_known)
        printf("  reading it all: %s of tables, %s of data from a file of %s\n",
               text_size(r->table_bytes, a), text_size(r->data_bytes + r->unpacked_bytes, b),
               text_size(r->file_size, c));
}

static void print_findings(struct out *out, const char *key, const struct qimg_findings *findings,
                           bool reasons)
{
    out_list(out, key);
    for (size_t i = 0; i < findings->count; i++) {
        const struct qimg_finding *f = &findings->items[i];
        if ((f->severity == QIMG_SEVERITY_ERROR) != reasons)
            continue;
        out_object(out, NULL);
        out_text(out, "id", f->id);
        out_text(out, "value", f->value);
        out_text(out, "sentence", f->sentence);
        out_close(out);
    }
    out_close(out);
}

static void print_json(struct out *out, const char *name, const struct qimg_audit_report *r)
{
    out_object(out, NULL);
    out_text(out, "filename", name);
    out_text(out, "verdict", r->accepted ? "accept" : "reject");
    out_text(out, "format", r->format);
    out_number(out, "file-size", r->file_size);
    out_number(out, "virtual-size", r->virtual_size);
    print_findings(out, "reasons", &r->findings, true);
    print_findings(out, "notes", &r->findings, false);
    if (r->cost_known) {
        out_object(out, "cost");
        out_number(out, "table-bytes", r->table_bytes);
        out_number(out, "data-bytes", r->data_bytes);
        out_number(out, "packed-bytes", r->packed_bytes);
        out_number(out, "unpacked-bytes", r->unpacked_bytes);
        out_close(out);
    }
    out_close(out);
}

static int audit(struct tool *tool, struct qimg_context *context, const char *name,
                 const struct qimg_audit_policy *policy, struct out *out)
{
    struct qimg_audit_report report;
    struct qimg_error err;
    qimg_error_clear(&err);
    if (qimg_audit(context, name, policy, &report, &err) < 0)
        return tool_fail_error(tool, "", &err);
    if (out)
        print_json(out, name, &report);
    else
        print_human(name, &report);
    const int code = report.accepted ? EXIT_DONE : EXIT_CHAIN_BROKEN;
    qimg_audit_report_release(&report);
    return code;
}

static int worse(int a, int b)
{
    if (a == EXIT_FAILED || b == EXIT_FAILED)
        return EXIT_FAILED;
    return a > b ? a : b;
}

static int audit_all(struct tool *tool, const struct audit_args *args,
                     const struct qimg_audit_policy *policy, int count, char **names)
{
    struct qimg_context *context;
    struct out out = out_json(stdout);
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    int code = EXIT_DONE;
    if (args->json)
        out_list(&out, NULL);
    for (int i = 0; i < count; i++)
        code = worse(code, audit(tool, context, names[i], policy, args->json ? &out : NULL));
    if (args->json)
        out_close(&out);
    qimg_context_free(context);
    return code;
}

int chain_audit(struct tool *tool, int argc, char **argv)
{
    struct audit_args args = { 0 };
    struct qimg_audit_policy *policy;
    const int count = opt_parse_ungated(tool, rows, &args, argc, argv);
    if (count < 0)
        return tool->exit_code;
    if (args.list)
        return list();
    if (count < 1)
        return tool_fail_usage(tool, "Expecting image file names");
    if (make_policy(tool, &args, &policy))
        return EXIT_FAILED;
    const int code = audit_all(tool, &args, policy, count, argv + optind);
    qimg_audit_policy_free(policy);
    return code;
}
