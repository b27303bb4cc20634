/* SPDX-License-Identifier: Apache-2.0 */
#include "states.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "hashes.h"

struct pending {
    const struct disk_change **items;
    size_t count;
};

struct search {
    const struct tape *tape;
    struct judge *judge;
    const struct states_how *how;
    struct states_result *result;
    struct disk base, scratch; /* what is durable at this moment; and one state */
    size_t moment;
    struct pending pending;
    struct hashes structures, contents; /* judged */
    uint64_t random;
    uint8_t *sectors; /* which survive, for the longest write */
    uint8_t *settled; /* by event: it is in base */
};

static uint64_t draw(struct search *s)
{
    s->random = s->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return s->random >> 33;
}

/* --- one state -------------------------------------------------------------------------------- */

static void note_wrong(struct search *s)
{
    const struct disk_change *last =
        s->pending.count ? s->pending.items[s->pending.count - 1] : NULL;

    if (s->result->wrong++ == 0)
        (void)snprintf(s->result->first, sizeof(s->result->first),
                       "after event %zu (%d at %" PRIu64 "+%" PRIu64 "): %s", s->moment,
                       last ? (int)last->op : -1, last ? last->off : 0, last ? last->len : 0,
                       s->judge->text);
}

static void judge_scratch(struct search *s)
{
    const uint64_t hash = disk_hash(&s->scratch);
    const struct span span = tape_span(s->tape, s->moment);

    s->result->tried++;
    if (hashes_add(&s->structures, hash)) {
        s->result->distinct++;
        if (s->how->sample)
            s->how->sample(s->how->user, &s->scratch, hash);
        if (!judge_sound(s->judge, &s->scratch))
            note_wrong(s);
    }
    if (hashes_add(&s->contents, hash + span.first * 1000003 + span.last * 7919) &&
        !judge_content(s->judge, &s->scratch, s->tape, span))
        note_wrong(s);
}

/* Back to what is durable. */
static void restore(struct search *s)
{
    for (size_t i = 0; i < s->pending.count; i++)
        disk_restore(&s->scratch, &s->base, s->pending.items[i]);
}

/* @chosen NULL: all. @torn: sectors that survive of the last one; NULL = all. */
static void try_state(struct search *s, const uint8_t *chosen, const uint8_t *torn)
{
    const size_t count = s->pending.count;

    for (size_t i = 0; i < count; i++) {
        if (!chosen || chosen[i])
            disk_apply(&s->scratch, s->pending.items[i], i + 1 == count ? torn : NULL);
    }
    judge_scratch(s);
    restore(s);
}

static bool done(const struct search *s)
{
    return s->how->stop && s->result->wrong > 0;
}

/* --- one moment ------------------------------------------------------------------------------- */

static void lose_and_keep_one(struct search *s, uint8_t *chosen)
{
    const size_t count = s->pending.count;

    for (size_t i = 0; i < count && !done(s); i++) {
        memset(chosen, 1, count);
        chosen[i] = 0;
        try_state(s, chosen, NULL);
        memset(chosen, 0, count);
        chosen[i] = 1;
        try_state(s, chosen, NULL);
    }
}

static size_t sectors_of(const struct disk_change *c)
{
    return (size_t)(div_up(c->off + c->len, DISK_SECTOR) - c->off / DISK_SECTOR);
}

static void tear_last(struct search *s)
{
    const struct disk_change *last = s->pending.items[s->pending.count - 1];

    if (last->op != IO_SIM_WRITE || s->how->whole)
        return;
    const size_t count = sectors_of(last);
    const size_t step = s->how->tears && count > s->how->tears ? count / s->how->tears : 1;
    memset(s->sectors, 0, count);
    for (size_t k = 1; k < count && !done(s); k++) {
        s->sectors[k - 1] = 1;
        if (k % step == 0)
            try_state(s, NULL, s->sectors);
    }
}

/* Of half of the changes nothing survives, of some a part, of the others all. */
static void apply_some(struct search *s)
{
    for (size_t i = 0; i < s->pending.count; i++) {
        const struct disk_change *c = s->pending.items[i];
        const uint64_t fate = draw(s) % 8;
        const bool torn = fate == 0 && c->op == IO_SIM_WRITE && !s->how->whole;
        for (size_t k = 0; torn && k < sectors_of(c); k++)
            s->sectors[k] = draw(s) & 1;
        if (fate < 4)
            disk_apply(&s->scratch, c, torn ? s->sectors : NULL);
    }
}

