/* SPDX-License-Identifier: Apache-2.0
 *
 * Random sequences of operations on every layout, crashes among them: see world.h. A sequence that
 * goes wrong is cut down to its shortest and printed as a line, to be run again and to be kept in
 * sequences.txt.
 *
 *   crash_walk FILE                 runs the sequences of a file, and random ones
 *   crash_walk FILE 'LAYOUT: ...'   runs this one, and tells of each operation
 *   QIMG_LONG=1                     more of them, and more states of each
 *   QIMG_CRASH_STATES=N             random ones until N distinct states were judged
 *   QIMG_CRASH_SEED=N               other ones
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bits.h"
#include "qcow2_walk.h"
#include "world.h"

#define LINE           4096
#define OPS            24 /* of a random sequence */
#define SEQUENCES      72 /* random ones, where nobody asks for more */
#define LONG_SEQUENCES 500
#define FLOOR          15000 /* distinct states of these; three quarters of what was counted */

static const struct states_how brief = { .random = 1, .tears = 3, .seed = 1 };
static const struct states_how thorough = { .random = 12, .tears = 15, .seed = 1 };

struct plan {
    const struct world_layout *layout;
    uint64_t seed; /* of the simulator */
    struct sequence sequence;
};

/* What a child tells its parent; it may end at any moment. */
struct shared {
    uint64_t turn; /* the sequence under way */
    bool wrong;
    char why[700];
    struct world_totals totals;
};

/* --- one sequence ----------------------------------------------------------------------------- */

static bool run(const struct plan *plan, const struct states_how *how, struct shared *shared,
                bool tell)
{
    struct world world;
    char text[200];
    bool fine = true;

    world_open(&world, plan->layout, plan->seed);
    world.how = how;
    world.totals = &shared->totals;
    for (size_t i = 0; fine && i < plan->sequence.count; i++) {
        const struct sequence one = { .items = { plan->sequence.items[i] }, .count = 1 };
        sequence_print(&one, text, sizeof(text));
        if (tell)
            printf("%s\n", text);
        fine = world_do(&world, &plan->sequence.items[i]);
        if (!fine)
            (void)snprintf(shared->why, sizeof(shared->why), "at %zu, %.40s: %.600s", i + 1, text,
                           world.wrong);
    }
    if (fine && !world_end_stretch(&world)) {
        (void)snprintf(shared->why, sizeof(shared->why), "at the end: %.600s", world.wrong);
        fine = false;
    }
    world_close(&world);
    return fine;
}

/* In a process of its own: an assertion that fails is a failure as others are. */
static bool run_apart(const struct plan *plan, const struct states_how *how, struct shared *shared)
{
    const struct world_totals before = shared->totals;
    int status;

    shared->why[0] = '\0';
    (void)fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr))
            _exit(2);
        _exit(!run(plan, how, shared, false));
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        abort();
    shared->totals = before;
    if (!WIFEXITED(status))
        (void)snprintf(shared->why, sizeof(shared->why), "dies of signal %d", WTERMSIG(status));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* --- the shortest that still goes wrong ------------------------------------------------------- */

static void take_out(struct sequence *s, size_t at, size_t count)
{
    memmove(&s->items[at], &s->items[at + count],
            (s->count - at - count) * sizeof(struct operation));
    s->count -= count;
}

/* Returns whether anything could be taken out. */
static bool shorten(struct plan *plan, size_t pieces, const struct states_how *how,
                    struct shared *shared)
{
    bool any = false;

    for (size_t at = plan->sequence.count; at-- > 0;) {
        struct plan shorter = *plan;
        if (at + pieces > plan->sequence.count)
            continue;
        take_out(&shorter.sequence, at, pieces);
        if (run_apart(&shorter, how, shared))
            continue;
        *plan = shorter;
        any = true;
    }
    return any;
}

static void tell_wrong(struct plan *plan, struct shared *shared)
{
    char text[LINE];

    if (run_apart(plan, &thorough, shared)) {
        printf("WRONG, but not again: %s, seed %" PRIu64 "\n", plan->layout->name, plan->seed);
        return;
    }
    while (shorten(plan, 4, &thorough, shared) || shorten(plan, 1, &thorough, shared))
        continue;
    (void)run_apart(plan, &thorough, shared);
    sequence_print(&plan->sequence, text, sizeof(text));
    printf("WRONG: %s\n  run again, and keep in sequences.txt:\n  crash_walk FILE '%s@%" PRIu64
           ": %s'\n",
           shared->why, plan->layout->name, plan->seed, text);
}

