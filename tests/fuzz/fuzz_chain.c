/* SPDX-License-Identifier: Apache-2.0
 *
 * Up to three files, "disk", "base" and "data", each behind its length in two bytes; the first byte
 * says how "disk" is opened. The whole chain is described, mapped and read, in bounded steps: the
 * map has no gaps and keeps to the disk, what it says is zero reads as zeros, what is read twice is
 * the same, and nothing is written.
 */
#include <string.h>

#include "bits.h"
#include "bytes.h"
#include "image_input.h"
#include "machine.h"

#define FILES     3
#define MAX_STEPS 24
#define STEP      (64 * 1024u)

enum how {
    HOW_QEMU = 1,      /* policy */
    HOW_SMALL_MAP = 2, /* windows are split and dropped */
    HOW_SNAPSHOT = 4,
    HOW_PROBE = 8,
    HOW_INFO = 16,
};

static const char *const names[FILES] = { "disk", "base", "data" };

struct part {
    size_t off, len; /* of a file in the input */
};

static unsigned split(const uint8_t *data, size_t len, struct part parts[FILES])
{
    size_t at = 1;
    unsigned n = 0;

    for (; n < FILES && at + 2 <= len; n++) {
        parts[n] = (struct part){ at + 2, min_u64(load_be16(data + at), len - at - 2) };
        at = parts[n].off + parts[n].len;
    }
    return n;
}

/* --- what is looked at ----------------------------------------------------------------------- */

static int visit(void *user, const struct qimg_info *info)
{
    (void)user;
    require(info->filename && info->format);
    return 0;
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
    return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

static void read_extent(struct qimg_image *image, const struct qimg_extent *e)
{
    static uint8_t first[STEP], again[STEP];
    const size_t len = min_u64(e->len, STEP);
    struct qimg_error err;
    const int rc = qimg_image_read(image, e->guest_off, first, len, &err);

    require(rc == 0 || err.text[0] != '\0');
    require((qimg_image_read(image, e->guest_off, again, len, &err) == 0) == (rc == 0));
    if (rc < 0)
        return;
    require(memcmp(first, again, len) == 0);
    require(e->kind == QIMG_DATA || e->kind == QIMG_COMPRESSED || all_zero(first, len));
}

static uint64_t map_step(struct qimg_image *image, struct qimg_range window)
{
    struct qimg_extent extents[16];
    struct qimg_error err;
    uint64_t at = window.off;
    const int n = qimg_image_map(image, window, false, extents, 16, &err);

    require(n > 0 || (n < 0 && err.text[0] != '\0'));
    for (int i = 0; i < n; i++) {
        const struct qimg_extent *e = &extents[i];
        require(e->guest_off == at && e->len > 0 && e->len <= window.off + window.len - at);
        require(e->layer < qimg_image_depth(image));
        at += e->len;
        if (i < 3)
            read_extent(image, e);
    }
    return n > 0 ? at : window.off + min_u64(window.len, STEP);
}

static void map_all(struct qimg_image *image)
{
    const uint64_t size = qimg_image_size(image);
    uint64_t at = 0;

    for (unsigned i = 0; at < size && i < MAX_STEPS; i++)
        at = map_step(image, (struct qimg_range){ at, size - at });
    if (at < size) /* and the end, wherever it is */
        (void)map_step(image,
                       (struct qimg_range){ size - min_u64(size, STEP), min_u64(size, STEP) });
}

static void look(struct qimg_context *context, unsigned how)
{
    const struct qimg_open_options options = { .format = how & HOW_PROBE ? NULL : "qcow2",
                                               .info_only = how & HOW_INFO,
                                               .snapshot_id = how & HOW_SNAPSHOT ? "1" : NULL };
    struct qimg_info info = { 0 };
    struct qimg_image *image;
    struct qimg_error err;

    if (qimg_chain_info(context, "disk", &options, true, visit, NULL, &err) < 0)
        require(err.text[0] != '\0');
    if (qimg_image_open(context, "disk", &options, &image, &err) < 0) {
        require(err.text[0] != '\0');
        return;
    }
    if (qimg_image_info(image, &info, &err) == 0)
        (void)visit(NULL, &info);
    qimg_info_release(&info);
    if (!options.info_only)
        map_all(image);
    qimg_image_close(image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const unsigned how = len ? data[0] : 0;
    const struct qimg_context_options options = {
        .map_budget = how & HOW_SMALL_MAP ? 4096 : 0,
        .gate = { .policy = how & HOW_QEMU ? QIMG_POLICY_QEMU : QIMG_POLICY_STRICT,
                  .max_depth = 8 },
    };
    struct io_engine *engine = machine_new();
    struct qimg_context *context = sim_context_new(engine, &options);
    struct part parts[FILES];
    const unsigned count = split(data, len, parts);

    for (unsigned i = 0; i < count; i++)
        machine_put(engine, names[i], data + parts[i].off, parts[i].len);
    look(context, how);
    require(io_sim_changes(engine) == 0);
    qimg_context_free(context);
    return 0;
}

/* --- inputs ---------------------------------------------------------------------------------- */

/* Image seed number @index / 2 on the next one, or on bytes. */
uint8_t *fuzz_seed(unsigned index, size_t *len)
{
    size_t top_len, base_len;
    uint8_t *top = image_seed(index / 2, 3, &top_len);

    if (!top)
        return NULL;
    uint8_t *base = image_seed(index % 2 ? 1 : 5, 2, &base_len);
    top[0] = (uint8_t)(index * 5 % 16);
    top_len = min_u64(top_len, 3 + UINT16_MAX);
    store_be16(top + 1, (uint16_t)(top_len - 3));
    store_be16(base, (uint16_t)(base_len - 2));
    uint8_t *all = malloc(top_len + base_len);
    require(base && all);
    memcpy(all, top, top_len);
    memcpy(all + top_len, base, base_len);
    *len = top_len + base_len;
    free(top);
    free(base);
    return all;
}

size_t fuzz_mutate(uint8_t *data, size_t len, size_t max, uint64_t seed)
{
    struct part parts[FILES];
    const unsigned count = split(data, len, parts);

    (void)max;
    if (count == 0)
        return 0;
    if (fuzz_below(&seed, 16) == 0)
        data[0] = (uint8_t)fuzz_random(&seed);
    const struct part *p = &parts[fuzz_below(&seed, count)];
    return image_mutate(data + p->off, p->len, p->len, fuzz_random(&seed)) ? len : 0;
}
