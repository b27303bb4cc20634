/* SPDX-License-Identifier: Apache-2.0
 *
 * Fingerprints of backing files: the record that an image keeps, how it is measured, and what two
 * of them say about each other. docs/formats/fingerprint.md is the specification.
 */
#ifndef CHAIN_FINGERPRINT_H
#define CHAIN_FINGERPRINT_H

#include "digest.h"
#include "open.h"
#include "qimg/fingerprint.h"

/* --- fingerprint.c: the record, and comparing ---------------------------------------------- */

/* Longest record: fixed part, content digest, format, end of the name. */
#define FINGERPRINT_MAX  (80 + DIGEST_BYTES + 15 + FINGERPRINT_NAME)
#define FINGERPRINT_NAME 96 /* bytes of the name that are kept */

/* A record in memory. Text points into the record's bytes, or where its maker wants. */
struct fingerprint {
    size_t name_len;      /* of the whole name */
    const char *name_end; /* its last bytes */
    size_t name_end_len;  /* name_len, or FINGERPRINT_NAME */
    uint8_t name_digest[DIGEST_BYTES / 2];
    const char *format; /* not terminated */
    size_t format_len;  /* 0 = none */
    uint64_t size, file_len;
    int64_t mtime_sec;
    uint32_t mtime_nsec;
    int64_t sealed_sec; /* when it was made */
    uint8_t identity[QIMG_IDENTITY_BYTES];
    bool has_content;
    uint8_t content[DIGEST_BYTES];
};

/* Fills in what concerns the name; @name and @format (may be NULL) must stay. */
void fingerprint_describe(struct fingerprint *f, const char *name, const char *format);

/* Encodes into @out; returns the length. */
size_t fingerprint_encode(const struct fingerprint *f, uint8_t out[FINGERPRINT_MAX]);

/* -EBADMSG: another version, or not a record. Text points into @bytes. */
MUST_CHECK int fingerprint_decode(const uint8_t *bytes, size_t len, struct fingerprint *out);

/* Was it made for this name and format? */
bool fingerprint_is_for(const struct fingerprint *f, const char *name, const char *format);

/* --- fingerprint_measure.c ----------------------------------------------------------------- */

/* Size, length, time and identity of an open image (not info_only). */
MUST_CHECK int fingerprint_measure(const struct layer *layer, struct fingerprint *out,
                                   struct qimg_error *err);

/* The time alone: of the last change of its file or data file; 0 of devices. */
void fingerprint_time(const struct layer *layer, struct fingerprint *out);

/* The digest of all that @image reads as. @progress may be NULL. */
MUST_CHECK int fingerprint_content(struct qimg_image *image, qimg_progress_fn progress, void *user,
                                   uint8_t out[DIGEST_BYTES], struct qimg_error *err);

/* --- seal.c -------------------------------------------------------------------------------- */

/* The record of the image, which is open for writing, with size, time and identity as they are now;
 * its content digest stays. 0 also where there is none. */
MUST_CHECK int fingerprint_renew(struct qimg_image *image, struct qimg_error *err);

/* --- fingerprint_check.c ------------------------------------------------------------------- */

/* One reference: the image that keeps a record, and its open backing file. */
struct fingerprint_subject {
    struct qimg_context *context;
    const struct layer *holder, *child;
    bool content; /* compare digests of the content too, where there is one */
};

MUST_CHECK int fingerprint_check(const struct fingerprint_subject *subject,
                                 struct qimg_fingerprint_check *out, struct qimg_error *err);

/* The gate's question for a context with gate.verify: -EPERM where the backing file is not what
 * the record describes. Stale and missing records are noted. */
MUST_CHECK int fingerprint_ask(struct qimg_context *context, const struct layer *holder,
                               const struct layer *child, struct qimg_error *err);

#endif
