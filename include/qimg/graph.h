/* SPDX-License-Identifier: Apache-2.0
 *
 * Who depends on whom, over whole directories: every image found there, and what each names. Read
 * from headers alone, in batches; nothing is followed, and what is named is only looked up by
 * name. An image's format is that of its content: here it decides nothing.
 */
#ifndef QIMG_GRAPH_H
#define QIMG_GRAPH_H

#include "qimg/context.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QIMG_GRAPH_NONE SIZE_MAX

enum qimg_graph_kind {
    QIMG_GRAPH_FOUND,   /* lies in the directories */
    QIMG_GRAPH_OUTSIDE, /* is there, but not in the directories (or no image by its content): known
                         * only because it is named */
    QIMG_GRAPH_MISSING, /* is named, and not there */
    QIMG_GRAPH_REMOTE,  /* on the network */
    QIMG_GRAPH_NOWHERE, /* a name that cannot be understood */
};

/* A file of the graph. Strings are owned by the graph; NULL = not there. */
struct qimg_graph_image {
    enum qimg_graph_kind kind;
    char *path;            /* of REMOTE and NOWHERE as recorded */
    const char *format;    /* by content; "raw" where that shows nothing; NULL = not looked at */
    char *problem;         /* FOUND: why its header could not be read */
    uint64_t virtual_size; /* bytes; 0 = not known */
    uint64_t allocated;    /* bytes of storage */
    char *backing_name, *backing_format, *data_file_name; /* as recorded */
    size_t backing, data_file; /* indices of images, or QIMG_GRAPH_NONE */
    size_t dependants;         /* how many images name it */
    /* Those whose backing file it is, in order: its first, and each one's next; and those whose
     * data file it is. */
    size_t first_overlay, next_overlay;
    size_t first_user, next_user;
};

struct qimg_graph {
    struct qimg_graph_image *images; /* FOUND ones first, by path */
    size_t count, found;
    uint64_t files;            /* regular files seen, images or not */
    uint64_t unreadable;       /* files and directories that could not be read */
    struct graph_index *index; /* the library's */
};

/* Reads all that lies below @paths (directories, and files), @count of them. Symbolic links are not
 * followed. Fails with -ENOMEM, and with what the operating system says of a path that is not
 * there; what cannot be read below is counted. */
QIMG_API int qimg_graph_read(struct qimg_context *context, const char *const *paths, size_t count,
                             struct qimg_graph *out, struct qimg_error *err);

QIMG_API void qimg_graph_release(struct qimg_graph *graph);

/* The image that @path is, by identity (a missing one: by name), or QIMG_GRAPH_NONE. */
QIMG_API size_t qimg_graph_find(const struct qimg_graph *graph, const char *path);

/* All images that depend on image @index, directly or through others, in the order of distance.
 * @out is a malloc'ed list of their indices. 0 or -ENOMEM. */
QIMG_API int qimg_graph_dependants(const struct qimg_graph *graph, size_t index, size_t **out,
                                   size_t *count);

/* "found", "outside", ... */
QIMG_API const char *qimg_graph_kind_name(enum qimg_graph_kind kind);

#ifdef __cplusplus
}
#endif
#endif
