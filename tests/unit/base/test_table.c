/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "table.h"

#define MANY 1000

Test(table, finds_what_was_added_and_nothing_else)
{
    static char keys[MANY][16];
    static int values[MANY];
    struct table table = { 0 };
    cr_expect_null(table_find(&table, "0"), "an empty table");
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(keys[i], sizeof(keys[i]), "%d", i * 7);
        cr_assert_eq(table_add(&table, keys[i], &values[i]), 0);
    }
    for (int i = 0; i < MANY; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%d", i * 7);
        cr_expect_eq(table_find(&table, key), &values[i], "%s", key);
        (void)snprintf(key, sizeof(key), "%d", i * 7 + 1);
        cr_expect_null(table_find(&table, key), "%s", key);
    }
    cr_expect_eq(table.count, MANY);
    cr_expect_geq(table.room, 2 * MANY, "probing stays short");
    table_release(&table);
    cr_expect_null(table_find(&table, "0"));
}
