/* SPDX-License-Identifier: Apache-2.0 */
#include "tape.h"

#include <stdlib.h>
#include <string.h>

_Thread_local const void *tape_site;

static void *copy_of(const void *bytes, size_t len)
{
    uint8_t *copy = malloc(len + 1);

    if (!copy)
        abort();
    if (len)
        memcpy(copy, bytes, len);
    copy[len] = 0;
    return copy;
}

static void on_event(void *user, const struct io_sim_event *e)
{
    struct tape *tape = user;
    struct tape_event event = {
        .change = { .op = e->op,
                    .file = disk_file_number(e->name),
                    .off = e->off,
                    .len = e->len,
                    .data = e->data ? copy_of(e->data, e->len) : NULL },
        .serial = e->serial,
        .site = tape_site,
    };

    if (tape_event_vec_push(&tape->events, event) < 0)
        abort();
}

void tape_record(struct tape *tape, struct io_engine *engine)
{
    io_sim_watch(engine, on_event, tape);
}

void tape_mark(struct tape *tape, const uint8_t *bytes, uint64_t size, const char *text,
               bool durable)
{
    const struct version version = {
        .bytes = copy_of(bytes, size),
        .size = size,
        .text = copy_of(text, strlen(text)),
        .at = tape->events.count,
        .durable = durable,
    };

    if (version_vec_push(&tape->versions, version) < 0)
        abort();
}

struct span tape_span(const struct tape *tape, size_t events)
{
    const struct version_vec *v = &tape->versions;
    struct span span = { 0, 0 };

    for (size_t i = 0; i < v->count && v->items[i].at <= events; i++) {
        span.last = i;
        if (v->items[i].durable)
            span.first = i;
    }
    if (events > v->items[span.last].at && span.last + 1 < v->count)
        span.last++; /* its step is under way */
    return span;
}

void tape_release(struct tape *tape)
{
    for (size_t i = 0; i < tape->events.count; i++)
        free((void *)(uintptr_t)tape->events.items[i].change.data);
    for (size_t i = 0; i < tape->versions.count; i++) {
        free(tape->versions.items[i].bytes);
        free(tape->versions.items[i].text);
    }
    tape_event_vec_release(&tape->events);
    version_vec_release(&tape->versions);
}
