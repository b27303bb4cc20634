/* SPDX-License-Identifier: Apache-2.0 */
#include "check_census.h"

#include <criterion/criterion.h>

Test(qcow2_check_census, tables_are_counted_once_with_all_their_links)
{
    struct census c = { 0 };

    for (uint64_t round = 1; round <= 3; round++)
        for (uint64_t i = 1000; i-- > 0;)
            cr_assert_eq(census_add(&c, i << 16, round, round == 1), 0);
    cr_expect_eq(c.count, 1000);
    cr_expect_eq(census_find(&c, 7 << 16)->links, 6);
    cr_expect_null(census_find(&c, 1000 << 16));
    census_freeze(&c);
    for (uint64_t i = 0; i < 1000; i++) {
        cr_expect_eq(c.tables[i].off, i << 16);
        cr_expect_eq(census_find(&c, i << 16), &c.tables[i]);
    }
    cr_expect_eq(c.tables[7].links, 6);
    cr_expect_eq(c.tables[7].active, 1);
    cr_expect_null(census_find(&c, (7 << 16) + 512));
    census_release(&c);
}

Test(qcow2_check_census, links_into_a_range_are_those_of_tables_that_begin_there)
{
    struct census c = { 0 };

    cr_expect_null(census_find(&c, 0));
    cr_assert_eq(census_add(&c, 0x10000, 2, 1), 0);
    cr_assert_eq(census_add(&c, 0x10200, 3, 0), 0);
    cr_assert_eq(census_add(&c, 0x20000, 5, 0), 0);
    census_freeze(&c);
    cr_expect_eq(census_links_into(&c, (struct qimg_range){ 0x10000, 0x10000 }), 5);
    cr_expect_eq(census_links_into(&c, (struct qimg_range){ 0x10001, 0x10000 }), 8);
    cr_expect_eq(census_links_into(&c, (struct qimg_range){ 0, 0x10000 }), 0);
    cr_expect_eq(census_links_into(&c, (struct qimg_range){ 0x20001, 0x10000 }), 0);
    census_release(&c);
}
