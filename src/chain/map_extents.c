/* SPDX-License-Identifier: Apache-2.0
 *
 * The merged map as extents for the outside: what `map` prints and what `io map` and `io alloc`
 * count. Holes inside data are looked for only where QEMU looks: in images whose metadata seems
 * to have been preallocated.
 */
#include <assert.h>
#include <limits.h>
#include <string.h>

#include "base_limits.h"
#include "bits.h"
#include "checked.h"
#include "explain.h"
#include "map.h"

#define RUNS_AT_ONCE 64
#define SECTOR       512u

struct extent_sink {
    struct qimg_image *image;
    bool holes;
    struct qimg_extent *out;
    size_t max, count;
};

static bool extent_goes_on(const struct qimg_extent *a, const struct qimg_extent *b)
{
    if (a->kind != b->kind || a->layer != b->layer || a->hole != b->hole ||
        a->kind == QIMG_COMPRESSED)
        return false;
    if (a->host_off == QIMG_NO_OFFSET || b->host_off == QIMG_NO_OFFSET)
        return a->host_off == b->host_off;
    return a->host_off + a->len == b->host_off;
}

/* Returns false where there is no more room. */
static bool add_extent(struct extent_sink *sink, struct qimg_extent e)
{
    if (sink->count > 0 && extent_goes_on(&sink->out[sink->count - 1], &e)) {
        sink->out[sink->count - 1].len += e.len;
        return true;
    }
    if (sink->count == sink->max)
        return false;
    sink->out[sink->count++] = e;
    return true;
}

struct io_extent layer_extent(const struct layer *layer, uint64_t off, uint64_t len)
{
    struct io_file *file = layer_data_file(layer);
    struct io_extent found = { .off = off, .len = len, .data = true };
    struct io_stat st;
    if (io_stat(file, &st) < 0)
        return found;
    if (off >= st.size) {
        found.data = false;
        return found;
    }
    struct io_extent e;
    if (io_extents(file, off, &e) == 0 && e.off <= off && e.off + e.len > off) {
        found.data = e.data;
        found.len = min_u64(len, e.off + e.len - off);
    }
    return found;
}

static bool add_with_holes(struct extent_sink *sink, struct qimg_extent e)
{
    while (e.len > 0) {
        const struct io_extent at = layer_extent(&sink->image->layers[e.layer], e.host_off, e.len);
        struct qimg_extent piece = e;
        piece.len = at.len;
        piece.hole = !at.data;
        if (!add_extent(sink, piece))
            return false;
        e.guest_off += at.len;
        e.host_off += at.len;
        e.len -= at.len;
    }
    return true;
}

/* With O_DIRECT nobody sees less than a sector. */
uint64_t layer_padding(const struct layer *layer, uint64_t host_off, uint64_t len)
{
    struct io_file *file = layer->image->file;
    const uint64_t end = host_off + len;
    struct io_stat st;

    if (file->options.direct || strcmp(layer->image->ops->name, "raw") != 0 ||
        end + SECTOR <= layer->window_off + layer->image->size || io_stat(file, &st) < 0)
        return 0;
    return end > st.size && end - st.size < SECTOR ? min_u64(end - st.size, len) : 0;
}

/* Data, and the zeros that fill up its last sector. */
static bool add_padded(struct extent_sink *sink, struct qimg_extent e, uint64_t padding)
{
    struct qimg_extent zeros = e;

    e.len -= padding;
    zeros.kind = QIMG_ZERO;
    zeros.guest_off += e.len;
    zeros.host_off += e.len;
    zeros.len = padding;
    return (e.len == 0 || add_extent(sink, e)) && (padding == 0 || add_extent(sink, zeros));
}

static enum qimg_extent_kind extent_kind(const struct run *run)
{
    switch ((enum run_kind)run->kind) {
    case RUN_ZERO:
        return QIMG_ZERO;
    case RUN_DATA:
        return QIMG_DATA;
    case RUN_COMPRESSED:
        return QIMG_COMPRESSED;
    case RUN_BAD:
    case RUN_UNALLOCATED:
        break;
    }
    return QIMG_UNALLOCATED;
}

static bool add_run(struct extent_sink *sink, const struct run *run)
{
    struct image *image = sink->image->layers[run->layer].image;
    const struct qimg_extent e = { .guest_off = run->guest_off,
                                   .len = run->len,
                                   .host_off = run->host_off,
                                   .packed_len = run->packed_len,
                                   .layer = run->layer,
                                   .kind = extent_kind(run) };
    if (sink->holes && run->kind == RUN_DATA && image->ops->data_may_be_holes(image))
        return add_with_holes(sink, e);
    if (run->kind == RUN_DATA)
        return add_padded(sink, e,
                          layer_padding(&sink->image->layers[run->layer], e.host_off, e.len));
    return add_extent(sink, e);
}

/* Adds one batch of runs from *left on. Returns 0 when there is no more room or nothing left. */
static int add_batch(struct extent_sink *sink, struct qimg_range *left, struct qimg_error *err)
{
    struct run runs[RUNS_AT_ONCE];
    const int count = chain_map_lookup(sink->image->map, *left, runs, RUNS_AT_ONCE, err);
    if (count <= 0)
        return count;
    for (int i = 0; i < count; i++) {
        const struct run *run = &runs[i];
        if (run->kind == RUN_BAD && sink->count > 0)
            return 0; /* what lies before it is still good */
        if (run->kind == RUN_BAD)
            return explain_run(sink->image, run, err);
        if (!add_run(sink, run))
            return 0;
        left->len -= run->guest_off + run->len - left->off;
        left->off = run->guest_off + run->len;
    }
    return left->len > 0;
}

int qimg_image_map(struct qimg_image *image, struct qimg_range want, bool holes,
                   struct qimg_extent *out, size_t out_max, struct qimg_error *err)
{
    if (out_max == 0 || image->options.info_only)
        return qimg_fail(err, EINVAL,
                         "nothing to map, or an image opened for its description only");
    struct extent_sink sink = { .image = image, .holes = holes, .out = out, .max = out_max };
    struct qimg_range left = range_clip(want, image->size);
    int rc = left.len > 0;
    while (rc > 0)
        rc = add_batch(&sink, &left, err);
    return rc < 0 ? rc : (int)min_u64(sink.count, INT_MAX);
}
