/* SPDX-License-Identifier: Apache-2.0 */
#include "pins.h"

#include <criterion/criterion.h>

static struct pins pins;

static void set_up(void)
{
    pins_init(&pins);
}

TestSuite(pins, .init = set_up);

Test(pins, a_stamp_without_reads_has_passed)
{
    for (int i = 0; i < 10; i++)
        cr_expect(pins_passed(&pins, pins_stamp(&pins)), "time %d", i);
}

Test(pins, a_stamp_waits_for_reads_that_began_before_it)
{
    const uint64_t read = pins_enter(&pins);
    const uint64_t stamp = pins_stamp(&pins);
    for (int i = 0; i < 4; i++)
        cr_expect_not(pins_passed(&pins, stamp), "time %d", i);
    pins_leave(&pins, read);
    cr_expect(pins_passed(&pins, stamp));
}

Test(pins, a_stamp_does_not_wait_for_reads_that_began_after_it)
{
    const uint64_t first = pins_enter(&pins);
    const uint64_t stamp = pins_stamp(&pins);
    cr_expect_not(pins_passed(&pins, stamp)); /* from now on reads are of the next generation */
    const uint64_t second = pins_enter(&pins);
    pins_leave(&pins, first);
    cr_expect(pins_passed(&pins, stamp));
    const uint64_t later = pins_stamp(&pins);
    cr_expect_not(pins_passed(&pins, later));
    pins_leave(&pins, second);
    cr_expect(pins_passed(&pins, later));
    cr_expect(pins_passed(&pins, stamp), "what has passed stays so");
}

/* Overlapping reads without end: each stamp passes once the reads of its time are gone. */
Test(pins, stamps_pass_although_there_is_always_a_read)
{
    uint64_t reads[3];
    for (int i = 0; i < 3; i++)
        reads[i] = pins_enter(&pins);
    for (int round = 0; round < 100; round++) {
        const uint64_t stamp = pins_stamp(&pins);
        cr_assert_not(pins_passed(&pins, stamp), "round %d", round);
        for (int i = 0; i < 3; i++) {
            const uint64_t next = pins_enter(&pins);
            pins_leave(&pins, reads[i]);
            reads[i] = next;
            cr_assert_eq(pins_passed(&pins, stamp), i == 2, "round %d read %d", round, i);
        }
    }
}
