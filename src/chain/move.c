/* SPDX-License-Identifier: Apache-2.0
 *
 * The public calls that move images: a plan (move_plan.c), and doing it (move_run.c) with a journal
 * (move_journal.c), so that what is interrupted can be completed.
 */
#include "move.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"

static int show(const struct move *move, struct qimg_move_plan *out)
{
    out->renames = calloc(move->renames.count + 1, sizeof(*out->renames));
    out->changes = calloc(move->changes.count + 1, sizeof(*out->changes));
    if (!out->renames || !out->changes)
        return -ENOMEM;
    for (size_t i = 0; i < move->renames.count; i++)
        out->renames[out->rename_count++] =
            (struct qimg_move_rename){ .from = move->renames.items[i].from,
                                       .to = move->renames.items[i].to };
    for (size_t i = 0; i < move->changes.count; i++) {
        const struct move_change *c = &move->changes.items[i];
        if (strcmp(c->repoint.old_name, c->repoint.new_name) != 0)
            out->changes[out->change_count++] =
                (struct qimg_move_change){ .image = c->from,
                                           .old_name = c->repoint.old_name,
                                           .new_name = c->repoint.new_name,
                                           .format = c->repoint.old_format };
    }
    return 0;
}

void qimg_move_plan_release(struct qimg_move_plan *plan)
{
    struct move *move = plan->own;
    free(plan->renames); /* their strings are the move's */
    free(plan->changes);
    if (move)
        move_release(move);
    free(move);
    *plan = (struct qimg_move_plan){ 0 };
}

int qimg_move_plan(struct qimg_context *context, const struct qimg_move_options *options,
                   struct qimg_move_plan *out, struct qimg_error *err)
{
    struct qimg_move_plan plan = { .own = calloc(1, sizeof(struct move)) };
    int rc = plan.own ? move_plan(context, options, plan.own, err) : qimg_fail_memory(err);
    if (rc == 0 && show(plan.own, &plan) < 0)
        rc = qimg_fail_memory(err);
    if (rc < 0) {
        qimg_move_plan_release(&plan);
        return rc;
    }
    *out = plan;
    return 0;
}

int qimg_move_apply(struct qimg_context *context, const struct qimg_move_plan *plan,
                    struct qimg_error *err)
{
    const struct move *move = plan->own;
    AUTO_FD int lock = -1;
    struct qimg_error why;
    TRY(move_lock(move->journal, &lock, err));
    TRY(move_journal_write(context, move, err));
    const int rc = move_run(context, move, err);
    if (rc == 0)
        return move_journal_remove(context, move->journal, err);
    if (move_undo(context, move, &why) == 0 &&
        move_journal_remove(context, move->journal, &why) == 0)
        return rc;
    (void)qimg_hint(err, "What was done could not be undone: %s", why.text);
    return qimg_hint(err, "The same command again goes on; its journal is '%s'", move->journal);
}

int qimg_move_complete(struct qimg_context *context, const char *destination,
                       struct qimg_error *err)
{
    struct move move = { 0 };
    AUTO_FREE char *journal = NULL;
    AUTO_FD int lock = -1;
    TRY(move_journal_of(context, destination, &journal, err));
    if (access(journal, F_OK) < 0) /* one that comes now is of a move that is under way */
        return 0;
    TRY(move_lock(journal, &lock, err));
    int rc = move_journal_read(journal, &move, err);
    if (rc == 0 && access(journal, F_OK) == 0) /* not whole: nothing was done yet */
        return move_journal_remove(context, journal, err);
    if (rc <= 0)
        return rc;
    rc = move_run(context, &move, err);
    if (rc < 0)
        (void)qimg_hint(err,
                        "A move was interrupted, and this keeps it from being completed; its "
                        "journal is '%s': without that what was done of it stays as it is",
                        journal);
    else
        rc = move_journal_remove(context, journal, err);
    move_release(&move);
    return rc < 0 ? rc : 1;
}
