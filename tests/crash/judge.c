/* SPDX-License-Identifier: Apache-2.0 */
#include "judge.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "qcow2_verify.h"

bool judge_wrong(struct judge *judge, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(judge->text, sizeof(judge->text), fmt, args);
    va_end(args);
    return false;
}

bool judge_sound(struct judge *judge, const struct disk *disk)
{
    if (judge->sound)
        return judge->sound(judge, disk);
    const struct disk_file *f = &disk->files[0];
    const struct verdict v = qcow2_verify(f->bytes, f->size);
    struct qimg_error err;

    if (v.corruptions || (v.leaks && judge->no_leaks))
        return judge_wrong(judge, "%u corruptions, %u leaks: %s", v.corruptions, v.leaks, v.first);
    if (view_check(disk, !judge->no_leaks, &err) < 0)
        return judge_wrong(judge, "%s", err.text);
    return true;
}

static bool same_text(const struct view *view, const struct version *version)
{
    return strcmp(view->text.text, version->text) == 0;
}

static bool is_version(const struct view *view, const struct version *version)
{
    return same_text(view, version) && view->size == version->size &&
           memcmp(view->bytes, version->bytes, view->size) == 0;
}

static bool whole(struct judge *judge, const struct view *view, const struct tape *tape,
                  struct span span)
{
    for (size_t i = span.first; i <= span.last; i++) {
        if (is_version(view, &tape->versions.items[i]))
            return true;
    }
    return judge_wrong(judge, "none of versions %zu to %zu: %" PRIu64 " bytes,\n%s", span.first,
                       span.last, view->size, view->text.text);
}

static bool known_sector(const struct view *view, const struct tape *tape, struct span span,
                         uint64_t off)
{
    for (size_t i = span.first; i <= span.last; i++) {
        const struct version *v = &tape->versions.items[i];
        const size_t len = min_u64(DISK_SECTOR, view->size - off);
        if (v->size >= off + len && memcmp(view->bytes + off, v->bytes + off, len) == 0)
            return true;
    }
    return false;
}

static bool by_sector(struct judge *judge, const struct view *view, const struct tape *tape,
                      struct span span)
{
    bool known_text = false, known_size = false;

    for (size_t i = span.first; i <= span.last; i++) {
        known_text |= same_text(view, &tape->versions.items[i]);
        known_size |= view->size == tape->versions.items[i].size;
    }
    if (!known_text || !known_size)
        return judge_wrong(judge, "none of versions %zu to %zu: %" PRIu64 " bytes,\n%s", span.first,
                           span.last, view->size, view->text.text);
    for (uint64_t off = 0; off < view->size; off += DISK_SECTOR) {
        if (!known_sector(view, tape, span, off))
            return judge_wrong(judge,
                               "sector at %" PRIu64 " begins with %#x %#x, versions %zu to %zu",
                               off, view->bytes[off], view->bytes[off + 1], span.first, span.last);
    }
    return true;
}

static bool judge_view(struct judge *judge, const struct disk *disk, const struct view *view,
                       const struct tape *tape, struct span span)
{
    const struct version *old = &tape->versions.items[0];

    if (judge->data_long && disk->files[1].size < view->size)
        return judge_wrong(judge, "data file of %" PRIu64 " bytes for a disk of %" PRIu64,
                           disk->files[1].size, view->size);
    if (judge->atomic)
        return whole(judge, view, tape, span);
    if (view->stale_features &&
        (view->size != old->size || memcmp(view->bytes, old->bytes, view->size) != 0))
        return judge_wrong(judge, "autoclear bits %#" PRIx64 " stand over changed content",
                           view->stale_features);
    if (!by_sector(judge, view, tape, span))
        return false;
    const int64_t at = judge->verb ? -1 : view_unrecorded(view, disk, old->bytes, old->size);
    if (at != -1)
        return judge_wrong(judge, "a bitmap does not know of the change at %" PRId64, at);
    return true;
}

bool judge_content(struct judge *judge, const struct disk *disk, const struct tape *tape,
                   struct span span)
{
    struct qimg_error err;
    struct view view;
    bool fine;

    if (judge->content)
        return judge->content(judge, disk, tape, span);
    if (view_take(&view, disk, judge->backing, judge->verb, &err) < 0)
        fine = judge_wrong(judge, "does not open: %s", err.text);
    else
        fine = judge_view(judge, disk, &view, tape, span);
    view_release(&view);
    return fine;
}
