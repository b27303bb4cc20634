/* SPDX-License-Identifier: Apache-2.0
 *
 * Sparse bytes: pages in a hash table, holes between them. Aborts where memory runs out.
 */
#ifndef SUPPORT_IO_SIM_STORE_H
#define SUPPORT_IO_SIM_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_PAGE 4096u

struct store {
    struct store_page **slots;
    size_t slot_count, page_count;
    uint64_t size;
};

void store_release(struct store *store);
void store_copy(struct store *to, const struct store *from);
void store_read(const struct store *store, uint64_t off, void *buf, size_t len);
void store_write(struct store *store, uint64_t off, const void *buf, size_t len);
/* Zeros; whole pages become holes. Does not grow. */
void store_zero(struct store *store, uint64_t off, uint64_t len);
/* What is cut off reads as zeros when the store grows again. */
void store_resize(struct store *store, uint64_t size);
/* Pages that writing the range would add. */
size_t store_missing(const struct store *store, uint64_t off, uint64_t len);
/* Data or hole at @off (< size), and up to where. */
bool store_extent(const struct store *store, uint64_t off, uint64_t *end);

#endif
