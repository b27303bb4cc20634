/* SPDX-License-Identifier: Apache-2.0
 *
 * The one pipeline for jobs that move or compare guest data:
 *
 *     plan extents -> read -> transform -> write
 *
 * A job is a struct copy_job whose ops say what to fetch next (plan), what to make of the bytes
 * (transform), and what the outcome means (finish). The pipeline owns everything else: a window
 * of slots with aligned buffers, the order of I/O, progress, cancellation, the rate limit and
 * the ledger.
 *
 * A slot's way: plan() fills it with pieces in the job's thread; the pieces are read; transform()
 * runs once all are there, in any thread, and says what is to be written; that is written;
 * finish() is told in the job's thread, strictly in the order of planning, so that the first
 * failure or difference in guest order is the one that is reported, whatever the timing.
 *
 * Targets: bytes of a file (job->target), or guest bytes of an image that was opened writable
 * (job->image), which go through its format: writes and packed clusters are placed, linked and
 * recorded in its bitmaps as write.h does it. An image places writes strictly in the order of
 * planning, and within a slot in the order of slot->writes, whatever threads and engine do: where
 * nothing that the job releases is used again, the same job makes the same file. Bytes move, and
 * clusters are packed, side by side. Rules for image targets:
 *   - ranges lie within the image. Slots that end where clusters of the target end run side by
 *     side; where two writes touch one cluster, the later one waits for the earlier one.
 *   - the plan must not fetch from clusters of the target that the job itself writes.
 *   - nothing is durable when copy_run() returns: flush (chain_flush) or end (chain_writing_end)
 *     before anything that depends on it, such as another backing name.
 *   - after a failure what was linked before stays; the image is consistent.
 */
#ifndef CHAIN_COPY_H
#define CHAIN_COPY_H

#include <stdatomic.h>

#include "map.h"
#include "qimg/jobs.h"

/* Bytes to fetch: one run into a part of the slot's buffer. */
struct copy_piece {
    const struct qimg_image *image;
    struct run run;
    uint64_t off; /* in the job's space: the target's offset, say */
    uint8_t *buf;
    bool done; /* copied by the file system: nothing to transform or to write */
    bool lent; /* not read: transform() may write it by copy_write.lender alone */
};

/* Bytes to write: @data is NULL where the target shall read as zeros. Into an image also one
 * cluster that transform() packed: @data are @packed_len bytes then, @range is the whole cluster
 * (or what the image has of it). */
struct copy_write {
    struct qimg_range range;
    const uint8_t *data;
    uint32_t packed_len;             /* 0 = not packed */
    const struct copy_piece *lender; /* a lent piece that is these bytes; data is its buf */
};

DEFINE_VEC(copy_piece_vec, struct copy_piece)
DEFINE_VEC(copy_write_vec, struct copy_write)

enum copy_stage { COPY_FREE, COPY_READING, COPY_READY, COPY_WRITING, COPY_DONE };

struct copy_job;
struct copy_sink;
struct chain_write;

struct copy_slot {
    struct copy_job *job;
    unsigned index; /* below job->window */

    uint8_t *scratch; /* job->scratch_size bytes for transform(), page-aligned */

    /* Set by plan(). */
    uint8_t *buf; /* job->slot_size bytes, page-aligned */
    size_t used;  /* of them */
    struct copy_piece_vec pieces;
    uint64_t work; /* bytes of job->total that this slot stands for */
    bool alone;    /* starts after all before it are finished; written in ascending order */

    /* Set by transform() (or by plan(), where there is nothing to read). */
    struct copy_write_vec writes;

    /* The outcome, for finish(). */
    int result;          /* 0 or -errno */
    bool write_failed;   /* false: reading (or transform) did */
    uint64_t failed_off; /* in the job's space */
    size_t failed_piece; /* reading: which of them */

    /* The pipeline's own. */
    enum copy_stage stage;
    unsigned pending;
    struct io_queue *queue;
    struct io_request *requests;
    struct iovec *iov;
    size_t request_room;
    struct copy_sink *sink;
    struct chain_write *changes; /* of an image, one for each write */
    size_t change_room, changes_begun;
    bool placeable; /* copy_sink.h */
    atomic_bool settled;
};

