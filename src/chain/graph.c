/* SPDX-License-Identifier: Apache-2.0
 *
 * From what was scanned to a graph: images by identity, references as arrows. A file that is named
 * and was not found becomes an image of its own, once, whoever names it.
 */
#include "qimg/graph.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "graph_scan.h"
#include "str.h"
#include "survey_stat.h"
#include "table.h"

DEFINE_VEC(image_vec, struct qimg_graph_image)
DEFINE_VEC(key_vec, char *)

/* Keys are "DEVICE:INODE" of what is there, else the name. Values are indices plus 1. */
struct graph_index {
    char *directory; /* that relative names are absolute by */
    struct table table;
    struct key_vec keys; /* owned */
};

struct building {
    struct image_vec images;
    struct graph_index *index;
};

/* --- the index ------------------------------------------------------------------------------ */

static char *key_of(const struct graph_index *index, const struct qimg_chain_file *file,
                    const char *name)
{
    if (file->there)
        return str_format("%" PRIx64 ":%" PRIx64, file->device, file->inode);
    return str_format("=%s/%s", *name == '/' ? "" : index->directory, name);
}

static size_t look_up(const struct graph_index *index, const char *key)
{
    const uintptr_t value = (uintptr_t)table_find(&index->table, key);
    return value ? (size_t)value - 1 : QIMG_GRAPH_NONE;
}

/* Takes over @key. */
static int enter(struct graph_index *index, char *key, size_t image)
{
    if (key && key_vec_reserve(&index->keys, 1) == 0 &&
        table_add(&index->table, key, (void *)(uintptr_t)(image + 1)) == 0) {
        index->keys.items[index->keys.count++] = key;
        return 0;
    }
    free(key);
    return -ENOMEM;
}

static void free_index(struct graph_index *index)
{
    if (!index)
        return;
    for (size_t i = 0; i < index->keys.count; i++)
        free(index->keys.items[i]);
    key_vec_release(&index->keys);
    table_release(&index->table);
    free(index->directory);
    free(index);
}

/* --- images --------------------------------------------------------------------------------- */

static const struct qimg_graph_image no_image = { .backing = QIMG_GRAPH_NONE,
                                                  .data_file = QIMG_GRAPH_NONE,
                                                  .first_overlay = QIMG_GRAPH_NONE,
                                                  .next_overlay = QIMG_GRAPH_NONE,
                                                  .first_user = QIMG_GRAPH_NONE,
                                                  .next_user = QIMG_GRAPH_NONE };

static int by_path(const void *a, const void *b)
{
    const struct scan_item *x = a, *y = b;
    return strcmp(x->path, y->path);
}

/* The image that @item becomes; what it names is not set yet. A second name of one file (a hard
 * link, a directory given twice) is an image too, but the first one is what others depend on. */
static int add_found(struct building *b, struct scan_item *item)
{
    struct qimg_graph_image image = no_image;
    image.kind = QIMG_GRAPH_FOUND;
    image.format = item->format ? item->format : "raw";
    image.virtual_size = item->format ? item->virtual_size : item->file.size;
    image.allocated = item->file.allocated;
    TRY(image_vec_reserve(&b->images, 1));
    char *key = key_of(b->index, &item->file, item->path);
    if (!key)
        return -ENOMEM;
    if (look_up(b->index, key) != QIMG_GRAPH_NONE)
        free(key);
    else
        TRY(enter(b->index, key, b->images.count));
    image.path = TAKE(item->path);
    image.problem = TAKE(item->problem);
    image.backing_name = TAKE(item->backing.recorded);
    image.backing_format = TAKE(item->backing.format);
    image.data_file_name = TAKE(item->data_file.recorded);
    b->images.items[b->images.count++] = image;
    return 0;
}

/* The index of what @reference leads to, made if nobody named it before. */
static int find_named(struct building *b, const struct scan_reference *reference,
                      const char *recorded, size_t *out)
{
    const char *name = reference->path ? reference->path : recorded;
    AUTO_FREE char *key = key_of(b->index, &reference->file, name);
    if (!key)
        return -ENOMEM;
    *out = look_up(b->index, key);
    if (*out != QIMG_GRAPH_NONE)
        return 0;
    struct qimg_graph_image image = no_image;
    image.kind = reference->kind;
    image.allocated = reference->file.allocated;
    image.path = strdup(name);
    if (!image.path || image_vec_push(&b->images, image) < 0) {
        free(image.path);
        return -ENOMEM;
    }
    *out = b->images.count - 1;
    return enter(b->index, TAKE(key), *out);
}

static int link_image(struct building *b, const struct scan_item *item, size_t at)
{
    size_t to;
    if (b->images.items[at].backing_name) {
        TRY(find_named(b, &item->backing, b->images.items[at].backing_name, &to));
        b->images.items[at].backing = to;
        b->images.items[to].dependants++;
    }
    if (b->images.items[at].data_file_name) {
        TRY(find_named(b, &item->data_file, b->images.items[at].data_file_name, &to));
        b->images.items[at].data_file = to;
        b->images.items[to].dependants++;
    }
    return 0;
}

