/* SPDX-License-Identifier: Apache-2.0 */
#include "mender.h"

#include <string.h>

#include "bits.h"

#define STAGED_AT_MOST (4 * MiB)

static void drop_staged(struct mender *m)
{
    for (size_t i = 0; i < m->staged.count; i++)
        free(m->staged.items[i].bytes);
    m->staged.count = 0;
    m->staged_bytes = 0;
}

void mender_release(struct mender *m)
{
    drop_staged(m);
    mend_vec_release(&m->staged);
}

int mender_stage(struct mender *m, uint64_t off, const void *bytes, size_t len)
{
    if (m->staged_bytes + len > STAGED_AT_MOST)
        TRY(mender_flush(m));
    struct mend mend = { .off = off, .bytes = malloc(len), .len = (uint32_t)len };
    if (!mend.bytes)
        return -ENOMEM;
    memcpy(mend.bytes, bytes, len);
    if (mend_vec_push(&m->staged, mend) < 0) {
        free(mend.bytes);
        return -ENOMEM;
    }
    m->staged_bytes += len;
    return 0;
}

static int save(struct mender *m)
{
    if (!m->undo || m->staged.count == 0)
        return 0;
    struct undo_range *ranges = calloc(m->staged.count, sizeof(*ranges));
    if (!ranges)
        return -ENOMEM;
    for (size_t i = 0; i < m->staged.count; i++) {
        const struct mend *mend = &m->staged.items[i];
        ranges[i] = (struct undo_range){ mend->off, mend->bytes, mend->len };
    }
    const int rc = undo_save(m->undo, m->file, ranges, m->staged.count);
    free(ranges);
    return rc;
}

int mender_flush(struct mender *m)
{
    if (m->staged.count == 0)
        return 0;
    int rc = save(m);
    for (size_t i = 0; rc == 0 && i < m->staged.count; i++) {
        const struct mend *mend = &m->staged.items[i];
        rc = io_write_exact(m->file, mend->off, mend->bytes, mend->len);
    }
    if (rc == 0)
        rc = io_sync(m->file);
    drop_staged(m);
    return rc;
}

int mender_extend(struct mender *m, uint64_t size)
{
    TRY(mender_flush(m));
    if (m->undo) /* the log remembers the old length, and that alone is to be saved */
        TRY(undo_save(m->undo, m->file, NULL, 0));
    TRY(io_truncate(m->file, size));
    return io_sync(m->file);
}
