/* SPDX-License-Identifier: Apache-2.0
 *
 * Unaligned requests on O_DIRECT files that can go through a ring all the same: the kernel gets
 * request->bounce, whole blocks, instead of the caller's memory.
 */
#ifndef IO_BOUNCE_H
#define IO_BOUNCE_H

#include "request.h"

/* The blocks that the kernel is to transfer. */
struct qimg_range bounce_range(const struct io_request *request);

/* Can it be done without reading blocks first, and in a buffer of sensible size? */
bool bounce_fits(const struct io_request *request);

/* Gets request->bounce, filled for a write. 0 or -ENOMEM. */
int bounce_begin(struct io_request *request);

/* Takes the kernel's answer (bytes, or negative errno), releases the buffer. */
void bounce_end(struct io_request *request, int res);

#endif