/* --- where sequences come from ---------------------------------------------------------------- */

/* "LAYOUT@SEED: operations" */
static bool parse(const char *line, struct plan *plan)
{
    const char *colon = strchr(line, ':');
    char name[64];

    if (!colon || sscanf(line, "%63[^@:]@%" SCNu64, name, &plan->seed) != 2)
        return false;
    plan->layout = world_layout_of(name);
    return plan->layout && sequence_parse(colon + 1, &plan->sequence);
}

static struct plan random_plan(uint64_t seed)
{
    uint64_t state = seed * 7919 + 17;
    struct plan plan = { .layout = &world_layouts[seed % world_layout_count], .seed = seed };

    (void)walk_random(&state);
    for (; plan.sequence.count < OPS; plan.sequence.count++)
        plan.sequence.items[plan.sequence.count] = operation_random(&state);
    return plan;
}

/* --- many ------------------------------------------------------------------------------------- */

struct many {
    struct shared *shared;
    const struct states_how *how;
    uint64_t first, count, states; /* until both were reached */
};

static bool enough(const struct many *many)
{
    const struct shared *s = many->shared;

    return s->turn - many->first >= many->count && s->totals.distinct >= many->states;
}

/* In a child, which ends at the first that is wrong. Returns how many were. */
static unsigned random_walks(struct many *many)
{
    struct shared *shared = many->shared;
    unsigned wrong = 0;
    int status;

    for (shared->turn = many->first; !enough(many) && wrong < 5; shared->turn++) {
        (void)fflush(stdout);
        const pid_t child = fork();
        if (child == 0) {
            for (; !enough(many); shared->turn++) {
                const struct plan plan = random_plan(shared->turn);
                if (!run(&plan, many->how, shared, false))
                    _exit(1);
            }
            _exit(0);
        }
        if (child < 0 || waitpid(child, &status, 0) != child)
            abort();
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            break;
        struct plan plan = random_plan(shared->turn);
        wrong++;
        tell_wrong(&plan, shared);
    }
    return wrong;
}

static unsigned kept_ones(const char *path, struct shared *shared)
{
    FILE *file = fopen(path, "r");
    unsigned wrong = 0, count = 0;
    struct plan plan;
    char line[LINE];

    if (!file) {
        perror(path);
        exit(1);
    }
    while (fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#' || line[0] == '\0')
            continue;
        if (!parse(line, &plan)) {
            printf("not understood: %s\n", line);
            wrong++;
        } else if (count++, !run_apart(&plan, &thorough, shared)) {
            printf("WRONG again: %s\n  %s\n", line, shared->why);
            wrong++;
        }
    }
    (void)fclose(file);
    printf("%u kept sequences\n", count);
    return wrong;
}

static int one(const char *line, struct shared *shared)
{
    struct plan plan;

    if (!parse(line, &plan)) {
        printf("not understood: %s\n", line);
        return 2;
    }
    const bool fine = run(&plan, &thorough, shared, true);
    printf("%s\n", fine ? "right" : shared->why);
    return !fine;
}

/* Each kind of operation must have been done, not only been refused. */
static unsigned report(const struct world_totals *t)
{
    unsigned never = 0;

    for (unsigned kind = 0; kind < OP_COUNT; kind++) {
        if (kind == OP_CRASH || kind == OP_CLOSE)
            continue;
        printf("  %s: %" PRIu64 " done, %" PRIu64 " refused\n",
               operation_word((enum operation_kind)kind), t->done[kind], t->refused[kind]);
        never += t->done[kind] == 0;
    }
    return never;
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    const bool is_long = getenv("QIMG_LONG") != NULL;
    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct many many = {
        .shared = shared,
        .how = is_long ? &thorough : &brief,
        .first = number("QIMG_CRASH_SEED", 1),
        .count = is_long ? LONG_SEQUENCES : SEQUENCES,
        .states = number("QIMG_CRASH_STATES", 0),
    };

    if (shared == MAP_FAILED || argc < 2)
        return 2;
    if (argc > 2)
        return one(argv[2], shared);
    unsigned wrong = kept_ones(argv[1], shared);
    wrong += random_walks(&many);
    const struct world_totals *t = &shared->totals;
    const unsigned never = report(t);
    printf("%" PRIu64 " sequences, %" PRIu64 " distinct states of %" PRIu64 ", %" PRIu64
           " crashes, %u wrong\n",
           shared->turn - many.first, t->distinct, t->tried, t->crashes, wrong);
    return wrong || never || t->distinct < FLOOR;
}
