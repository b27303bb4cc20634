/* SPDX-License-Identifier: Apache-2.0
 *
 * Headers of which one sector cannot hold all: an extension that nobody knows fills the first one,
 * so that changes take more than one write. And features that a writer must drop.
 */
#include <string.h>

#include "admin.h"
#include "bitmap_request.h"
#include "bits.h"
#include "qcow2.h"
#include "scene.h"

#define UNKNOWN_TYPE      0x0badcafe
#define UNKNOWN_LEN       440
#define UNKNOWN_AUTOCLEAR (UINT64_C(1) << 40)

static int open_disk(struct stage *s, struct io_file **file)
{
    const struct io_open_options how = { .writable = true };

    return io_file_open(s->engine, "disk", &how, file);
}

/* Puts the unknown extension in front of the others, the backing file's name behind them, and
 * bytes that nobody needs behind the end marker. */
static void shift_head(uint8_t *head, uint64_t cs)
{
    const uint32_t begin = load_be32(head + 100);
    const uint64_t name = load_be64(head + 8);
    const uint32_t name_len = load_be32(head + 16);
    uint8_t text[64];
    uint64_t end;

    memcpy(text, head + name, name ? name_len : 0);
    if (name)
        memset(head + name, 0, name_len);
    memmove(head + begin + 8 + UNKNOWN_LEN, head + begin, cs - begin - 8 - UNKNOWN_LEN);
    for (end = begin + 8 + UNKNOWN_LEN; load_be32(head + end) != 0;)
        end += 8 + align_up(load_be32(head + end + 4), 8);
    memset(head + end + 8, 0xee, cs - end - 8);
    store_be32(head + begin, UNKNOWN_TYPE);
    store_be32(head + begin + 4, UNKNOWN_LEN);
    memset(head + begin + 8, 0x5a, UNKNOWN_LEN);
    if (!name)
        return;
    store_be64(head + 8, cs / 2);
    memcpy(head + cs / 2, text, name_len);
}

static int crowd(struct stage *s)
{
    uint8_t head[4096];
    struct io_file *file;

    TRY(open_disk(s, &file));
    int rc = io_read_exact(file, 0, head, sizeof(head), NULL);
    if (rc == 0) {
        shift_head(head, sizeof(head));
        rc = io_write_exact(file, 0, head, sizeof(head));
    }
    io_file_close(file);
    return rc;
}

static bool has_room(const struct layout *l)
{
    return l->spec.version == 3 && l->spec.cluster_size >= 4096;
}

static int add(struct image *image, const void *argument, struct qimg_error *err)
{
    const struct bitmap_step step = { .verb = BITMAP_ADD, .name = argument };
    struct bitmap_request request = { .steps = &step, .count = 1, .shown = "disk" };

    return image->ops->change_bitmaps(image, &request, err);
}

static int add_bitmap(struct stage *s)
{
    return stage_do(s, add, "one");
}

static int amend(struct image *image, const void *argument, struct qimg_error *err)
{
    return image->ops->admin->amend(image, argument, err);
}

static int name_data_file(struct stage *s)
{
    const struct amend_request request = { .data_file = "another" };

    return stage_do(s, amend, &request);
}

static bool has_data_file(const struct layout *l)
{
    return has_room(l) && l->spec.data_file_name;
}

/* --- features that nobody knows ------------------------------------------------------------- */

static int set_unknown_feature(struct stage *s)
{
    struct io_file *file;
    uint8_t raw[8];

    TRY(open_disk(s, &file));
    int rc = io_read_exact(file, QCOW2_AT_AUTOCLEAR, raw, sizeof(raw), NULL);
    if (rc == 0) {
        store_be64(raw, load_be64(raw) | UNKNOWN_AUTOCLEAR);
        rc = io_write_exact(file, QCOW2_AT_AUTOCLEAR, raw, sizeof(raw));
    }
    io_file_close(file);
    return rc;
}

static int write_over(struct stage *s)
{
    TRY(stage_begin(s));
    TRY(stage_write(s, 0, 1024, 0x31));
    return stage_end(s);
}

static bool version_3(const struct layout *l)
{
    return l->spec.version == 3;
}

const struct scene head_scenes[] = {
    { .name = "bitmap-behind",
      .verb = true,
      .atomic = true,
      .fits = has_room,
      .prepare = crowd,
      .run = add_bitmap },
    { .name = "amend-behind",
      .verb = true,
      .atomic = true,
      .whole = true,
      .fits = has_data_file,
      .prepare = crowd,
      .run = name_data_file },
    { .name = "write-autoclear",
      .fits = version_3,
      .prepare = set_unknown_feature,
      .run = write_over },
};
const size_t head_scene_count = ARRAY_COUNT(head_scenes);
