/* SPDX-License-Identifier: Apache-2.0
 *
 * How images are opened and made.
 */
#ifndef QIMG_OPTIONS_H
#define QIMG_OPTIONS_H

#include "qimg/error.h"
#include "qimg/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum qimg_cache {
    QIMG_CACHE_WRITEBACK,
    QIMG_CACHE_WRITETHROUGH,
    QIMG_CACHE_NONE,       /* O_DIRECT */
    QIMG_CACHE_DIRECTSYNC, /* O_DIRECT, every write durable */
    QIMG_CACHE_UNSAFE,     /* flushes are ignored */
};

/* "none", "off", "writeback", ... Returns 0 or -EINVAL. */
QIMG_API int qimg_cache_parse(const char *name, enum qimg_cache *out);

enum qimg_share {
    QIMG_SHARE_DEFAULT, /* the locks that QEMU takes for this use */
    QIMG_SHARE_FORCE,   /* -U: let others write meanwhile */
    QIMG_SHARE_SOURCE,  /* source of a conversion: deny writers, raw images too */
};

struct qimg_open_options {
    const char *format; /* NULL = probe (the opened image only, never what it names) */
    bool writable;
    bool info_only;  /* no guest data will be read: encrypted images open, and neither
                        backing nor data file is touched */
    bool check;      /* qimg_image_check() will be called: what it can report, or mend,
                        does not keep the image from being opened */
    bool no_backing; /* do not open the backing chain; unallocated reads as zeros */
    bool next_only;  /* of the backing chain, open the next image alone: enough for
                        qimg_image_resize() and qimg_image_amend(), not for reading */
    enum qimg_cache cache;
    enum qimg_share share;
    bool image_opts;         /* the name is "key=value,..." (--image-opts) */
    const char *snapshot_id; /* read from this internal snapshot; NULL = the active state */
    const char *snapshot_name;
};

/* Sizes as people write them: "10G", "1.5k", "0x200" (suffixes are powers of 1024), the whole of
 * @text. Returns 0, -EINVAL (not a size), -ERANGE (negative, or beyond 64 bits). */
QIMG_API int qimg_size_parse(const char *text, uint64_t *out);

/* And as qemu-img prints them: "196 KiB". 16 bytes are room enough. */
QIMG_API void qimg_size_print(uint64_t bytes, char *buf, size_t room);

/* One "key=value" of a -o list; a bare "key" has value "on". */
struct qimg_option {
    const char *key, *value;
};

#ifdef __cplusplus
}
#endif
#endif
