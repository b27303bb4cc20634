/* SPDX-License-Identifier: Apache-2.0 */
#include "io_sim_store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"

struct store_page {
    struct store_page *next;
    uint64_t index;
    uint8_t bytes[STORE_PAGE];
};

static void *must(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static size_t slot_of(uint64_t index, size_t slot_count)
{
    return (size_t)((index * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (slot_count - 1);
}

static struct store_page *find(const struct store *store, uint64_t index)
{
    if (store->slot_count == 0)
        return NULL;
    struct store_page *page = store->slots[slot_of(index, store->slot_count)];
    while (page && page->index != index)
        page = page->next;
    return page;
}

static void grow(struct store *store)
{
    const size_t count = store->slot_count ? store->slot_count * 2 : 64;
    struct store_page **slots = must(calloc(count, sizeof(struct store_page *)));

    for (size_t i = 0; i < store->slot_count; i++) {
        for (struct store_page *next, *page = store->slots[i]; page; page = next) {
            struct store_page **slot = &slots[slot_of(page->index, count)];
            next = page->next;
            page->next = *slot;
            *slot = page;
        }
    }
    free(store->slots);
    store->slots = slots;
    store->slot_count = count;
}

static struct store_page *find_or_add(struct store *store, uint64_t index)
{
    struct store_page *page = find(store, index);

    if (page)
        return page;
    if (store->page_count >= store->slot_count)
        grow(store);
    page = must(calloc(1, sizeof(*page)));
    page->index = index;
    struct store_page **slot = &store->slots[slot_of(index, store->slot_count)];
    page->next = *slot;
    *slot = page;
    store->page_count++;
    return page;
}

/* Removes the pages with from <= index < end, whichever way is shorter. */
static void drop(struct store *store, uint64_t from, uint64_t end)
{
    for (size_t i = 0; i < store->slot_count; i++) {
        struct store_page **at = &store->slots[i];
        while (*at) {
            struct store_page *page = *at;
            if (page->index < from || page->index >= end) {
                at = &page->next;
                continue;
            }
            *at = page->next;
            free(page);
            store->page_count--;
        }
    }
}

void store_release(struct store *store)
{
    drop(store, 0, UINT64_MAX);
    free(store->slots);
    *store = (struct store){ 0 };
}

void store_copy(struct store *to, const struct store *from)
{
    *to = (struct store){ .size = from->size };
    for (size_t i = 0; i < from->slot_count; i++)
        for (const struct store_page *page = from->slots[i]; page; page = page->next)
            memcpy(find_or_add(to, page->index)->bytes, page->bytes, STORE_PAGE);
}

void store_read(const struct store *store, uint64_t off, void *buf, size_t len)
{
    uint8_t *to = buf;

    while (len > 0) {
        const size_t skip = off % STORE_PAGE;
        const size_t part = (size_t)min_u64(len, STORE_PAGE - skip);
        const struct store_page *page = find(store, off / STORE_PAGE);
        if (page)
            memcpy(to, page->bytes + skip, part);
        else
            memset(to, 0, part);
        to += part;
        off += part;
        len -= part;
    }
}

void store_write(struct store *store, uint64_t off, const void *buf, size_t len)
{
    const uint8_t *from = buf;

    store->size = max_u64(store->size, off + len);
    while (len > 0) {
        const size_t skip = off % STORE_PAGE;
        const size_t part = (size_t)min_u64(len, STORE_PAGE - skip);
        memcpy(find_or_add(store, off / STORE_PAGE)->bytes + skip, from, part);
        from += part;
        off += part;
        len -= part;
    }
}

static void zero_in_page(struct store *store, uint64_t off, uint64_t end)
{
    struct store_page *page = find(store, off / STORE_PAGE);

    if (page && end > off)
        memset(page->bytes + off % STORE_PAGE, 0, (size_t)(end - off));
}

void store_zero(struct store *store, uint64_t off, uint64_t len)
{
    const uint64_t end = off + len;
    const uint64_t first = align_up(off, STORE_PAGE);
    const uint64_t last = align_down(end, STORE_PAGE);

    assert(end <= INT64_MAX);
    if (first > last) { /* inside one page */
        zero_in_page(store, off, end);
        return;
    }
    zero_in_page(store, off, first);
    zero_in_page(store, last, end);
    drop(store, first / STORE_PAGE, last / STORE_PAGE);
}

void store_resize(struct store *store, uint64_t size)
{
    if (size < store->size)
        store_zero(store, size, align_up(store->size, STORE_PAGE) - size);
    store->size = size;
}

size_t store_missing(const struct store *store, uint64_t off, uint64_t len)
{
    size_t missing = 0;

    if (len == 0)
        return 0;
    for (uint64_t i = off / STORE_PAGE; i <= (off + len - 1) / STORE_PAGE; i++)
        missing += !find(store, i);
    return missing;
}

bool store_extent(const struct store *store, uint64_t off, uint64_t *end)
{
    const uint64_t first = off / STORE_PAGE;
    uint64_t next = UINT64_MAX / STORE_PAGE;
    const bool data = find(store, first);

    if (data) {
        for (next = first + 1; find(store, next); next++)
            continue;
    } else {
        for (size_t i = 0; i < store->slot_count; i++)
            for (const struct store_page *page = store->slots[i]; page; page = page->next)
                if (page->index > first)
                    next = min_u64(next, page->index);
    }
    *end = min_u64(next * STORE_PAGE, store->size);
    return data;
}