static void some_at_random(struct search *s)
{
    for (unsigned n = 0; n < s->how->random && !done(s); n++) {
        apply_some(s);
        judge_scratch(s);
        restore(s);
    }
}

static void states_at(struct search *s)
{
    uint8_t *chosen = calloc(1, s->pending.count + 1);

    if (!chosen)
        abort();
    try_state(s, chosen, NULL); /* none */
    if (s->pending.count > 0) {
        try_state(s, NULL, NULL);
        lose_and_keep_one(s, chosen);
        tear_last(s);
        some_at_random(s);
    }
    free(chosen);
}

/* --- all moments ------------------------------------------------------------------------------ */

static bool is_sync(const struct tape_event *e)
{
    return e->change.op == IO_SIM_SYNC;
}

/* Is the change at @index durable once the first @events happened? */
static bool durable(const struct search *s, size_t index, size_t events)
{
    const struct tape_event *items = s->tape->events.items;

    for (size_t i = index + 1; i < events; i++) {
        if (is_sync(&items[i]) && items[i].change.file == items[index].change.file &&
            items[i].serial >= items[index].serial &&
            !(s->how->without && items[i].site == s->how->without))
            return true;
    }
    return false;
}

/* Moves to the disk what became durable by the event before this moment. */
static void advance(struct search *s)
{
    const struct tape_event *items = s->tape->events.items;

    s->pending.count = 0;
    for (size_t i = 0; i < s->moment; i++) {
        if (is_sync(&items[i]) || s->settled[i])
            continue;
        if (durable(s, i, s->moment)) {
            disk_apply(&s->base, &items[i].change, NULL);
            disk_apply(&s->scratch, &items[i].change, NULL);
            s->settled[i] = 1;
        } else {
            s->pending.items[s->pending.count++] = &items[i].change;
        }
    }
}

static void copy_disk(struct disk *to, const struct disk *from)
{
    for (unsigned i = 0; i < DISK_FILES; i++) {
        to->files[i].room = from->files[i].room;
        to->files[i].bytes = malloc(from->files[i].room);
        if (!to->files[i].bytes)
            abort();
    }
    disk_copy(to, from);
}

static void begin(struct search *s, const struct disk *start)
{
    const struct tape_event_vec *events = &s->tape->events;
    size_t longest = 1;

    for (size_t i = 0; i < events->count; i++)
        longest = max_u64(longest, sectors_of(&events->items[i].change));
    s->sectors = calloc(1, longest);
    s->settled = calloc(1, events->count + 1);
    s->pending.items = calloc(events->count + 1, sizeof(*s->pending.items));
    if (!s->sectors || !s->settled || !s->pending.items)
        abort();
    copy_disk(&s->base, start);
    copy_disk(&s->scratch, start);
}

static void end(struct search *s)
{
    disk_release(&s->base);
    disk_release(&s->scratch);
    hashes_release(&s->structures);
    hashes_release(&s->contents);
    free(s->pending.items);
    free(s->sectors);
    free(s->settled);
}

void states_of(const struct tape *tape, const struct disk *start, struct judge *judge,
               const struct states_how *how, struct states_result *result)
{
    struct search s = {
        .tape = tape, .judge = judge, .how = how, .result = result, .random = how->seed
    };

    *result = (struct states_result){ 0 };
    begin(&s, start);
    for (s.moment = 0; s.moment <= tape->events.count && !done(&s); s.moment++) {
        advance(&s);
        states_at(&s);
    }
    end(&s);
}

size_t states_pick(const struct tape *tape, const struct disk *start, uint64_t seed,
                   struct disk *disk)
{
    static const struct states_how how;
    struct search s = { .tape = tape, .how = &how, .random = seed };

    begin(&s, start);
    (void)draw(&s);
    s.moment = draw(&s) % (tape->events.count + 1);
    advance(&s);
    apply_some(&s);
    *disk = s.scratch;
    s.scratch = (struct disk){ 0 };
    end(&s);
    return s.moment;
}

void states_settle(struct tape *tape, struct disk *start)
{
    static const struct states_how how;
    const struct search s = { .tape = tape, .how = &how };
    const size_t count = tape->events.count;
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        struct tape_event *e = &tape->events.items[i];
        if (!is_sync(e) && !durable(&s, i, count)) {
            tape->events.items[kept++] = *e;
            continue;
        }
        if (!is_sync(e))
            disk_apply(start, &e->change, NULL);
        free((void *)(uintptr_t)e->change.data);
    }
    tape->events.count = kept;
}
