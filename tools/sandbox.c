/* SPDX-License-Identifier: Apache-2.0
 *
 * See sandbox.h. The filter comes second: it does not allow Landlock's own calls. Where nothing is
 * written, no ring is set up and reading is not bounded, the filter alone does everything: Landlock
 * would only hide from us who holds a lock, and cost time.
 */
#include "sandbox.h"

static bool filter_suffices(const struct sandbox_plan *plan)
{
    return sandbox_reads_only(plan) && !plan->bounded && !plan->io_uring && !plan->programs;
}

struct sandbox_state sandbox_enter(const struct sandbox_plan *plan)
{
    struct sandbox_state state = { 0 };

    if (filter_suffices(plan)) {
        state.filter = sandbox_filter(plan);
        if (state.filter == 0)
            return state;
    }
    state.landlock = sandbox_landlock(plan);
    state.filter = sandbox_filter(plan);
    return state;
}

bool sandbox_reads_only(const struct sandbox_plan *plan)
{
    for (size_t i = 0; i < plan->place_count; i++)
        if (plan->places[i].right != SANDBOX_READ)
            return false;
    return plan->files == SANDBOX_READS;
}
