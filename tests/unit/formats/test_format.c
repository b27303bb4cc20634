/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "open_image.h"

static const struct build_cluster scattered[] = {
    { .index = 0, .kind = BUILD_DATA, .fill = 1 },
    { .index = 9000, .kind = BUILD_DATA, .fill = 2 },
};

static const struct build_qcow2 spec = {
    .size = UINT64_C(1) << 30,
    .clusters = scattered,
    .cluster_count = 2,
};

Test(format, map_is_clipped_to_the_image)
{
    struct extent_vec v = { 0 };
    struct qimg_error err;
    struct image *image = open_built(&spec, NULL, &err);

    cr_assert_not_null(image, "%s", err.text);
    cr_assert_eq(image_map(image, (struct qimg_range){ 0, UINT64_MAX }, &v, &err), 0, "%s",
                 err.text);
    cr_expect_eq(v.count, 2);
    v.count = 0;
    cr_expect_eq(image_map(image, (struct qimg_range){ image->size, 512 }, &v, &err), 0);
    cr_expect_eq(image_map(image, (struct qimg_range){ 0, 0 }, &v, &err), 0);
    cr_expect_eq(v.count, 0);
    extent_vec_release(&v);
    image_close(image);
}

Test(format, a_table_that_cannot_be_read_fails_the_map_and_names_its_place)
{
    struct built built = build_qcow2(&spec);
    const uint64_t entry = built_l2_entry_off(&built, &spec, 0);
    struct extent_vec v = { 0 };
    struct qimg_error err;
    struct image *image = open_built(&spec, NULL, &err);

    cr_assert_not_null(image, "%s", err.text);
    ((struct mem_file *)image->file)->fail_read_at = entry;
    cr_expect_eq(image_map(image, (struct qimg_range){ 0, 512 }, &v, &err), -EIO);
    cr_expect_not_null(strstr(err.text, "mapping table at offset 196608: Input/output error"), "%s",
                       err.text);
    extent_vec_release(&v);
    image_close(image);
    built_release(&built);
}

Test(format, closing_nothing_is_fine)
{
    const pid_t child = fork();
    int status = 1;

    if (child == 0) {
        image_close(NULL);
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0);
}
