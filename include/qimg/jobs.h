/* SPDX-License-Identifier: Apache-2.0
 *
 * Jobs that move or compare guest data: each is a plan for one pipeline.
 */
#ifndef QIMG_JOBS_H
#define QIMG_JOBS_H

#include "qimg/image.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Called from the thread that runs the job, now and then. Returning non-zero stops the job
 * with -ECANCELED, leaving targets consistent. */
typedef int (*qimg_progress_fn)(void *user, uint64_t done, uint64_t total);

struct qimg_convert_options {
    struct qimg_image *const *sources; /* read one after the other */
    size_t source_count;
    const struct qimg_range *range; /* only these bytes of the one source, within it; NULL = all */
    bool dd_words;                  /* errors are told in the words of qemu-img's dd */
    const char *target;
    const char *target_format;         /* NULL = raw; with target_image_opts: as they say */
    const struct qimg_option *options; /* -o */
    size_t option_count;
    const char *backing_name; /* -B: the target is an overlay of it, and holds what the top
                                 image of the source holds; NULL = none */
    const char *backing_format;
    bool compress;              /* -c */
    unsigned compression_level; /* 0 = the codec's own, as QEMU's; zlib: 1 to 9, of which 1
                                   to 3 are fast; zstd: 1 to 19. Not recorded */
    bool bitmaps;               /* the source's persistent bitmaps too ... */
    bool skip_broken_bitmaps;   /* ... but for inconsistent ones */
    bool no_create;             /* -n: the target is there and is kept */
    bool target_is_zero;        /* and reads as zeros */
    bool target_image_opts;
    enum qimg_cache target_cache; /* set it: writeback is 0, qemu-img's default is unsafe */
    bool sync;                    /* make a new target durable even where target_cache is
                                     unsafe */
    uint64_t sparse_size;         /* -S: 0 writes everything; qemu-img's default is 4096 */
    unsigned parallel;            /* -m: requests in flight, 1..16; 0 = 8 */
    bool out_of_order;            /* -W */
    bool salvage;                 /* read errors become zeros */
    bool copy_offload;            /* -C */
    uint64_t rate_limit;          /* bytes per second; 0 = none */
    qimg_progress_fn progress;
    void *user;
};

/* Copies what @sources read as. A new target is whole on return 0, and before that looks like
 * nothing to others; on failure it is removed if this call made it, else left empty. What
 * no_create names keeps what was written so far. Errors are qemu-img's sentences. */
QIMG_API int qimg_convert(struct qimg_context *context, const struct qimg_convert_options *options,
                          struct qimg_error *err);

enum qimg_compare_verdict {
    QIMG_COMPARE_IDENTICAL,
    QIMG_COMPARE_CONTENT, /* contents differ at offset */
    QIMG_COMPARE_SIZE,    /* strict: sizes differ */
    QIMG_COMPARE_STATUS,  /* strict: allocation differs at offset */
};

/* Where comparing failed, for qemu-img's exit codes. */
enum qimg_compare_stage { QIMG_COMPARE_MAPPING, QIMG_COMPARE_READING };

/* Where one of the images takes a range from. */
struct qimg_compare_side {
    enum qimg_extent_kind kind;
    uint32_t layer; /* qimg_image_file() knows its file; of no meaning for UNALLOCATED */
    bool past_end;  /* the image is shorter: zeros are taken for it */
};

struct qimg_compare_difference {
    struct qimg_range range; /* whole sectors, but for the images' ends */
    enum qimg_compare_verdict why;
    struct qimg_compare_side side[2]; /* a, b */
};

struct qimg_compare_options {
    struct qimg_image *a, *b;
    bool strict;
    /* Called with every difference, in guest order, neighbours of one kind from the same layers as
     * one; what only one image has is told as SIZE, and as CONTENT where it is not zero. NULL: the
     * first one decides, and nothing is looked at behind it. */
    void (*difference)(void *user, const struct qimg_compare_difference *difference);
    qimg_progress_fn progress;
    void *user;
};

struct qimg_compare_result {
    enum qimg_compare_verdict verdict; /* the first one, whether or not all are told */
    uint64_t offset;                   /* of the first differing sector or block status */
    uint64_t different_bytes;          /* contents; all of them only where differences are told */
    bool size_mismatch;                /* sizes differ (a warning unless strict) */
    enum qimg_compare_stage stage;     /* set where the call fails */
    uint64_t proved_bytes;             /* equal by the maps alone, never read */
    uint64_t read_bytes;               /* read from each side and compared */
};

QIMG_API int qimg_compare(struct qimg_context *context, const struct qimg_compare_options *options,
                          struct qimg_compare_result *out, struct qimg_error *err);

#ifdef __cplusplus
}
#endif
#endif
