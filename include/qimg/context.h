/* SPDX-License-Identifier: Apache-2.0
 *
 * A context owns what would otherwise be global: the I/O engine, the worker pool, the memory
 * budget of chain maps, the gate's policy, and where notes go. libqimg has no other state, never
 * prints and never exits.
 *
 * Threads: one context may be used from several threads. It must outlive what was opened in it.
 */
#ifndef QIMG_CONTEXT_H
#define QIMG_CONTEXT_H

#include "qimg/error.h"
#include "qimg/types.h"

#ifdef __cplusplus
extern "C" {
#endif

struct qimg_context;

enum qimg_engine { QIMG_ENGINE_AUTO, QIMG_ENGINE_IO_URING, QIMG_ENGINE_THREADS };

/* Who may be opened on an image's word (docs/ARCHITECTURE.md has the table). */
enum qimg_policy {
    QIMG_POLICY_STRICT, /* a backing file needs a recorded format; local files only */
    QIMG_POLICY_QEMU,   /* what QEMU does: probe, follow */
    QIMG_POLICY_AUDIT,  /* nothing is opened on an image's word */
};

struct qimg_gate_options {
    enum qimg_policy policy;
    bool allow_probe;                 /* strict: accept a probed format where that is harmless */
    bool no_backing, no_data_file;    /* open none at all */
    bool verify;                      /* refuse a backing file that is not what the image's
                                         fingerprint of it describes (fingerprint.h) */
    unsigned max_depth;               /* images in a chain; 0 = 4096 */
    const char *const *allow_dirs;    /* NULL-terminated; NULL = anywhere */
    const char *const *allow_formats; /* NULL-terminated; NULL = any */
};

enum qimg_note_level {
    QIMG_NOTE_DEBUG,   /* for -v */
    QIMG_NOTE_WARNING, /* worth showing as "warning: TEXT" */
    QIMG_NOTE_PLAIN,   /* QEMU prints this one without prefix */
};

struct qimg_context_options {
    enum qimg_engine engine;
    unsigned threads;    /* worker threads at most; 0 = one a processor */
    uint64_t map_budget; /* bytes for the merged map of each chain; 0 = 32 MiB */
    struct qimg_gate_options gate;
    void (*note)(void *user, enum qimg_note_level level, const char *text); /* any thread */
    void *note_user;
};

/* @options NULL = all defaults (strict policy). Strings in it are copied.
 * Returns 0, -ENOMEM, -EINVAL. */
QIMG_API int qimg_context_new(const struct qimg_context_options *options, struct qimg_context **out,
                              struct qimg_error *err);

/* All images of it must be closed. NULL is fine. */
QIMG_API void qimg_context_free(struct qimg_context *context);

/* Totals since the context was made. */
struct qimg_stats {
    uint64_t reads, bytes_read, writes, bytes_written, zeroes, syncs;
    uint64_t submits;       /* batches handed over: io_uring_enter calls, or wake-ups of the pool */
    uint64_t max_in_flight; /* greatest number of requests under way at once */
    uint64_t tables_loaded, table_bytes; /* mapping metadata read */
    uint64_t map_hits, map_misses;       /* windows of the merged maps */
    uint64_t map_bytes;                  /* memory that the maps hold now */
};

QIMG_API void qimg_context_stats(const struct qimg_context *context, struct qimg_stats *out);

#ifdef __cplusplus
}
#endif
#endif