/* Each image's overlays, and the users of each data file, as lists, in order. */
static void list_dependants(struct building *b)
{
    struct qimg_graph_image *images = b->images.items;
    for (size_t i = b->images.count; i-- > 0;) {
        const size_t base = images[i].backing, data = images[i].data_file;
        if (base != QIMG_GRAPH_NONE) {
            images[i].next_overlay = images[base].first_overlay;
            images[base].first_overlay = i;
        }
        if (data != QIMG_GRAPH_NONE) {
            images[i].next_user = images[data].first_user;
            images[data].first_user = i;
        }
    }
}

static int build(struct building *b, struct scan *scan)
{
    struct scan_vec *found = &scan->images;
    b->index = calloc(1, sizeof(*b->index));
    if (!b->index || !(b->index->directory = getcwd(NULL, 0)))
        return -ENOMEM;
    if (found->count > 0)
        qsort(found->items, found->count, sizeof(found->items[0]), by_path);
    for (size_t i = 0; i < found->count; i++)
        TRY(add_found(b, &found->items[i]));
    for (size_t i = 0; i < found->count; i++)
        TRY(link_image(b, &found->items[i], i));
    list_dependants(b);
    return 0;
}

/* --- the interface -------------------------------------------------------------------------- */

void qimg_graph_release(struct qimg_graph *graph)
{
    for (size_t i = 0; i < graph->count; i++) {
        struct qimg_graph_image *image = &graph->images[i];
        free(image->path);
        free(image->problem);
        free(image->backing_name);
        free(image->backing_format);
        free(image->data_file_name);
    }
    free(graph->images);
    free_index(graph->index);
    *graph = (struct qimg_graph){ 0 };
}

static int scan_all(struct scan *scan, const char *const *paths, size_t count,
                    struct qimg_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const int rc = scan_path(scan, paths[i]);
        if (rc < 0 && rc != -ENOMEM)
            return qimg_fail_errno(err, -rc, "Could not read '%s'", paths[i]);
        if (rc < 0)
            return qimg_fail_memory(err);
    }
    return scan_finish(scan) < 0 ? qimg_fail_memory(err) : 0;
}

int qimg_graph_read(struct qimg_context *context, const char *const *paths, size_t count,
                    struct qimg_graph *out, struct qimg_error *err)
{
    struct scan scan = { .context = context };
    struct building b = { 0 };
    int rc = scan_all(&scan, paths, count, err);
    const size_t found = scan.images.count;
    if (rc == 0 && build(&b, &scan) < 0)
        rc = qimg_fail_memory(err);
    struct qimg_graph graph = { .images = b.images.items,
                                .count = b.images.count,
                                .found = found,
                                .files = scan.files,
                                .unreadable = scan.unreadable,
                                .index = b.index };
    scan_release(&scan);
    if (rc < 0) {
        qimg_graph_release(&graph);
        return rc;
    }
    *out = graph;
    return 0;
}

size_t qimg_graph_find(const struct qimg_graph *graph, const char *path)
{
    struct qimg_chain_file file = { 0 };
    (void)!survey_stat(path, &file);
    AUTO_FREE char *key = key_of(graph->index, &file, path);
    return key ? look_up(graph->index, key) : QIMG_GRAPH_NONE;
}

struct dependants {
    const struct qimg_graph *graph;
    bool *seen; /* a loop is gone round once */
    size_t *list, count;
};

static void add_dependant(struct dependants *d, size_t index)
{
    if (d->seen[index])
        return;
    d->seen[index] = true;
    d->list[d->count++] = index;
}

static void add_dependants_of(struct dependants *d, size_t index)
{
    const struct qimg_graph_image *images = d->graph->images;
    for (size_t i = images[index].first_overlay; i != QIMG_GRAPH_NONE; i = images[i].next_overlay)
        add_dependant(d, i);
    for (size_t i = images[index].first_user; i != QIMG_GRAPH_NONE; i = images[i].next_user)
        add_dependant(d, i);
}

int qimg_graph_dependants(const struct qimg_graph *graph, size_t index, size_t **out, size_t *count)
{
    AUTO_FREE bool *seen = calloc(graph->count, sizeof(bool));
    AUTO_FREE size_t *list = calloc(graph->count, sizeof(size_t));
    if (!seen || !list)
        return -ENOMEM;
    struct dependants d = { .graph = graph, .seen = seen, .list = list };
    seen[index] = true;
    add_dependants_of(&d, index);
    for (size_t i = 0; i < d.count; i++)
        add_dependants_of(&d, list[i]);
    *count = d.count;
    *out = TAKE(list);
    return 0;
}

const char *qimg_graph_kind_name(enum qimg_graph_kind kind)
{
    static const char *const names[] = {
        [QIMG_GRAPH_FOUND] = "found",     [QIMG_GRAPH_OUTSIDE] = "outside",
        [QIMG_GRAPH_MISSING] = "missing", [QIMG_GRAPH_REMOTE] = "remote",
        [QIMG_GRAPH_NOWHERE] = "nowhere",
    };
    return names[kind];
}
