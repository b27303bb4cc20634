/* SPDX-License-Identifier: Apache-2.0 */
#include "compare_print.h"

#include <inttypes.h>

#include "text.h"

static const char *const verdicts[] = {
    [QIMG_COMPARE_IDENTICAL] = "identical",
    [QIMG_COMPARE_CONTENT] = "content",
    [QIMG_COMPARE_SIZE] = "size",
    [QIMG_COMPARE_STATUS] = "allocation",
};

static const char *const kinds[] = {
    [QIMG_UNALLOCATED] = "unallocated",
    [QIMG_ZERO] = "zero",
    [QIMG_DATA] = "data",
    [QIMG_COMPRESSED] = "compressed",
};

static const char *kind_of(const struct qimg_compare_difference *difference, int i)
{
    const struct qimg_compare_side *side = &difference->side[i];
    if (side->past_end)
        return "past-end";
    return difference->why == QIMG_COMPARE_SIZE ? "present" : kinds[side->kind];
}

/* Which file the range comes from; NULL = none. */
static const char *file_of(const struct compare_print *print,
                           const struct qimg_compare_difference *difference, int i)
{
    const struct qimg_compare_side *side = &difference->side[i];
    if (side->past_end || side->kind == QIMG_UNALLOCATED)
        return NULL;
    return qimg_image_file(print->images[i], side->layer);
}

/* --- JSON ----------------------------------------------------------------------------------- */

static void begin_json(struct compare_print *print)
{
    struct out *out = &print->out;
    *out = out_json(stdout);
    out_object(out, NULL);
    out_list(out, "images");
    for (int i = 0; i < 2; i++) {
        out_object(out, NULL);
        out_text(out, "filename", print->names[i]);
        out_text(out, "format", qimg_image_format(print->images[i]));
        out_number(out, "virtual-size", qimg_image_size(print->images[i]));
        out_close(out);
    }
    out_close(out);
    if (print->all)
        out_list(out, "differences");
}

static void put_json_side(struct compare_print *print, const struct qimg_compare_difference *d,
                          int i)
{
    const char *file = file_of(print, d, i);
    out_object(&print->out, i ? "b" : "a");
    out_text(&print->out, "kind", kind_of(d, i));
    if (file)
        out_number(&print->out, "depth", d->side[i].layer);
    out_text(&print->out, "filename", file);
    out_close(&print->out);
}

static void put_json(struct compare_print *print, const struct qimg_compare_difference *d)
{
    out_object(&print->out, NULL);
    out_number(&print->out, "start", d->range.off);
    out_number(&print->out, "length", d->range.len);
    out_text(&print->out, "differs", verdicts[d->why]);
    put_json_side(print, d, 0);
    put_json_side(print, d, 1);
    out_close(&print->out);
}

static void end_json(struct compare_print *print, const struct qimg_compare_result *result,
                     const struct qimg_error *err)
{
    struct out *out = &print->out;
    if (print->all) {
        out_close(out);
        out_number(out, "different-bytes", result->different_bytes);
    }
    out_number(out, "proved-bytes", result->proved_bytes);
    out_number(out, "compared-bytes", result->read_bytes);
    if (err) {
        out_text(out, "error", err->text);
    } else {
        out_flag(out, "identical", result->verdict == QIMG_COMPARE_IDENTICAL);
        out_text(out, "verdict", verdicts[result->verdict]);
        if (result->verdict == QIMG_COMPARE_CONTENT || result->verdict == QIMG_COMPARE_STATUS)
            out_number(out, "offset", result->offset);
    }
    out_close(out);
}

/* --- for people ----------------------------------------------------------------------------- */

static void put_side(const struct compare_print *print, const struct qimg_compare_difference *d,
                     int i)
{
    const char *file = file_of(print, d, i);
    fputs(kind_of(d, i), stdout);
    if (!file)
        return;
    printf(" in ");
    text_show(stdout, file);
}

static void put_row(struct compare_print *print, const struct qimg_compare_difference *d)
{
    if (!print->has_rows)
        printf("%-16s%-16s%-12sFirst image | second image\n", "Offset", "Length", "Differs");
    print->has_rows = true;
    printf("%#-16" PRIx64 "%#-16" PRIx64 "%-12s", d->range.off, d->range.len, verdicts[d->why]);
    put_side(print, d, 0);
    printf(" | ");
    put_side(print, d, 1);
    putchar('\n');
}

/* QEMU's words. */
static void put_verdict(const struct compare_print *print, const struct qimg_compare_result *result)
{
    if (result->size_mismatch && !print->strict)
        printf("Warning: Image size mismatch!\n");
    switch (result->verdict) {
    case QIMG_COMPARE_IDENTICAL:
        printf("Images are identical.\n");
        break;
    case QIMG_COMPARE_CONTENT:
        printf("Content mismatch at offset %" PRIu64 "!\n", result->offset);
        break;
    case QIMG_COMPARE_SIZE:
        printf("Strict mode: Image size mismatch!\n");
        break;
    case QIMG_COMPARE_STATUS:
        printf("Strict mode: Offset %" PRIu64 " block status mismatch!\n", result->offset);
        break;
    }
}

/* --- both ----------------------------------------------------------------------------------- */

void compare_print_begin(struct compare_print *print)
{
    if (print->json && !print->quiet)
        begin_json(print);
}

void compare_print_difference(struct compare_print *print,
                              const struct qimg_compare_difference *difference)
{
    if (print->quiet)
        return;
    if (print->json)
        put_json(print, difference);
    else
        put_row(print, difference);
}

void compare_print_end(struct compare_print *print, const struct qimg_compare_result *result,
                       const struct qimg_error *err)
{
    if (print->quiet)
        return;
    if (print->json)
        end_json(print, result, err);
    else if (!err)
        put_verdict(print, result);
}
