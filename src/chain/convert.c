/* SPDX-License-Identifier: Apache-2.0
 *
 * Convert: copies the guest's bytes of one or several images, one behind the other, into a raw
 * file, a device or an image. The job of the pipeline and the order of its steps: data, bitmaps,
 * and what makes a new target whole.
 */
#include "convert.h"

#include <assert.h>

#include "base_limits.h"
#include "checked.h"
#include "convert_bitmaps.h"
#include "workers.h"
#include "writing.h"

#define SECTOR 512u

/* A chunk this long fits a processor's cache from reading to writing, and few system calls go with
 * it. Packing takes a thousand times longer: smaller pieces are dealt out more evenly. */
#define CHUNK      (1 * MiB)
#define PACK_CHUNK (256 * KiB)

#define DEFAULT_WINDOW 8

int convert_fail(const struct convert *c, int code, bool writing, uint64_t off,
                 struct qimg_error *err)
{
    if (c->options->dd_words)
        return qimg_fail_errno(err, code, "error while %s image file",
                               writing ? "writing to output" : "reading from input");
    return qimg_fail_errno(err, code, "error while %s at byte %llu",
                           writing ? "writing" : "reading", (unsigned long long)off);
}

static int finish_slot(struct copy_job *job, struct copy_slot *slot, struct qimg_error *err)
{
    if (slot->result == 0)
        return 0;
    return convert_fail((const struct convert *)job, -slot->result, slot->write_failed,
                        slot->failed_off, err);
}

/* --- the job -------------------------------------------------------------------------------- */

static bool opened_direct(const struct qimg_image *image)
{
    return image->layers[0].image->file->options.direct;
}

/* Room for whole clusters of compressing images, and for what -S wants to see at once. */
static size_t choose_slot_size(const struct convert *c, bool in_worker)
{
    const struct qimg_convert_options *options = c->options;
    uint64_t size = c->packers ? PACK_CHUNK : in_worker ? CHUNK : LIMIT_COPY_BUFFER;

    for (size_t s = 0; s < options->source_count; s++)
        for (unsigned i = 0; i < options->sources[s]->layer_count; i++)
            size = max_u64(size, options->sources[s]->layers[i].image->cluster_size);
    size = max_u64(size, options->sparse_size);
    return (size_t)align_up(min_u64(size, LIMIT_COPY_BUFFER), max_u64(c->unit, 4 * KiB));
}

/* What the target gives space to at a time; 1: a file, or space is there already. */
static uint64_t block_of(const struct convert_target *target)
{
    const struct image *top = target->file ? NULL : target->image->layers[0].image;

    if (!top || top->cluster_size == 0 ||
        (target->fresh && target->spec.preallocation != PREALLOC_OFF))
        return 1;
    return top->map_unit;
}

/* A new image, whose clusters are empty until something is written to them, gets whole ones. */
static void choose_units(struct convert *c)
{
    const struct convert_target *target = &c->target;

    c->grow = block_of(target);
    c->unit = target->fresh && target->reads_zero ? c->grow : 1;
    if (c->options->compress)
        c->unit = target->image->layers[0].image->cluster_size;
}

/* Slots under way: compressing takes long, and no processor should wait for another one. */
static unsigned choose_window(const struct convert *c)
{
    if (c->options->parallel)
        return c->options->parallel;
    return (unsigned)max_u64(DEFAULT_WINDOW, 2 * workers_count(c->job.context->workers));
}

static void set_up_job(struct convert *c)
{
    static const struct copy_ops ops = {
        .plan = convert_plan,
        .transform = convert_transform,
        .finish = finish_slot,
    };
    const struct qimg_convert_options *options = c->options;
    const struct convert_target *target = &c->target;
    const struct io_file *file =
        target->image ? layer_data_file(&target->image->layers[0]) : target->file;
    struct copy_job *job = &c->job;

    /* Space that preallocation=full promises is written, like everything under -S 0. */
    const bool full = target->file && target->fresh && target->spec.preallocation == PREALLOC_FULL;
    c->rule = sparse_rule_for(full ? 0 : options->sparse_size, file->request_align);
    choose_units(c);
    job->ops = &ops;
    job->target = target->file;
    job->image = target->file ? NULL : target->image;
    job->direct = file->options.direct;
    for (size_t s = 0; s < options->source_count; s++)
        job->direct |= opened_direct(options->sources[s]);
    job->window = choose_window(c);
    job->any_order = options->out_of_order;
    job->salvage = options->salvage;
    job->offload = options->copy_offload;
    job->offload_unit = c->grow;
    job->slot_size = choose_slot_size(c, copy_in_worker(job));
    job->scratch_size = c->packers ? job->slot_size : 0;
    job->reserve = !target->durable;
    job->rate_limit = options->rate_limit;
    job->progress = options->progress;
    job->user = options->user;
}

static int set_up_packers(struct convert *c, struct qimg_error *err)
{
    const struct qimg_convert_options *options = c->options;

    if (!options->compress)
        return 0;
    const struct image *top = c->target.image->layers[0].image;
    const int rc = packers_new(top->codec, options->compression_level, &c->packers);
    return rc < 0 ? qimg_fail_errno(err, -rc, "compression level %u", options->compression_level)
                  : 0;
}

static int copy_data(struct convert *c, struct qimg_error *err)
{
    convert_plan_restart(c);
    if (c->job.progress)
        TRY(convert_plan_count(c, err));
    return copy_run(&c->job, err);
}

static int run(struct convert *c, struct qimg_error *err)
{
    if (!c->target.file)
        TRY(chain_writing_begin(c->target.image, err));
    TRY(set_up_packers(c, err));
    set_up_job(c);
    TRY(copy_data(c, err));
    TRY(convert_target_finish(&c->target, err));
    if (c->options->bitmaps)
        TRY(convert_copy_bitmaps(c->options, c->target.image, err));
    return convert_target_complete(&c->target, err);
}

int qimg_convert(struct qimg_context *context, const struct qimg_convert_options *options,
                 struct qimg_error *err)
{
    struct convert c = { .job.context = context, .options = options };

    assert(options->parallel <= 16 && options->sparse_size % SECTOR == 0);
    assert(!options->range || options->source_count == 1);
    for (size_t s = 0; s < options->source_count; s++)
        if (!add_fits(c.size, convert_source_part(options, options->sources[s]).len, &c.size))
            return qimg_fail(err, EFBIG, "The sources are too large together");
    TRY(convert_target_open(context, options, align_up(c.size, SECTOR), &c.target, err));

    const int rc = run(&c, err);
    convert_target_close(&c.target, rc < 0);
    packers_free(c.packers);
    return rc;
}
