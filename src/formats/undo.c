/* SPDX-License-Identifier: Apache-2.0 */
#include "undo.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "bytes.h"
#include "cleanup.h"
#include "vec.h"

#define MAGIC        "QIMGUNDO"
#define VERSION      1
#define HEAD_BYTES   24
#define RECORD_BYTES 20
#define UNDO_END     UINT64_MAX
#define PAGE         (4 * KiB)
#define RECORD_MAX   (64 * MiB) /* no repair writes more at once */

static uint32_t crc_add(uint32_t crc, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;

    crc = ~crc;
    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

/* --- writing ---------------------------------------------------------------------------------- */

static int append(struct undo_log *log, const void *bytes, size_t len)
{
    TRY(io_write_exact(log->file, log->used, bytes, len));
    log->used += len;
    return 0;
}

static int begin(struct undo_log *log, struct io_file *image)
{
    uint8_t head[HEAD_BYTES];
    struct io_stat st;
    struct writer w = writer_of(head, sizeof(head));

    if (log->used > 0)
        return 0;
    TRY(io_stat(image, &st));
    write_bytes(&w, MAGIC, 8);
    write_be32(&w, VERSION);
    write_be64(&w, st.size);
    write_be32(&w, crc_add(0, head, HEAD_BYTES - 4));
    return append(log, head, sizeof(head));
}

static void encode_record(uint8_t head[RECORD_BYTES], const struct undo_range *range,
                          const uint8_t *old, uint32_t len)
{
    struct writer w = writer_of(head, RECORD_BYTES);

    write_be64(&w, range->off);
    write_be32(&w, len);
    write_be32(&w, crc_add(0, range->bytes, range->len));
    write_be32(&w, crc_add(crc_add(0, head, RECORD_BYTES - 4), old, len));
}

static int save_range(struct undo_log *log, struct io_file *image, const struct undo_range *range)
{
    AUTO_FREE uint8_t *record = malloc(RECORD_BYTES + (size_t)range->len);
    size_t got = 0;

    if (!record)
        return -ENOMEM;
    TRY(io_read_exact(image, range->off, record + RECORD_BYTES, range->len, &got));
    encode_record(record, range, record + RECORD_BYTES, (uint32_t)got);
    return append(log, record, RECORD_BYTES + got);
}

int undo_save(struct undo_log *log, struct io_file *image, const struct undo_range *ranges,
              size_t count)
{
    TRY(begin(log, image));
    for (size_t i = 0; i < count; i++)
        TRY(save_range(log, image, &ranges[i]));
    return io_sync(log->file);
}

int undo_finish(struct undo_log *log)
{
    const struct undo_range none = { .off = UNDO_END };
    uint8_t head[RECORD_BYTES];

    if (log->used == 0)
        return 0;
    encode_record(head, &none, NULL, 0);
    TRY(append(log, head, sizeof(head)));
    return io_sync(log->file);
}

/* --- applying --------------------------------------------------------------------------------- */

struct record {
    uint64_t off, at; /* in the image; of its bytes in the log */
    uint32_t len, new_crc;
};

DEFINE_VEC(record_vec, struct record)
DEFINE_VEC(page_vec, uint64_t)

struct applying {
    struct io_file *log, *image;
    uint64_t log_size, image_size; /* image_size: as it was */
    struct record_vec records;
    struct page_vec pages; /* sorted: touched by which records */
};

static void release(struct applying *a)
{
    record_vec_release(&a->records);
    page_vec_release(&a->pages);
}

static int damaged(struct qimg_error *err, uint64_t at)
{
    return qimg_fail(err, EBADMSG, "undo file: damaged at byte %" PRIu64, at);
}

static int read_failed(struct qimg_error *err, int rc)
{
    return qimg_fail_errno(err, -rc, "undo file: cannot be read");
}

static int load_head(struct applying *a, struct qimg_error *err)
{
    uint8_t head[HEAD_BYTES];
    size_t got = 0;
    const int rc = io_read_exact(a->log, 0, head, sizeof(head), &got);

    if (rc < 0)
        return read_failed(err, rc);
    if (got < sizeof(head) || memcmp(head, MAGIC, 8) != 0)
        return qimg_fail(err, EBADMSG, "not an undo file");
    if (load_be32(head + 8) != VERSION)
        return qimg_fail(err, ENOTSUP, "undo file: version %u (expected %d)", load_be32(head + 8),
                         VERSION);
    if (load_be32(head + 20) != crc_add(0, head, HEAD_BYTES - 4))
        return damaged(err, 0);
    a->image_size = load_be64(head + 12);
    return 0;
}

/* Loads the bytes of a record; -EBADMSG where their checksum is wrong. */
static int load_bytes(const struct applying *a, const struct record *r, const uint8_t *head,
                      uint8_t **out)
{
    AUTO_FREE uint8_t *bytes = malloc(r->len ? r->len : 1);

    if (!bytes)
        return -ENOMEM;
    TRY(io_read_exact(a->log, r->at, bytes, r->len, NULL));
    if (head && load_be32(head + 16) != crc_add(crc_add(0, head, RECORD_BYTES - 4), bytes, r->len))
        return -EBADMSG;
    *out = TAKE(bytes);
    return 0;
}

/* The record at @at: 1, or 0 at the end record; -EBADMSG where it is not whole. */
static int load_record(struct applying *a, uint64_t at, struct record *out)
{
    uint8_t head[RECORD_BYTES];
    AUTO_FREE uint8_t *bytes = NULL;

    if (a->log_size - at < RECORD_BYTES)
        return -EBADMSG;
    TRY(io_read_exact(a->log, at, head, sizeof(head), NULL));
    *out = (struct record){ .off = load_be64(head),
                            .at = at + RECORD_BYTES,
                            .len = load_be32(head + 8),
                            .new_crc = load_be32(head + 12) };
    if (out->len > RECORD_MAX || out->len > a->log_size - out->at ||
        (out->off != UNDO_END && out->off > (uint64_t)INT64_MAX - out->len))
        return -EBADMSG;
    TRY(load_bytes(a, out, head, &bytes));
    return out->off != UNDO_END;
}

/* Does the log end as a whole one does? One that was cut while it grew does not. */
static bool has_end(struct applying *a)
{
    struct record last;

    return a->log_size >= HEAD_BYTES + RECORD_BYTES &&
           load_record(a, a->log_size - RECORD_BYTES, &last) == 0;
}

static int load_records(struct applying *a, struct qimg_error *err)
{
    const bool whole = has_end(a);
    uint64_t at = HEAD_BYTES;

    while (at < a->log_size) {
        struct record r;
        const int rc = load_record(a, at, &r);
        if (rc == 0)
            return 0;
        if (rc == -EBADMSG)
            return whole ? damaged(err, at) : 0;
        if (rc < 0)
            return read_failed(err, rc);
        if (record_vec_push(&a->records, r) < 0)
            return qimg_fail_memory(err);
        at = r.at + r.len;
    }
    return 0;
}

/* --- is the image as the repair left it? ---------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
    return compare_u64(*(const uint64_t *)a, *(const uint64_t *)b);
}

static int collect_pages(struct applying *a)
{
    for (size_t i = 0; i < a->records.count; i++) {
        const struct record *r = &a->records.items[i];
        for (uint64_t page = r->off / PAGE; r->len && page <= (r->off + r->len - 1) / PAGE; page++)
            if (page_vec_push(&a->pages, page) < 0)
                return -ENOMEM;
    }
    if (a->pages.count)
        qsort(a->pages.items, a->pages.count, sizeof(uint64_t), by_number);
    return 0;
}

static bool page_is_shared(const struct applying *a, uint64_t page)
{
    const uint64_t *found =
        bsearch(&page, a->pages.items, a->pages.count, sizeof(uint64_t), by_number);

    if (!found)
        return false;
    const size_t i = (size_t)(found - a->pages.items);
    return (i > 0 && found[-1] == page) || (i + 1 < a->pages.count && found[1] == page);
}

/* What several records wrote one after the other is not compared. */
static bool is_alone(const struct applying *a, const struct record *r)
{
    for (uint64_t page = r->off / PAGE; page <= (r->off + r->len - 1) / PAGE; page++)
        if (page_is_shared(a, page))
            return false;
    return true;
}

static int compare_record(struct applying *a, const struct record *r, struct qimg_error *err)
{
    AUTO_FREE uint8_t *old = NULL;
    AUTO_FREE uint8_t *now = malloc(r->len ? r->len : 1);

    if (!now)
        return qimg_fail_memory(err);
    int rc = load_bytes(a, r, NULL, &old);
    if (rc == 0)
        rc = io_read_exact(a->image, r->off, now, r->len, NULL);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "cannot compare byte %" PRIu64, r->off);
    if (memcmp(old, now, r->len) == 0 || crc_add(0, now, r->len) == r->new_crc)
        return 0;
    return qimg_fail(
        err, EBADMSG,
        "the image was changed since the repair (at byte %" PRIu64 "), or is another one", r->off);
}

