/* SPDX-License-Identifier: Apache-2.0 */
#include "check_print.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "out.h"
#include "text.h"

/* --- findings ------------------------------------------------------------------------------- */

int check_findings_add(struct check_findings *findings, const struct qimg_check_finding *finding)
{
    if (findings->count == findings->room) {
        size_t room = findings->room ? 2 * findings->room : 16;
        struct qimg_check_finding *list =
            reallocarray(findings->list, room, sizeof(*findings->list));
        if (!list)
            return -1;
        findings->list = list;
        findings->room = room;
    }
    struct qimg_check_finding copy = *finding;
    copy.text = strdup(finding->text);
    if (!copy.text)
        return -1;
    findings->list[findings->count++] = copy;
    return 0;
}

void check_findings_release(struct check_findings *findings)
{
    for (size_t i = 0; i < findings->count; i++)
        free((char *)(uintptr_t)findings->list[i].text);
    free(findings->list);
    *findings = (struct check_findings){ 0 };
}

/* Our own line ends stay; within a line nothing is trusted. */
static void show_lines(const char *text)
{
    for (const char *end; (end = strchr(text, '\n')); text = end + 1) {
        char *line = strndup(text, (size_t)(end - text));
        text_show(stderr, line ? line : "");
        putc('\n', stderr);
        free(line);
    }
    text_show(stderr, text);
    putc('\n', stderr);
}

static void explain_finding(const struct qimg_check_finding *finding)
{
    fprintf(stderr, "    %s: in the %s", finding->id, finding->structure);
    if (finding->host_off != QIMG_NO_OFFSET)
        fprintf(stderr, ", byte %#" PRIx64 " of the file", finding->host_off);
    if (finding->guest.len)
        fprintf(stderr, "; endangers guest bytes %#" PRIx64 " to %#" PRIx64, finding->guest.off,
                finding->guest.off + finding->guest.len - 1);
    else
        fputs("; endangers no guest bytes of the active state", stderr);
    fprintf(stderr, "; repair: %s\n", finding->mend);
}

void check_print_finding(const struct tool *tool, const struct qimg_check_finding *finding,
                         bool explain)
{
    if (finding->by_program)
        fprintf(stderr, "%s: ", tool->name);
    show_lines(finding->text);
    if (explain && finding->severity != QIMG_CHECK_NOTE)
        explain_finding(finding);
}

/* --- results -------------------------------------------------------------------------------- */

void check_print_repaired(const struct qimg_check_result *result)
{
    printf("The following inconsistencies were found and repaired:\n\n"
           "    %" PRIu64 " leaked clusters\n"
           "    %" PRIu64 " corruptions\n\n"
           "Double checking the fixed image now...\n",
           result->leaks_fixed, result->corruptions_fixed);
}

static void print_problems(const struct qimg_check_result *result)
{
    if (!result->corruptions && !result->leaks && !result->check_errors)
        puts("No errors were found on the image.");
    if (result->corruptions)
        printf("\n%" PRIu64 " errors were found on the image.\n"
               "Data may be corrupted, or further writes to the image may corrupt it.\n",
               result->corruptions);
    if (result->leaks)
        printf("\n%" PRIu64 " leaked clusters were found on the image.\n"
               "This means waste of disk space, but no harm to data.\n",
               result->leaks);
    if (result->check_errors)
        printf("\n%" PRIu64 " internal errors have occurred during the check.\n",
               result->check_errors);
}

static double percent(uint64_t part, uint64_t whole)
{
    return (double)part * 100.0 / (double)whole;
}

void check_print_human(const struct qimg_check_result *result)
{
    print_problems(result);
    if (result->total_clusters && result->allocated_clusters)
        printf("%" PRIu64 "/%" PRIu64 " = %0.2f%% allocated, %0.2f%% fragmented, "
               "%0.2f%% compressed clusters\n",
               result->allocated_clusters, result->total_clusters,
               percent(result->allocated_clusters, result->total_clusters),
               percent(result->fragmented_clusters, result->allocated_clusters),
               percent(result->compressed_clusters, result->allocated_clusters));
    if (result->image_end_offset)
        printf("Image end offset: %" PRIu64 "\n", result->image_end_offset);
}

static void number_if_any(struct out *out, const char *key, uint64_t value)
{
    if (value)
        out_number(out, key, value);
}

static void print_findings(struct out *out, const struct check_findings *findings)
{
    static const char *const severities[] = { "leak", "corruption", "error", "note" };
    out_list(out, "findings");
    for (size_t i = 0; i < findings->count; i++) {
        const struct qimg_check_finding *f = &findings->list[i];
        out_object(out, NULL);
        out_text(out, "id", f->id);
        out_text(out, "severity", severities[f->severity]);
        out_flag(out, "repaired", f->repaired);
        out_text(out, "text", f->text);
        out_text(out, "structure", f->structure);
        if (f->host_off != QIMG_NO_OFFSET)
            out_number(out, "host-offset", f->host_off);
        if (f->guest.len) {
            out_number(out, "guest-offset", f->guest.off);
            out_number(out, "guest-length", f->guest.len);
        }
        out_text(out, "mend", f->mend);
        out_close(out);
    }
    out_close(out);
}

/* Keys are in QEMU's order. */
void check_print_json(const struct qimg_check_result *result, const char *name, const char *format,
                      const struct check_findings *findings)
{
    struct out out = out_json(stdout);
    out_object(&out, NULL);
    number_if_any(&out, "image-end-offset", result->image_end_offset);
    number_if_any(&out, "compressed-clusters", result->compressed_clusters);
    number_if_any(&out, "total-clusters", result->total_clusters);
    number_if_any(&out, "corruptions", result->corruptions);
    number_if_any(&out, "corruptions-fixed", result->corruptions_fixed);
    out_number(&out, "check-errors", result->check_errors);
    number_if_any(&out, "leaks", result->leaks);
    number_if_any(&out, "leaks-fixed", result->leaks_fixed);
    number_if_any(&out, "allocated-clusters", result->allocated_clusters);
    out_text(&out, "filename", name);
    out_text(&out, "format", format);
    number_if_any(&out, "fragmented-clusters", result->fragmented_clusters);
    if (findings)
        print_findings(&out, findings);
    out_close(&out);
}
