/* SPDX-License-Identifier: Apache-2.0 */
#include "pull_rig.h"

#include <criterion/criterion.h>
#include <string.h>

#include "build_qcow2.h"

void put_overlay(struct sim_rig *rig, const char *name, const char *backing, const char *format,
                 const char *own)
{
    const struct build_extension extension = { .type = 0xe2792aca,
                                               .data = format,
                                               .len = (uint32_t)strlen(format) };
    struct build_cluster clusters[64];
    size_t count = 0;

    for (size_t i = 0; own[i]; i++)
        if (own[i] != '.')
            clusters[count++] = (struct build_cluster){
                .index = i, .kind = own[i] == '0' ? BUILD_ZERO : BUILD_DATA, .fill = (uint8_t)own[i]
            };
    struct built built = build_qcow2(&(struct build_qcow2){ .size = strlen(own) * CLUSTER,
                                                            .backing_name = backing,
                                                            .extensions = &extension,
                                                            .extension_count = 1,
                                                            .clusters = clusters,
                                                            .cluster_count = count });
    cr_assert_eq(io_sim_put(rig->engine, name, built.bytes, built.len, built.len), 0);
    built_release(&built);
}

void put_raw(struct sim_rig *rig, const char *name, const char *pattern)
{
    char blocks[64 * 16 + 1] = "";

    for (size_t i = 0; pattern[i]; i++)
        memset(blocks + 16 * i, pattern[i], 16);
    sim_rig_raw(rig, name, blocks);
}

struct qimg_image *open_for(struct sim_rig *rig, const char *name, bool writable)
{
    const struct qimg_open_options how = { .format = "qcow2", .writable = writable };
    struct qimg_image *image;
    struct qimg_error err;

    cr_assert_eq(qimg_image_open(rig->context, name, &how, &image, &err), 0, "%s", err.text);
    return image;
}

void expect_guest(struct sim_rig *rig, const char *name, const char *want)
{
    struct qimg_image *image = open_for(rig, name, false);
    uint8_t bytes[CLUSTER];
    struct qimg_error err;

    cr_assert_eq(qimg_image_size(image), strlen(want) * CLUSTER);
    for (size_t i = 0; want[i]; i++) {
        cr_assert_eq(qimg_image_read(image, i * CLUSTER, bytes, sizeof(bytes), &err), 0);
        const uint8_t fill = want[i] == '.' ? 0 : (uint8_t)want[i];
        for (size_t k = 0; k < sizeof(bytes); k++)
            cr_assert_eq(bytes[k], fill, "cluster %zu byte %zu is %02x", i, k, bytes[k]);
    }
    qimg_image_close(image);
}

void expect_backing(struct sim_rig *rig, const char *name, const char *want)
{
    struct qimg_image *image = open_for(rig, name, false);
    struct qimg_error err;
    struct qimg_info info;

    cr_assert_eq(qimg_image_info(image, &info, &err), 0);
    if (want)
        cr_expect_str_eq(info.backing_filename, want);
    else
        cr_expect_null(info.backing_filename);
    qimg_info_release(&info);
    qimg_image_close(image);
}
