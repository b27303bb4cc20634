/* SPDX-License-Identifier: Apache-2.0 */
#include "operation.h"

#include <stdio.h>
#include <string.h>

#include "bits.h"
#include "qcow2_walk.h"

static const struct {
    const char *word;
    unsigned arguments;
    bool guest;
} operations[] = {
#define OPERATION(name, word, arguments, guest) [OP_##name] = { word, arguments, guest },
    OPERATIONS
#undef OPERATION
};

const char *operation_word(enum operation_kind kind)
{
    return operations[kind].word;
}

bool operation_is_guests(enum operation_kind kind)
{
    return operations[kind].guest;
}

/* Kinds as often as they stand here. */
static const enum operation_kind bag[] = {
    OP_WRITE,      OP_WRITE,    OP_WRITE,  OP_WRITE,  OP_WRITE,     OP_WRITE,    OP_WRITE,
    OP_PACK,       OP_PACK,     OP_ZERO,   OP_ZERO,   OP_UNMAP,     OP_DISCARD,  OP_DISCARD,
    OP_FLUSH,      OP_FLUSH,    OP_CLOSE,  OP_SNAP_C, OP_SNAP_C,    OP_SNAP_A,   OP_SNAP_D,
    OP_RESIZE,     OP_RESIZE,   OP_REBASE, OP_REBASE, OP_STREAM,    OP_REBASE_U, OP_COMMIT,
    OP_COMMIT,     OP_BM_ADD,   OP_BM_ADD, OP_BM_ADD, OP_BM_REMOVE, OP_BM_CLEAR, OP_BM_ENABLE,
    OP_BM_DISABLE, OP_BM_MERGE, OP_AMEND,  OP_AMEND,  OP_REPAIR,    OP_REPAIR,   OP_CRASH,
    OP_CRASH,      OP_CRASH,
};

struct operation operation_random(uint64_t *state)
{
    static const unsigned longest[] = { 1, 1, 4, 8, 24, 64 };
    struct operation op = { .kind = bag[walk_random(state) % ARRAY_COUNT(bag)] };

    for (unsigned i = 0; i < operations[op.kind].arguments; i++)
        op.arg[i] = (unsigned)(walk_random(state) % 1000);
    if (op.kind <= OP_DISCARD && op.kind != OP_PACK) {
        const unsigned most = longest[op.arg[1] % ARRAY_COUNT(longest)];
        op.arg[1] = 1 + (unsigned)(walk_random(state) % most);
        if (walk_random(state) % 2) /* whole clusters, where these are not large */
            op.arg[0] &= ~7u, op.arg[1] = (op.arg[1] + 7) & ~7u;
    }
    return op;
}

static bool parse_one(const char *text, struct operation *op)
{
    char word[16];
    unsigned *a = op->arg;
    const int found = sscanf(text, " %15[a-z-] %u %u %u", word, &a[0], &a[1], &a[2]);

    for (unsigned kind = 0; found > 0 && kind < OP_COUNT; kind++) {
        op->kind = (enum operation_kind)kind;
        if (strcmp(operations[kind].word, word) == 0)
            return found == 1 + (int)operations[kind].arguments;
    }
    return false;
}

bool sequence_parse(const char *text, struct sequence *out)
{
    out->count = 0;
    for (const char *at = text; at; at = strchr(at, ';') ? strchr(at, ';') + 1 : NULL) {
        if (out->count == SEQUENCE_MAX || !parse_one(at, &out->items[out->count]))
            return false;
        out->count++;
    }
    return true;
}

void sequence_print(const struct sequence *sequence, char *buf, size_t room)
{
    size_t used = 0;

    buf[0] = '\0';
    for (size_t i = 0; i < sequence->count; i++) {
        const struct operation *op = &sequence->items[i];
        char text[80];
        int len = snprintf(text, sizeof(text), "%s%s", i ? "; " : "", operations[op->kind].word);
        for (unsigned k = 0; k < operations[op->kind].arguments; k++)
            len += snprintf(text + len, sizeof(text) - (size_t)len, " %u", op->arg[k]);
        used += (size_t)snprintf(buf + used, room - used, "%s", text);
        if (used >= room)
            return;
    }
}
