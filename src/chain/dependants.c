/* SPDX-License-Identifier: Apache-2.0 */
#include "dependants.h"

#include <fts.h>

#include "cleanup.h"
#include "resolve.h"

/* The layer of the chain that @path is, or -1. */
static int layer_of(const struct dependants_search *search, const char *path)
{
    const struct qimg_image *chain = search->chain;
    const struct io_open_options how = { .writable = false };
    struct io_file *file = NULL;
    int found = -1;

    if (io_file_open(chain->context->engine, path, &how, &file) < 0)
        return -1;
    for (unsigned i = 0; i <= search->last && found < 0; i++)
        if (io_same_file(file, chain->layers[i].image->file))
            found = (int)i;
    io_file_close(file);
    return found;
}

/* The layer that the image at @path names as its backing file, or -1. What is no image names
 * nothing; what cannot be opened cannot be read by anybody else either. */
static int layer_below(const struct dependants_search *search, const char *path)
{
    static const struct qimg_open_options how = { .info_only = true,
                                                  .no_backing = true,
                                                  .share = QIMG_SHARE_FORCE };
    struct qimg_context *context = search->chain->context;
    struct qimg_image *image = NULL;
    struct location place = { 0 };
    struct qimg_error unsaid;
    int found = -1;

    qimg_error_clear(&unsaid);
    if (qimg_image_open(context, path, &how, &image, &unsaid) < 0)
        return -1;
    const struct layer *top = &image->layers[0];
    if (top->image->backing_name &&
        resolve_recorded(context, top->name, top->image->backing_name, &place, &unsaid) == 0)
        found = layer_of(search, place.path);
    location_release(&place);
    qimg_image_close(image);
    return found;
}

static void look_at(struct dependants_search *search, const char *path)
{
    const int below = layer_below(search, path);

    if (below < 1 || layer_of(search, path) >= 0)
        return;
    search->count++;
    if (search->found)
        search->found(search->user, path, search->chain->layers[below].name);
}

static void close_walk(FTS *const *walk)
{
    if (*walk)
        (void)fts_close(*walk);
}

int dependants_find(struct dependants_search *search, const char *directory, struct qimg_error *err)
{
    char *const roots[] = { (char *)(uintptr_t)directory, NULL }; /* fts does not write there */
    AUTO(close_walk) FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_COMFOLLOW, NULL);
    FTSENT *entry;

    while (walk && (errno = 0, entry = fts_read(walk))) {
        switch (entry->fts_info) {
        case FTS_F:
        case FTS_SL: /* may be an image's other name */
        case FTS_DEFAULT:
            look_at(search, entry->fts_path);
            break;
        case FTS_DNR:
        case FTS_ERR:
        case FTS_NS:
            return qimg_fail_errno(err, entry->fts_errno, "Could not search '%s' for dependants",
                                   entry->fts_path);
        default:
            break;
        }
    }
    return errno ? qimg_fail_errno(err, errno, "Could not search '%s' for dependants", directory)
                 : 0;
}
