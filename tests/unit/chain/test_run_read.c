/* SPDX-License-Identifier: Apache-2.0 */
#include "run_read.h"

#include <criterion/criterion.h>
#include <string.h>

#include "sim_rig.h"

#define BLOCK 4096u

Test(run_read, parts_of_runs_move_what_they_must)
{
    const struct run data = { .guest_off = 100, .len = 50, .host_off = 1000, .kind = RUN_DATA };
    const struct run packed = {
        .guest_off = 65536, .len = 65536, .host_off = 77, .packed_len = 9, .kind = RUN_COMPRESSED
    };
    const struct run zero = { .len = 50, .host_off = QIMG_NO_OFFSET, .kind = RUN_ZERO };

    struct run part = run_part(&data, 10, 20);
    cr_expect(part.guest_off == 110 && part.len == 20 && part.host_off == 1010);
    part = run_part(&packed, 512, 1024);
    cr_expect(part.guest_off == 66048 && part.len == 1024 && part.host_off == 77);
    cr_expect(part.skip == 512 && part.packed_len == 9);
    part = run_part(&zero, 1, 2);
    cr_expect_eq(part.host_off, QIMG_NO_OFFSET);
}

Test(run_read, every_kind_gives_its_bytes)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    uint8_t buf[BLOCK];

    sim_rig_raw(rig, "a", "ab");
    struct qimg_image *image = sim_rig_open(rig, "a", NULL);
    struct run run = { .len = BLOCK, .host_off = BLOCK, .kind = RUN_DATA };
    cr_expect_eq(run_read(image, &run, buf), 0);
    cr_expect(buf[0] == 'b' && buf[BLOCK - 1] == 'b');

    memset(buf, 1, sizeof(buf));
    run.kind = RUN_UNALLOCATED;
    cr_expect_eq(run_read(image, &run, buf), 0);
    cr_expect(buf[0] == 0 && buf[BLOCK - 1] == 0);

    run.kind = RUN_BAD;
    cr_expect_eq(run_read(image, &run, buf), -EIO);
    qimg_image_close(image);
    sim_rig_free(rig);
}
