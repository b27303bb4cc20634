/* SPDX-License-Identifier: Apache-2.0
 *
 * The merged map (docs/ARCHITECTURE.md, "The merged map"): one sorted run list for the whole
 * chain, resolved a window at a time at first touch and kept under a byte budget. After that a
 * look-up is a binary search, whatever the depth.
 */
#ifndef CHAIN_MAP_H
#define CHAIN_MAP_H

#include "chain.h"

enum run_kind { RUN_ZERO, RUN_DATA, RUN_COMPRESSED, RUN_BAD, RUN_UNALLOCATED };

/* Guest bytes [guest_off, +len) from one layer. UNALLOCATED (no layer has it) reads as zeros; its
 * host_off is the space that is reserved for it, if any. */
struct run {
    uint64_t guest_off, len;
    uint64_t host_off; /* of guest_off; of COMPRESSED, of the packed cluster */
    uint32_t packed_len;
    uint32_t layer;
    uint32_t skip; /* COMPRESSED: guest_off's distance from the cluster's first byte */
    uint8_t kind;  /* enum run_kind */
    uint8_t codec;
};

MUST_CHECK int chain_map_new(struct qimg_image *image, uint64_t budget, struct chain_map **out);
void chain_map_free(struct chain_map *map);

/* Fills @out with the runs that cover @want from its start, in order and without gaps, clipped
 * to @want; at most @max. Loads windows as needed. Returns how many (>= 1 for a non-empty @want
 * within the image) or a negative errno. Safe from several threads. */
MUST_CHECK int chain_map_lookup(struct chain_map *map, struct qimg_range want, struct run *out,
                                size_t max, struct qimg_error *err);

/* How much of the end of [host_off, +len) of a raw image @layer lies past the end of its file,
 * which may end inside a sector. */
uint64_t layer_padding(const struct layer *layer, uint64_t host_off, uint64_t len);

/* What the file of @layer has at its offset @off, at most @len of it. Past its end: a hole. */
struct io_extent layer_extent(const struct layer *layer, uint64_t off, uint64_t len);

/* For those who go through the disk in order and are now at @off: has the pool load the next window
 * that is not resolved, unless it is far off, another one is being loaded ahead, or memory is
 * short. */
void chain_map_ahead(struct chain_map *map, uint64_t off);

/* The top image has changed in @range: windows that are resolved there show what is now. Under the
 * image's lock. */
void chain_map_splice(struct chain_map *map, struct qimg_range range);

/* The same where all of @range is now data at @host_off of the top layer's file. */
void chain_map_splice_data(struct chain_map *map, struct qimg_range range, uint64_t host_off);

/* Forgets all windows, because sizes or layers changed. Under the image's lock. */
void chain_map_forget(struct chain_map *map);

#endif
