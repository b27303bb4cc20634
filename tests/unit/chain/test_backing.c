/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "bits.h"
#include "sim_rig.h"

static void create(struct sim_rig *rig, const char *name, const char *format,
                   const struct qimg_option *option)
{
    const struct qimg_create_options how = { .format = format,
                                             .sync = true,
                                             .has_size = true,
                                             .size = MiB,
                                             .options = option,
                                             .option_count = option ? 1 : 0 };
    struct qimg_error err;

    cr_assert_eq(qimg_create(rig->context, name, &how, &err), 0, "%s", err.text);
}

Test(backing, sentences_are_qemus)
{
    static char long_name[1025];
    static const struct {
        const char *image, *name, *format, *want; /* want NULL: done */
    } cases[] = {
        { "a", "b", "raw", NULL },
        { "a", "b", NULL,
          "Could not change the backing file to 'b': backing format must be specified" },
        { "a", NULL, NULL, NULL },
        { "small", long_name + 400, "raw", ": No space left in the file header" },
        { "a", long_name, "raw", "': Invalid argument" },
        { "r", "b", "raw", "Could not change the backing file to 'b': Operation not supported" },
    };
    struct sim_rig *rig = sim_rig_new(NULL);
    const struct qimg_option clusters = { "cluster_size", "512" };
    struct qimg_error err;

    memset(long_name, 'n', 1024);
    create(rig, "a", "qcow2", NULL);
    create(rig, "small", "qcow2", &clusters);
    create(rig, "r", "raw", NULL);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct qimg_open_options as = { .format = cases[i].image[0] == 'r' ? "raw" : "qcow2",
                                              .writable = true,
                                              .info_only = true,
                                              .no_backing = true };
        struct qimg_image *image;
        cr_assert_eq(qimg_image_open(rig->context, cases[i].image, &as, &image, &err), 0, "%s",
                     err.text);
        const int rc = qimg_image_set_backing(image, cases[i].name, cases[i].format, &err);
        cr_expect_eq(rc < 0, cases[i].want != NULL, "case %zu: %s", i, err.text);
        if (cases[i].want && rc < 0)
            cr_expect_not_null(strstr(err.text, cases[i].want), "case %zu: %s", i, err.text);
        qimg_image_close(image);
    }
    sim_rig_free(rig);
}
