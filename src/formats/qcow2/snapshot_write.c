/* SPDX-License-Identifier: Apache-2.0
 *
 * Internal snapshots. A snapshot is an L1 table of its own; L2 tables and clusters are shared with
 * the active state, and counted once for each table that refers to them.
 *
 *   create: the snapshot's L1 is a copy of the active one. Every count below goes up, so that no
 *           COPIED bit may be left in the active state: L2 tables that have one are copied without
 *           it, and the copy serves both.
 *   apply:  the active L1 becomes a copy of the snapshot's; counts of the snapshot's tree go up,
 *           those of the old active tree down.
 *   delete: counts of the snapshot's tree go down; where one comes to 1 the active state's entry
 *           gets its COPIED bit back, in a copy of its L2 table.
 *
 * All of it is built as a shadow (shadow.h) and switched by one write of the header.
 */
#include "snapshot_write.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_limits.h"
#include "cleanup.h"
#include "snapshot_table.h"
#include "tree.h"

#define NAME_MAX_BYTES 255

static int refuse(int code, struct qimg_error *err)
{
    return qimg_fail(err, code, "%s", strerror(code));
}

/* What an L2 table names is counted once more for each link to it. Returns 1 where it has COPIED
 * bits: they are cleared in table->l2, which wants a cluster of its own. Else the table is counted
 * so as well, where it is. */
static int count_again(struct shadow *s, struct tree_table *table)
{
    const struct qimg_range at = { table->off, qcow2_cluster_size(s->q) };
    const int full = tree_l2_read(s, table->off, table->l2);

    TRY(full);
    table->word = table->off;
    if (full)
        TRY(tree_ref(s, table->l2, tree_all(s->q), table->links));
    if (full && tree_clear_copied(s->q, table->l2))
        return 1;
    return shadow_ref_times(s, at, table->links);
}

/* --- create --------------------------------------------------------------------------------- */

/* One L2 table for both, to which each of the two L1 tables has table->links. */
static int share_table(struct shadow *s, struct tree_table *table)
{
    const struct qimg_range old = { table->off, qcow2_cluster_size(s->q) };
    const int anew = count_again(s, table);

    if (anew <= 0)
        return anew;
    TRY(shadow_alloc(s, 1, &table->word));
    TRY(shadow_put(s, table->word, table->l2, old.len));
    TRY(shadow_share(s, table->word, 2 * table->links - 1));
    return shadow_unref_times(s, old, table->links);
}

/* Words without a table keep nothing else. Returns whether one had. */
static bool clear_bare_words(struct tree_l1 *l1)
{
    bool changed = false;

    for (uint64_t i = 0; i < l1->count; i++) {
        if (l1->words[i] == 0 || l1->words[i] & QCOW2_OFFSET_MASK)
            continue;
        l1->words[i] = 0;
        changed = true;
    }
    return changed;
}

/* The new table replaces the old one, and lies last. */
static int replace_table(struct shadow *s, const uint8_t *table, size_t len, uint64_t old_len)
{
    s->last = len ? table : NULL;
    s->last_len = len;
    s->last_off = &s->header.snapshots_off;
    if (len == 0)
        s->header.snapshots_off = 0;
    return shadow_unref(s, (struct qimg_range){ s->q->header.snapshots_off, old_len });
}

static int build_create(struct shadow *s, struct qcow2_snapshot *new, uint8_t **table)
{
    struct qcow2 *q = s->q;
    AUTO(tree_l1_release) struct tree_l1 l1 = { 0 };
    AUTO(snapshot_table_release) struct snapshot_table old = { 0 };
    const struct snapshot_edit edit = { .without = SIZE_MAX, .add = new };
    size_t len;

    TRY(snapshot_table_load(q, &old));
    TRY(tree_l1_load(q, q->header.l1_off, q->header.l1_count, &l1));
    /* Nothing is released for the snapshot's L1 table and its entry. */
    shadow_leave_gap(s, div_up(l1.count * QCOW2_L1_ENTRY_BYTES, qcow2_cluster_size(q)) + 1);
    const bool cleared = clear_bare_words(&l1);
    const int changed = tree_each_table(s, l1.words, l1.count, share_table);
    TRY(changed);
    if (changed || cleared)
        TRY(tree_l1_replace(s, l1.words, l1.count));
    TRY(tree_l1_put(s, l1.words, l1.count, &new->l1_off));
    TRY(snapshot_table_encode(q, &old, &edit, table, &len));
    TRY(replace_table(s, *table, len, old.len));
    s->header.snapshot_count++;
    return shadow_commit(s);
}

