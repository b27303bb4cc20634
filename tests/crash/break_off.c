/* SPDX-License-Identifier: Apache-2.0 */
#include "break_off.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "meta.h"
#include "states.h"

struct totals {
    const struct break_ops *ops;
    uint64_t states, faults, reported, wrong;
    bool is_long;
};

/* --- judging what an engine holds ----------------------------------------------------------- */

struct moment {
    const char *name;
    bool ended; /* all was done */
    bool whole; /* and nothing was broken off before: no leaks */
};

static const struct moment at_the_end = { "at the end", true, true };
static const struct moment said_done = { "said to be done", true, false };
static const struct moment after_fault = { "after a fault, as it stands", false, false };
static const struct moment after_both = { "after a fault and a power cut", false, false };
static const struct moment run_again = { "run again", true, false };

static void judge_engine(struct totals *totals, struct breakable *b, struct io_engine *engine,
                         const struct moment *moment)
{
    struct judge judge = totals->ops->judge(b);
    const struct span span = { moment->ended, 1 };
    struct disk disk;

    disk_load(&disk, engine);
    judge.no_leaks = moment->whole;
    const bool fine = judge_sound(&judge, &disk) && judge_content(&judge, &disk, &b->tape, span);
    disk_release(&disk);
    if (fine)
        return;
    printf("%s: %s: %s\n", b->name, moment->name, judge.text);
    totals->wrong++;
}

/* --- crash states --------------------------------------------------------------------------- */

/* Records a job and searches all that a crash may leave of it; until the first find: @stop. */
static struct states_result search(struct totals *totals, size_t index, bool stop)
{
    const struct states_how how = { .random = totals->is_long ? 300 : 8,
                                    .tears = totals->is_long ? 0 : 15,
                                    .seed = 1,
                                    .stop = stop };
    struct breakable *b = totals->ops->open(index);
    struct states_result result;
    struct disk start;

    disk_load(&start, b->context->engine);
    tape_mark(&b->tape, b->guest->bytes, b->guest->size, "", true);
    tape_record(&b->tape, b->context->engine);
    must(totals->ops->run(b), &b->err);
    tape_mark(&b->tape, b->guest->bytes, b->guest->size, "", true);
    if (!stop)
        judge_engine(totals, b, b->context->engine, &at_the_end);
    for (size_t i = 0; i < b->tape.events.count; i++)
        disk_reserve(&start, &b->tape.events.items[i].change);
    struct judge judge = totals->ops->judge(b);
    states_of(&b->tape, &start, &judge, &how, &result);
    disk_release(&start);
    if (!stop)
        printf("%s: %" PRIu64 " distinct states of %" PRIu64 "\n", b->name, result.distinct,
               result.tried);
    totals->ops->close(b);
    return result;
}

static void try_states(struct totals *totals, size_t index)
{
    const struct states_result result = search(totals, index, false);

    if (result.wrong)
        printf("  WRONG %" PRIu64 ": %s\n", result.wrong, result.first);
    totals->states += result.distinct;
    totals->wrong += result.wrong;
}

/* --- faults --------------------------------------------------------------------------------- */

static void complain(struct totals *totals, const struct breakable *b, uint64_t at,
                     const char *what)
{
    printf("%s: a fault at %" PRIu64 ": %s\n", b->name, at, what);
    totals->wrong++;
}

/* What failed must be told, and a job that says nothing must be done. */
static void judge_answer(struct totals *totals, struct breakable *b, int rc, uint64_t at)
{
    totals->reported += rc < 0;
    if (rc == 0)
        judge_engine(totals, b, b->context->engine, &said_done);
    else if (b->err.text[0] == '\0')
        complain(totals, b, at, "nothing is said of it");
}

/* Returns whether the operation was reached. */
static bool inject(struct totals *totals, size_t index, uint64_t at, bool forever)
{
    struct breakable *b = totals->ops->open(index);
    struct io_engine *engine = b->context->engine;
    const uint64_t n = io_sim_operations(engine) + at;

    io_sim_fault(engine, n, at % 2 ? IO_SIM_EIO : IO_SIM_ENOSPC, forever);
    const int rc = totals->ops->run(b);
    const bool reached = io_sim_operations(engine) >= n;
    io_sim_fault(engine, 0, IO_SIM_EIO, false);
    totals->faults += reached;
    judge_answer(totals, b, rc, at);
    struct io_engine *cut = after_cut(engine, IO_SIM_RANDOM, at);
    judge_engine(totals, b, engine, &after_fault);
    judge_engine(totals, b, cut, &after_both);
    qimg_context_free(b->context);
    b->context = context_on(cut);
    if (totals->ops->run(b) < 0)
        complain(totals, b, at, b->err.text);
    else
        judge_engine(totals, b, cut, &run_again);
    totals->ops->close(b);
    return reached;
}

static void try_faults(struct totals *totals, size_t index)
{
    const uint64_t step = totals->is_long ? 1 : 3;

    for (unsigned forever = 0; forever < 2; forever++)
        for (uint64_t at = 1 + forever; inject(totals, index, at, forever); at += step)
            continue;
}

/* --- all of it ------------------------------------------------------------------------------ */

static bool is_missed(struct totals *totals)
{
    meta_test_dropped = 1u << META_FLUSHED;
    const struct states_result result = search(totals, 0, true);
    meta_test_dropped = 0;
    printf("without the barrier %s: %s\n", totals->ops->barrier,
           result.wrong ? result.first : "NOT MISSED");
    return result.wrong > 0;
}

int break_off(const struct break_ops *ops)
{
    struct totals totals = { .ops = ops, .is_long = getenv("QIMG_LONG") != NULL };

    for (size_t i = 0; i < ops->cases; i++) {
        try_states(&totals, i);
        try_faults(&totals, i);
        (void)fflush(stdout);
    }
    const bool missed = is_missed(&totals);
    printf("%" PRIu64 " distinct states, %" PRIu64 " faults, %" PRIu64 " reported, %" PRIu64
           " wrong\n",
           totals.states, totals.faults, totals.reported, totals.wrong);
    return totals.wrong || !missed || totals.states < ops->states_floor ||
           totals.faults < ops->faults_floor;
}
