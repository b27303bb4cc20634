/* SPDX-License-Identifier: Apache-2.0 */
#include "copy_sink.h"
#include "copy_worker.h"

#include <criterion/criterion.h>
#include <string.h>

Test(copy_worker, the_lowest_failure_stays)
{
    struct copy_slot slot = { 0 };

    copy_slot_fail(&slot, 200, -EIO, false);
    copy_slot_fail(&slot, 300, -ENOSPC, true);
    cr_expect(slot.result == -EIO && slot.failed_off == 200 && !slot.write_failed);
    copy_slot_fail(&slot, 100, -ENOSPC, true);
    cr_expect(slot.result == -ENOSPC && slot.failed_off == 100 && slot.write_failed);
}

Test(copy_worker, a_stopped_job_does_nothing_more)
{
    struct copy_job job = { .stopped = true, .window = 1 };
    struct copy_slot slot = { .job = &job };
    const struct copy_write write = { .range = { 0, 4096 } };
    struct copy_sink sink;

    copy_sink_open(&sink, &job, &slot, NULL);
    slot.sink = &sink;

    /* Without the check this would write to no target at all. */
    cr_assert_eq(copy_write_vec_push(&slot.writes, write), 0);
    copy_slot_work(&slot);
    cr_expect_eq(slot.result, 0);
    cr_expect(atomic_load(&slot.settled));
    cr_expect_eq(sink.turn, 1);
    copy_write_vec_release(&slot.writes);
    copy_sink_close(&sink);
}
