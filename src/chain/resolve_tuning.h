/* SPDX-License-Identifier: Apache-2.0
 *
 * Options that tune QEMU's own caches and checks: accepted or refused as QEMU does, and no more.
 * What is refused is refused in QEMU's words.
 */
#ifndef CHAIN_RESOLVE_TUNING_H
#define CHAIN_RESOLVE_TUNING_H

#include "resolve_options.h"

/* Is @key such an option of the format qcow2? */
bool tuning_is_qcow2s(const char *key);

/* Options that every node has: read-only, cache.direct, discard, ... */
MUST_CHECK int tuning_check_node(const struct block_option_vec *options, struct qimg_error *err);

MUST_CHECK int tuning_check_qcow2(const struct block_option_vec *options, struct tuning *out,
                                  struct qimg_error *err);

/* What only the image's cluster size (0 = none) can tell. */
MUST_CHECK int tuning_fits(const struct tuning *tuning, uint32_t cluster_size,
                           struct qimg_error *err);

#endif
