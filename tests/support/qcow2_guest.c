/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2_guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "checked.h"
#include "cleanup.h"
#include "codec.h"
#include "qcow2.h"

static void must(int rc, const char *what)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "guest: %s: %s\n", what, strerror(-rc));
    abort();
}

static void *must_have(size_t len)
{
    void *p = calloc(1, len ? len : 1);

    must(p ? 0 : -ENOMEM, "memory");
    return p;
}

static struct io_file *data_of(const struct guest *g)
{
    return g->image->data_file ? g->image->data_file : g->image->file;
}

/* --- reading ------------------------------------------------------------------------------- */

static int read_extent(struct guest *g, const struct extent *e, struct qimg_range range,
                       uint8_t *out)
{
    const uint32_t cs = g->image->cluster_size;

    switch ((enum extent_kind)e->kind) {
    case EXTENT_ZERO:
        memset(out + (e->guest_off - range.off), 0, e->len);
        return 0;
    case EXTENT_DATA:
        return io_read_exact(data_of(g), e->host_off, out + (e->guest_off - range.off), e->len,
                             NULL);
    case EXTENT_BAD:
        return -EIO;
    case EXTENT_RESERVED:
        return 0; /* what the backing file has is there already */
    case EXTENT_COMPRESSED:
        break;
    }
    AUTO_FREE uint8_t *packed = must_have(e->packed_len);
    AUTO_FREE uint8_t *cluster = must_have(cs);
    size_t got;
    TRY(io_read_exact(g->image->file, e->host_off, packed, e->packed_len, &got));
    TRY(codec_unpack(e->codec, packed, got, cluster, cs));
    const uint64_t begin = max_u64(e->guest_off, range.off);
    const uint64_t end = min_u64(e->guest_off + cs, range_end(range));
    if (begin < end)
        memcpy(out + (begin - range.off), cluster + (begin - e->guest_off), end - begin);
    return 0;
}

static void read_backing(const struct guest *g, struct qimg_range range, uint8_t *out)
{
    const struct qimg_range have = range_clip(range, g->backing_len);

    memset(out, 0, range.len);
    if (have.len)
        memcpy(out, g->backing + have.off, have.len);
}

int guest_read(struct guest *g, struct qimg_range range, uint8_t *out)
{
    struct extent_vec extents = { 0 };
    const struct qimg_range inside = range_clip(range, g->image->size);
    int rc = 0;

    memset(out, 0, range.len);
    if (inside.len == 0)
        return 0;
    read_backing(g, inside, out);
    if (g->image->writing)
        rc = g->image->ops->write->map(g->image, inside, &extents, &g->err);
    else
        rc = image_map(g->image, inside, &extents, &g->err);
    for (size_t i = 0; rc == 0 && i < extents.count; i++)
        rc = read_extent(g, &extents.items[i], inside, out);
    extent_vec_release(&extents);
    return rc;
}

int64_t guest_differs(struct guest *g)
{
    AUTO_FREE uint8_t *now = must_have(g->image->size);

    if (guest_read(g, (struct qimg_range){ 0, g->image->size }, now) < 0)
        return INT64_MAX;
    for (uint64_t i = 0; i < g->image->size; i++) {
        if (now[i] != g->model[i])
            return (int64_t)i;
    }
    return -1;
}

/* --- life ------------------------------------------------------------------------------------- */

int guest_open(struct guest *g, struct io_engine *engine, const void *backing, uint64_t len)
{
    const struct io_open_options how = { .writable = true };
    const struct image_open_options as = { .writable = true };
    struct io_file *file;

    *g = (struct guest){ .engine = engine, .backing = backing, .backing_len = len };
    must(io_file_open(engine, "disk", &how, &file), "open disk");
    int rc = qcow2_ops.open(file, &as, &g->image, &g->err);
    if (rc < 0) {
        io_file_close(file);
        return rc;
    }
    if (g->image->needs_data_file)
        must(io_file_open(engine, "data", &how, &g->image->data_file), "open data");
    g->model = must_have(g->image->size);
    g->attempt = must_have(g->image->size);
    rc = guest_read(g, (struct qimg_range){ 0, g->image->size }, g->model);
    if (rc < 0) {
        guest_drop(g);
        return rc;
    }
    memcpy(g->attempt, g->model, g->image->size);
    rc = g->image->ops->write->begin(g->image, &g->err);
    if (rc < 0)
        guest_drop(g);
    return rc;
}

