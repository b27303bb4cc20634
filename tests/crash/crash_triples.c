/* SPDX-License-Identifier: Apache-2.0
 *
 * All sequences of three operations on a disk of four clusters, on every layout: what each leads to
 * is checked and held against the model. One that is refused changes nothing, so that nothing new
 * can come after it.
 *
 *   crash_triples           a few layouts
 *   QIMG_LONG=1             all, and each state that a crash may have left of each last operation
 *   QIMG_CRASH_ONLY=LAYOUT  this one
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "world.h"

#define CLUSTERS 4
#define DEPTH    3
#define FLOOR    14000 /* sequences of a short run; three quarters of what was counted */

/* Sectors are counted as if a cluster had eight. */
static const char alphabet[] = "write 12 8 1; write 16 1 2; pack 3 3; zero 8 8; zero 17 2;"
                               "unmap 0 8; discard 8 16; snap-c; snap-a 0; snap-d 0; resize 50 0;"
                               "resize 19 0; rebase 1; rebase 2; stream; commit; bm-add 0;"
                               "bm-clear 0; amend 0; amend 1; amend 5";

struct search {
    struct sequence letters;
    const struct states_how *how;
    struct world_totals totals;
    uint64_t sequences, wrong;
    struct sequence path;
};

static void tell(const struct search *s, const struct world *world)
{
    char text[300];

    sequence_print(&s->path, text, sizeof(text));
    printf("WRONG: %s: %s\n  %s\n", world->layout->name, text, world->wrong);
}

static uint64_t refused(const struct search *s)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < OP_COUNT; i++)
        sum += s->totals.refused[i];
    return sum;
}

/* All that begins with what led to @from. */
static void extend(struct search *s, struct world *from)
{
    for (size_t i = 0; i < s->letters.count && s->wrong < 5; i++) {
        struct world world;
        const uint64_t before = refused(s);
        s->path.items[s->path.count++] = s->letters.items[i];
        world_clone(&world, from);
        const bool fine = world_do(&world, &s->letters.items[i]) && world_end_stretch(&world);
        s->sequences++;
        if (!fine) {
            s->wrong++;
            tell(s, &world);
        } else if (refused(s) == before && s->path.count < DEPTH) {
            extend(s, &world);
        }
        world_close(&world);
        s->path.count--;
    }
}

/* As many sectors as the layout's clusters have. */
static void scale(struct sequence *letters, unsigned cluster_bits)
{
    for (size_t i = 0; i < letters->count; i++) {
        struct operation *op = &letters->items[i];
        const bool ranged = operation_is_guests(op->kind) && op->kind != OP_PACK;
        for (unsigned k = 0; k < (ranged ? 2 : op->kind == OP_RESIZE ? 1 : 0); k++)
            op->arg[k] = (unsigned)max_u64((uint64_t)op->arg[k] << cluster_bits >> 12, k == 1);
    }
}

static void try_layout(struct search *s, const struct world_layout *layout)
{
    const struct operation first = { .kind = OP_WRITE,
                                     .arg = { 0, 2 * (1u << layout->cluster_bits) / 512, 9 } };
    struct world_layout small = *layout;
    struct world world;
    const uint64_t before = s->sequences;

    small.clusters = CLUSTERS;
    small.more = 0;
    if (!sequence_parse(alphabet, &s->letters))
        abort();
    scale(&s->letters, layout->cluster_bits);
    world_open(&world, &small, 1);
    world.how = s->how;
    world.totals = &s->totals;
    if (!world_do(&world, &first) || !world_end_stretch(&world)) {
        s->wrong++;
        tell(s, &world);
    } else {
        extend(s, &world);
    }
    world_close(&world);
    printf("%s: %" PRIu64 " sequences\n", layout->name, s->sequences - before);
    (void)fflush(stdout);
}

static bool is_chosen(const char *name)
{
    static const char *const chosen[] = { "4k-backing", "512-v2-backing",
                                          "16k-subclusters-backing" };
    const char *only = getenv("QIMG_CRASH_ONLY");

    if (only || getenv("QIMG_LONG"))
        return !only || strcmp(only, name) == 0;
    for (size_t i = 0; i < ARRAY_COUNT(chosen); i++)
        if (strcmp(name, chosen[i]) == 0)
            return true;
    return false;
}

int main(void)
{
    static const struct states_how thorough = { .random = 4, .tears = 7, .seed = 1 };
    struct search s = { .how = getenv("QIMG_LONG") ? &thorough : NULL };

    for (size_t i = 0; i < world_layout_count; i++)
        if (is_chosen(world_layouts[i].name))
            try_layout(&s, &world_layouts[i]);
    printf("%" PRIu64 " sequences, %" PRIu64 " distinct states of %" PRIu64 ", %" PRIu64 " wrong\n",
           s.sequences, s.totals.distinct, s.totals.tried, s.wrong);
    return s.wrong || s.sequences < FLOOR;
}
