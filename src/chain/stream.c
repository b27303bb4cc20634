/* SPDX-License-Identifier: Apache-2.0
 *
 * Stream: an overlay takes over what lies between itself and a base, or all that lies below it.
 * The order is rebase's: pull, durable, then the header.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backing.h"
#include "cleanup.h"
#include "commit_base.h"
#include "pull.h"
#include "resolve.h"
#include "str.h"
#include "tail.h"

struct stream {
    struct qimg_image *image;
    const struct qimg_stream_options *options;
    unsigned base;            /* layer; layer_count: none */
    struct qimg_image *other; /* the chain from the base on; NULL: none */
    char *name, *format;      /* owned, to be recorded; NULL: none */
};

static void stream_end(const struct stream *s)
{
    chain_tail_free(s->other);
    free(s->name);
    free(s->format);
}

/* --- the base ------------------------------------------------------------------------------- */

static size_t directory_len(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? (size_t)(slash - name) + 1 : 0;
}

static bool same_directory(const char *a, const char *b)
{
    return directory_len(a) == directory_len(b) && strncmp(a, b, directory_len(a)) == 0;
}

/* What names the base from everywhere. */
static char *full_path(const struct layer *base)
{
    AUTO_FREE char *here = NULL;
    if (*base->path == '/')
        return strdup(base->path);
    here = getcwd(NULL, 0);
    return here ? str_format("%s/%s", here, base->path) : NULL;
}

/* The name that the image above the base has for it, unless that is relative to another directory
 * than ours. */
static char *name_of(const struct stream *s)
{
    const struct layer *above = &s->image->layers[s->base - 1];
    const char *recorded = above->image->backing_name;
    const bool absolute = recorded && (*recorded == '/' || resolve_has_protocol(recorded));

    if (recorded && (absolute || same_directory(above->name, s->image->layers[0].name)))
        return strdup(recorded);
    return full_path(&s->image->layers[s->base]);
}

static const char *format_of(const struct stream *s)
{
    const char *recorded = s->image->layers[s->base - 1].image->backing_format;
    return recorded ? recorded : s->image->layers[s->base].image->ops->name;
}

/* The layer whose file @path is, from where the caller stands; 0: none is. */
static unsigned layer_at(const struct stream *s, const char *path)
{
    struct qimg_context *context = s->image->context;
    const struct io_open_options how = { .writable = false };
    struct io_file *file = NULL;
    struct location place = { 0 };
    struct qimg_error unsaid;
    unsigned found = 0;

    qimg_error_clear(&unsaid);
    if (resolve_name(context, path, false, &place, &unsaid) == 0 &&
        io_file_open(context->engine, place.path, &how, &file) == 0)
        for (unsigned i = s->image->layer_count - 1; i > 0; i--)
            if (io_same_file(file, s->image->layers[i].image->file))
                found = i;
    io_file_close(file);
    location_release(&place);
    return found;
}

static int find_base(struct stream *s, struct qimg_error *err)
{
    const char *base = s->options->base;
    const int rc = commit_base_find(s->image, base, s->image->layers[0].name, &s->base, err);

    if (rc == -ENOENT)
        s->base = layer_at(s, base);
    return rc == -ENOENT && s->base > 0 ? 0 : rc;
}

static int settle_base(struct stream *s, struct qimg_error *err)
{
    if (s->image->options.info_only || s->image->options.no_backing)
        return qimg_fail(err, EINVAL, "the image was opened without its backing files");
    s->base = s->image->layer_count;
    if (!s->options->base)
        return 0;
    TRY(find_base(s, err));
    s->name = name_of(s);
    s->format = strdup(format_of(s));
    if (!s->name || !s->format || chain_tail_new(s->image, s->base, &s->other) < 0)
        return qimg_fail_memory(err);
    return 0;
}

/* --- the job -------------------------------------------------------------------------------- */

/* Is the base, or nothing, what lies below already? */
static bool nothing_between(const struct stream *s)
{
    return s->base == 1;
}

static int prepare(struct stream *s, struct qimg_error *err)
{
    TRY(settle_base(s, err));
    if (nothing_between(s))
        return 0;
    TRY(pull_check(s->image, &s->options->pull, err));
    return backing_check(s->image, s->name, s->format, err);
}

/* Where nothing stays below, zeros that are read need not be copied. */
static struct pull pull_of(const struct stream *s)
{
    return (struct pull){
        .overlay = s->image,
        .other = s->other,
        .shared = s->other ? s->base : 0,
        .compare = !s->other,
        .options = &s->options->pull,
    };
}

int qimg_stream(struct qimg_image *image, const struct qimg_stream_options *options,
                struct qimg_pull_result *out, struct qimg_error *err)
{
    AUTO(stream_end) struct stream s = { .image = image, .options = options };

    *out = (struct qimg_pull_result){ 0 };
    TRY(prepare(&s, err));
    if (nothing_between(&s))
        return 0;
    const struct pull pull = pull_of(&s);
    TRY(pull_run(&pull, out, err));
    return qimg_image_set_backing(image, s.name, s.format, err);
}

int qimg_stream_plan(struct qimg_image *image, const struct qimg_stream_options *options,
                     struct qimg_pull_plan *out, struct qimg_error *err)
{
    AUTO(stream_end) struct stream s = { .image = image, .options = options };

    *out = (struct qimg_pull_plan){ 0 };
    TRY(prepare(&s, err));
    const struct pull pull = pull_of(&s);
    TRY(pull_plan(&pull, out, err));
    out->backing_name = TAKE(s.name);
    out->backing_format = TAKE(s.format);
    return 0;
}
