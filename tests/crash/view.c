/* SPDX-License-Identifier: Apache-2.0 */
#include "view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitmap_bits.h"
#include "check_request.h"
#include "cleanup.h"
#include "mem_file.h"
#include "qcow2.h"
#include "qcow2_guest.h"

/* --- files that borrow a disk's bytes ------------------------------------------------------- */

/* Makes the queues in which they are read. */
static struct io_engine *queues(void)
{
    static struct io_engine *engine;

    if (!engine && io_sim_new(&(struct io_sim_options){ .no_log = true }, NULL, &engine) < 0)
        abort();
    return engine;
}

static struct io_file *lend(const struct disk_file *file)
{
    struct mem_file *m = mem_file_new(NULL, 0, false);

    m->base.engine = queues();
    free(m->bytes);
    m->bytes = file->bytes;
    m->size = m->allocated = file->size;
    return &m->base;
}

static void give_back(struct io_file *file)
{
    if (file)
        ((struct mem_file *)file)->bytes = NULL;
}

void view_close(struct image *image)
{
    give_back(image->file);
    give_back(image->data_file);
    image_close(image);
}

int view_open(const struct disk_file *disk, const struct disk_file *data, bool check,
              struct image **out, struct qimg_error *err)
{
    const struct image_open_options how = { .check = check };
    struct io_file *file = lend(disk);
    const int rc = qcow2_ops.open(file, &how, out, err);

    if (rc < 0) {
        give_back(file);
        io_file_close(file);
        return rc;
    }
    if ((*out)->needs_data_file)
        (*out)->data_file = lend(data);
    return 0;
}

static int open_disk(const struct disk *disk, bool check, struct image **out,
                     struct qimg_error *err)
{
    return view_open(&disk->files[0], &disk->files[1], check, out, err);
}

/* --- what is in it ---------------------------------------------------------------------------- */

static uint64_t hash_of(const uint8_t *bytes, uint64_t len)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (uint64_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static int read_all(struct image *image, struct backing backing, uint8_t **out)
{
    struct guest g = { .image = image, .backing = backing.bytes, .backing_len = backing.len };
    AUTO_FREE uint8_t *bytes = malloc(image->size + 1);

    if (!bytes)
        abort();
    if (!image->backing_name)
        g.backing_len = 0;
    TRY(guest_read(&g, (struct qimg_range){ 0, image->size }, bytes));
    *out = TAKE(bytes);
    return 0;
}

static int tell_snapshots(struct view *view, struct image *image, struct backing backing,
                          struct qimg_error *err)
{
    const struct qcow2 *q = qcow2_of(image);

    for (size_t i = 0; i < q->snapshots.count; i++) {
        const struct qcow2_snapshot *s = &q->snapshots.items[i];
        AUTO_FREE uint8_t *bytes = NULL;
        image->size = s->disk_size;
        TRY(qcow2_select_snapshot(image, s->id, s->name, err));
        const int rc = read_all(image, backing, &bytes);
        if (rc < 0)
            return qimg_fail(err, -rc, "snapshot %s cannot be read", s->id);
        str_printf(&view->text, "snapshot %s %s %" PRIu64 " %016" PRIx64 "\n", s->id, s->name,
                   s->disk_size, hash_of(bytes, s->disk_size));
    }
    return 0;
}

static int bitmap_hash(const struct qcow2 *q, const struct qcow2_bitmap *b, uint64_t *hash,
                       struct qimg_error *err)
{
    struct bitmap_bits *bits;

    TRY(bitmap_bits_load(q, b, &bits, err));
    AUTO_FREE uint8_t *piece = malloc(bits->piece_len);
    if (!piece)
        abort();
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < bits->piece_count; i++) {
        rc = bitmap_bits_read(bits, i, piece);
        *hash = *hash * 31 + hash_of(piece, bits->piece_len);
    }
    bitmap_bits_free(bits);
    return rc < 0 ? qimg_fail(err, -rc, "bitmap %s cannot be read", b->name) : 0;
}

static int tell_bitmaps(struct view *view, const struct qcow2 *q, struct qimg_error *err)
{
    for (size_t i = 0; i < q->bitmaps.count; i++) {
        const struct qcow2_bitmap *b = &q->bitmaps.items[i];
        uint64_t hash = 0;
        TRY(bitmap_hash(q, b, &hash, err));
        str_printf(&view->text, "bitmap %s flags %u bits %u %016" PRIx64 "\n", b->name, b->flags,
                   b->granularity_bits, hash);
    }
    return 0;
}

static int take(struct view *view, struct image *image, struct backing backing, bool with_header,
                struct qimg_error *err)
{
    const int rc = read_all(image, backing, &view->bytes);

