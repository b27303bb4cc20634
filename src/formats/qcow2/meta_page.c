/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages of the image file in memory: a hash by offset, a list of clean ones in order of use, which
 * the budget bounds, and a list of dirty ones. Dirty pages of a class are written in order of
 * their offsets, neighbours in one request.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "meta_internal.h"

#define BUCKETS       4096
#define PAGES_AT_ONCE 256 /* pages in one request */
#define WRITE_DEPTH   32

/* --- lists and hash --------------------------------------------------------------------------- */

static void list_remove(struct page_list *list, struct page *page)
{
    *(page->prev ? &page->prev->next : &list->first) = page->next;
    *(page->next ? &page->next->prev : &list->last) = page->prev;
    list->count--;
}

static void list_push(struct page_list *list, struct page *page)
{
    page->prev = NULL;
    page->next = list->first;
    *(list->first ? &list->first->prev : &list->last) = page;
    list->first = page;
    list->count++;
}

static struct page **bucket_of(const struct meta *m, uint64_t off)
{
    return &m->buckets[(off / m->page_size * HASH_FACTOR) >> 52];
}

static struct page *page_find(const struct meta *m, uint64_t off)
{
    struct page *page = *bucket_of(m, off);

    while (page && page->off != off)
        page = page->hash_next;
    return page;
}

static void page_drop(struct meta *m, struct page *page)
{
    struct page **slot = bucket_of(m, page->off);

    while (*slot != page)
        slot = &(*slot)->hash_next;
    *slot = page->hash_next;
    list_remove(page->class ? &m->dirty : &m->clean, page);
    free(page->bytes);
    free(page);
}

/* A page in the clean list with memory for its bytes, taken from the oldest one where the budget
 * is used up. */
static struct page *page_new(struct meta *m, uint64_t off)
{
    _Static_assert(BUCKETS == 1 << (64 - 52), "bucket_of() takes the highest bits");
    struct page *page = calloc(1, sizeof(*page));

    if (!page)
        return NULL;
    while (m->clean.count > 0 && m->clean.count * m->page_size >= META_BUDGET)
        page_drop(m, m->clean.last);
    page->bytes = io_buffer_new(m->page_size);
    if (!page->bytes) {
        free(page);
        return NULL;
    }
    page->off = off;
    page->hash_next = *bucket_of(m, off);
    *bucket_of(m, off) = page;
    list_push(&m->clean, page);
    return page;
}

int pages_open(struct qcow2 *q)
{
    struct meta *m = q->meta;

    m->page_size = (uint32_t)min_u64(4096, qcow2_cluster_size(q));
    m->buckets = calloc(BUCKETS, sizeof(*m->buckets));
    return m->buckets ? 0 : -ENOMEM;
}

void pages_close(struct meta *m)
{
    while (m->dirty.first)
        page_drop(m, m->dirty.first);
    while (m->clean.first)
        page_drop(m, m->clean.first);
    blanks_release(&m->blanks);
    free(m->buckets);
}

/* --- reading and changing --------------------------------------------------------------------- */

static int page_get(struct qcow2 *q, uint64_t host_off, struct page **out)
{
    struct meta *m = q->meta;
    const uint64_t off = align_down(host_off, m->page_size);
    struct page *page = page_find(m, off);

    if (!page) {
        page = page_new(m, off);
        if (!page)
            return -ENOMEM;
        const int rc = io_read_exact(q->image.file, off, page->bytes, m->page_size, NULL);
        if (rc < 0) {
            page_drop(m, page);
            return rc;
        }
    } else if (!page->class && m->clean.first != page) {
        list_remove(&m->clean, page);
        list_push(&m->clean, page);
    }
    *out = page;
    return 0;
}

int meta_read_page(struct qcow2 *q, uint64_t host_off, const uint8_t **out)
{
    struct page *page;

    TRY(page_get(q, host_off, &page));
    *out = page->bytes + (host_off - page->off);
    return 0;
}

int meta_edit_page(struct qcow2 *q, uint64_t host_off, enum meta_class class, enum meta_kind kind,
                   uint8_t **out)
{
    struct meta *m = q->meta;
    struct page *page;

    TRY(meta_failed(q));
    TRY(overlap_check(q, (struct qimg_range){ host_off, 1 }, kind));
    TRY(page_get(q, host_off, &page));
    if (!page->class) {
        list_remove(&m->clean, page);
        list_push(&m->dirty, page);
        page->class = (uint8_t) class;
    } else if (page->class > class) {
        page->class = (uint8_t) class;
    }
    *out = page->bytes + (host_off - page->off);
    return 0;
}

int meta_read_bytes(struct qcow2 *q, uint64_t host_off, void *buf, size_t len)
{
    const struct meta *m = q->meta;
    uint8_t *at = buf;

    TRY(io_read_exact(q->image.file, host_off, buf, len, NULL));
    for (uint64_t off = host_off; off < host_off + len;) {
        const uint64_t start = align_down(off, m->page_size);
        const uint64_t end = min_u64(start + m->page_size, host_off + len);
        const struct page *page = page_find(m, start);
        if (page)
            memcpy(at + (off - host_off), page->bytes + (off - start), end - off);
        off = end;
    }
    return 0;
}

