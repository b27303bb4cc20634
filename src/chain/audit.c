/* SPDX-License-Identifier: Apache-2.0
 *
 * One audit: which formats the file's signatures speak for, what the format's own metadata says,
 * what that adds up to, and what the policy makes of each fact.
 */
#include "audit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "audit_request.h"
#include "base_limits.h"
#include "bits.h"
#include "bytes.h"
#include "checked.h"
#include "cleanup.h"
#include "context.h"
#include "format.h"
#include "gate.h"
#include "resolve.h"
#include "signature.h"

#define SIGNATURES_MAX 16
#define TAIL_BYTES     (4 * MiB) /* read at most of what lies behind the end */

struct audit {
    struct qimg_context *context;
    const char *name;
    const struct qimg_audit_policy *policy;
    struct qimg_audit_report *report;
    struct io_file *file;
    bool failed; /* no memory */
};

/* --- facts ---------------------------------------------------------------------------------- */

static void found(void *user, const char *id, const char *value, const char *sentence)
{
    struct audit *a = user;
    const int finding = audit_finding(id);
    if (finding < 0 || a->policy->actions[finding] == QIMG_AUDIT_ALLOW)
        return;
    AUTO_FREE char *shown = gate_printable(sentence);
    struct finding f = finding_begin(&a->report->findings, (enum finding_id)finding, 0, a->name);
    f.made.severity =
        a->policy->actions[finding] == QIMG_AUDIT_REJECT ? QIMG_SEVERITY_ERROR : QIMG_SEVERITY_NOTE;
    finding_field(&f, NULL, value);
    finding_say(&f, "%s", shown ? shown : "");
    if (finding_end(&f) < 0 || !shown)
        a->failed = true;
}

static struct audit_request request_of(struct audit *a)
{
    const uint64_t max = a->policy->max_tables;
    return (struct audit_request){
        .max_table_bytes = max ? max : LIMIT_AUDIT_TABLE_BYTES,
        .max_tables = LIMIT_AUDIT_TABLES,
        .max_map_bytes = LIMIT_AUDIT_MAP_BYTES,
        .found = found,
        .user = a,
    };
}

/* --- names ---------------------------------------------------------------------------------- */

/* Does @path, joined as text, stay below one of the directories? ".." could lead anywhere. */
static bool stays_inside(const char *directories, const char *path)
{
    if (strstr(path, "/../") || strncmp(path, "../", 3) == 0)
        return false;
    while (*directories) {
        const char *end = strchrnul(directories, ':');
        size_t len = (size_t)(end - directories);
        while (len > 1 && directories[len - 1] == '/')
            len--;
        if (strncmp(path, directories, len) == 0 && (path[len] == '/' || len == 1))
            return true;
        directories = *end ? end + 1 : end;
    }
    return false;
}

static void judge_backing(struct audit *a, const char *recorded)
{
    const struct audit_request request = request_of(a);
    if (resolve_has_protocol(recorded)) {
        audit_tell(&request, "backing-elsewhere", recorded,
                   "its backing file's name is no path: '%s'", recorded);
        return;
    }
    AUTO_FREE char *path = resolve_join(a->name, recorded);
    if (!path)
        a->failed = true;
    else if (a->policy->directories && !stays_inside(a->policy->directories, path))
        audit_tell(&request, "backing-elsewhere", recorded,
                   "its backing file is outside the allowed directories: '%s'", path);
}

/* What the format tells, and what follows from it for this policy. */
static void found_by_format(void *user, const char *id, const char *value, const char *sentence)
{
    struct audit *a = user;
    found(a, id, value, sentence);
    if (strcmp(id, "backing-file") == 0 && value)
        judge_backing(a, value);
}

/* --- which format --------------------------------------------------------------------------- */

/* An installation medium has a partition table of its own: no second format. */
static bool is_second(const struct signature *first, const struct signature *s)
{
    return s->of_image || (first && first->of_image);
}

