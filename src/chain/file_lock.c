/* SPDX-License-Identifier: Apache-2.0 */
#include "file_lock.h"

#include <stdlib.h>

#include "cleanup.h"
#include "lock_holder.h"

static const char *permission_name(enum io_permission permission)
{
    switch (permission) {
    case IO_PERM_CONSISTENT_READ:
        return "consistent read";
    case IO_PERM_WRITE:
        return "write";
    case IO_PERM_WRITE_UNCHANGED:
        return "write unchanged";
    case IO_PERM_RESIZE:
        return "resize";
    }
    return "consistent read";
}

int file_lock(struct io_file *file, const char *name, struct io_lock want, struct qimg_error *err)
{
    struct io_lock_conflict conflict = { 0 };
    const int rc = io_lock(file, want, &conflict);

    if (rc == 0)
        return 0;
    if (rc != -EAGAIN)
        return qimg_fail_errno(err, -rc, "Failed to lock '%s'", name);
    if (conflict.byte)
        (void)qimg_fail(err, EAGAIN, "Failed to lock byte %u", conflict.byte);
    else
        (void)qimg_fail(err, EAGAIN, "Failed to get %s\"%s\" lock",
                        conflict.shared ? "shared " : "", permission_name(conflict.permission));
    (void)qimg_hint(err, "Is another process using the image [%s]?", name);
    AUTO_FREE char *holder = lock_holder(file, conflict.held);
    return holder ? qimg_advise(err, "It is held by %s", holder) : -EAGAIN;
}
