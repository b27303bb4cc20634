/* SPDX-License-Identifier: Apache-2.0
 *
 * What the file system says of a file, without opening it.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "survey_stat.h"

#define NS_PER_SECOND INT64_C(1000000000)

static int64_t nanoseconds(const struct statx_timestamp *t)
{
    return t->tv_sec * NS_PER_SECOND + t->tv_nsec;
}

int survey_stat(const char *path, struct qimg_chain_file *out)
{
    struct statx st;
    if (statx(AT_FDCWD, path, 0, STATX_BASIC_STATS | STATX_BTIME, &st) < 0)
        return -errno;
    const bool device = S_ISBLK(st.stx_mode);
    *out = (struct qimg_chain_file){
        .there = true,
        .is_device = device,
        .device = device ? UINT64_MAX : makedev(st.stx_dev_major, st.stx_dev_minor),
        .inode = device ? makedev(st.stx_rdev_major, st.stx_rdev_minor) : st.stx_ino,
        .size = st.stx_size,
        .allocated = st.stx_blocks * 512,
        .modified_ns = nanoseconds(&st.stx_mtime),
        .born_ns = st.stx_mask & STATX_BTIME ? nanoseconds(&st.stx_btime) : 0,
        .mode = st.stx_mode,
        .owner = st.stx_uid,
        .group = st.stx_gid,
    };
    return 0;
}
