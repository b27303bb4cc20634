/* SPDX-License-Identifier: Apache-2.0
 *
 * Takes a file's locks and puts a conflict into QEMU's words.
 */
#ifndef CHAIN_FILE_LOCK_H
#define CHAIN_FILE_LOCK_H

#include "io.h"

/* 0; or -EAGAIN with `Failed to get "write" lock` and the hint that asks for another user of
 * @name, and the advice that names who holds it; or what the system said. */
MUST_CHECK int file_lock(struct io_file *file, const char *name, struct io_lock want,
                         struct qimg_error *err);

#endif
