/* SPDX-License-Identifier: Apache-2.0
 *
 * What O_DIRECT asks of offsets, lengths and memory. statx tells since Linux 6.1; before, a
 * device tells its sector size, and a file is asked by trying: a read that is not aligned enough
 * fails with EINVAL. What cannot be found out is a page.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "posix.h"

#define ALIGN_SMALLEST 512
#define ALIGN_SAFE     4096

static bool plausible(uint32_t align)
{
    return is_pow2(align) && align <= 64 * KiB;
}

#ifdef STATX_DIOALIGN
static bool ask_statx(struct posix_file *file)
{
    struct statx stx;

    if (statx(file->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) < 0)
        return false;
    if (!(stx.stx_mask & STATX_DIOALIGN) || !plausible(stx.stx_dio_offset_align))
        return false;
    file->base.request_align = stx.stx_dio_offset_align;
    file->base.memory_align = plausible(stx.stx_dio_mem_align) ? stx.stx_dio_mem_align : ALIGN_SAFE;
    return true;
}
#else
static bool ask_statx(struct posix_file *file)
{
    (void)file;
    return false;
}
#endif

static bool ask_device(struct posix_file *file)
{
    int sector = 0;

    if (!file->base.is_device || ioctl(file->fd, BLKSSZGET, &sector) < 0)
        return false;
    if (sector <= 0 || !plausible((uint32_t)sector))
        return false;
    file->base.request_align = (uint32_t)sector;
    file->base.memory_align = ALIGN_SAFE;
    return true;
}

/* An empty file may take any read: then nothing is learnt and the safe value stays. */
static void try_reads(struct posix_file *file)
{
    AUTO_FREE void *memory = io_buffer_new(ALIGN_SAFE);
    struct stat st;

    if (!memory || fstat(file->fd, &st) < 0 || st.st_size == 0)
        return;
    for (uint32_t align = ALIGN_SMALLEST; align < ALIGN_SAFE; align *= 2) {
        if (pread(file->fd, memory, align, 0) >= 0) {
            file->base.request_align = align;
            return;
        }
    }
}

void posix_find_alignment(struct posix_file *file)
{
    if (ask_statx(file) || ask_device(file))
        return;
    file->base.request_align = ALIGN_SAFE;
    file->base.memory_align = ALIGN_SAFE;
    try_reads(file);
}
