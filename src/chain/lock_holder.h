/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CHAIN_LOCK_HOLDER_H
#define CHAIN_LOCK_HOLDER_H

#include "io.h"

/* Who else holds a lock on @byte of @file: "qemu-io (process 4711)", to be freed. The lock itself
 * does not tell (facts: OFD locks have no owner), but what /proc says of open files does. NULL:
 * nobody that may be looked at, or no memory. */
char *lock_holder(const struct io_file *file, unsigned byte);

#endif
