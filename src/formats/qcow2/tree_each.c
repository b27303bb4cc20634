/* SPDX-License-Identifier: Apache-2.0
 *
 * Going through the tables that an L1 table links, each once, however often it is linked: what one
 * link asks for is done for all of them at the first. Sound images link no table twice, and are
 * gone through without further memory.
 */
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "tree.h"

/* A table with several links, and what became of them. */
struct repeat {
    uint64_t off, links, word;
    bool done;
};

DEFINE_VEC(repeat_vec, struct repeat)

static int by_off(const void *a, const void *b)
{
    return compare_u64(*(const uint64_t *)a, *(const uint64_t *)b);
}

static int note_repeats(const uint64_t *offs, uint64_t count, struct repeat_vec *out)
{
    for (uint64_t i = 0, end; i < count; i = end) {
        for (end = i + 1; end < count && offs[end] == offs[i];)
            end++;
        if (end > i + 1)
            TRY(repeat_vec_push(out, (struct repeat){ .off = offs[i], .links = end - i }));
    }
    return 0;
}

/* Do the tables follow each other in the file, so that none comes twice? */
static bool ascend(const uint64_t *words, uint64_t count)
{
    uint64_t last = 0;

    for (uint64_t i = 0; i < count; i++) {
        const uint64_t off = words[i] & QCOW2_OFFSET_MASK;
        if (off && off <= last)
            return false;
        last = off ? off : last;
    }
    return true;
}

static int find_repeats(const uint64_t *words, uint64_t count, struct repeat_vec *out)
{
    uint64_t links = 0;

    if (ascend(words, count))
        return 0;
    AUTO_FREE uint64_t *offs = malloc(count * sizeof(*offs));
    if (!offs)
        return -ENOMEM;
    for (uint64_t i = 0; i < count; i++)
        if (words[i] & QCOW2_OFFSET_MASK)
            offs[links++] = words[i] & QCOW2_OFFSET_MASK;
    qsort(offs, links, sizeof(*offs), by_off);
    return note_repeats(offs, links, out);
}

static struct repeat *repeat_of(const struct repeat_vec *repeats, uint64_t off)
{
    const size_t i = LOWER_BOUND(repeats->items, repeats->count, off, off);

    return i < repeats->count && repeats->items[i].off == off ? &repeats->items[i] : NULL;
}

static int visit_link(struct shadow *s, struct tree_table *table, struct repeat *again,
                      tree_visit_fn visit)
{
    if (again && again->done) {
        table->word = again->word;
        return 0;
    }
    table->links = again ? again->links : 1;
    TRY(visit(s, table));
    if (again) {
        again->word = table->word;
        again->done = true;
    }
    return 0;
}

int tree_each_table(struct shadow *s, uint64_t *words, uint64_t count, tree_visit_fn visit)
{
    AUTO(repeat_vec_release) struct repeat_vec repeats = { 0 };
    AUTO_FREE uint8_t *l2 = malloc(qcow2_cluster_size(s->q));
    int changed = 0;

    if (!l2)
        return -ENOMEM;
    TRY(find_repeats(words, count, &repeats));
    for (uint64_t i = 0; i < count; i++) {
        struct tree_table table = { .word = words[i], .l2 = l2 };
        const int present = tree_l2_of(s->q, words[i], &table.off);
        TRY(present);
        TRY(shadow_progress(s));
        if (!present)
            continue;
        TRY(visit_link(s, &table, repeat_of(&repeats, table.off), visit));
        changed |= words[i] != table.word;
        words[i] = table.word;
    }
    return changed;
}

/* --- one reference less --------------------------------------------------------------------- */

static int drop_table(struct shadow *s, struct tree_table *table)
{
    const int full = tree_l2_read(s, table->off, table->l2);

    TRY(full);
    if (full)
        TRY(tree_unref(s, table->l2, tree_all(s->q), table->links));
    return shadow_unref_times(s, (struct qimg_range){ table->off, qcow2_cluster_size(s->q) },
                              table->links);
}

int tree_drop(struct shadow *s, uint64_t *words, uint64_t count)
{
    const int rc = tree_each_table(s, words, count, drop_table);

    return rc < 0 ? rc : 0;
}