void guest_drop(struct guest *g)
{
    image_close(g->image);
    free(g->model);
    free(g->attempt);
    g->image = NULL;
    g->model = g->attempt = NULL;
}

int guest_close(struct guest *g)
{
    const int rc = g->image->ops->write->end(g->image, &g->err);

    guest_drop(g);
    return rc;
}

/* --- writing -------------------------------------------------------------------------------- */

static int fill_edge(struct guest *g, struct write_edge edge, uint64_t off, uint8_t *out)
{
    if (edge.fill != WRITE_FILL_OLD || edge.len == 0)
        return 0; /* zeros are there */
    return guest_read(g, (struct qimg_range){ off, edge.len }, out);
}

static int write_piece(struct guest *g, const struct write_plan *p, uint8_t fill)
{
    const uint64_t len = p->head.len + p->guest.len + p->tail.len;
    AUTO_FREE uint8_t *buf = must_have(len);

    TRY(fill_edge(g, p->head, p->guest.off - p->head.len, buf));
    memset(buf + p->head.len, fill, p->guest.len);
    TRY(fill_edge(g, p->tail, range_end(p->guest), buf + p->head.len + p->guest.len));
    return io_write_exact(data_of(g), p->host_off - p->head.len, buf, len);
}

int guest_write(struct guest *g, struct qimg_range range, uint8_t fill)
{
    const struct format_write_ops *ops = g->image->ops->write;

    memset(g->attempt + range.off, fill, range.len);
    while (range.len > 0) {
        struct write_plan plan;
        TRY(ops->write_begin(g->image, range, &plan, &g->err));
        const int rc = write_piece(g, &plan, fill);
        if (rc < 0) {
            ops->write_abort(g->image, &plan);
            return rc;
        }
        TRY(ops->write_commit(g->image, &plan, &g->err));
        memset(g->model + plan.guest.off, fill, plan.guest.len);
        range.off += plan.guest.len;
        range.len -= plan.guest.len;
    }
    return 0;
}

int guest_write_packed(struct guest *g, uint64_t off, uint8_t fill)
{
    const struct format_write_ops *ops = g->image->ops->write;
    const uint32_t cs = g->image->cluster_size;
    AUTO_FREE uint8_t *cluster = must_have(cs);
    AUTO_FREE uint8_t *packed = must_have(cs);
    struct write_plan plan;

    memset(cluster, fill, min_u64(cs, g->image->size - off));
    for (uint32_t i = 0; i < cs / 4; i++)
        cluster[i] = (uint8_t)(i * 7 + fill + (i >> 3));
    memset(cluster + min_u64(cs, g->image->size - off), 0, cs - min_u64(cs, g->image->size - off));
    const ssize_t len = codec_pack(g->image->codec, cluster, cs, packed, cs - 1);
    TRY((int)len);
    memcpy(g->attempt + off, cluster, min_u64(cs, g->image->size - off));
    TRY(ops->packed_begin(g->image, off, (uint32_t)len, &plan, &g->err));
    const int rc = io_write_exact(g->image->file, plan.host_off, packed, (size_t)len);
    if (rc < 0) {
        ops->write_abort(g->image, &plan);
        return rc;
    }
    TRY(ops->write_commit(g->image, &plan, &g->err));
    memcpy(g->model + off, cluster, plan.guest.len);
    return 0;
}

int guest_zero(struct guest *g, struct qimg_range range, unsigned flags)
{
    memset(g->attempt + range.off, 0, range.len);
    while (range.len > 0) {
        struct write_zeroed done;
        TRY(g->image->ops->write->zero(g->image, range, flags, &done, &g->err));
        const struct qimg_range part = { range.off, done.len };
        if (done.as_data)
            TRY(guest_write(g, part, 0));
        memset(g->model + part.off, 0, part.len);
        range.off += part.len;
        range.len -= part.len;
    }
    return 0;
}

int guest_discard(struct guest *g, struct qimg_range range)
{
    while (range.len > 0) {
        uint64_t done;
        TRY(g->image->ops->write->discard(g->image, range, &done, &g->err));
        const struct qimg_range part = { range.off, done };
        memset(g->attempt + part.off, 0, part.len); /* where it cannot be read, who knows */
        TRY(guest_read(g, part, g->model + part.off));
        memcpy(g->attempt + part.off, g->model + part.off, part.len);
        range.off += part.len;
        range.len -= part.len;
    }
    return 0;
}

int guest_flush(struct guest *g)
{
    return g->image->ops->write->flush(g->image, &g->err);
}
