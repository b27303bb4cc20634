/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.h"

#include <string.h>

#include "bits.h"

#define SECTOR 512u
#define CHUNK  (64 * 1024u)

struct io_engine *machine_new(void)
{
    const struct io_sim_options how = { .no_log = true, .in_order = true };
    struct io_engine *engine;

    require(io_sim_new(&how, NULL, &engine) == 0);
    return engine;
}

void machine_put(struct io_engine *engine, const char *name, const uint8_t *bytes, size_t len)
{
    require(io_sim_put(engine, name, bytes, len, len) == 0);
}

struct qimg_image *machine_open(struct qimg_context *context, const struct qimg_open_options *how)
{
    struct qimg_open_options options = *how;
    struct qimg_image *image;
    struct qimg_error err;

    options.format = "qcow2";
    options.no_backing = true;
    if (qimg_image_open(context, "disk", &options, &image, &err) == 0)
        return image;
    require(err.code != 0 && err.text[0] != '\0');
    return NULL;
}

/* --- the guest ------------------------------------------------------------------------------- */

static void read_sectors(struct qimg_image *image, struct guest_bytes *g, size_t off, size_t len)
{
    struct qimg_error err;

    if (qimg_image_read(image, off, g->bytes + off, len, &err) == 0) {
        memset(g->readable + off / SECTOR, true, len / SECTOR);
        return;
    }
    require(err.code != 0 && err.text[0] != '\0');
    if (len == SECTOR)
        return;
    const size_t half = align_down(len / 2 + SECTOR - 1, SECTOR);
    read_sectors(image, g, off, half);
    read_sectors(image, g, off + half, len - half);
}

struct guest_bytes guest_of(struct qimg_image *image)
{
    const uint64_t size = image ? qimg_image_size(image) : 0;
    struct guest_bytes g = { 0 };

    if (size == 0 || size > GUEST_BYTES)
        return g;
    g.len = size;
    g.bytes = calloc(1, size);
    g.readable = calloc(size / SECTOR, sizeof(bool));
    require(g.bytes && g.readable);
    for (size_t off = 0; off < size; off += CHUNK)
        read_sectors(image, &g, off, min_u64(CHUNK, size - off));
    return g;
}

void guest_bytes_release(struct guest_bytes *guest)
{
    free(guest->bytes);
    free(guest->readable);
    *guest = (struct guest_bytes){ 0 };
}

bool guest_kept(const struct guest_bytes *before, const struct guest_bytes *after)
{
    const size_t len = min_u64(before->len, after->len);

    for (size_t off = 0; off < len; off += SECTOR) {
        if (!before->readable[off / SECTOR])
            continue;
        if (!after->readable[off / SECTOR] ||
            memcmp(before->bytes + off, after->bytes + off, SECTOR) != 0)
            return false;
    }
    return true;
}

/* --- check ----------------------------------------------------------------------------------- */

struct qimg_check_result machine_check(struct qimg_context *context)
{
    const struct qimg_open_options how = { .check = true };
    const struct qimg_check_options options = { .fix = QIMG_CHECK_FIX_NONE };
    struct qimg_image *image = machine_open(context, &how);
    struct qimg_check_result result = { 0 };
    struct qimg_error err;

    if (!image || qimg_image_check(image, &options, &result, &err) < 0)
        memset(&result, 0xff, sizeof(result));
    qimg_image_close(image);
    return result;
}

bool machine_is_sound(struct qimg_context *context)
{
    const struct qimg_check_result result = machine_check(context);

    return result.corruptions == 0 && result.check_errors == 0;
}