static unsigned long next_id(const struct qcow2 *q)
{
    unsigned long most = 0;

    for (size_t i = 0; i < q->snapshots.count; i++) {
        const unsigned long id = strtoul(q->snapshots.items[i].id, NULL, 10);
        most = id > most ? id : most;
    }
    return most + 1;
}

int qcow2_snapshot_create(struct image *image, const struct snapshot_request *request,
                          struct qimg_error *err)
{
    struct qcow2 *q = qcow2_of(image);
    AUTO_FREE uint8_t *table = NULL;
    struct shadow s;
    char id[24], name[NAME_MAX_BYTES + 1];

    qimg_error_clear(err);
    if (q->geometry.data_file)
        return refuse(ENOTSUP, err);
    if (q->snapshots.count >= LIMIT_QCOW2_SNAPSHOTS)
        return refuse(EFBIG, err);
    (void)snprintf(id, sizeof(id), "%lu", next_id(q));
    (void)snprintf(name, sizeof(name), "%s", request->name);
    struct qcow2_snapshot new = {
        .l1_count = q->header.l1_count,
        .date_sec = request->date_sec,
        .date_nsec = request->date_nsec,
        .disk_size = q->image.size,
        .id = id,
        .name = name,
    };
    int rc = shadow_begin(&s, q, SHADOW_BEHIND);
    shadow_tell(&s, request->progress, request->user, q->header.l1_count);
    if (rc == 0)
        rc = build_create(&s, &new, &table);
    return shadow_finish(&s, rc, NULL, err);
}

/* --- apply ---------------------------------------------------------------------------------- */

/* The active state takes up an L2 table of the snapshot: the table itself, or a copy of its own
 * where it has COPIED bits, which the snapshot may keep and the active state must not have. */
static int adopt_table(struct shadow *s, struct tree_table *table)
{
    const int anew = count_again(s, table);
    uint64_t copy;

    if (anew <= 0)
        return anew;
    TRY(shadow_alloc(s, 1, &copy));
    table->word = table->links == 1 ? copy | QCOW2_COPIED : copy;
    if (table->links > 1)
        TRY(shadow_share(s, copy, table->links - 1));
    return shadow_put(s, copy, table->l2, qcow2_cluster_size(s->q));
}

/* As long as the active table must be for the disk's size. */
static int lengthen(struct tree_l1 *l1, uint64_t count)
{
    if (count <= l1->count)
        return 0;
    uint64_t *words = reallocarray(l1->words, count, sizeof(*words));
    if (!words)
        return -ENOMEM;
    memset(words + l1->count, 0, (count - l1->count) * sizeof(*words));
    l1->words = words;
    l1->count = count;
    return 0;
}

static int build_apply(struct shadow *s, const struct qcow2_snapshot *snapshot)
{
    struct qcow2 *q = s->q;
    AUTO(tree_l1_release) struct tree_l1 l1 = { 0 };
    AUTO(tree_l1_release) struct tree_l1 old = { 0 };
    const unsigned coverage = qcow2_l2_coverage_bits(&q->geometry);

    TRY(tree_l1_load_snapshot(q, snapshot, &l1));
    TRY(tree_l1_load(q, q->header.l1_off, q->header.l1_count, &old));
    /* In this order no count is higher on the way than at the end. What both states share does not
     * come to 0 in between: the snapshot counts it too. */
    TRY(tree_drop(s, old.words, old.count));
    (void)clear_bare_words(&l1);
    const int changed = tree_each_table(s, l1.words, l1.count, adopt_table);
    TRY(changed);
    TRY(lengthen(&l1, div_up(snapshot->disk_size, UINT64_C(1) << coverage)));
    if (l1.count > LIMIT_QCOW2_L1_BYTES / QCOW2_L1_ENTRY_BYTES)
        return -EFBIG;
    TRY(tree_l1_replace(s, l1.words, l1.count));
    if (snapshot->disk_size != q->image.size)
        s->header.size = snapshot->disk_size;
    return shadow_commit(s);
}

static const struct qcow2_snapshot *find_to_apply(const struct qcow2 *q, const char *id_or_name)
{
    for (size_t i = 0; i < q->snapshots.count; i++)
        if (strcmp(q->snapshots.items[i].id, id_or_name) == 0)
            return &q->snapshots.items[i];
    for (size_t i = 0; i < q->snapshots.count; i++)
        if (strcmp(q->snapshots.items[i].name, id_or_name) == 0)
            return &q->snapshots.items[i];
    return NULL;
}

