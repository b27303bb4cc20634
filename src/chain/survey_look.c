/* SPDX-License-Identifier: Apache-2.0
 *
 * One look at one file: what the file system says, which signature it bears, and, where its format
 * is known for certain, what its header says. The file is closed again. Whatever goes wrong
 * becomes the image's state and problem.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "info.h"
#include "open.h"
#include "qimg/image.h"
#include "signature.h"
#include "str.h"
#include "survey.h"

char *survey_absolute(const struct qimg_survey *survey, const char *path)
{
    assert(path);
    if (*path == '/')
        return strdup(path);
    const bool at_root = strcmp(survey->directory, "/") == 0;
    return str_format("%s/%s", at_root ? "" : survey->directory, path);
}

static int copy_text(const char *text, char **out, struct qimg_error *err)
{
    *out = text ? strdup(text) : NULL;
    return text && !*out ? qimg_fail_memory(err) : 0;
}

/* Notes why the image was not read. Returns 0, or -ENOMEM. */
static int set_problem(struct qimg_chain_image *image, enum qimg_chain_state state, int code,
                       const char *problem, struct qimg_error *err)
{
    image->state = state;
    image->problem_code = code;
    free(TAKE(image->problem));
    return copy_text(problem, &image->problem, err);
}

/* --- what the file system says --------------------------------------------------------------- */

/* Is there a file that may be an image? False: image->state says why not, or memory ran out. */
static bool find_file(struct qimg_chain_image *image, int *rc, struct qimg_error *err)
{
    const int found = survey_stat(image->path, &image->file);
    *rc = 0;
    if (found < 0) {
        const bool missing = found == -ENOENT || found == -ENOTDIR;
        *rc = set_problem(image, missing ? QIMG_CHAIN_MISSING : QIMG_CHAIN_UNREADABLE, -found,
                          strerror(-found), err);
        return false;
    }
    if (S_ISREG(image->file.mode) || S_ISBLK(image->file.mode))
        return true;
    *rc = set_problem(image, QIMG_CHAIN_UNREADABLE, EMEDIUMTYPE,
                      S_ISDIR(image->file.mode) ? "it is a directory"
                                                : "it is neither a regular file nor a block device",
                      err);
    return false;
}

/* --- what its bytes say ---------------------------------------------------------------------- */

static void cleanup_file(struct io_file *const *file)
{
    io_file_close(*file);
}

int survey_content(const struct qimg_survey *survey, const char *path, const char **format)
{
    const struct io_open_options how = { 0 };
    AUTO(cleanup_file) struct io_file *file = NULL;
    TRY(io_file_open(survey->context->engine, path, &how, &file));
    return signature_of_image(file, format);
}

/* Opens the file once for its signature; false as above. */
static bool read_signature(struct qimg_survey *survey, const struct look *look,
                           struct qimg_chain_image *image, int *rc, struct qimg_error *err)
{
    const struct io_open_options how = { .bounds = look->reference ? gate_bounds(survey->context)
                                                                   : NULL };
    AUTO(cleanup_file) struct io_file *file = NULL;
    struct qimg_error why;
    *rc = 0;
    int opened = io_file_open(survey->context->engine, image->path, &how, &file);
    if (opened < 0 && look->reference && gate_explain_bounds(look->reference, opened, &why) < 0) {
        *rc = set_problem(image, QIMG_CHAIN_REFUSED, why.code, why.text, err);
        return false;
    }
    if (opened == 0)
        opened = signature_of_image(file, &image->content);
    if (opened == 0)
        return true;
    *rc = set_problem(image, QIMG_CHAIN_UNREADABLE, -opened, strerror(-opened), err);
    return false;
}

static int open_header(struct qimg_survey *survey, const struct look *look, const char *format,
                       struct layer *out, struct qimg_error *err)
{
    const struct qimg_open_options options = { .info_only = true,
                                               .check = true,
                                               .share = QIMG_SHARE_FORCE };
    const struct open_request request = {
        .place = look->place, .format = format, .options = &options, .reference = look->reference
    };
    return open_layer(survey->context, &request, out, err);
}

