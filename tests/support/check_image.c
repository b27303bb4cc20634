/* SPDX-License-Identifier: Apache-2.0 */
#include "check_image.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_request.h"
#include "qcow2.h"
#include "str.h"
#include "undo.h"

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "check_image: %s\n", what);
    abort();
}

struct io_engine *check_machine(const struct build_qcow2 *spec)
{
    struct built built = build_qcow2(spec);
    struct io_engine *engine;

    require(io_sim_new(NULL, NULL, &engine) == 0, "no simulator");
    require(io_sim_put(engine, "disk", built.bytes, built.len, built.len) == 0, "no file");
    built_release(&built);
    return engine;
}

struct listener {
    struct str said;
    bool explain;
};

static void on_finding(void *user, const struct qimg_check_finding *f)
{
    struct listener *l = user;

    str_printf(&l->said, "%s", f->id);
    if (l->explain && f->host_off != QIMG_NO_OFFSET)
        str_printf(&l->said, "@%" PRIu64, f->host_off);
    if (l->explain && f->guest.len)
        str_printf(&l->said, "+%" PRIu64 "+%" PRIu64, f->guest.off, f->guest.len);
    str_printf(&l->said, ": %s\n", f->text);
}

static void check_image_now(struct io_engine *engine, struct image *image, struct check_how how,
                            struct checked *out)
{
    const struct io_open_options new = { .writable = true, .create = true };
    struct listener listener = { .explain = how.explain };
    struct undo_log undo = { 0 };

    if (how.undo)
        require(io_file_open(engine, "undo", &new, &undo.file) == 0, "no undo file");
    const struct check_request request = {
        .fix = how.fix,
        .explain = how.explain,
        .undo = how.undo ? &undo : NULL,
        .finding = on_finding,
        .user = &listener,
    };
    out->rc = image->ops->check(image, &request, &out->result, &out->err);
    out->said = str_take(&listener.said);
    require(out->said != NULL, "no memory");
    io_file_close(undo.file);
}

struct checked check_disk(struct io_engine *engine, struct check_how how)
{
    const bool writable = how.fix != QIMG_CHECK_FIX_NONE;
    const struct io_open_options file_how = { .writable = writable };
    const struct image_open_options image_how = { .writable = writable, .check = true };
    struct checked out = { 0 };
    struct io_file *file;
    struct image *image;

    qimg_error_clear(&out.err);
    require(io_file_open(engine, "disk", &file_how, &file) == 0, "no disk");
    out.rc = qcow2_ops.open(file, &image_how, &image, &out.err);
    if (out.rc < 0) {
        io_file_close(file);
        out.said = strdup("");
        return out;
    }
    check_image_now(engine, image, how, &out);
    image_close(image);
    return out;
}

struct checked check_built(const struct build_qcow2 *spec, struct check_how how)
{
    struct io_engine *engine = check_machine(spec);
    const struct checked out = check_disk(engine, how);

    io_engine_free(engine);
    return out;
}

void checked_release(struct checked *checked)
{
    free(checked->said);
    checked->said = NULL;
}

uint8_t *check_file(struct io_engine *engine, const char *name, size_t *len)
{
    const uint64_t size = io_sim_size(engine, name);
    uint8_t *bytes = calloc(1, size + 1);

    require(size != UINT64_MAX && bytes, "no such file");
    require(io_sim_get(engine, name, 0, bytes, size), "unreadable");
    *len = size;
    return bytes;
}

void check_repairs(struct io_engine *engine)
{
    struct checked first = check_disk(engine, (struct check_how){ .fix = QIMG_CHECK_FIX_ALL });
    struct checked again = check_disk(engine, (struct check_how){ .fix = QIMG_CHECK_FIX_ALL });
    const struct qimg_check_result *r = &again.result;

    if (first.rc < 0 || again.rc < 0 || r->corruptions || r->leaks || r->check_errors ||
        r->corruptions_fixed || r->leaks_fixed)
        fprintf(stderr, "first (%d):\n%sthen (%d):\n%s", first.rc, first.said, again.rc,
                again.said);
    require(first.rc == 0 && again.rc == 0 && !r->corruptions && !r->leaks && !r->check_errors,
            "not repaired");
    require(!r->corruptions_fixed && !r->leaks_fixed, "the second repair found something");
    checked_release(&first);
    checked_release(&again);
}
