/* SPDX-License-Identifier: Apache-2.0
 *
 * Test images made to a specification: the same JSON text gives the same bytes on every machine,
 * with a manifest of what each image must read as and what a check of it must find.
 * docs/fixtures.md explains the specification, docs/fixture.schema.json is its schema.
 */
#ifndef QIMG_FIXTURE_H
#define QIMG_FIXTURE_H

#include "qimg/image.h"
#include "qimg/jobs.h"

#ifdef __cplusplus
extern "C" {
#endif

struct qimg_fixture;

/* Reads a specification of @len bytes. Files that it takes content from are named relative to @dir
 * (NULL = the current directory) and opened now.
 * -EINVAL: the error begins with the JSON path of the wrong value, "$.images[0].size: ...". */
QIMG_API int qimg_fixture_parse(const char *text, size_t len, const char *dir,
                                struct qimg_fixture **out, struct qimg_error *err);

/* NULL is fine. */
QIMG_API void qimg_fixture_free(struct qimg_fixture *fixture);

/* The line that says what it is for; "" where there is none. */
QIMG_API const char *qimg_fixture_purpose(const struct qimg_fixture *fixture);

struct qimg_fixture_build_options {
    const char *dir; /* made if it is not there */
    bool force;      /* overwrite files; else -EEXIST if any of them is there, and nothing is
                        written */
    bool no_sync;    /* return before the disk has it all */
    qimg_progress_fn progress; /* in images; may be NULL */
    void *user;
};

struct qimg_fixture_result {
    uint64_t images, files, bytes; /* bytes: lengths of all files */
};

/* Writes all images, then "manifest.json". A failure removes what was made new. */
QIMG_API int qimg_fixture_build(struct qimg_context *context, const struct qimg_fixture *fixture,
                                const struct qimg_fixture_build_options *options,
                                struct qimg_fixture_result *result, struct qimg_error *err);

struct qimg_fixture_verify_options {
    enum qimg_engine engine;
    unsigned threads;
    /* Called with everything that is not as the manifest says. */
    void (*finding)(void *user, const char *file, const char *text);
    void *user;
};

struct qimg_fixture_verify_result {
    uint64_t images, findings;
    uint64_t bytes_compared; /* of guests' disks */
};

/* Holds a directory against its manifest, with this library's readers. What differs is counted
 * and told, and the call returns 0; it fails where there is no manifest to go by. */
QIMG_API int qimg_fixture_verify(const char *dir, const struct qimg_fixture_verify_options *options,
                                 struct qimg_fixture_verify_result *result, struct qimg_error *err);

struct qimg_fixture_describe_options {
    const char *format;    /* NULL = probe */
    bool whole_chain;      /* the backing images too */
    const char *data_name; /* new file for data that no pattern makes; NULL: such data becomes
                              random, of the same extent */
};

/* The specification of an image that has the structure of image @name; malloc'ed text. */
QIMG_API int qimg_fixture_describe(struct qimg_context *context, const char *name,
                                   const struct qimg_fixture_describe_options *options, char **out,
                                   struct qimg_error *err);

/* --- specifications of common cases --------------------------------------------------------- */

struct qimg_fixture_form {
    unsigned count;        /* images of a chain, or overlays of one base; >= 1 */
    uint64_t size;         /* of each disk, in bytes */
    uint64_t data;         /* bytes that each image writes */
    uint64_t seed;         /* of what it writes, and where */
    const char *format;    /* of the lowest image: "qcow2" or "raw" */
    uint64_t cluster_size; /* 0 = 64 KiB */
};

/* "base", "overlay-1", ... each on the one before. Malloc'ed text. */
QIMG_API int qimg_fixture_chain_spec(const struct qimg_fixture_form *form, char **out,
                                     struct qimg_error *err);

/* "base", and overlays next to each other on it. */
QIMG_API int qimg_fixture_overlays_spec(const struct qimg_fixture_form *form, char **out,
                                        struct qimg_error *err);

#ifdef __cplusplus
}
#endif
#endif
