/* SPDX-License-Identifier: Apache-2.0
 *
 * Options of an image that is open: what they say is taken, what cannot change is refused.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "bits.h"
#include "sim_rig.h"

Test(reopen, flags_are_told_and_silence_is_kept_apart)
{
    static const struct {
        const char *given, *options;
        int rc;
        struct qimg_reopen want;
    } cases[] = {
        { NULL, "cache-size=1M", 0, { -1, -1, -1, false, { 0 } } },
        { NULL, "read-only=on,cache.direct=off", 0, { 1, 0, -1, false, { 0 } } },
        { NULL, "cache.no-flush=on", 0, { -1, -1, 1, false, { 0 } } },
        { NULL, "driver=qcow2,file.driver=file", 0, { -1, -1, -1, false, { 0 } } },
        { NULL, "driver=raw", -EINVAL, { 0 } },
        { NULL, "node-name=a", -EINVAL, { 0 } },
        { "node-name=a", "node-name=a", 0, { -1, -1, -1, false, { 0 } } },
        { "node-name=a", "node-name=b", -EINVAL, { 0 } },
        { NULL, "l2-cache-entry-size=128k", -EINVAL, { 0 } },
        { NULL, "backing.cache-size=1M", -EINVAL, { 0 } },
    };
    struct sim_rig *rig = sim_rig_new(NULL);
    const struct qimg_create_options how = { .format = "qcow2", .has_size = true, .size = MiB };
    struct qimg_error err;

    cr_assert_eq(qimg_create(rig->context, "a", &how, &err), 0, "%s", err.text);
    struct qimg_image *image = sim_rig_open(rig, "a", "qcow2");
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct qimg_reopen got = { 0 };
        cr_expect_eq(qimg_image_check_reopen(image, cases[i].given, cases[i].options, &got, &err),
                     cases[i].rc, "%s", cases[i].options);
        cr_expect(got.read_only == cases[i].want.read_only && got.direct == cases[i].want.direct &&
                      got.no_flush == cases[i].want.no_flush,
                  "%s", cases[i].options);
    }
    qimg_image_close(image);
    sim_rig_free(rig);
}

Test(reopen, a_part_of_a_raw_file_may_move)
{
    static const struct {
        const char *open, *options;
        int rc;
        struct qimg_range want; /* length 0: to the end of the file */
    } cases[] = {
        { "", "read-only=off", 0, { 0, 0 } },
        { "", "offset=512", 0, { 512, 0 } },
        { "offset=512,", "offset=1024", 0, { 1024, 0 } },
        { "offset=512,size=1024,", "offset=1024", 0, { 1024, 1024 } },
        { "offset=512,size=1024,", "size=2k", 0, { 512, 2048 } },
        { "offset=512,size=1024,", "size=1000", -EINVAL, { 0, 0 } },
        { "offset=512,size=1024,", "offset=2M", -EINVAL, { 0, 0 } },
        { "offset=512,size=1024,", "size=1M", -EINVAL, { 0, 0 } },
    };
    struct sim_rig *rig = sim_rig_new(NULL);
    const struct qimg_create_options how = { .format = "raw", .has_size = true, .size = MiB };
    struct qimg_error err;

    cr_assert_eq(qimg_create(rig->context, "a", &how, &err), 0, "%s", err.text);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct qimg_open_options options = { .image_opts = true };
        struct qimg_image *image = NULL;
        struct qimg_reopen got = { 0 };
        char name[128];

        snprintf(name, sizeof(name), "%sdriver=raw,file.filename=a", cases[i].open);
        cr_assert_eq(qimg_image_open(rig->context, name, &options, &image, &err), 0, "%s",
                     err.text);
        cr_expect_eq(qimg_image_check_reopen(image, name, cases[i].options, &got, &err),
                     cases[i].rc, "%s: %s", cases[i].options, err.text);
        if (cases[i].rc == 0)
            cr_expect(got.window.off == cases[i].want.off && got.window.len == cases[i].want.len &&
                          got.moves_window == (i > 0),
                      "%s%s", cases[i].open, cases[i].options);
        qimg_image_close(image);
    }
    sim_rig_free(rig);
}
