/* SPDX-License-Identifier: Apache-2.0 */
#include "copy_worker.h"

#include <string.h>

#include "bits.h"
#include "copy_sink.h"
#include "run_read.h"

#define SECTOR 512u

void copy_slot_fail(struct copy_slot *slot, uint64_t off, int result, bool writing)
{
    if (slot->result < 0 && slot->failed_off <= off)
        return;
    slot->result = result;
    slot->failed_off = off;
    slot->write_failed = writing;
}

void copy_slot_fail_read(struct copy_slot *slot, size_t piece, int result)
{
    const uint64_t off = slot->pieces.items[piece].off;

    if (slot->result < 0 && slot->failed_off == off && slot->failed_piece <= piece)
        return;
    if (slot->result < 0 && slot->failed_off < off)
        return;
    slot->result = result;
    slot->failed_off = off;
    slot->failed_piece = piece;
}

static bool continues(const struct copy_piece *a, const struct copy_piece *b)
{
    return !b->done && !b->lent && b->run.kind == RUN_DATA && b->image == a->image &&
           b->run.layer == a->run.layer && b->run.host_off == a->run.host_off + a->run.len &&
           b->buf == a->buf + a->run.len;
}

size_t copy_group(const struct copy_slot *slot, size_t first, struct run *merged)
{
    const struct copy_piece *pieces = slot->pieces.items;
    size_t end = first + 1;

    *merged = pieces[first].run;
    if (merged->kind != RUN_DATA)
        return end;
    while (end < slot->pieces.count && continues(&pieces[end - 1], &pieces[end]))
        merged->len += pieces[end++].run.len;
    return end;
}

/* Tells of what was lost in the words of qemu-img. */
static void salvage_piece(struct copy_job *job, struct copy_piece *piece)
{
    for (uint64_t at = 0; at < piece->run.len; at += SECTOR) {
        const uint64_t len = min_u64(SECTOR, piece->run.len - at);
        const struct run part = run_part(&piece->run, at, len);
        int rc = run_read(piece->image, &part, piece->buf + at);
        if (rc == 0)
            continue;
        memset(piece->buf + at, 0, len);
        context_note(job->context, QIMG_NOTE_WARNING, "error while reading offset %llu: %s",
                     (unsigned long long)part.guest_off, strerror(-rc));
    }
}

/* Reads the pieces [first, end) one by one, salvaging where the job wants that. */
static int read_pieces(struct copy_slot *slot, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++) {
        struct copy_piece *piece = &slot->pieces.items[i];
        int rc = run_read(piece->image, &piece->run, piece->buf);
        if (rc < 0 && !slot->job->salvage) {
            copy_slot_fail_read(slot, i, rc);
            return rc;
        }
        if (rc < 0)
            salvage_piece(slot->job, piece);
    }
    return 0;
}

static int read_all(struct copy_slot *slot)
{
    for (size_t i = 0, end; i < slot->pieces.count; i = end) {
        const struct copy_piece *piece = &slot->pieces.items[i];
        struct run merged;

        end = copy_group(slot, i, &merged);
        if (piece->done || piece->lent ||
            (end > i + 1 && run_read(piece->image, &merged, piece->buf) == 0))
            continue;
        TRY(read_pieces(slot, i, end));
    }
    return 0;
}

/* Lets the file system copy what it can; one refusal ends the attempts, silently as in QEMU. Into
 * an image that must wait for a place: such pieces are lent to the write. */
static void offload_piece(struct copy_job *job, struct copy_piece *piece)
{
    struct io_file *source = layer_data_file(&piece->image->layers[piece->run.layer]);

    if (job->image)
        piece->lent = is_aligned(piece->off | piece->run.len, job->offload_unit);
    else if (io_copy_range(source, piece->run.host_off, job->target,
                           (struct qimg_range){ piece->off, piece->run.len }) == 0)
        piece->done = true;
    else
        atomic_store(&job->offload_failed, true);
}

static void offload_all(struct copy_slot *slot)
{
    struct copy_job *job = slot->job;

    for (size_t i = 0; i < slot->pieces.count && !atomic_load(&job->offload_failed); i++)
        if (slot->pieces.items[i].run.kind == RUN_DATA)
            offload_piece(job, &slot->pieces.items[i]);
}

/* Read and transform, after which the writes are known. */
static void make_writes(struct copy_slot *slot)
{
    const struct copy_job *job = slot->job;

    if (job->offload)
        offload_all(slot);
    if (read_all(slot) < 0 || !job->ops->transform)
        return;
    const int rc = job->ops->transform(job, slot);
    if (rc < 0)
        copy_slot_fail(slot, 0, rc, false);
}

void copy_slot_work(struct copy_slot *slot)
{
    if (!atomic_load(&slot->job->stopped))
        make_writes(slot);
    copy_sink_ready(slot); /* whatever came of it: others wait for their turn behind it */
}
