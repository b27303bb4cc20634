/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of formats: those that this library opens, from the registry, sorted once; and those that
 * QEMU knows, which may be recorded in an image whatever this library makes of them.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bits.h"
#include "cleanup.h"
#include "format.h"
#include "qimg/image.h"

#define FORMATS_MAX    32
#define DATA_FILE_HEAD 512 /* bytes: where headers have their feature bits */

static const char *names[FORMATS_MAX + 1];
static pthread_once_t sorted = PTHREAD_ONCE_INIT;

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void sort_names(void)
{
    size_t count = 0;
    while (format_registry[count] && count < FORMATS_MAX) {
        names[count] = format_registry[count]->name;
        count++;
    }
    qsort(names, count, sizeof(names[0]), by_name);
}

const char *const *qimg_formats(void)
{
    pthread_once(&sorted, sort_names);
    return names;
}

bool qimg_may_have_data_file(const char *path)
{
    uint8_t head[DATA_FILE_HEAD];
    struct stat st;
    AUTO_FD const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)))
        return true;
    const ssize_t len = pread(fd, head, sizeof(head), 0);
    if (len < 0)
        return true;
    const struct format_ops *format = format_probe(head, (size_t)len);
    return format->wants_data_file && format->wants_data_file(head, (size_t)len);
}

/* Formats and protocols alike: QEMU has one list of both. */
static const char *const known[] = {
    "blkdebug",
    "blklogwrites",
    "blkreplay",
    "blkverify",
    "bochs",
    "cloop",
    "compress",
    "copy-on-read",
    "dmg",
    "copy-before-write",
    "file",
    "ftp",
    "ftps",
    "gluster",
    "host_cdrom",
    "host_device",
    "http",
    "https",
    "io_uring",
    "iscsi",
    "luks",
    "nbd",
    "nfs",
    "null-aio",
    "null-co",
    "nvme",
    "nvme-io_uring",
    "parallels",
    "preallocate",
    "qcow",
    "qcow2",
    "qed",
    "quorum",
    "raw",
    "rbd",
    "replication",
    "snapshot-access",
    "ssh",
    "throttle",
    "vdi",
    "vhdx",
    "vmdk",
    "vpc",
    "vvfat",
};

bool qimg_format_known(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        if (strcmp(known[i], name) == 0)
            return true;
    return false;
}
