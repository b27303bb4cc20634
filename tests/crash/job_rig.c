/* SPDX-License-Identifier: Apache-2.0 */
#include "job_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "qimg/write.h"
#include "sim_context.h"

void must(int rc, const struct qimg_error *err)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "prepared job: %s\n", err->text);
    abort();
}

struct qimg_context *context_on(struct io_engine *engine)
{
    return sim_context_new(engine, NULL);
}

struct io_engine *after_cut(struct io_engine *engine, enum io_sim_survivors survivors,
                            uint64_t seed)
{
    const struct io_sim_cut cut = { .survivors = survivors, .seed = seed };
    struct io_engine *after;

    if (io_sim_power_cut(engine, &cut, &after) < 0)
        abort();
    return after;
}

void settle(struct qimg_context **context)
{
    struct io_engine *engine = after_cut((*context)->engine, IO_SIM_ALL, 1);

    qimg_context_free(*context);
    *context = context_on(engine);
}

struct qimg_image *rig_open(struct qimg_context *context, const char *name, const char *format,
                            bool writable)
{
    const struct qimg_open_options how = { .format = format, .writable = writable };
    struct qimg_image *image;
    struct qimg_error err;

    must(qimg_image_open(context, name, &how, &image, &err), &err);
    return image;
}

void rig_put(struct qimg_image *image, uint64_t off, uint64_t len, uint8_t fill)
{
    AUTO_FREE uint8_t *buf = malloc(len);
    struct qimg_error err;

    if (!buf)
        abort();
    memset(buf, fill, len);
    if (fill)
        must(qimg_image_write(image, off, buf, len, &err), &err);
    else
        must(qimg_image_write_zeroes(image, off, len, 0, &err), &err);
}

void rig_finish(struct qimg_image *image)
{
    struct qimg_error err;

    must(qimg_image_finish(image, &err), &err);
    qimg_image_close(image);
}

struct content rig_read(struct qimg_context *context, const char *name, const char *format)
{
    struct qimg_image *image = rig_open(context, name, format, false);
    const uint64_t size = qimg_image_size(image);
    const struct content all = { malloc(size), size };
    struct qimg_error err;

    if (!all.bytes)
        abort();
    must(qimg_image_read(image, 0, all.bytes, size, &err), &err);
    qimg_image_close(image);
    return all;
}
