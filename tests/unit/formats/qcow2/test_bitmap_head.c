/* SPDX-License-Identifier: Apache-2.0
 *
 * Where sector 0 cannot hold the bitmaps extension. Crashes on the way are in
 * test_bitmap_verbs.c; here is what the head says in the end.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "bitmap_rig.h"
#include "bits.h"

static uint8_t filler[3976];

static const struct bitmap_step add = { .verb = BITMAP_ADD, .name = "b" };
static const struct bitmap_step remove_it = { .verb = BITMAP_REMOVE, .name = "b" };

static void expect_kept(struct io_engine *engine, size_t len, const char *backing)
{
    struct qimg_error err;
    struct qcow2 *q = bitmap_open(engine, false, &err);

    cr_assert_not_null(q, "%s", err.text);
    const struct qcow2_extension *e = &q->extensions.list.items[0];
    cr_expect_eq(e->type, 0x12345678);
    cr_assert_eq(e->len, len);
    cr_expect_arr_eq(e->data, filler, len);
    if (backing)
        cr_expect_str_eq(q->image.backing_name, backing);
    qcow2_ops.close(&q->image);
}

Test(qcow2_bitmap_head, other_extensions_and_the_name_survive_behind_sector_0)
{
    memset(filler, 0xab, sizeof(filler));
    const struct build_extension ext = { .type = 0x12345678, .data = filler, .len = 600 };
    struct build_qcow2 spec = { .size = MiB, .extensions = &ext, .extension_count = 1 };

    for (unsigned with_name = 0; with_name < 2; with_name++) {
        spec.backing_name = with_name ? "a backing file's name" : NULL;
        struct io_engine *engine = bitmap_machine(&spec);
        struct qimg_error err;
        for (unsigned round = 0; round < 3; round++) {
            cr_assert_eq(bitmap_do(engine, &add, 1, &err), 0, "%s", err.text);
            expect_kept(engine, 600, spec.backing_name);
            cr_expect_eq(bitmap_do(engine, &add, 1, &err), -EEXIST);
            cr_assert_eq(bitmap_do(engine, &remove_it, 1, &err), 0, "%s", err.text);
            expect_kept(engine, 600, spec.backing_name);
        }
        io_engine_free(engine);
    }
}

Test(qcow2_bitmap_head, a_full_first_cluster_has_no_room)
{
    memset(filler, 0xab, sizeof(filler));
    const struct build_extension ext = { .type = 0x12345678, .data = filler, .len = 3960 };
    const struct build_qcow2 spec = {
        .size = MiB, .cluster_bits = 12, .extensions = &ext, .extension_count = 1
    };
    struct io_engine *engine = bitmap_machine(&spec);
    struct qimg_error err;

    cr_expect_eq(bitmap_do(engine, &add, 1, &err), -ENOSPC);
    cr_expect_str_eq(err.text, "Failed to update bitmap extension: No space left on device");
    expect_kept(engine, 3960, NULL);
    io_engine_free(engine);
}