    if (rc < 0)
        return qimg_fail(err, -rc, "the disk cannot be read");
    view->size = image->size;
    view->stale_features = qcow2_of(image)->header.autoclear & ~QCOW2_AUTOCLEAR_KNOWN;
    str_printf(&view->text, "backing %s %s\n", image->backing_name ? image->backing_name : "-",
               image->backing_format ? image->backing_format : "-");
    if (with_header) {
        const struct qcow2_header *h = &qcow2_of(image)->header;
        str_printf(&view->text, "version %u refcounts %u compatible %" PRIx64 " data file %s\n",
                   h->version, h->refcount_order, h->compatible,
                   image->data_file_name ? image->data_file_name : "-");
        TRY(tell_bitmaps(view, qcow2_of(image), err));
    }
    return tell_snapshots(view, image, backing, err);
}

int view_take(struct view *view, const struct disk *disk, struct backing backing, bool with_header,
              struct qimg_error *err)
{
    struct image *image;

    *view = (struct view){ 0 };
    TRY(open_disk(disk, false, &image, err));
    const int rc = take(view, image, backing, with_header, err);
    view_close(image);
    return rc;
}

int view_engine(struct view *view, struct io_engine *engine, struct backing backing,
                bool with_header, struct qimg_error *err)
{
    struct disk disk;

    disk_load(&disk, engine);
    const int rc = view_take(view, &disk, backing, with_header, err);
    disk_release(&disk);
    return rc;
}

void view_release(struct view *view)
{
    free(view->bytes);
    str_release(&view->text);
    *view = (struct view){ 0 };
}

/* --- bitmaps as a promise --------------------------------------------------------------------- */

static bool bit_of(const struct bitmap_bits *bits, uint64_t off, uint8_t *piece)
{
    const uint64_t bit = off >> bits->granularity_bits;
    const uint64_t per_piece = (uint64_t)bits->piece_len * 8;

    if (bitmap_bits_read(bits, (uint32_t)(bit / per_piece), piece) < 0)
        return false;
    return piece[bit % per_piece / 8] >> (bit % 8) & 1;
}

static int64_t unrecorded(const struct view *view, const struct bitmap_bits *bits,
                          const uint8_t *old, uint64_t old_size)
{
    AUTO_FREE uint8_t *piece = malloc(bits->piece_len);

    if (!piece)
        abort();
    for (uint64_t at = 0; at < min_u64(view->size, old_size); at += DISK_SECTOR) {
        const size_t len = min_u64(DISK_SECTOR, min_u64(view->size, old_size) - at);
        if (memcmp(view->bytes + at, old + at, len) != 0 && !bit_of(bits, at, piece))
            return (int64_t)at;
    }
    return -1;
}

int64_t view_unrecorded(const struct view *view, const struct disk *disk, const uint8_t *old,
                        uint64_t old_size)
{
    struct image *image;
    struct qimg_error err;
    int64_t at = -1;

    if (open_disk(disk, false, &image, &err) < 0)
        return -2;
    const struct qcow2 *q = qcow2_of(image);
    for (size_t i = 0; at == -1 && i < q->bitmaps.count; i++) {
        const struct qcow2_bitmap *b = &q->bitmaps.items[i];
        struct bitmap_bits *bits;
        if ((b->flags & QCOW2_BITMAP_IN_USE) || !(b->flags & QCOW2_BITMAP_AUTO))
            continue; /* says itself that it is not to be trusted, or was not to record */
        if (bitmap_bits_load(q, b, &bits, &err) < 0) {
            at = -2;
            break;
        }
        at = unrecorded(view, bits, old, old_size);
        bitmap_bits_free(bits);
    }
    view_close(image);
    return at;
}

/* --- check ------------------------------------------------------------------------------------ */

static void first_finding(void *user, const struct qimg_check_finding *finding)
{
    char *text = user;

    if (text[0] == '\0' && finding->severity != QIMG_CHECK_LEAK)
        (void)snprintf(text, 200, "%s", finding->text);
}

int view_check(const struct disk *disk, bool leaks_allowed, struct qimg_error *err)
{
    char text[200] = "";
    const struct check_request request = { .finding = first_finding, .user = text };
    struct qimg_check_result result = { 0 };
    struct image *image;

    TRY(open_disk(disk, true, &image, err));
    const int rc = image->ops->check(image, &request, &result, err);
    view_close(image);
    if (rc < 0)
        return rc;
    if (result.corruptions || result.check_errors || (result.leaks && !leaks_allowed))
        return qimg_fail(err, EBADMSG, "check: %" PRIu64 " corruptions, %" PRIu64 " leaks: %s",
                         result.corruptions, result.leaks, text);
    return 0;
}