struct copy_ops {
    /* Fills the empty @slot. Returns 1, 0 (the plan is at its end and @slot empty) or a negative
     * errno with @err filled, which is returned once all slots before are finished. */
    int (*plan)(struct copy_job *job, struct copy_slot *slot, struct qimg_error *err);

    /* Any thread. Returns 0 or a negative errno. May be NULL. */
    int (*transform)(const struct copy_job *job, struct copy_slot *slot);

    /* Returns 0, 1 (the job is decided: no more is needed) or a negative errno with @err filled.
     * Must return a failure where slot->result is one. */
    int (*finish)(struct copy_job *job, struct copy_slot *slot, struct qimg_error *err);
};

/* What was really done, in bytes. */
struct copy_ledger {
    uint64_t read, written, zeroed;
    uint64_t offloaded; /* copied by the file system */
};

struct copy_job {
    const struct copy_ops *ops;
    struct qimg_context *context;
    struct io_file *target;   /* the one, ... */
    struct qimg_image *image; /* ... the other, or neither: the job writes nothing */
    bool keep_space;          /* zeros written to @image do not give up the space of clusters */
    size_t slot_size;         /* bytes, a multiple of 4096, at most LIMIT_COPY_PAIR */
    size_t scratch_size;      /* bytes for transform() in each slot; 0 = none */
    unsigned window;          /* slots */
    bool direct;              /* some file of the job is open with O_DIRECT */
    bool any_order;           /* writes to @target need not start in guest order */
    bool reserve;             /* io_reserve() ahead of writes: gains where no sync is at the end */
    bool salvage;             /* what cannot be read becomes zeros, sector by sector */
    bool offload;             /* DATA runs may be copied by the file system itself; in workers */
    uint64_t offload_unit;    /* into @image: in multiples of this; a power of two */
    uint64_t rate_limit;      /* bytes of work per second; 0 = none */
    qimg_progress_fn progress;
    void *user;
    uint64_t total; /* bytes of work, for progress */

    struct copy_ledger ledger;
    uint64_t done;
    atomic_bool offload_failed, stopped;
};

/* Runs the job to its end. Returns 0, or the first failure in guest order with @err filled;
 * nothing is under way when it returns. */
MUST_CHECK int copy_run(struct copy_job *job, struct qimg_error *err);

/* Will workers do whole slots of this job (small slots are best), or will its requests go to the
 * kernel in batches (large ones are)? Depends on the job's context, direct, salvage, offload. */
bool copy_in_worker(const struct copy_job *job);

/* Tells how far the job is; -ECANCELED where that was answered with a wish to stop. Part of every
 * finished slot; a plan that goes a long way without one says it itself. */
MUST_CHECK int copy_tell(const struct copy_job *job, struct qimg_error *err);

/* --- for plans ---------------------------------------------------------------------------- */

/* Walks the runs of one image in guest order. Past the image's end all is UNALLOCATED. */
struct copy_cursor {
    struct qimg_image *image; /* NULL: one of no bytes */
    uint64_t at;              /* guest offset of the next byte */
    uint64_t end;             /* walk ends here */
    bool salvage;             /* where the map cannot be read, the run is BAD */
    struct run runs[64];
    size_t run_count, run_at;
};

void copy_cursor_init(struct copy_cursor *cursor, struct qimg_image *image, uint64_t end);

/* The run at cursor->at, up to cursor->end; cursor->at < cursor->end. */
MUST_CHECK int copy_cursor_peek(struct copy_cursor *cursor, struct run *run,
                                struct qimg_error *err);

void copy_cursor_advance(struct copy_cursor *cursor, uint64_t len);

/* Appends a piece that fetches @run into the next free bytes of @slot's buffer, which has room
 * for it. Returns its buffer, or NULL: no memory. */
uint8_t *copy_slot_fetch(struct copy_slot *slot, const struct qimg_image *image,
                         const struct run *run, uint64_t off);

/* Pieces in a slot at most, whatever their length. */
#define COPY_PIECES 256

#endif