/* Nobody says which format: would the one that the content speaks for lead to a further file? */
static int peek(struct qimg_survey *survey, const struct look *look, struct qimg_chain_image *image,
                struct qimg_error *err)
{
    AUTO(layer_release) struct layer layer = { 0 };
    struct qimg_error unheard;
    TRY(set_problem(image, QIMG_CHAIN_UNREAD, 0, "its format is not recorded", err));
    if (!image->content || !format_find(image->content))
        return 0;
    if (open_header(survey, look, image->content, &layer, &unheard) < 0)
        return unheard.code == ENOMEM ? qimg_fail_memory(err) : 0;
    image->content_leads_on = layer.image->backing_name || layer.image->needs_data_file;
    return 0;
}

static int copy_references(const struct layer *layer, struct qimg_chain_image *image,
                           struct qimg_error *err)
{
    const struct image *header = layer->image;
    TRY(copy_text(header->backing_name, &image->backing.recorded, err));
    TRY(copy_text(header->backing_format, &image->backing.recorded_format, err));
    if (!header->needs_data_file)
        return 0;
    const char *name = header->data_file_name ? header->data_file_name : "";
    return copy_text(name, &image->data_file.recorded, err);
}

static enum qimg_chain_state state_of_failure(const struct qimg_error *err, bool by_gate)
{
    switch (err->code) {
    case EPERM:
        return by_gate ? QIMG_CHAIN_REFUSED : QIMG_CHAIN_UNREADABLE;
    case EACCES:
    case EIO:
    case ENXIO:
    case EMFILE:
    case ENFILE:
        return QIMG_CHAIN_UNREADABLE;
    default:
        return QIMG_CHAIN_DAMAGED;
    }
}

static int read_header(struct qimg_survey *survey, const struct look *look, struct surveyed *s,
                       struct qimg_error *err)
{
    struct qimg_chain_image *image = &s->image;
    AUTO(layer_release) struct layer layer = { 0 };
    struct qimg_error why;
    qimg_error_clear(&why);
    int rc = open_header(survey, look, look->format, &layer, &why);
    if (rc == 0)
        rc = info_of_layer(&layer, &image->info, &why);
    if (rc == -ENOMEM)
        return qimg_fail_memory(err);
    if (rc < 0)
        return set_problem(image, state_of_failure(&why, look->reference != NULL), why.code,
                           why.text, err);
    image->state = QIMG_CHAIN_READ;
    image->probed = layer.probed;
    free(TAKE(image->format));
    TRY(copy_text(layer.image->ops->name, &image->format, err));
    s->sealed = layer.image->fingerprint != NULL;
    image->has_window = layer.windowed;
    if (layer.windowed)
        image->window = (struct qimg_range){ layer.window_off, layer.image->size };
    s->name_end = layer.image->backing_name_end;
    return copy_references(&layer, image, err);
}

/* Formats that this library does not read: their names are still names. */
static bool is_foreign(const char *format)
{
    static const char *const protocols[] = { "file", "host_device" };
    for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
        if (strcmp(format, protocols[i]) == 0)
            return false;
    return !format_find(format);
}

/* --- the look -------------------------------------------------------------------------------- */

static int look_inside(struct qimg_survey *survey, const struct look *look, struct surveyed *s,
                       struct qimg_error *err)
{
    struct qimg_chain_image *image = &s->image;
    const char *format = look->format ? look->format : look->place->format;
    int rc;
    if (!find_file(image, &rc, err) || !read_signature(survey, look, image, &rc, err))
        return rc;
    if (look->data_file) {
        image->state = QIMG_CHAIN_READ;
        return 0;
    }
    if (!format && !look->probe)
        return peek(survey, look, image, err);
    if (format && is_foreign(format))
        return set_problem(image, QIMG_CHAIN_UNSUPPORTED, ENOTSUP,
                           qimg_format_known(format) ? "qimg does not read this format"
                                                     : "its recorded format is no format's name",
                           err);
    return read_header(survey, look, s, err);
}

int survey_look(struct qimg_survey *survey, const struct look *look, struct surveyed *s,
                struct qimg_error *err)
{
    struct qimg_chain_image *image = &s->image;
    image->own = s;
    TRY(copy_text(look->format, &image->format, err));
    TRY(copy_text(look->place ? look->place->display : look->name, &image->name, err));
    if (look->place) {
        TRY(copy_text(look->place->path, &image->path, err));
        image->absolute = survey_absolute(survey, image->path);
        if (!image->absolute)
            return qimg_fail_memory(err);
    }
    if (look->problem)
        return set_problem(image, look->state, 0, look->problem, err);
    return look_inside(survey, look, s, err);
}
