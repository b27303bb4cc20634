/* SPDX-License-Identifier: Apache-2.0 */
#include "map_tables.h"

#include <stdlib.h>

#include "cleanup.h"

void table_refs_drop_blank(const struct image *image, struct blanks *blanks,
                           struct table_ref_vec *refs, size_t from)
{
    size_t kept = from;
    for (size_t i = from; i < refs->count; i++) {
        const struct table_ref *ref = &refs->items[i];
        if (!blanks_have(blanks, image->file, (struct qimg_range){ ref->host_off, ref->len }))
            refs->items[kept++] = *ref;
    }
    refs->count = kept;
}

void table_batch_clear(struct table_batch *b)
{
    b->tables.count = 0;
    b->bytes = 0;
}

void table_batch_release(struct table_batch *b)
{
    batch_table_vec_release(&b->tables);
    free(b->buffer);
}

int table_batch_add(struct table_batch *b, unsigned layer, const struct table_ref *ref)
{
    const struct batch_table table = { .ref = *ref, .layer = layer, .at = b->bytes };
    TRY(batch_table_vec_push(&b->tables, table));
    b->bytes += ref->len;
    return 0;
}

const uint8_t *table_batch_bytes(const struct table_batch *b, const struct batch_table *table)
{
    return table->failed ? NULL : b->buffer + table->at;
}

static int reserve(struct table_batch *b, size_t bytes)
{
    if (b->room >= bytes)
        return 0;
    free(b->buffer);
    b->room = 0;
    b->buffer = malloc(bytes);
    if (!b->buffer)
        return -ENOMEM;
    b->room = bytes;
    return 0;
}

static void count(struct qimg_context *context, size_t tables, size_t bytes)
{
    atomic_fetch_add_explicit(&context->tables_loaded, tables, memory_order_relaxed);
    atomic_fetch_add_explicit(&context->table_bytes, bytes, memory_order_relaxed);
}

int table_batch_peek(struct table_batch *b, unsigned layer, const struct table_ref *ref,
                     const uint8_t **raw)
{
    struct io_file *file = b->image->layers[layer].image->file;
    TRY(reserve(b, ref->len));
    TRY(io_read_cached(file, ref->host_off, b->buffer, ref->len));
    count(b->image->context, 1, ref->len);
    *raw = b->buffer;
    return 0;
}

/* --- one batch ------------------------------------------------------------------------------ */

/* One request for tables [first, end), which lie one behind the other in file and buffer. */
struct table_read {
    struct io_request request;
    struct iovec iov;
    size_t first, end;
};

static struct io_file *file_of(const struct table_batch *b, const struct batch_table *table)
{
    return b->image->layers[table->layer].image->file;
}

static size_t continuous_tables(const struct table_batch *b, size_t first)
{
    const struct batch_table *tables = b->tables.items;
    size_t end = first + 1;
    while (end < b->tables.count && tables[end].layer == tables[first].layer &&
           tables[end - 1].ref.host_off + tables[end - 1].ref.len == tables[end].ref.host_off)
        end++;
    return end;
}

static struct qimg_range bytes_of(const struct table_batch *b, const struct table_read *read)
{
    const struct batch_table *first = &b->tables.items[read->first];
    const struct batch_table *last = &b->tables.items[read->end - 1];
    return (struct qimg_range){ first->ref.host_off, last->at + last->ref.len - first->at };
}

static void mark_failed(struct table_batch *b, const struct table_read *read)
{
    for (size_t i = read->first; i < read->end; i++)
        b->tables.items[i].failed = true;
}

static void read_one(struct table_batch *b, const struct table_read *read)
{
    const struct batch_table *first = &b->tables.items[read->first];
    const struct qimg_range bytes = bytes_of(b, read);
    if (io_read_exact(file_of(b, first), bytes.off, b->buffer + first->at, bytes.len, NULL) < 0)
        mark_failed(b, read);
}

static void stage_reads(const struct table_batch *b, struct io_queue *queue,
                        struct table_read *reads, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct table_read *read = &reads[i];
        const struct batch_table *first = &b->tables.items[read->first];
        const struct qimg_range bytes = bytes_of(b, read);
        read->iov = (struct iovec){ b->buffer + first->at, bytes.len };
        read->request = (struct io_request){
            .op = IO_READ,
            .file = file_of(b, first),
            .off = bytes.off,
            .len = bytes.len,
            .iov = &read->iov,
            .iov_count = 1,
            .user = read,
        };
        io_queue_add(queue, &read->request);
    }
}

static int read_queued(struct table_batch *b, struct table_read *reads, size_t count)
{
    struct io_queue *queue = NULL;
    TRY(context_borrow_queue(b->image->context, &queue));
    stage_reads(b, queue, reads, count);
    for (size_t done = 0; done < count;) {
        struct io_request *r = io_queue_reap(queue, 1);
        for (; r; r = r->next, done++)
            if (r->result < 0)
                mark_failed(b, r->user);
    }
    context_return_queue(b->image->context, queue);
    return 0;
}

int table_batch_read(struct table_batch *b)
{
    if (b->tables.count == 0)
        return 0;
    TRY(reserve(b, b->bytes));
    count(b->image->context, b->tables.count, b->bytes);

    AUTO_FREE struct table_read *reads = calloc(b->tables.count, sizeof(*reads));
    if (!reads)
        return -ENOMEM;
    size_t requests = 0;
    for (size_t i = 0; i < b->tables.count; i = reads[requests++].end)
        reads[requests] = (struct table_read){ .first = i, .end = continuous_tables(b, i) };
    if (requests > 1)
        return read_queued(b, reads, requests);
    read_one(b, &reads[0]);
    return 0;
}