static int compare_image(struct applying *a, struct qimg_error *err)
{
    if (collect_pages(a) < 0)
        return qimg_fail_memory(err);
    for (size_t i = 0; i < a->records.count; i++) {
        const struct record *r = &a->records.items[i];
        /* A record that the end of the file cut has no checksum of just these bytes. */
        if (r->len && r->off + r->len < a->image_size && is_alone(a, r))
            TRY(compare_record(a, r, err));
    }
    return 0;
}

static int write_back(struct applying *a)
{
    struct io_stat st;

    for (size_t i = a->records.count; i > 0; i--) {
        const struct record *r = &a->records.items[i - 1];
        AUTO_FREE uint8_t *bytes = NULL;
        TRY(load_bytes(a, r, NULL, &bytes));
        TRY(io_write_exact(a->image, r->off, bytes, r->len));
    }
    TRY(io_stat(a->image, &st));
    if (!a->image->is_device && st.size != a->image_size)
        TRY(io_truncate(a->image, a->image_size));
    return io_sync(a->image);
}

static int apply(struct applying *a, struct qimg_error *err)
{
    struct io_stat st;
    int rc = io_stat(a->log, &st);

    if (rc < 0)
        return read_failed(err, rc);
    a->log_size = st.size;
    TRY(load_head(a, err));
    TRY(load_records(a, err));
    TRY(compare_image(a, err));
    rc = write_back(a);
    return rc < 0 ? qimg_fail_errno(err, -rc, "cannot write the image") : 0;
}

int undo_apply(struct io_file *log, struct io_file *image, struct qimg_error *err)
{
    struct applying a = { .log = log, .image = image };
    const int rc = apply(&a, err);

    release(&a);
    return rc;
}
