/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes of guest bytes: writing, zeroing, discarding, packed clusters and flushing, each a
 * request that moves on by completions of an io_queue, as reads do (read.h). The format plans
 * where bytes go and links them afterwards, both under the image's lock; the bytes themselves
 * move outside of it, many pieces at a time.
 *
 * Several requests may want the same cluster: one has it, the others are parked in the lane of
 * their queue until something has changed, and ask again then.
 *
 * Threads that do blocking I/O anyway need no queue: they prepare a request, place it and move it,
 * in two steps, so that the order of allocations can be theirs while bytes move side by side.
 */
#ifndef CHAIN_WRITE_H
#define CHAIN_WRITE_H

#include "chain.h"
#include "read.h"

enum chain_write_kind {
    CHAIN_WRITE_BYTES,
    CHAIN_WRITE_ZEROES,
    CHAIN_WRITE_PACKED, /* buf: one packed cluster of packed_len bytes; len: clear bytes */
    CHAIN_DISCARD,
    CHAIN_FLUSH,
};

/* Writes of one queue that wait for clusters. */
struct write_lane {
    struct io_queue *queue;
    struct chain_write *parked;
    unsigned parked_count;
};

/* One plan under way: what surrounds the guest's bytes is fetched, then all of it written. */
struct write_piece {
    struct write_plan plan;
    struct chain_write *write;
    struct io_request request;
    struct iovec iov[3];
    uint8_t *edges; /* head and tail, or all three parts in one */
    struct chain_read reads[2];
    unsigned reads_pending;
    int reads_result;
    bool in_use;
    struct write_piece *next; /* placed, to be moved */
};

/* One request under way. The caller embeds it, fills the first part, keeps it until complete. */
struct chain_write {
    struct qimg_image *image;
    struct write_lane *lane;
    enum chain_write_kind kind;
    struct qimg_range range; /* within the image */
    const uint8_t *buf;
    uint32_t packed_len;
    bool may_unmap, no_fallback;            /* CHAIN_WRITE_ZEROES */
    void (*complete)(struct chain_write *); /* in the queue's thread, exactly once */
    void *user;
    struct qimg_error *err; /* told why; may be NULL */

    bool reserve; /* without queue: io_reserve() where the bytes go */

    /* Without queue: the bytes lie in @from, and the file system may copy them, until it refuses
     * once and sets *from_failed; @buf is the room to read them into then. NULL: in @buf. */
    struct io_file *from;
    uint64_t from_off;
    atomic_bool *from_failed;

    /* Set at completion. */
    int result; /* 0 or -errno, the first failure's */

    /* Its own. */
    struct qimg_range left; /* not planned yet */
    unsigned pieces;        /* under way */
    bool advancing;
    uint64_t seen;            /* changes when it was told to wait */
    struct chain_write *next; /* in the lane */
    struct write_piece first; /* most requests have but one */
    struct write_piece *placed, **placed_end;
    struct io_request flushing;
};

/* Starts @write; complete() may be called before this returns. */
void chain_write_start(struct chain_write *write);

/* Does all that @write, which was started, changes have its place, or has it failed? */
static inline bool chain_write_placed(const struct chain_write *write)
{
    return write->left.len == 0 || write->result < 0;
}

/* --- without queue: lane and complete() are not used --- */

void chain_write_prepare(struct chain_write *write);

/* Decides, in memory, where all of @write goes. Returns 0; -EAGAIN: others hold clusters, see
 * write->seen (chain_writing_wait); what has its place may be moved meanwhile, then call again;
 * or the failure, after which what has its place is still to be moved. */
MUST_CHECK int chain_write_place(struct chain_write *write);

/* Brings the bytes that were placed there, and links them. Returns 0 or the first failure. */
MUST_CHECK int chain_write_move(struct chain_write *write);

/* --- lanes --- */

/* Asks again for what parked writes wait for. Call when io_queue_run() returns. */
void write_lane_retry(struct write_lane *lane);

/* When all that is under way in the queue is parked: waits until there is reason to retry, and
 * does. */
void write_lane_wait(struct write_lane *lane);

/* Everything that completed before is durable on return. In the calling thread. */
MUST_CHECK int chain_flush(struct qimg_image *image, struct qimg_error *err);

#endif
