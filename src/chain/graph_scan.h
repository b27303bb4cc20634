/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading headers by the thousand.
 */
#ifndef CHAIN_GRAPH_SCAN_H
#define CHAIN_GRAPH_SCAN_H

#include "context.h"
#include "fail.h"
#include "qimg/chain.h"
#include "qimg/graph.h"
#include "vec.h"

/* What a header names. */
struct scan_reference {
    char *recorded, *format;
    char *path;                  /* where it leads; NULL for what is no local file */
    enum qimg_graph_kind kind;   /* OUTSIDE: there */
    struct qimg_chain_file file; /* of what is there */
};

/* One file that was read. */
struct scan_item {
    char *path;
    struct qimg_chain_file file;
    const char *format; /* by content; NULL = none */
    char *problem;
    uint64_t virtual_size;
    struct scan_reference backing, data_file;
    int failed; /* negative errno: it could not be read at all */
};

DEFINE_VEC(scan_vec, struct scan_item)

struct scan {
    struct qimg_context *context;
    struct scan_vec images; /* what was found to be one, in no order */
    uint64_t files, unreadable;
    struct scan_vec batch; /* being read */
};

/* Adds all images at and below @path. 0, -ENOMEM, or why @path itself cannot be read. */
MUST_CHECK int scan_path(struct scan *scan, const char *path);

/* Reads what is left of the last batch. 0 or -ENOMEM. */
MUST_CHECK int scan_finish(struct scan *scan);

void scan_release(struct scan *scan);

#endif
