/* SPDX-License-Identifier: Apache-2.0
 *
 * The public calls about fingerprints: reading, making, removing and comparing the record of one
 * image. Its backing file is opened here, through the gate, however the image itself was opened.
 */
#include <string.h>
#include <time.h>

#include "chain_admin.h"
#include "cleanup.h"
#include "fingerprint.h"

/* --- the backing file ------------------------------------------------------------------------ */

struct child {
    struct next_image next;
    struct layer layer;
};

static void child_release(struct child *child)
{
    layer_release(&child->layer);
    location_release(&child->next.place);
}

/* -ENOENT: the image names none. */
static int child_open(struct qimg_image *image, struct child *child, struct qimg_error *err)
{
    static const struct location above; /* the user's options for the top do not matter here */
    const struct qimg_open_options how = { .share = image->options.share };
    struct qimg_context *context = image->context;

    const int rc = next_of(context, &image->layers[0], &above, 1, &child->next, err);
    if (rc == 0)
        return qimg_fail(err, ENOENT, "image '%s' has no backing file", image->layers[0].name);
    TRY(rc);
    const struct open_request request = { .place = &child->next.place,
                                          .format = child->next.format,
                                          .options = &how,
                                          .reference = &child->next.reference };
    if (open_layer(context, &request, &child->layer, err) < 0) {
        gate_hint_broken(context, &child->next.reference, err);
        return qimg_within(err, "Could not open backing file");
    }
    return open_data_file(context, &child->layer, request.place, &how, err);
}

/* --- the record ------------------------------------------------------------------------------- */

static int copy_out(const struct fingerprint *f, struct qimg_fingerprint *out,
                    struct qimg_error *err)
{
    *out = (struct qimg_fingerprint){
        .backing_name = strndup(f->name_end, f->name_end_len),
        .name_whole = f->name_end_len == f->name_len,
        .backing_format = f->format_len ? strndup(f->format, f->format_len) : NULL,
        .size = f->size,
        .file_len = f->file_len,
        .mtime_sec = f->mtime_sec,
        .mtime_nsec = f->mtime_nsec,
        .sealed_sec = f->sealed_sec,
        .has_content = f->has_content,
    };
    memcpy(out->identity, f->identity, sizeof(out->identity));
    memcpy(out->content, f->content, sizeof(out->content));
    if (out->backing_name && (out->backing_format || !f->format_len))
        return 1;
    qimg_fingerprint_release(out);
    return qimg_fail_memory(err);
}

void qimg_fingerprint_release(struct qimg_fingerprint *fingerprint)
{
    free(fingerprint->backing_name);
    free(fingerprint->backing_format);
    *fingerprint = (struct qimg_fingerprint){ 0 };
}

int qimg_image_fingerprint(const struct qimg_image *image, struct qimg_fingerprint *out,
                           struct qimg_error *err)
{
    const struct image *top = image->layers[0].image;
    struct fingerprint f;

    if (!top->fingerprint)
        return 0;
    if (fingerprint_decode(top->fingerprint, top->fingerprint_len, &f) < 0)
        return qimg_fail(err, EBADMSG, "the fingerprint is damaged, or of a later version");
    return copy_out(&f, out, err);
}

/* --- sealing -------------------------------------------------------------------------------- */

static int refuse_format(const struct qimg_image *image, struct qimg_error *err)
{
    return qimg_fail(err, ENOTSUP, "Images of format '%s' keep no fingerprints",
                     image->layers[0].image->ops->name);
}

static int write_record(struct qimg_image *image, const struct fingerprint *f,
                        const struct backing_seal *like, struct qimg_error *err)
{
    struct image *top = image->layers[0].image;
    struct backing_seal seal = *like;
    uint8_t record[FINGERPRINT_MAX];

    if (f) {
        seal.fingerprint = record;
        seal.fingerprint_len = (uint32_t)fingerprint_encode(f, record);
    }
    if (top->ops->seal(top, &seal, err) == 0)
        return 0;
    return qimg_within(err, "Could not record a fingerprint in '%s'", image->layers[0].name);
}

