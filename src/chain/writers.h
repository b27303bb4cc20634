/* SPDX-License-Identifier: Apache-2.0
 *
 * Who has files open for writing, as /proc tells. Looked up once; what is asked later is compared
 * with what was seen then, and asked again only of the one process.
 */
#ifndef CHAIN_WRITERS_H
#define CHAIN_WRITERS_H

#include "fail.h"
#include "qimg/chain.h"

struct writers;

/* Looks through all processes that we may look into, and at all locks. 0 or -ENOMEM. */
MUST_CHECK int writers_new(struct writers **out);
void writers_free(struct writers *writers); /* NULL is fine */

/* Who writes to @file: "qemu-system-x86 (process 4711)", to be freed. *out is NULL where nobody
 * does. 0 or -ENOMEM. */
MUST_CHECK int writers_find(const struct writers *writers, const struct qimg_chain_file *file,
                            char **out);

#endif
