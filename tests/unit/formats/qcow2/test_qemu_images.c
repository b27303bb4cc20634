/* SPDX-License-Identifier: Apache-2.0
 *
 * Images that the installed qemu-img and qemu-io made: the map must be the one that was written.
 * A missing oracle is a failure.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "open_image.h"
#include "qcow2.h"
#include "scratch.h"
#include "str.h"

static void must_run(const char *dir, const char *command)
{
    char *line = str_format("cd '%s' && { %s; } >/dev/null 2>&1", dir, command);
    const int rc = line ? system(line) : -1;

    cr_assert_eq(rc, 0, "%s: exit status %d", command, rc);
    free(line);
}

static struct image *must_open(const char *dir, const char *name)
{
    char *path = str_format("%s/%s", dir, name);
    FILE *f = fopen(path, "rb");
    struct qimg_error err;

    cr_assert_not_null(f, "%s", path);
    cr_assert_eq(fseek(f, 0, SEEK_END), 0);
    const size_t len = (size_t)ftell(f);
    uint8_t *bytes = calloc(1, len + 1);
    rewind(f);
    cr_assert_eq(fread(bytes, 1, len, f), len);
    fclose(f);
    const struct format_ops *ops = format_probe(bytes, len);
    cr_assert_eq(ops, &qcow2_ops, "%s is probed as %s", path, ops->name);
    struct image *image = open_bytes(ops, bytes, len, NULL, &err);
    cr_assert_not_null(image, "%s: %s", path, err.text);
    free(bytes);
    free(path);
    return image;
}

/* "guest+len KIND", without offsets: which clusters QEMU takes is its own affair. */
static char *shape_of(const struct image *image)
{
    struct extent_vec v = { 0 };
    struct qimg_error err;
    struct str s = { 0 };

    cr_assert_eq(image_map(image, (struct qimg_range){ 0, image->size }, &v, &err), 0);
    for (size_t i = 0; i < v.count; i++)
        str_printf(&s, "%s%lu+%lu %c", i ? ", " : "", (unsigned long)v.items[i].guest_off,
                   (unsigned long)v.items[i].len, "ZDCBR"[v.items[i].kind]);
    extent_vec_release(&v);
    return str_take(&s);
}

static const struct {
    const char *options, *size, *writes, *want;
} images[] = {
    { "compat=0.10", "4M", "-c 'write 0 128k' -c 'write 1M 64k'", "0+131072 D, 1048576+65536 D" },
    { "compat=1.1", "4M", "-c 'write 0 128k' -c 'write -z 1M 64k' -c 'write -z 0 64k'",
      "0+65536 Z, 65536+65536 D, 1048576+65536 Z" },
    { "compat=1.1", "1G", "-c 'write 600M 64k'", "629145600+65536 D" },
    { "cluster_size=512", "4M", "-c 'write 1024 2048' -c 'write -z 4096 512'",
      "1024+2048 D, 4096+512 Z" },
    { "cluster_size=2M", "16M", "-c 'write 5M 512'", "4194304+2097152 D" },
    { "cluster_size=4k,compat=0.10", "1000000", "-c 'write 999424 512'", "999424+1024 D" },
    { "extended_l2=on", "4M", "-c 'write 3k 1k' -c 'write -z 66k 2k'",
      "0+2048 R, 2048+2048 D, 4096+61440 R, 67584+2048 Z" },
    { "extended_l2=on,cluster_size=16k", "4M", "-c 'write 512 512' -c 'write -z 16k 16k'",
      "0+512 R, 512+512 D, 1024+15360 R, 16384+16384 Z" },
    { "refcount_bits=1", "4M", "-c 'write -c -P 1 0 64k' -c 'write -c -P 2 64k 64k'",
      "0+65536 C, 65536+65536 C" },
    { "compression_type=zstd", "4M", "-c 'write -c -P 1 0 64k' -c 'write 64k 64k'",
      "0+65536 C, 65536+65536 D" },
    { "preallocation=metadata", "1M", "-c 'read 0 512'", "0+1048576 D" },
    { "preallocation=falloc,cluster_size=4k", "1M", "-c 'read 0 512'", "0+1048576 D" },
    { "lazy_refcounts=on", "1M", "-c 'write 0 64k'", "0+65536 D" },
    { "data_file=i.data", "1M", "-c 'write 64k 64k'", "65536+65536 D" },
    { "data_file=i.data,data_file_raw=on", "1M", "-c 'write 64k 64k'", "0+1048576 D" },
};

Test(qemu_images, map_shows_what_was_written)
{
    char *dir = scratch_new();

    for (size_t i = 0; i < sizeof(images) / sizeof(images[0]); i++) {
        char *command = str_format("rm -f i.*; qemu-img create -f qcow2 -o %s i.qcow2 %s && "
                                   "qemu-io -f qcow2 %s i.qcow2",
                                   images[i].options, images[i].size, images[i].writes);
        must_run(dir, command);
        struct image *image = must_open(dir, "i.qcow2");
        char *shape = shape_of(image);
        cr_expect_str_eq(shape, images[i].want, "%s: %s", images[i].options, shape);
        free(shape);
        image_close(image);
        free(command);
    }
    scratch_remove(dir);
}

Test(qemu_images, snapshots_keep_their_own_map)
{
    char *dir = scratch_new();
    struct qimg_error err;

    must_run(dir, "qemu-img create -f qcow2 i.qcow2 4M && qemu-io -c 'write 0 64k' i.qcow2 && "
                  "qemu-img snapshot -c one i.qcow2 && qemu-io -c 'write 128k 64k' i.qcow2 && "
                  "qemu-img snapshot -c two i.qcow2 && qemu-io -c 'discard 0 64k' i.qcow2");
    static const struct {
        const char *name, *want;
    } states[] = {
        { NULL, "0+65536 Z, 131072+65536 D" },
        { "one", "0+65536 D" },
        { "two", "0+65536 D, 131072+65536 D" },
    };
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        struct image *image = must_open(dir, "i.qcow2");
        if (states[i].name)
            cr_assert_eq(qcow2_select_snapshot(image, NULL, states[i].name, &err), 0, "%s",
                         err.text);
        char *shape = shape_of(image);
        cr_expect_str_eq(shape, states[i].want, "%s", shape);
        free(shape);
        image_close(image);
    }
    scratch_remove(dir);
}

Test(qemu_images, backing_name_and_format_and_bitmaps_are_found)
{
    char *dir = scratch_new();

    must_run(dir, "qemu-img create -f qcow2 -u -b base.raw -F raw i.qcow2 4M && "
                  "qemu-img bitmap --add -g 128k i.qcow2 b0");
    struct image *image = must_open(dir, "i.qcow2");
    cr_expect_str_eq(image->backing_name, "base.raw");
    cr_expect_str_eq(image->backing_format, "raw");
    const struct qcow2_bitmap_vec *bitmaps = &qcow2_of(image)->bitmaps;
    cr_assert_eq(bitmaps->count, 1);
    cr_expect_str_eq(bitmaps->items[0].name, "b0");
    cr_expect_eq(bitmaps->items[0].granularity_bits, 17);
    image_close(image);
    scratch_remove(dir);
}