/* A record of the greatest length for that name. */
static int try_room(struct qimg_image *image, const struct qimg_seal_options *options,
                    struct qimg_error *err)
{
    const struct image *top = image->layers[0].image;
    const char *name = options->backing_name ? options->backing_name : top->backing_name;
    const char *format = options->backing_name ? options->backing_format : top->backing_format;
    const struct backing_seal seal = { .name = name, .format = format, .dry_run = true };
    struct fingerprint f = { .has_content = options->content };

    if (!name || !*name)
        return qimg_fail(err, ENOENT, "image '%s' has no backing file", image->layers[0].name);
    fingerprint_describe(&f, name, format);
    return write_record(image, &f, &seal, err);
}

/* What the backing file is, with the digest of its content if asked for. */
static int measure(struct qimg_image *image, const struct child *child,
                   const struct qimg_seal_options *options, struct fingerprint *f,
                   struct qimg_error *err)
{
    const struct qimg_open_options how = { .format = child->layer.image->ops->name };
    struct qimg_image *below;

    if (options->content) {
        TRY(chain_open_unverified(image->context, child->layer.name, &how, &below, err));
        const int rc =
            fingerprint_content(below, options->progress, options->user, f->content, err);
        qimg_image_close(below);
        TRY(rc);
        f->has_content = true;
    }
    return fingerprint_measure(&child->layer, f, err);
}

int qimg_image_seal(struct qimg_image *image, const struct qimg_seal_options *options,
                    struct qimg_error *err)
{
    const struct image *top = image->layers[0].image;
    struct fingerprint f = { 0 }, before = { 0 };
    AUTO(child_release) struct child child = { 0 };

    if (!top->ops->seal)
        return refuse_format(image, err);
    if (options->dry_run)
        return try_room(image, options, err);
    TRY(chain_admin_begin(image, err));
    TRY(child_open(image, &child, err));
    TRY(try_room(image, &(struct qimg_seal_options){ .content = options->content }, err));
    TRY(fingerprint_measure(&child.layer, &before, err));
    TRY(measure(image, &child, options, &f, err));
    if (f.mtime_sec != before.mtime_sec || f.mtime_nsec != before.mtime_nsec)
        return qimg_fail(err, EAGAIN, "backing file '%s' was written to meanwhile",
                         child.layer.name);
    f.sealed_sec = time(NULL);
    fingerprint_describe(&f, top->backing_name, top->backing_format);
    const struct backing_seal seal = { .name = top->backing_name, .format = top->backing_format };
    return write_record(image, &f, &seal, err);
}

int qimg_image_unseal(struct qimg_image *image, struct qimg_error *err)
{
    const struct image *top = image->layers[0].image;
    const struct backing_seal seal = { .name = top->backing_name, .format = top->backing_format };

    TRY(chain_admin_begin(image, err));
    return top->fingerprint ? write_record(image, NULL, &seal, err) : 0;
}

int fingerprint_renew(struct qimg_image *image, struct qimg_error *err)
{
    const struct image *top = image->layers[0].image;
    const struct backing_seal seal = { .name = top->backing_name, .format = top->backing_format };
    AUTO(child_release) struct child child = { 0 };
    struct fingerprint f;

    if (!top->fingerprint || fingerprint_decode(top->fingerprint, top->fingerprint_len, &f) < 0)
        return 0;
    TRY(child_open(image, &child, err));
    TRY(fingerprint_measure(&child.layer, &f, err));
    fingerprint_describe(&f, top->backing_name, top->backing_format);
    return write_record(image, &f, &seal, err);
}

/* --- comparing ------------------------------------------------------------------------------ */

int qimg_image_verify_backing(struct qimg_image *image, bool content,
                              struct qimg_fingerprint_check *out, struct qimg_error *err)
{
    AUTO(child_release) struct child child = { 0 };

    *out = (struct qimg_fingerprint_check){ .state = QIMG_FINGERPRINT_NONE };
    if (!image->layers[0].image->fingerprint)
        return 0;
    TRY(child_open(image, &child, err));
    const struct fingerprint_subject subject = {
        .context = image->context,
        .holder = &image->layers[0],
        .child = &child.layer,
        .content = content,
    };
    return fingerprint_check(&subject, out, err);
}
