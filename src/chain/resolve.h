/* SPDX-License-Identifier: Apache-2.0
 *
 * From text to a place: the one door for names. Classifies a name (path, file:, json:, a protocol
 * that we do not speak), and joins relative names with the directory of the image that holds them
 * (textually, as QEMU and libvirt do). Opens nothing.
 */
#ifndef CHAIN_RESOLVE_H
#define CHAIN_RESOLVE_H

#include "context.h"
#include "format.h"
#include "qimg/options.h"

/* What must fit the image of the options that tune QEMU's caches (resolve_tuning.h); 0: none. */
struct tuning {
    uint64_t l2_entry_size, refcount_cache; /* bytes */
    bool has_l2_entry_size;
};

/* What a name means, once read. Strings are owned. */
struct location {
    char *path;           /* the file, as it will be opened */
    char *display;        /* as QEMU shows it: the path, or json:{...} where that says too little */
    char *format;         /* format driver named inside json: or --image-opts; NULL = not named */
    char *driver;         /* file, host_device or host_cdrom if named; NULL = by what is found */
    bool protocol_only;   /* the named driver is the protocol's: bytes of a file, no format */
    char *backing;        /* node option backing given as a file's name; NULL = not given */
    char *backing_format; /* NULL = not given */
    bool no_backing;      /* backing given as null */
    char *key_secret;     /* node option encrypt.key-secret; NULL = not given */
    char *data_file;      /* node option data-file given as a file's name; NULL = not given */
    uint64_t raw_offset;  /* raw's offset= and size= */
    uint64_t raw_size;
    bool has_raw_size;
    bool offset_as_text, size_as_text; /* given as strings, and shown so */
    bool read_only, force_share;
    bool direct; /* cache.direct=on */
    struct tuning tuning;
    bool embedded; /* the name was json:, or named its protocol */
};

void location_release(struct location *location);

/* Reads @name as given by the user. */
MUST_CHECK int resolve_name(struct qimg_context *context, const char *name, bool image_opts,
                            struct location *out, struct qimg_error *err);

/* Reads @recorded, found in the image @holder (its display name), without opening anything. */
MUST_CHECK int resolve_recorded(struct qimg_context *context, const char *holder,
                                const char *recorded, struct location *out, struct qimg_error *err);

/* "dir/of/holder/recorded", or @recorded itself where it is absolute or has a protocol: what
 * info shows as the full backing filename. NULL: no memory, or @holder is a json: name. */
char *resolve_full_name(const char *holder, const char *recorded);

/* The same for a literal file name: no protocol is looked for in @recorded. */
char *resolve_join(const char *holder, const char *recorded);

/* Does @name begin with "word:" before any slash? */
bool resolve_has_protocol(const char *name);

#endif
