/* SPDX-License-Identifier: Apache-2.0
 *
 * Which locks an opener takes, so that qimg and QEMU share and exclude each other as two QEMUs
 * would (docs/formats/qcow2.md, locks). The table was read off QEMU's own locks.
 */
#include "file_lock.h"
#include "open.h"

#define CR IO_PERM_CONSISTENT_READ
#define W  IO_PERM_WRITE
#define RS IO_PERM_RESIZE

static const struct io_lock locks[][LOCK_FORCED + 1] = {
    [LOCK_FORMAT] = {
        [LOCK_INFO] = { .uses = 0, .denies = W | RS },
        [LOCK_READ] = { .uses = CR, .denies = W | RS },
        [LOCK_SOURCE] = { .uses = CR, .denies = W | RS },
        [LOCK_WRITE] = { .uses = CR | W | RS, .denies = W | RS },
        [LOCK_RESIZE] = { .uses = CR | W | RS, .denies = W | RS },
        [LOCK_INFO_FORCED] = { .uses = 0, .denies = 0 },
        [LOCK_FORCED] = { .uses = CR, .denies = 0 },
    },
    [LOCK_RAW] = {
        [LOCK_INFO] = { .uses = CR, .denies = 0 },
        [LOCK_READ] = { .uses = CR, .denies = 0 },
        [LOCK_SOURCE] = { .uses = CR, .denies = W | RS },
        [LOCK_WRITE] = { .uses = CR | W, .denies = 0 },
        [LOCK_RESIZE] = { .uses = CR | W | RS, .denies = 0 },
        [LOCK_INFO_FORCED] = { .uses = CR, .denies = 0 },
        [LOCK_FORCED] = { .uses = CR, .denies = 0 },
    },
    [LOCK_DATA_FILE] = {
        [LOCK_INFO] = { .uses = 0, .denies = 0 },
        [LOCK_READ] = { .uses = CR, .denies = RS },
        [LOCK_SOURCE] = { .uses = CR, .denies = W | RS },
        [LOCK_WRITE] = { .uses = CR | W | RS, .denies = RS },
        [LOCK_RESIZE] = { .uses = CR | W | RS, .denies = RS },
        [LOCK_INFO_FORCED] = { .uses = 0, .denies = 0 },
        [LOCK_FORCED] = { .uses = CR, .denies = 0 },
    },
};

enum lock_use lock_use_of(const struct qimg_open_options *options)
{
    if (options->writable)
        return LOCK_WRITE;
    if (options->share == QIMG_SHARE_FORCE)
        return options->info_only ? LOCK_INFO_FORCED : LOCK_FORCED;
    if (options->share == QIMG_SHARE_SOURCE)
        return LOCK_SOURCE;
    return options->info_only ? LOCK_INFO : LOCK_READ;
}

int lock_file(struct io_file *file, enum lock_kind kind, enum lock_use use, const char *name,
              struct qimg_error *err)
{
    return file_lock(file, name, locks[kind][use], err);
}
