/* SPDX-License-Identifier: Apache-2.0
 *
 * Fingerprints: what an image's header keeps of its backing file, so that one which was replaced
 * or written to is noticed. docs/formats/fingerprint.md has the bytes, and what each verdict
 * rests on. QEMU keeps the record without looking at it.
 */
#ifndef QIMG_FINGERPRINT_H
#define QIMG_FINGERPRINT_H

#include "qimg/image.h"
#include "qimg/jobs.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QIMG_IDENTITY_BYTES 16
#define QIMG_CONTENT_BYTES  32

struct qimg_fingerprint {
    char *backing_name;   /* as recorded when it was made; of a long name only its end */
    bool name_whole;      /* backing_name is all of it */
    char *backing_format; /* NULL = none was recorded */
    uint64_t size;        /* virtual bytes */
    uint64_t file_len;    /* bytes */
    int64_t mtime_sec;    /* last change of the file, or of its data file if that is later */
    uint32_t mtime_nsec;
    int64_t sealed_sec;                    /* when the record was made */
    uint8_t identity[QIMG_IDENTITY_BYTES]; /* of its mapping; of raw images, of samples */
    bool has_content;
    uint8_t content[QIMG_CONTENT_BYTES]; /* digest of all that is read from it, chain included */
};

QIMG_API void qimg_fingerprint_release(struct qimg_fingerprint *fingerprint);

/* The record of the opened image. Returns 1, 0 where there is none, -EBADMSG where it cannot be
 * read (a later version of it, or damage). */
QIMG_API int qimg_image_fingerprint(const struct qimg_image *image, struct qimg_fingerprint *out,
                                    struct qimg_error *err);

struct qimg_seal_options {
    bool content;             /* with a digest of the content: reads all of the backing file */
    bool dry_run;             /* only see whether there would be room */
    const char *backing_name; /* dry_run: as if this were recorded; NULL = what is */
    const char *backing_format;
    qimg_progress_fn progress; /* may be NULL */
    void *user;
};

/* Records what the backing file is now. The image is open for writing (dry_run: or not); its
 * backing file is opened as the gate allows. One sector is written: a crash leaves the old state
 * or the new one. -ENOENT: the image names no backing file; -ENOSPC: the header has no room,
 * nothing was changed; -ENOTSUP: the format cannot. */
QIMG_API int qimg_image_seal(struct qimg_image *image, const struct qimg_seal_options *options,
                             struct qimg_error *err);

/* Takes the record away. 0 also where there is none. */
QIMG_API int qimg_image_unseal(struct qimg_image *image, struct qimg_error *err);

enum qimg_fingerprint_state {
    QIMG_FINGERPRINT_NONE,    /* nothing is recorded */
    QIMG_FINGERPRINT_SAME,    /* the backing file is what it was */
    QIMG_FINGERPRINT_STALE,   /* it describes another backing file: the image was re-pointed by a
                               * program that knows nothing of it, or emptied by a commit */
    QIMG_FINGERPRINT_TOUCHED, /* written to since, as its time tells; no digest to prove whether its
                               * content is another one */
    QIMG_FINGERPRINT_CHANGED, /* replaced, or its content is another one */
    QIMG_FINGERPRINT_UNKNOWN, /* a record that this version cannot read */
};

struct qimg_fingerprint_check {
    enum qimg_fingerprint_state state;
    char text[512]; /* what differs, with both values; "" where nothing does. May hold bytes of
                     * the image */
};

/* Compares the record with the backing file of the opened image, which is opened as the gate
 * allows. @content: also the digest of its content, if there is one, though size, time and mapping
 * are as recorded (where the time is not, it is compared anyway). Returns 0, or a failure to find
 * out. */
QIMG_API int qimg_image_verify_backing(struct qimg_image *image, bool content,
                                       struct qimg_fingerprint_check *out, struct qimg_error *err);

#ifdef __cplusplus
}
#endif
#endif