static int find_format(struct audit *a, struct qimg_error *err)
{
    const struct audit_request request = request_of(a);
    const struct signature *all[SIGNATURES_MAX];
    int count = signature_find(a->file, all, SIGNATURES_MAX);
    if (count < 0)
        return qimg_fail_errno(err, -count, "Could not read '%s'", a->name);
    if (count > SIGNATURES_MAX)
        count = SIGNATURES_MAX;
    const char *format = count > 0 && all[0]->of_image ? all[0]->format : "raw";
    for (int i = 1; i < count; i++)
        if (is_second(all[0], all[i]))
            audit_tell(&request, "polyglot", all[i]->format,
                       "it bears the signature of %s and that of %s, at byte %" PRId64,
                       all[0]->format, all[i]->format, all[i]->at);
    a->report->format = strdup(format);
    return a->report->format ? 0 : qimg_fail_memory(err);
}

static void judge_format(struct audit *a)
{
    const struct audit_request request = request_of(a);
    const char *format = a->report->format, *expect = a->policy->expect;
    const bool as_raw = expect && strcmp(expect, "raw") == 0 && strcmp(format, "raw") != 0;
    if (as_raw)
        audit_tell(&request, "raw-has-signature", format,
                   "it is said to be raw and bears the signature of %s", format);
    else if (expect && strcmp(expect, format) != 0)
        audit_tell(&request, "format-unexpected", format, "it is said to be %s and is %s", expect,
                   format);
    if (!audit_lists(a->policy->formats, ',', as_raw ? "raw" : format))
        audit_tell(&request, "format-not-taken", format, "its format is %s; taken are: %s", format,
                   a->policy->formats ? a->policy->formats : "none");
}

/* --- what it adds up to --------------------------------------------------------------------- */

static void judge_sizes(struct audit *a)
{
    const struct audit_request request = request_of(a);
    const struct qimg_audit_policy *p = a->policy;
    const struct qimg_audit_report *r = a->report;
    if (p->max_size && r->virtual_size > p->max_size)
        audit_tell(&request, "size-limit", NULL,
                   "its disk has %" PRIu64 " bytes; allowed are %" PRIu64, r->virtual_size,
                   p->max_size);
    if (p->max_file_size && r->file_size > p->max_file_size)
        audit_tell(&request, "file-size-limit", NULL,
                   "its file has %" PRIu64 " bytes; allowed are %" PRIu64, r->file_size,
                   p->max_file_size);
}

static void judge_cost(struct audit *a)
{
    const struct audit_request request = request_of(a);
    const struct qimg_audit_policy *p = a->policy;
    const struct qimg_audit_report *r = a->report;
    uint64_t yield, allowed;
    if (!add_fits(r->data_bytes, r->unpacked_bytes, &yield))
        yield = UINT64_MAX;
    if (p->max_read && yield > p->max_read)
        audit_tell(&request, "cost-read", NULL,
                   "reading its disk yields %" PRIu64 " bytes; allowed are %" PRIu64, yield,
                   p->max_read);
    if (p->max_tables && r->table_bytes > p->max_tables)
        audit_tell(&request, "cost-tables", NULL,
                   "reading its disk reads %" PRIu64 " bytes of tables; allowed are %" PRIu64,
                   r->table_bytes, p->max_tables);
    if (p->max_expansion && mul_fits(r->file_size, p->max_expansion, &allowed) && yield > allowed)
        audit_tell(&request, "expansion", NULL,
                   "a file of %" PRIu64 " bytes yields %" PRIu64 ", more than %" PRIu64 " times as "
                   "much",
                   r->file_size, yield, p->max_expansion);
}

/* The first byte at or behind @off that is not zero, or the file's size. What was not read,
 * because there is too much, is taken for data. */
static int find_data(struct io_file *file, uint64_t off, uint64_t size, uint64_t *out)
{
    AUTO_FREE uint8_t *buf = malloc(64 * KiB);
    uint64_t left = TAIL_BYTES;
    if (!buf)
        return -ENOMEM;
    while (off < size) {
        struct io_extent e;
        TRY(io_extents(file, off, &e));
        const uint64_t end = e.len > size - off ? size : off + e.len;
        for (; e.data && off < end; off += min_u64(64 * KiB, end - off)) {
            const size_t len = (size_t)min_u64(64 * KiB, end - off);
            if (left < len)
                break;
            left -= len;
            TRY(io_read_exact(file, off, buf, len, NULL));
            if (!bytes_are_zero(buf, len))
                break;
        }
        if (off < end && e.data)
            break;
        off = end;
    }
    *out = min_u64(off, size);
    return 0;
}

