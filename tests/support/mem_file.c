/* SPDX-License-Identifier: Apache-2.0 */
#include "mem_file.h"

#include <stdlib.h>
#include <string.h>

#include "bits.h"

/* An engine for its counters: files in memory know synchronous calls alone, and have no queue. */
static int no_queue(struct io_engine *engine, const struct io_queue_profile *profile,
                    struct io_queue **out)
{
    (void)engine;
    (void)profile;
    *out = NULL;
    return -ENOTSUP;
}

static const struct io_engine_ops counters_ops = { .queue_new = no_queue };
static struct io_engine counters = { .ops = &counters_ops };

static struct mem_file *mem_of(struct io_file *file)
{
    return (struct mem_file *)file;
}

static ssize_t mem_read(struct io_file *file, uint64_t off, const struct iovec *iov, unsigned count)
{
    struct mem_file *m = mem_of(file);
    size_t done = 0;

    m->reads++;
    for (unsigned i = 0; i < count && off + done < m->size; i++) {
        const size_t n = (size_t)min_u64(iov[i].iov_len, m->size - off - done);
        if (m->fail_read_at >= off + done && m->fail_read_at < off + done + n)
            return -EIO;
        memcpy(iov[i].iov_base, m->bytes + off + done, n);
        done += n;
    }
    return (ssize_t)done;
}

static void grow(struct mem_file *m, uint64_t size)
{
    uint8_t *bytes = realloc(m->bytes, size ? size : 1);

    if (!bytes)
        abort();
    if (size > m->size)
        memset(bytes + m->size, 0, size - m->size);
    m->bytes = bytes;
    m->size = size;
}

static ssize_t mem_write(struct io_file *file, uint64_t off, const struct iovec *iov,
                         unsigned count)
{
    struct mem_file *m = mem_of(file);
    size_t done = 0;

    if (!file->options.writable)
        return -EBADF;
    m->writes++;
    for (unsigned i = 0; i < count; i++) {
        if (off + done + iov[i].iov_len > m->size)
            grow(m, off + done + iov[i].iov_len);
        memcpy(m->bytes + off + done, iov[i].iov_base, iov[i].iov_len);
        done += iov[i].iov_len;
    }
    return (ssize_t)done;
}

static int mem_truncate(struct io_file *file, uint64_t size)
{
    grow(mem_of(file), size);
    return 0;
}

static int mem_sync(struct io_file *file)
{
    mem_of(file)->syncs++;
    return 0;
}

static int mem_stat(struct io_file *file, struct io_stat *out)
{
    out->size = mem_of(file)->size;
    out->allocated = mem_of(file)->allocated;
    return 0;
}

static int mem_extents(struct io_file *file, uint64_t off, struct io_extent *out)
{
    const struct mem_file *m = mem_of(file);

    *out = (struct io_extent){ .off = off, .len = m->size - off, .data = true };
    for (size_t i = 0; i < m->hole_count; i++) {
        const struct qimg_range *h = &m->holes[i];
        if (off >= h->off && off < h->off + h->len) {
            *out = (struct io_extent){ .off = off, .len = h->off + h->len - off, .data = false };
            return 0;
        }
        if (h->off > off) {
            out->len = h->off - off;
            return 0;
        }
    }
    return 0;
}

static void mem_close(struct io_file *file)
{
    free(mem_of(file)->bytes);
    free(file);
}

static const struct io_file_ops mem_ops = {
    .read = mem_read,
    .write = mem_write,
    .truncate = mem_truncate,
    .sync = mem_sync,
    .stat = mem_stat,
    .extents = mem_extents,
    .close = mem_close,
};

struct mem_file *mem_file_new(const void *bytes, size_t len, bool writable)
{
    struct mem_file *m = calloc(1, sizeof(*m));

    if (!m)
        abort();
    m->base.ops = &mem_ops;
    m->base.engine = &counters;
    m->base.request_align = m->base.memory_align = 1;
    m->base.options.writable = writable;
    grow(m, len);
    if (len)
        memcpy(m->bytes, bytes, len);
    m->allocated = len;
    m->fail_read_at = UINT64_MAX;
    return m;
}
