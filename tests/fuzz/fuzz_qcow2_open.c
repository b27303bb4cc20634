/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a qcow2 image: opened for info and for reading, described, mapped as a whole and
 * from each snapshot, in bounded steps. Checks what the map promises. Audited before.
 */
#include <stdlib.h>

#include "audit_request.h"
#include "bits.h"
#include "checked.h"
#include "codec.h"
#include "fuzz.h"
#include "image_input.h"
#include "open_image.h"
#include "qcow2.h"
#include "qimg/info.h"

#define MAX_STEPS   64
#define MAX_UNPACKS 16

static void check_extent(const struct image *image, const struct extent *e, uint64_t file_size)
{
    require(e->len > 0 && e->guest_off < image->size);
    if (e->kind == EXTENT_COMPRESSED) {
        require(e->len == image->cluster_size && is_aligned(e->guest_off, e->len));
        require(e->packed_len > 0);
        require(range_within((struct qimg_range){ e->host_off, e->packed_len }, file_size));
        return;
    }
    require(e->len <= image->size - e->guest_off);
    if (e->kind == EXTENT_DATA)
        require(e->host_off <= (uint64_t)INT64_MAX - e->len);
}

static void unpack(const struct mem_file *file, const struct extent *e, unsigned *unpacks)
{
    uint8_t *out;

    if (++*unpacks > MAX_UNPACKS)
        return;
    out = malloc(e->len);
    require(out != NULL);
    (void)!codec_unpack((enum codec)e->codec, file->bytes + e->host_off, e->packed_len, out,
                        e->len);
    free(out);
}

static void check_step(struct image *image, struct qimg_range window)
{
    const struct mem_file *file = (const struct mem_file *)image->file;
    struct extent_vec v = { 0 };
    struct qimg_error err;
    unsigned unpacks = 0;

    if (image_map(image, window, &v, &err) == 0) {
        for (size_t i = 0; i < v.count; i++) {
            const struct extent *e = &v.items[i];
            check_extent(image, e, file->size);
            require(i == 0 || e[-1].guest_off + e[-1].len <= e->guest_off);
            if (e->kind == EXTENT_COMPRESSED)
                unpack(file, e, &unpacks);
            if (e->kind == EXTENT_BAD)
                require(image->ops->explain(image, e->guest_off, &err) < 0 && err.text[0]);
        }
    }
    extent_vec_release(&v);
}

static void map_all(struct image *image)
{
    const uint64_t step = max_u64(image->size / MAX_STEPS, 65536);

    for (uint64_t at = 0; at < image->size; at += step)
        check_step(image, (struct qimg_range){ at, step });
}

static void map_snapshots(struct image *image)
{
    const struct qcow2 *q = qcow2_of(image);
    const size_t count = min_u64(q->snapshots.count, 4);
    struct qimg_error err;

    for (size_t i = 0; i < count; i++) {
        if (qcow2_select_snapshot(image, q->snapshots.items[i].id, NULL, &err) == 0)
            map_all(image);
    }
}

static void describe(struct image *image)
{
    struct qimg_info info = { 0 };
    struct qimg_error err;

    (void)!image->ops->describe(image, &info, &err);
    qimg_info_release(&info);
    (void)image->ops->data_may_be_holes(image);
}

static void open_as(const uint8_t *data, size_t len, const struct image_open_options *options)
{
    struct qimg_error err;
    struct image *image = open_bytes(&qcow2_ops, data, len, options, &err);

    if (!image) {
        require(err.code != 0 && err.text[0] != '\0');
        return;
    }
    describe(image);
    if (!options->info_only) {
        map_all(image);
        map_snapshots(image);
    }
    image_close(image);
}

static void found(void *user, const char *id, const char *value, const char *sentence)
{
    unsigned *count = user;

    (void)value;
    require(*id && *sentence && ++*count < 100); /* however much is wrong */
}

static void audit(const uint8_t *data, size_t len)
{
    struct mem_file *file = mem_file_new(data, len, false);
    struct audit_facts facts = { 0 };
    struct qimg_error err;
    unsigned count = 0;
    const struct audit_request request = { .max_table_bytes = MiB,
                                           .max_tables = 1000,
                                           .max_map_bytes = MiB,
                                           .found = found,
                                           .user = &count };

    if (qcow2_ops.audit(&file->base, &request, &facts, &err) < 0)
        require(err.code != 0);
    require(facts.end <= len);
    io_file_close(&file->base);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    audit(data, len);
    open_as(data, len, &(struct image_open_options){ .info_only = true });
    open_as(data, len, &(struct image_open_options){ 0 });
    open_as(data, len, &(struct image_open_options){ .writable = true });
    return 0;
}

uint8_t *fuzz_seed(unsigned index, size_t *len)
{
    return image_seed(index, 0, len);
}

size_t fuzz_mutate(uint8_t *data, size_t len, size_t max, uint64_t seed)
{
    return image_mutate(data, len, max, seed);
}
