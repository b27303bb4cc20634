/* SPDX-License-Identifier: Apache-2.0
 *
 * Rebase: another backing chain under an image that reads as before. The order is all: everything
 * that could refuse the new name is asked first, then what differs is copied (pull.h), that is
 * made durable, and only then the header changes, by one sector (formats/qcow2/backing.c).
 */
#include "qimg/rebase.h"

#include <stdlib.h>
#include <string.h>

#include "backing.h"
#include "cleanup.h"
#include "open.h"
#include "pull.h"
#include "tail.h"

struct rebase {
    struct qimg_image *image;
    struct qimg_image *other; /* NULL: no backing file */
    unsigned shared;          /* other is image's own chain from this layer on; 0: it is not */
    const struct qimg_rebase_options *options;
    const char *name; /* NULL: none */
};

static int open_beside(const struct rebase *r, bool alone, struct qimg_image **out,
                       struct qimg_error *err)
{
    const struct qimg_rebase_options *options = r->options;
    const struct qimg_open_options how = {
        .format = options->backing_format,
        .cache = options->backing_cache,
        .share = options->force_share ? QIMG_SHARE_FORCE : QIMG_SHARE_DEFAULT,
        .no_backing = alone,
    };

    if (chain_open_beside(r->image, r->name, &how, out, err) < 0)
        return qimg_within(err, "Could not open new backing file '%s'", r->name);
    return 0;
}

/* What is open already, further down in the image's own chain, is not opened once more. */
static int open_other(struct rebase *r, struct qimg_error *err)
{
    struct qimg_image *alone;

    if (!r->name)
        return 0;
    TRY(open_beside(r, true, &alone, err));
    r->shared = chain_tail_find(r->image, alone);
    qimg_image_close(alone);
    if (r->shared == 0)
        return open_beside(r, false, &r->other, err);
    return chain_tail_new(r->image, r->shared, &r->other) < 0 ? qimg_fail_memory(err) : 0;
}

static int check_image(const struct rebase *r, struct qimg_error *err)
{
    const char *format = r->options->backing_format;

    if (r->image->options.info_only || r->image->options.no_backing)
        return qimg_fail(err, EINVAL, "the image was opened without its backing files");
    TRY(pull_check(r->image, &r->options->pull, err));
    if (format && !qimg_format_known(format))
        return qimg_fail(err, EINVAL, "Invalid format name: '%s'", format);
    return 0;
}

/* QEMU looks at all data before it says that the name cannot be recorded. */
static int prepare(struct rebase *r, struct qimg_error *err)
{
    TRY(check_image(r, err));
    TRY(open_other(r, err));
    return backing_check(r->image, r->name, r->options->backing_format, err);
}

static struct rebase rebase_of(struct qimg_image *image, const struct qimg_rebase_options *options)
{
    const char *name = options->backing_name;
    return (
        struct rebase){ .image = image, .options = options, .name = name && *name ? name : NULL };
}

static void rebase_end(const struct rebase *r)
{
    if (r->shared > 0)
        chain_tail_free(r->other);
    else
        qimg_image_close(r->other);
}

/* Zeros that the old backing file has cost nothing where they are marked; QEMU marks only those
 * behind its end, and its `map` shows that. */
static uint64_t zeros_from(const struct qimg_image *image)
{
    const bool like_qemu = image->context->gate.policy == QIMG_POLICY_QEMU;

    return like_qemu && image->layer_count > 1 ? image->layers[1].image->size : 0;
}

static struct pull pull_of(const struct rebase *r)
{
    return (struct pull){
        .overlay = r->image,
        .other = r->other,
        .shared = r->shared,
        .compare = true,
        .zeros_from = zeros_from(r->image),
        .options = &r->options->pull,
    };
}

int qimg_rebase(struct qimg_image *image, const struct qimg_rebase_options *options,
                struct qimg_pull_result *out, struct qimg_error *err)
{
    AUTO(rebase_end) struct rebase r = rebase_of(image, options);

    *out = (struct qimg_pull_result){ 0 };
    TRY(prepare(&r, err));
    const struct pull pull = pull_of(&r);
    TRY(pull_run(&pull, out, err));
    return qimg_image_set_backing(image, r.name, options->backing_format, err);
}

static int plan_names(const struct rebase *r, struct qimg_pull_plan *out, struct qimg_error *err)
{
    if (!r->name)
        return 0;
    out->backing_name = strdup(r->name);
    out->backing_format = strdup(r->options->backing_format);
    return out->backing_name && out->backing_format ? 0 : qimg_fail_memory(err);
}

int qimg_rebase_plan(struct qimg_image *image, const struct qimg_rebase_options *options,
                     struct qimg_pull_plan *out, struct qimg_error *err)
{
    AUTO(rebase_end) struct rebase r = rebase_of(image, options);

    *out = (struct qimg_pull_plan){ 0 };
    TRY(prepare(&r, err));
    const struct pull pull = pull_of(&r);
    int rc = pull_plan(&pull, out, err);
    if (rc == 0)
        rc = plan_names(&r, out, err);
    if (rc < 0)
        qimg_pull_plan_release(out);
    return rc;
}

void qimg_pull_plan_release(struct qimg_pull_plan *plan)
{
    free(plan->backing_name);
    free(plan->backing_format);
    *plan = (struct qimg_pull_plan){ 0 };
}
