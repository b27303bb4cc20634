/* SPDX-License-Identifier: Apache-2.0 */
#include "pieces.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define SPACE 200

Test(qcow2_pieces, cover_each_byte_as_often_as_the_ranges_do)
{
    srand(3);
    for (int round = 0; round < 200; round++) {
        struct range_vec ranges = { 0 };
        struct piece_vec pieces = { 0 };
        unsigned want[SPACE] = { 0 }, got[SPACE] = { 0 };

        for (int i = rand() % 12; i > 0; i--) {
            const uint64_t off = (uint64_t)rand() % SPACE;
            const struct qimg_range r = { off, (uint64_t)rand() % (SPACE - off + 1) };
            cr_assert_eq(range_vec_push(&ranges, r), 0);
            for (uint64_t k = off; k < off + r.len; k++)
                want[k]++;
        }
        cr_assert_eq(pieces_cut(&ranges, &pieces), 0);
        for (size_t i = 0; i < pieces.count; i++) {
            const struct qimg_range r = pieces.items[i].bytes;
            cr_expect(i == 0 ||
                      r.off >= pieces.items[i - 1].bytes.off + pieces.items[i - 1].bytes.len);
            for (uint64_t k = r.off; k < r.off + r.len; k++)
                got[k] += (unsigned)pieces.items[i].covers;
        }
        cr_expect_arr_eq(got, want, sizeof(got), "round %d", round);
        for (uint64_t k = 0; k < SPACE; k++)
            cr_expect_eq(pieces_meet(&pieces, (struct qimg_range){ k, 1 }), want[k] > 0);
        range_vec_release(&ranges);
        piece_vec_release(&pieces);
    }
}

Test(qcow2_pieces, nothing_meets_nothing)
{
    struct qimg_range one = { 10, 10 };
    struct range_vec ranges = { .items = &one, .count = 1 };
    struct piece_vec none = { 0 }, pieces = { 0 };

    cr_assert_eq(pieces_cut(&ranges, &pieces), 0);
    cr_expect_not(pieces_meet(&none, one));
    cr_expect_not(pieces_meet(&pieces, (struct qimg_range){ 15, 0 }));
    cr_expect_not(pieces_meet(&pieces, (struct qimg_range){ 0, 10 }));
    cr_expect(pieces_meet(&pieces, (struct qimg_range){ 0, 11 }));
    piece_vec_release(&pieces);
}