bool pages_any(const struct meta *m, struct qimg_range bytes)
{
    for (uint64_t off = align_down(bytes.off, m->page_size); off < bytes.off + bytes.len;
         off += m->page_size)
        if (page_find(m, off))
            return true;
    return false;
}

void pages_forget(struct qcow2 *q, struct qimg_range bytes)
{
    struct meta *m = q->meta;
    const uint64_t end = bytes.off + bytes.len;

    if (bytes.len / m->page_size > m->clean.count + m->dirty.count) {
        for (size_t i = 0; i < BUCKETS; i++) {
            for (struct page *page = m->buckets[i], *next; page; page = next) {
                next = page->hash_next;
                if (page->off >= bytes.off && page->off < end)
                    page_drop(m, page);
            }
        }
        return;
    }
    for (uint64_t off = align_down(bytes.off, m->page_size); off < end; off += m->page_size) {
        struct page *page = page_find(m, off);
        if (page)
            page_drop(m, page);
    }
}

int meta_new_bytes(struct qcow2 *q, uint64_t host_off, const void *buf, size_t len)
{
    TRY(meta_failed(q));
    pages_forget(q, (struct qimg_range){ host_off, len });
    blanks_forget(&q->meta->blanks);
    q->meta->unsynced = true;
    return io_write_exact(q->image.file, host_off, buf, len);
}

/* --- writing -------------------------------------------------------------------------------- */

bool pages_dirty(const struct meta *m, enum meta_class class)
{
    for (const struct page *page = m->dirty.first; page; page = page->next) {
        if (page->class == class)
            return true;
    }
    return false;
}

static int by_off(const void *a, const void *b)
{
    const struct page *x = *(struct page *const *)a, *y = *(struct page *const *)b;

    return compare_u64(x->off, y->off);
}

/* All requests of one class, and the memory that they use. */
struct batch {
    struct page **pages;
    struct iovec *iov;
    struct io_request *requests;
    size_t count, request_count;
};

static void batch_release(struct batch *b)
{
    free(b->pages);
    free(b->iov);
    free(b->requests);
}

static int batch_collect(struct batch *b, const struct meta *m, enum meta_class class)
{
    b->pages = calloc(m->dirty.count + 1, sizeof(struct page *));
    b->iov = calloc(m->dirty.count + 1, sizeof(*b->iov));
    b->requests = calloc(m->dirty.count + 1, sizeof(*b->requests));
    if (!b->pages || !b->iov || !b->requests)
        return -ENOMEM;
    for (struct page *page = m->dirty.first; page; page = page->next) {
        if (page->class == class)
            b->pages[b->count++] = page;
    }
    qsort(b->pages, b->count, sizeof(struct page *), by_off);
    return 0;
}

static void batch_form(struct batch *b, struct io_file *file, uint32_t page_size)
{
    struct io_request *last = NULL;

    for (size_t i = 0; i < b->count; i++) {
        b->iov[i] = (struct iovec){ b->pages[i]->bytes, page_size };
        if (!last || last->off + last->len != b->pages[i]->off ||
            last->iov_count == PAGES_AT_ONCE) {
            last = &b->requests[b->request_count++];
            *last = (struct io_request){
                .op = IO_WRITE, .file = file, .off = b->pages[i]->off, .iov = &b->iov[i]
            };
        }
        last->len += page_size;
        last->iov_count++;
    }
}

static int batch_run(struct batch *b, struct qcow2 *q)
{
    struct meta *m = q->meta;
    const struct io_queue_profile profile = { .depth = WRITE_DEPTH,
                                              .direct = q->image.file->options.direct };
    int rc = 0;

    if (!m->queue)
        TRY(io_queue_new(q->image.file->engine, &profile, &m->queue));
    m->unsynced = true;
    for (size_t i = 0; i < b->request_count; i++)
        io_queue_add(m->queue, &b->requests[i]);
    for (size_t done = 0; done < b->request_count;) {
        for (const struct io_request *r = io_queue_reap(m->queue, 1); r; r = r->next) {
            done++;
            if (r->result < 0 && rc == 0)
                rc = r->result;
        }
    }
    return rc;
}

int pages_write(struct qcow2 *q, enum meta_class class)
{
    struct meta *m = q->meta;
    AUTO(batch_release) struct batch batch = { 0 };

    TRY(batch_collect(&batch, m, class));
    if (batch.count == 0)
        return 0;
    batch_form(&batch, q->image.file, m->page_size);
    blanks_forget(&m->blanks);
    const int rc = batch_run(&batch, q);
    if (rc < 0)
        return meta_fail(q, rc);
    for (size_t i = 0; i < batch.count; i++) {
        list_remove(&m->dirty, batch.pages[i]);
        list_push(&m->clean, batch.pages[i]);
        batch.pages[i]->class = 0;
    }
    while (m->clean.count > 0 && m->clean.count * m->page_size > META_BUDGET)
        page_drop(m, m->clean.last);
    return 0;
}
