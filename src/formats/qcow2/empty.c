/* SPDX-License-Identifier: Apache-2.0
 *
 * An overlay that holds nothing any more, after its content went into its backing file: a blank L1
 * table, built as a shadow (shadow.h) and made true by one write of the header, in which all that
 * hung below the old one is no longer counted. What snapshots share keeps their counts. Where data
 * lies in a file of its own, its storage is given back once nothing points there.
 */
#include "empty.h"

#include <stdlib.h>

#include "checked.h"
#include "cleanup.h"
#include "tree.h"

static bool is_blank(const struct tree_l1 *l1)
{
    for (uint64_t i = 0; i < l1->count; i++)
        if (l1->words[i])
            return false;
    return true;
}

static int build(struct shadow *s)
{
    struct qcow2 *q = s->q;
    AUTO(tree_l1_release) struct tree_l1 l1 = { 0 };

    TRY(tree_l1_load(q, q->header.l1_off, q->header.l1_count, &l1));
    if (is_blank(&l1))
        return 0;
    AUTO_FREE uint64_t *blank = calloc(l1.count, sizeof(*blank));
    if (!blank)
        return -ENOMEM;
    TRY(tree_drop(s, l1.words, l1.count));
    TRY(tree_l1_replace(s, blank, l1.count));
    return shadow_commit(s);
}

/* Nothing is lost where this fails, but space. */
static void give_back_data(const struct image *image)
{
    struct io_stat st;

    if (image->data_file && io_stat(image->data_file, &st) == 0)
        (void)!io_punch(image->data_file,
                        range_clip((struct qimg_range){ 0, image->size }, st.size));
}

int qcow2_empty(struct image *image, struct qimg_error *err)
{
    struct qcow2 *q = qcow2_of(image);
    struct shadow s;

    qimg_error_clear(err);
    int rc = shadow_begin(&s, q, SHADOW_BEHIND);
    if (rc == 0)
        rc = build(&s);
    TRY(shadow_finish(&s, rc, "Could not empty the image", err));
    give_back_data(image);
    return 0;
}