static int judge_tail(struct audit *a, const struct audit_facts *facts, struct qimg_error *err)
{
    const struct audit_request request = request_of(a);
    const uint64_t size = a->report->file_size;
    uint64_t data;
    if (!facts->mapped || facts->end >= size)
        return 0;
    const int rc = find_data(a->file, facts->end, size, &data);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not read '%s'", a->name);
    if (data < size)
        audit_tell(&request, "trailing-data", NULL,
                   "its metadata speaks of %" PRIu64 " bytes, and there is data at %" PRIu64
                   " and behind (the file has %" PRIu64 ")",
                   facts->end, data, size);
    return 0;
}

/* --- the audit ------------------------------------------------------------------------------ */

static int look_inside(struct audit *a, const struct format_ops *ops, struct qimg_error *err)
{
    struct qimg_audit_report *r = a->report;
    struct audit_request request = request_of(a);
    struct audit_facts facts = { 0 };
    request.found = found_by_format;
    TRY(ops->audit(a->file, &request, &facts, err));
    r->virtual_size = facts.virtual_size;
    r->cost_known = facts.mapped;
    r->table_bytes = facts.table_bytes;
    r->data_bytes = facts.data_bytes;
    r->packed_bytes = facts.packed_bytes;
    r->unpacked_bytes = facts.unpacked_bytes;
    return judge_tail(a, &facts, err);
}

/* Raw: the file is the disk. */
static void look_at_raw(struct audit *a)
{
    const struct audit_request request = request_of(a);
    a->report->virtual_size = a->report->data_bytes = a->report->file_size;
    a->report->cost_known = true;
    if (a->report->file_size == 0)
        audit_tell(&request, "size-zero", NULL, "its disk has no bytes");
}

static int look(struct audit *a, struct qimg_error *err)
{
    const char *expect = a->policy->expect;
    const struct audit_request request = request_of(a);
    TRY(find_format(a, err));
    judge_format(a);
    const bool as_raw =
        strcmp(a->report->format, "raw") == 0 || (expect && strcmp(expect, "raw") == 0);
    const struct format_ops *ops = format_find(a->report->format);
    if (as_raw)
        look_at_raw(a);
    else if (ops && ops->audit)
        TRY(look_inside(a, ops, err));
    else
        audit_tell(&request, "format-unexamined", a->report->format,
                   "its format, %s, is one that qimg cannot look into", a->report->format);
    judge_sizes(a);
    if (a->report->cost_known)
        judge_cost(a);
    return a->failed ? qimg_fail_memory(err) : 0;
}

void qimg_audit_report_release(struct qimg_audit_report *report)
{
    qimg_findings_release(&report->findings);
    free(report->format);
    *report = (struct qimg_audit_report){ 0 };
}

int qimg_audit(struct qimg_context *context, const char *name,
               const struct qimg_audit_policy *policy, struct qimg_audit_report *out,
               struct qimg_error *err)
{
    const struct io_open_options how = { 0 };
    struct audit a = { .context = context, .name = name, .policy = policy, .report = out };
    struct io_stat st;

    *out = (struct qimg_audit_report){ 0 };
    int rc = io_file_open(context->engine, name, &how, &a.file);
    if (rc == -EMEDIUMTYPE)
        return qimg_fail(err, EINVAL,
                         "Could not open '%s': it is neither a regular file nor a block device",
                         name);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not open '%s'", name);
    rc = io_stat(a.file, &st);
    out->file_size = rc == 0 ? st.size : 0;
    rc = rc < 0 ? qimg_fail_errno(err, -rc, "Could not get image size") : look(&a, err);
    io_file_close(a.file);
    out->accepted = rc == 0 && out->findings.worst < QIMG_SEVERITY_ERROR;
    if (rc < 0)
        qimg_audit_report_release(out);
    return rc;
}
