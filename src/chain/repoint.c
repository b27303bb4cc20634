/* SPDX-License-Identifier: Apache-2.0 */
#include "repoint.h"

#include <string.h>

#include "cleanup.h"
#include "fingerprint.h"
#include "open.h"
#include "str.h"
#include "survey.h"

void repoint_release(struct repoint *r)
{
    free(r->path);
    free(r->format);
    free(r->old_name);
    free(r->old_format);
    free(r->new_name);
    free(r->new_format);
    *r = (struct repoint){ 0 };
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static int open_header(struct qimg_context *context, const char *path, const char *format,
                       bool writable, struct qimg_image **out, struct qimg_error *err)
{
    const struct qimg_open_options how = {
        .format = format,
        .writable = writable,
        .info_only = true,
        .no_backing = true,
        .share = writable ? QIMG_SHARE_DEFAULT : QIMG_SHARE_FORCE,
    };
    return chain_open_unverified(context, path, &how, out, err);
}

enum repoint_state { REPOINT_OLD, REPOINT_NEW, REPOINT_OTHER };

static enum repoint_state state_of(const struct image *image, const struct repoint *r)
{
    if (same_text(image->backing_name, r->new_name) &&
        same_text(image->backing_format, r->new_format))
        return REPOINT_NEW;
    if (same_text(image->backing_name, r->old_name) &&
        same_text(image->backing_format, r->old_format))
        return REPOINT_OLD;
    return REPOINT_OTHER;
}

/* What the image records: the old, the new, or something else (enum repoint_state). Negative: it
 * cannot be opened. */
static int look(struct qimg_context *context, const struct repoint *r, struct qimg_error *err)
{
    struct qimg_image *image;
    TRY(open_header(context, r->path, r->format, false, &image, err));
    const enum repoint_state state = state_of(image->layers[0].image, r);
    qimg_image_close(image);
    return (int)state;
}

/* With the fingerprint, if there is one of the old name, made for the new name. */
static int record(struct image *top, const struct repoint *r, struct qimg_error *err)
{
    struct fingerprint f;
    uint8_t raw[FINGERPRINT_MAX];
    if (top->ops->seal && top->fingerprint &&
        fingerprint_decode(top->fingerprint, top->fingerprint_len, &f) == 0 &&
        fingerprint_is_for(&f, r->old_name, r->old_format)) {
        fingerprint_describe(&f, r->new_name, r->new_format);
        const struct backing_seal seal = { .name = r->new_name,
                                           .format = r->new_format,
                                           .fingerprint = raw,
                                           .fingerprint_len =
                                               (uint32_t)fingerprint_encode(&f, raw) };
        const int rc = top->ops->seal(top, &seal, err);
        if (rc != -ENOSPC)
            return rc; /* else the name goes in without it */
    }
    return top->ops->set_backing(top, r->new_name, r->new_format, err);
}

int repoint_do(struct qimg_context *context, const struct repoint *r, struct qimg_error *err)
{
    struct qimg_image *image;
    const int before = look(context, r, err);
    if (before < 0 || before == REPOINT_NEW) /* also where somebody else has it in use */
        return before < 0 ? before : 0;
    TRY(open_header(context, r->path, r->format, true, &image, err));
    struct image *top = image->layers[0].image;
    int rc = 0;
    switch (state_of(top, r)) {
    case REPOINT_NEW:
        break;
    case REPOINT_OTHER:
        rc = qimg_fail(err, ESTALE, "Image '%s' names '%s' as its backing file by now", r->path,
                       top->backing_name ? top->backing_name : "");
        break;
    case REPOINT_OLD:
        rc = record(top, r, err);
        if (rc < 0)
            (void)qimg_within(err, "Could not change the backing file of '%s'", r->path);
        break;
    }
    qimg_image_close(image);
    return rc;
}

int repoint_undo(struct qimg_context *context, const struct repoint *r, struct qimg_error *err)
{
    const struct repoint back = {
        .path = r->path,
        .format = r->format,
        .old_name = r->new_name,
        .old_format = r->new_format,
        .new_name = r->old_name,
        .new_format = r->old_format,
    };
    return repoint_do(context, &back, err);
}

/* --- seals ---------------------------------------------------------------------------------- */

bool repoint_is_sealed(struct qimg_context *context, const char *path, const char *format)
{
    const struct qimg_open_options how = { .format = format,
                                           .no_backing = true,
                                           .share = QIMG_SHARE_FORCE };
    struct qimg_fingerprint_check found = { .state = QIMG_FINGERPRINT_NONE };
    struct qimg_image *image;
    struct qimg_error unheard;
    qimg_error_clear(&unheard);
    if (chain_open_unverified(context, path, &how, &image, &unheard) < 0)
        return false;
    if (qimg_image_verify_backing(image, false, &found, &unheard) < 0)
        found.state = QIMG_FINGERPRINT_UNKNOWN;
    qimg_image_close(image);
    return found.state == QIMG_FINGERPRINT_SAME;
}

int repoint_renew_seal(struct qimg_context *context, const char *path, const char *format,
                       struct qimg_error *err)
{
    struct qimg_image *image;
    TRY(open_header(context, path, format, true, &image, err));
    const int rc = fingerprint_renew(image, err);
    qimg_image_close(image);
    return rc;
}

/* --- names ---------------------------------------------------------------------------------- */

/* The parts of a path between slashes, without empty and "." ones. */
DEFINE_VEC(part_vec, const char *)

static int split(char *path, struct part_vec *out)
{
    char *rest = path, *part;
    while ((part = strsep(&rest, "/")))
        if (*part && strcmp(part, ".") != 0 && part_vec_push(out, part) < 0)
            return -ENOMEM;
    return 0;
}

static bool climbs(const struct part_vec *parts)
{
    for (size_t i = 0; i < parts->count; i++)
        if (strcmp(parts->items[i], "..") == 0)
            return true;
    return false;
}

static char *join_relative(const struct part_vec *from, const struct part_vec *to)
{
    const size_t dirs = from->count - 1; /* the last part is the image */
    struct str text = { 0 };
    size_t common = 0;
    while (common < dirs && common + 1 < to->count &&
           strcmp(from->items[common], to->items[common]) == 0)
        common++;
    for (size_t i = common; i < dirs; i++)
        str_puts(&text, "../");
    for (size_t i = common; i < to->count; i++)
        str_printf(&text, "%s%s", i > common ? "/" : "", to->items[i]);
    char *name = str_take(&text);
    if (!name || !resolve_has_protocol(name))
        return name;
    char *local = str_format("./%s", name);
    free(name);
    return local;
}

char *repoint_relative(const char *holder, const char *target)
{
    AUTO_FREE char *from_text = strdup(holder);
    AUTO_FREE char *to_text = strdup(target);
    struct part_vec from = { 0 }, to = { 0 };
    char *name = NULL;
    if (from_text && to_text && split(from_text, &from) == 0 && split(to_text, &to) == 0) {
        /* What ".." means depends on symbolic links: such names stay absolute. */
        const bool plain = from.count && to.count && !climbs(&from) && !climbs(&to);
        name = plain ? join_relative(&from, &to) : strdup(target);
    }
    part_vec_release(&from);
    part_vec_release(&to);
    return name;
}

static bool same_place(const char *a, const char *b)
{
    struct qimg_chain_file x, y;
    return survey_stat(a, &x) == 0 && survey_stat(b, &y) == 0 && x.device == y.device &&
           x.inode == y.inode;
}

static bool leads_to(const char *holder, const char *name, const char *target)
{
    AUTO_FREE char *path = resolve_join(holder, name);
    return path && same_place(path, target);
}

static char *join_absolute(const struct part_vec *parts, bool climb)
{
    struct part_vec kept = { 0 };
    struct str text = { 0 };
    int rc = 0;
    for (size_t i = 0; i < parts->count && rc == 0; i++) {
        if (!climb || strcmp(parts->items[i], "..") != 0)
            rc = part_vec_push(&kept, parts->items[i]);
        else if (kept.count)
            kept.count--;
    }
    for (size_t i = 0; i < kept.count; i++)
        str_printf(&text, "/%s", kept.items[i]);
    part_vec_release(&kept);
    text.failed |= rc < 0;
    return str_take(&text);
}

char *repoint_collapse(const char *path)
{
    AUTO_FREE char *copy = strdup(path);
    struct part_vec parts = { 0 };
    char *text = copy && split(copy, &parts) == 0 ? join_absolute(&parts, true) : NULL;
    part_vec_release(&parts);
    return text;
}

char *repoint_clean(const char *path)
{
    AUTO_FREE char *copy = strdup(path);
    struct part_vec parts = { 0 };
    char *clean = NULL;
    if (copy && split(copy, &parts) == 0) {
        clean = join_absolute(&parts, true);
        if (clean && climbs(&parts) && !same_place(clean, path)) {
            free(clean);
            clean = join_absolute(&parts, false);
        }
    }
    part_vec_release(&parts);
    return clean;
}

char *repoint_name(const char *holder, const char *target, bool relative)
{
    AUTO_FREE char *from = repoint_clean(holder);
    AUTO_FREE char *to = repoint_clean(target);
    if (!from || !to)
        return NULL;
    char *name = relative ? repoint_relative(from, to) : NULL;
    if (name && leads_to(holder, name, target))
        return name;
    free(name);
    return TAKE(to);
}
