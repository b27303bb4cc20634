/* SPDX-License-Identifier: Apache-2.0
 *
 * Counts beside those on disk: every width, its bounds, and blocks that leave memory.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "mem_file.h"
#include "shadow.h"

static struct qcow2 *image_of(struct mem_file *file, unsigned cluster_bits)
{
    static struct qcow2 q;

    q = (struct qcow2){ .header = { .cluster_bits = cluster_bits, .refcount_order = 4 } };
    q.image.file = &file->base;
    return &q;
}

static const struct shadow_delta one_less = { SHADOW_LESS, 1 }, one_more = { SHADOW_MORE, 1 },
                                 one_new = { SHADOW_NEW, 1 };

Test(qcow2_shadow_counts, hold_what_was_set_in_every_width_up_to_the_greatest_count)
{
    struct mem_file *file = mem_file_new("", 0, true);

    for (unsigned order = 0; order <= 6; order++) {
        const uint64_t most = UINT64_MAX >> (64 - (1u << order));
        struct shadow_counts c;
        uint64_t got, zeroed;
        shadow_counts_init(&c, image_of(file, 9), order);
        for (uint64_t i = 0; i < 70; i++)
            cr_assert_eq(shadow_counts_set(&c, i * 37, (i * 5 + 1) & most), 0);
        for (uint64_t i = 0; i < 70; i++) {
            cr_assert_eq(shadow_counts_get(&c, i * 37, &got), 0);
            cr_expect_eq(got, (i * 5 + 1) & most, "order %u, %lu", order, (unsigned long)i);
        }
        cr_assert_eq(shadow_counts_set(&c, 5, most), 0);
        cr_expect_eq(shadow_counts_add(&c, 5, 1, one_more, &zeroed), -EINVAL, "order %u", order);
        cr_expect_eq(shadow_counts_add(&c, 6, 1, one_less, &zeroed), -EBADMSG, "order %u", order);
        cr_expect_eq(shadow_counts_add(&c, 6, 1, one_more, &zeroed), -EBADMSG, "order %u", order);
        cr_expect_eq(shadow_counts_add(&c, 6, 1, one_new, &zeroed), 0);
        cr_expect_eq(shadow_counts_add(&c, 6, 1, one_less, &zeroed), 0);
        cr_expect_eq(zeroed, 1);
        if (order < 6)
            cr_expect_eq(shadow_counts_set(&c, 5, most + 1), -EINVAL);
        shadow_counts_release(&c);
    }
    io_file_close(&file->base);
}

static int next_place(void *user, uint64_t old_off, uint64_t *host_off)
{
    uint64_t *next = user;

    cr_expect_eq(old_off, 0, "no block stood anywhere before");
    *host_off = *next;
    *next += 512;
    return 0;
}

Test(qcow2_shadow_counts, blocks_that_leave_memory_come_back_as_they_were)
{
    struct mem_file *file = mem_file_new("", 0, true);
    struct shadow_counts c;
    uint64_t next = 512, got, end;

    shadow_counts_init(&c, image_of(file, 9), 4);
    c.budget = 3;
    c.place = next_place;
    c.user = &next;
    for (uint64_t i = 0; i < 40; i++)
        cr_assert_eq(shadow_counts_set(&c, i * 256 + i, i + 1), 0);
    cr_expect_leq(c.loaded, 3);
    for (uint64_t i = 0; i < 40; i++) {
        cr_assert_eq(shadow_counts_get(&c, i * 256 + i, &got), 0);
        cr_expect_eq(got, i + 1, "block %lu", (unsigned long)i);
        cr_assert_eq(shadow_counts_get(&c, i * 256 + i + 1, &got), 0);
        cr_expect_eq(got, 0);
    }
    cr_assert_eq(shadow_counts_end(&c, &end), 0);
    cr_expect_eq(end, 39 * 256 + 39 + 1);
    shadow_counts_release(&c);
    io_file_close(&file->base);
}

Test(qcow2_shadow_counts, a_run_may_cross_blocks)
{
    struct mem_file *file = mem_file_new("", 0, true);
    struct shadow_counts c;
    uint64_t got, zeroed;

    shadow_counts_init(&c, image_of(file, 9), 4);
    cr_assert_eq(shadow_counts_add(&c, 250, 600, one_new, &zeroed), 0);
    cr_assert_eq(shadow_counts_add(&c, 255, 2, one_more, &zeroed), 0);
    cr_assert_eq(shadow_counts_add(&c, 250, 600, one_less, &zeroed), 0);
    cr_expect_eq(zeroed, 598);
    cr_assert_eq(shadow_counts_get(&c, 256, &got), 0);
    cr_expect_eq(got, 1);
    shadow_counts_release(&c);
    io_file_close(&file->base);
}

Test(qcow2_shadow_counts, a_table_entry_that_cannot_be_is_refused)
{
    uint8_t bytes[1024] = { 0 };
    struct mem_file *file = mem_file_new(bytes, sizeof(bytes), true);
    static const uint64_t bad[] = { 0x600, 0x10000 };

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct qcow2 *q = image_of(file, 10);
        struct shadow_counts c;
        q->geometry.file_size = sizeof(bytes);
        q->header.reftable_clusters = 1;
        store_be64(file->bytes + 8, bad[i]);
        cr_expect_eq(shadow_counts_load(&c, q), -EUCLEAN, "%lx", (unsigned long)bad[i]);
        shadow_counts_release(&c);
    }
    io_file_close(&file->base);
}

Test(qcow2_shadow_counts, many_references_at_once_are_as_good_as_one_by_one)
{
    struct mem_file *file = mem_file_new("", 0, true);
    const struct shadow_delta more = { SHADOW_MORE, 200 }, less = { SHADOW_LESS, 150 };
    struct shadow_counts c;
    uint64_t got, zeroed;

    shadow_counts_init(&c, image_of(file, 9), 3);
    cr_assert_eq(shadow_counts_add(&c, 5, 1, one_new, &zeroed), 0);
    cr_assert_eq(shadow_counts_add(&c, 5, 1, more, &zeroed), 0);
    cr_assert_eq(shadow_counts_get(&c, 5, &got), 0);
    cr_expect_eq(got, 201);
    cr_expect_eq(shadow_counts_add(&c, 5, 1, more, &zeroed), -EINVAL, "255 is the most");
    cr_assert_eq(shadow_counts_add(&c, 5, 1, less, &zeroed), 0);
    cr_expect_eq(zeroed, 0);
    cr_expect_eq(shadow_counts_add(&c, 5, 1, less, &zeroed), -EBADMSG, "51 are left");
    cr_assert_eq(shadow_counts_set(&c, 5, 150), 0);
    cr_assert_eq(shadow_counts_add(&c, 5, 1, less, &zeroed), 0);
    cr_expect_eq(zeroed, 1);
    shadow_counts_release(&c);
    io_file_close(&file->base);
}
