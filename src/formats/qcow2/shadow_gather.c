/* SPDX-License-Identifier: Apache-2.0
 *
 * A shadow lies behind everything else, and leaves free what it replaces: without more, an image
 * would grow with every verb, as long as nothing is written into the free clusters. So a small
 * shadow is moved once it is the image's state: every table that lies at or behind its begin goes
 * to the first free cluster, by a second shadow, and the file is cut behind what is left.
 *
 * The state does not change: tables have the same entries, L2 tables that two L1 tables share are
 * shared after the move, and COPIED bits stay as they are.
 */
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "snapshot_table.h"
#include "tree.h"

struct move {
    uint64_t from, to;
};

DEFINE_VEC(move_vec, struct move)

struct gathering {
    struct shadow s;
    uint64_t floor;
    struct move_vec moves; /* L2 tables, in order of from; few, see GATHER_BYTES */
    uint8_t *l2;
    struct snapshot_table table;
    uint64_t *l1_offs; /* of the snapshots */
    uint8_t *new_table;
};

static void gathering_release(struct gathering *g)
{
    move_vec_release(&g->moves);
    snapshot_table_release(&g->table);
    free(g->l2);
    free(g->l1_offs);
    free(g->new_table);
}

static uint64_t moved_to(const struct gathering *g, uint64_t off)
{
    const size_t i = LOWER_BOUND(g->moves.items, g->moves.count, from, off);

    return i < g->moves.count && g->moves.items[i].from == off ? g->moves.items[i].to : 0;
}

static int note_move(struct gathering *g, struct move move)
{
    const size_t i = LOWER_BOUND(g->moves.items, g->moves.count, from, move.from);

    TRY(move_vec_push(&g->moves, move));
    memmove(&g->moves.items[i + 1], &g->moves.items[i], (g->moves.count - 1 - i) * sizeof(move));
    g->moves.items[i] = move;
    return 0;
}

/* One reference to an L2 table follows it. Returns 1 where it moved. */
static int move_l2(struct gathering *g, uint64_t *word)
{
    const uint64_t cluster = qcow2_cluster_size(g->s.q);
    uint64_t off, to;
    const int present = tree_l2_of(g->s.q, *word, &off);

    if (present <= 0 || off < g->floor)
        return present < 0 ? present : 0;
    to = moved_to(g, off);
    if (to) {
        TRY(shadow_share(&g->s, to, 1));
    } else {
        const int full = tree_l2_read(&g->s, off, g->l2);
        TRY(full);
        if (!full)
            memset(g->l2, 0, cluster);
        TRY(shadow_alloc(&g->s, 1, &to));
        TRY(shadow_put(&g->s, to, g->l2, cluster));
        TRY(note_move(g, (struct move){ off, to }));
    }
    TRY(shadow_unref(&g->s, (struct qimg_range){ off, cluster }));
    *word = to | (*word & QCOW2_COPIED);
    return 1;
}

static int move_tables_of(struct gathering *g, struct tree_l1 *l1)
{
    int moved = 0;

    for (uint64_t i = 0; i < l1->count; i++) {
        const int rc = move_l2(g, &l1->words[i]);
        if (rc < 0)
            return rc;
        moved |= rc;
    }
    return moved;
}

static int move_active(struct gathering *g)
{
    const struct qcow2_header *h = &g->s.q->header;
    AUTO(tree_l1_release) struct tree_l1 l1 = { 0 };

    TRY(tree_l1_load(g->s.q, h->l1_off, h->l1_count, &l1));
    const int moved = move_tables_of(g, &l1);
    if (moved < 0)
        return moved;
    return moved || h->l1_off >= g->floor ? tree_l1_replace(&g->s, l1.words, l1.count) : 0;
}

/* Snapshots whose L1 table the verb wrote: only these can share L2 tables that it wrote. */
static int move_snapshot(struct gathering *g, size_t i)
{
    const struct qcow2_snapshot *snapshot = &g->s.q->snapshots.items[i];
    const uint64_t len = (uint64_t)snapshot->l1_count * QCOW2_L1_ENTRY_BYTES;
    AUTO(tree_l1_release) struct tree_l1 l1 = { 0 };

    g->l1_offs[i] = snapshot->l1_off;
    if (snapshot->l1_off < g->floor || len == 0)
        return 0;
    TRY(tree_l1_load_snapshot(g->s.q, snapshot, &l1));
    const int moved = move_tables_of(g, &l1);
    if (moved < 0)
        return moved;
    TRY(tree_l1_put(&g->s, l1.words, l1.count, &g->l1_offs[i]));
    TRY(shadow_unref(&g->s, (struct qimg_range){ snapshot->l1_off, len }));
    return 1;
}

static int move_snapshots(struct gathering *g)
{
    struct qcow2 *q = g->s.q;
    const struct snapshot_edit edit = { .without = SIZE_MAX, .l1_offs = g->l1_offs };
    int moved = q->header.snapshots_off >= g->floor;
    size_t len;

    for (size_t i = 0; i < q->snapshots.count; i++) {
        const int rc = move_snapshot(g, i);
        if (rc < 0)
            return rc;
        moved |= rc;
    }
    if (!moved || q->snapshots.count == 0)
        return 0;
    TRY(snapshot_table_load(q, &g->table));
    TRY(snapshot_table_encode(q, &g->table, &edit, &g->new_table, &len));
    g->s.last = g->new_table;
    g->s.last_len = len;
    g->s.last_off = &g->s.header.snapshots_off;
    return shadow_unref(&g->s, (struct qimg_range){ q->header.snapshots_off, g->table.len });
}

/* Refcount blocks get new places where they change; so do those that lie too far behind. */
static int move_blocks(struct gathering *g)
{
    struct shadow_counts *c = &g->s.counts;

    for (size_t i = 0; i < c->count; i++) {
        uint64_t ignored;
        if (c->blocks[i].off < g->floor)
            continue;
        TRY(shadow_counts_get(c, (uint64_t)i << c->block_bits, &ignored));
        c->blocks[i].changed = true;
    }
    return 0;
}

static int gather(struct gathering *g, struct qcow2 *q)
{
    TRY(shadow_begin(&g->s, q, SHADOW_INSIDE));
    g->l2 = malloc(qcow2_cluster_size(q));
    g->l1_offs = calloc(q->snapshots.count + 1, sizeof(*g->l1_offs));
    if (!g->l2 || !g->l1_offs)
        return -ENOMEM;
    TRY(move_active(g));
    TRY(move_snapshots(g));
    TRY(move_blocks(g));
    return shadow_commit(&g->s);
}

int shadow_gather(struct qcow2 *q, uint64_t floor, struct qimg_error *err)
{
    AUTO(gathering_release) struct gathering g = { .floor = floor };

    g.s.q = q;
    const int rc = gather(&g, q);
    const bool flipped = g.s.flipped;
    shadow_end(&g.s);
    if (rc < 0 && flipped)
        return qimg_fail_errno(err, -rc, "Could not update the image header");
    if (rc == -ENOSPC) /* no holes for it */
        return 0;
    if (rc < 0) {
        /* What it was for is durable; but a disk that fails is not passed over. */
        const int lost = io_sync(q->image.file);
        return lost < 0 ? qimg_fail_errno(err, -lost, "It was done, but the disk failed then") : 0;
    }
    return qcow2_reload(q, err);
}
