/* SPDX-License-Identifier: Apache-2.0
 *
 * From text to an opened file: the one door. Classifies a name (path, file:, json:, a protocol
 * that we do not speak), joins relative names with the directory of the image that holds them
 * (textually, as QEMU and libvirt do), and opens the result after the gate agreed.
 */
#ifndef CHAIN_RESOLVE_H
#define CHAIN_RESOLVE_H

#include "context.h"
#include "format.h"
#include "qimg/options.h"

/* What a name means, once read. Strings are owned. */
struct location {
    char *path;          /* the file, as it will be opened */
    char *display;       /* as QEMU shows it: the path, or json:{...} where that says too little */
    char *format;        /* format driver named inside json: or --image-opts; NULL = not named */
    char *driver;        /* "file" or "host_device" if named; NULL = by what is found */
    char *backing;       /* node option backing= given as a name; NULL = not given */
    bool no_backing;     /* backing given as null */
    uint64_t raw_offset, raw_size; /* raw's offset= and size=; size 0 = to the end */
    bool read_only, force_share;
};

void location_release(struct location *location);

/* Reads @name as given by the user. */
MUST_CHECK int resolve_name(struct qimg_context *context, const char *name, bool image_opts,
                            struct location *out, struct qimg_error *err);

/* Reads @recorded, found in the image @holder (a path as opened), without opening anything. */
MUST_CHECK int resolve_recorded(struct qimg_context *context, const char *holder,
                                const char *recorded, struct location *out,
                                struct qimg_error *err);

/* "dir/of/holder/recorded", or @recorded itself where it is absolute or has a protocol: what
 * info shows as the full backing filename. NULL: no memory. */
char *resolve_full_name(const char *holder, const char *recorded);

#endif
