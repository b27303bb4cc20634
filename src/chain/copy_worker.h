/* SPDX-License-Identifier: Apache-2.0
 *
 * A slot's work done synchronously, in the thread that calls: for buffered files this keeps a
 * chunk in one processor's cache from read to write and beats any queue of single requests.
 */
#ifndef CHAIN_COPY_WORKER_H
#define CHAIN_COPY_WORKER_H

#include "copy.h"

/* Read, transform, write: @slot's outcome is set when slot->settled is, by this call or by another
 * one that is under way (copy_sink.h). */
void copy_slot_work(struct copy_slot *slot);

/* The pieces from @first on that one request can fetch, because they continue each other in the
 * same file and in the buffer: returns the index behind the last, and the whole in @merged. */
size_t copy_group(const struct copy_slot *slot, size_t first, struct run *merged);

/* Notes a failure at @off; the lowest offset wins. */
void copy_slot_fail(struct copy_slot *slot, uint64_t off, int result, bool writing);

/* The same where the piece with index @piece could not be read; of two that are fetched for one
 * offset, the first one fails. */
void copy_slot_fail_read(struct copy_slot *slot, size_t piece, int result);

#endif