static int check_apply(const struct qcow2 *q, const struct qcow2_snapshot *snapshot,
                       struct qimg_error *err)
{
    if (q->bitmaps.count > 0)
        return qimg_fail(err, EBUSY, "Device has active dirty bitmaps");
    if (q->geometry.data_file)
        return qimg_fail_errno(err, ENOTSUP, "Failed to load snapshot");
    if (!snapshot)
        return qimg_fail_errno(err, ENOENT, "Failed to load snapshot");
    if (snapshot->disk_size != q->image.size && q->header.version < 3)
        return qimg_fail(err, ENOTSUP, "Can't resize a v2 image which has snapshots");
    if (snapshot->disk_size > INT64_MAX)
        return qimg_fail_errno(err, EFBIG, "Failed to load snapshot");
    return 0;
}

int qcow2_snapshot_apply(struct image *image, const struct snapshot_request *request,
                         struct qimg_error *err)
{
    struct qcow2 *q = qcow2_of(image);
    const struct qcow2_snapshot *snapshot = find_to_apply(q, request->name);
    struct shadow s;

    qimg_error_clear(err);
    TRY(check_apply(q, snapshot, err));
    int rc = shadow_begin(&s, q, SHADOW_BEHIND);
    shadow_tell(&s, request->progress, request->user,
                (uint64_t)q->header.l1_count + snapshot->l1_count);
    if (rc == 0)
        rc = build_apply(&s, snapshot);
    return shadow_finish(&s, rc, "Failed to load snapshot", err);
}

/* --- delete --------------------------------------------------------------------------------- */

/* Brings the COPIED bits of one active L2 table, and of its L1 word, in line with the counts. */
static int settle_table(struct shadow *s, struct tree_table *table)
{
    const struct qimg_range old = { table->off, qcow2_cluster_size(s->q) };
    uint64_t count, copy;

    TRY(shadow_count(s, old.off, &count));
    if (count == 0)
        return -EBADMSG;
    table->word = count == 1 ? old.off | QCOW2_COPIED : old.off;
    if (count > 1)
        return 0; /* what a shared table refers to is shared too */
    const int full = tree_l2_read(s, old.off, table->l2);
    const int changed = full > 0 ? tree_fix_copied(s, table->l2) : full;
    if (changed <= 0)
        return changed;
    TRY(shadow_unref_times(s, old, table->links));
    TRY(shadow_alloc(s, 1, &copy));
    table->word = copy | QCOW2_COPIED;
    return shadow_put(s, copy, table->l2, old.len);
}

static int settle_tree(struct shadow *s)
{
    const struct qcow2_header *h = &s->q->header;
    AUTO(tree_l1_release) struct tree_l1 l1 = { 0 };

    TRY(tree_l1_load(s->q, h->l1_off, h->l1_count, &l1));
    const int changed = tree_each_table(s, l1.words, l1.count, settle_table);
    TRY(changed);
    return changed ? tree_l1_replace(s, l1.words, l1.count) : 0;
}

static int build_delete(struct shadow *s, size_t index, uint8_t **table)
{
    struct qcow2 *q = s->q;
    const struct qcow2_snapshot *snapshot = &q->snapshots.items[index];
    AUTO(tree_l1_release) struct tree_l1 l1 = { 0 };
    AUTO(snapshot_table_release) struct snapshot_table old = { 0 };
    const struct snapshot_edit edit = { .without = index };
    const uint64_t l1_len = (uint64_t)snapshot->l1_count * QCOW2_L1_ENTRY_BYTES;
    size_t len;

    TRY(snapshot_table_load(q, &old));
    TRY(tree_l1_load_snapshot(q, snapshot, &l1));
    TRY(tree_drop(s, l1.words, l1.count));
    TRY(shadow_unref(s, (struct qimg_range){ snapshot->l1_off, l1_len }));
    TRY(settle_tree(s));
    TRY(snapshot_table_encode(q, &old, &edit, table, &len));
    TRY(replace_table(s, *table, len, old.len));
    s->header.snapshot_count--;
    return shadow_commit(s);
}

int qcow2_snapshot_delete(struct image *image, const struct snapshot_request *request,
                          struct qimg_error *err)
{
    struct qcow2 *q = qcow2_of(image);
    AUTO_FREE uint8_t *table = NULL;
    struct shadow s;
    size_t index = 0;

    qimg_error_clear(err);
    while (index < q->snapshots.count && strcmp(q->snapshots.items[index].name, request->name) != 0)
        index++;
    if (index == q->snapshots.count || q->geometry.data_file)
        return qimg_fail(err, ENOENT, "snapshot not found");
    TRY(qcow2_snapshot_l1_check(q, &q->snapshots.items[index], err));
    int rc = shadow_begin(&s, q, SHADOW_BEHIND);
    shadow_tell(&s, request->progress, request->user,
                (uint64_t)q->header.l1_count + q->snapshots.items[index].l1_count);
    if (rc == 0)
        rc = build_delete(&s, index, &table);
    return shadow_finish(&s, rc, NULL, err);
}
