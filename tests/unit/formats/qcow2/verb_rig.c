/* SPDX-License-Identifier: Apache-2.0 */
#include "verb_rig.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "qcow2_guest.h"
#include "qcow2_verify.h"
#include "str.h"

#define SEEDS 6

const struct verb_layout verb_layouts[] = {
    { .title = "64 KiB", .version = 3, .cluster_size = 65536, .size = 512 * KiB + 512 },
    { .title = "4 KiB, version 2", .version = 2, .cluster_size = 4096, .size = 128 * KiB },
    { .title = "512 bytes", .version = 3, .cluster_size = 512, .size = 96 * KiB },
    { .title = "512 bytes, 64 bits",
      .version = 3,
      .cluster_size = 512,
      .refcount_bits = 64,
      .size = 64 * KiB },
    { .title = "4 KiB, 2 bits",
      .version = 3,
      .cluster_size = 4096,
      .refcount_bits = 2,
      .size = 64 * KiB },
    { .title = "16 KiB, subclusters",
      .version = 3,
      .cluster_size = 16384,
      .extended_l2 = true,
      .size = 256 * KiB + 1024 },
    { .title = "4 KiB over a backing file",
      .version = 3,
      .cluster_size = 4096,
      .size = 100 * KiB + 512,
      .backing = true },
};
const size_t verb_layout_count = ARRAY_COUNT(verb_layouts);

static uint8_t backing_bytes[VERB_BACKING_LEN];

static const uint8_t *backing_of(const struct image *image)
{
    memset(backing_bytes, 0xba, sizeof(backing_bytes));
    return image->backing_name ? backing_bytes : NULL;
}

/* --- images --------------------------------------------------------------------------------- */

static struct io_file *open_file(struct io_engine *engine, const char *name, bool writable)
{
    const struct io_open_options how = { .writable = writable, .create = writable };
    struct io_file *file;

    cr_assert_eq(io_file_open(engine, name, &how, &file), 0);
    return file;
}

static struct image *open_disk(struct io_engine *engine, bool writable, struct qimg_error *err)
{
    const struct image_open_options as = { .writable = writable };
    struct io_file *file = open_file(engine, "disk", writable);
    struct image *image;

    if (qcow2_ops.open(file, &as, &image, err) < 0) {
        io_file_close(file);
        return NULL;
    }
    if (image->needs_data_file)
        image->data_file = open_file(engine, "data", writable);
    return image;
}

static struct io_engine *settled(struct io_engine *engine)
{
    struct io_engine *after;

    cr_assert_eq(io_sim_power_cut(engine, &(struct io_sim_cut){ .survivors = IO_SIM_ALL }, &after),
                 0);
    return after;
}

static void write_all(struct io_engine *engine, uint8_t fill, bool packed)
{
    struct guest g;

    cr_assert_eq(guest_open(&g, engine, backing_bytes, 0), 0, "%s", g.err.text);
    const uint64_t cs = g.image->cluster_size, size = g.image->size;
    g.backing = backing_of(g.image);
    g.backing_len = g.backing ? sizeof(backing_bytes) : 0;
    (void)!guest_write(&g, (struct qimg_range){ 0, 3 * cs }, fill);
    (void)!guest_write(&g, (struct qimg_range){ 5 * cs + 512, min_u64(1024, cs - 512) },
                       (uint8_t)(fill + 1));
    (void)!guest_zero(&g, (struct qimg_range){ cs, cs }, 0);
    (void)!guest_zero(&g, (struct qimg_range){ 4 * cs, cs }, WRITE_MAY_UNMAP);
    if (packed)
        (void)!guest_write_packed(&g, 6 * cs, (uint8_t)(fill + 2));
    (void)!guest_write(&g, (struct qimg_range){ size - 512, 512 }, (uint8_t)(fill + 3));
    cr_assert_eq(guest_close(&g), 0, "%s", g.err.text);
}

struct io_engine *verb_image(const struct verb_layout *l)
{
    const struct create_spec spec = {
        .size = l->size,
        .version = l->version,
        .cluster_size = l->cluster_size,
        .refcount_bits = l->refcount_bits ? l->refcount_bits : 16,
        .extended_l2 = l->extended_l2,
        .backing_name = l->backing ? "base" : NULL,
        .backing_format = l->backing ? "raw" : NULL,
        .data_file_name = l->data_file ? "data" : NULL,
    };
    struct io_engine *engine;
    struct qimg_error err;

    cr_assert_eq(io_sim_new(NULL, NULL, &engine), 0);
    struct io_file *file = open_file(engine, "disk", true);
    struct io_file *data = l->data_file ? open_file(engine, "data", true) : NULL;
    cr_assert_eq(qcow2_create(file, data, &spec, &err), 0, "%s: %s", l->title, err.text);
    io_file_close(file);
    io_file_close(data);
    write_all(engine, 0x10, !l->data_file);
    struct io_engine *durable = settled(engine);
    io_engine_free(engine);
    return durable;
}

void verb_scribble(struct io_engine *engine, uint8_t fill)
{
    write_all(engine, fill, false);
}

/* --- running -------------------------------------------------------------------------------- */

int verb_run(struct io_engine *engine, verb_fn verb, struct qimg_error *err)
{
    qimg_error_clear(err);
    struct image *image = open_disk(engine, true, err);

    cr_assert_not_null(image, "%s", err->text);
    const int rc = verb(image, err);
    cr_expect_eq(rc < 0, err->code != 0, "%d but %d (%s)", rc, err->code, err->text);
    image_close(image);
    return rc;
}

int verb_snapshot_one(struct image *image, struct qimg_error *err)
{
    const struct snapshot_request request = { .name = "one", .date_sec = 7, .date_nsec = 8 };

    return qcow2_admin_ops.snapshot_create(image, &request, err);
}

int verb_apply_one(struct image *image, struct qimg_error *err)
{
    return qcow2_admin_ops.snapshot_apply(image, &(struct snapshot_request){ .name = "one" }, err);
}

int verb_delete_one(struct image *image, struct qimg_error *err)
{
    return qcow2_admin_ops.snapshot_delete(image, &(struct snapshot_request){ .name = "one" }, err);
}

static int read_guest(void *user, struct qimg_range range, void *buf, struct qimg_error *err)
{
    struct guest g = { .image = user };

    g.backing = backing_of(g.image);
    g.backing_len = g.backing ? sizeof(backing_bytes) : 0;
    const int rc = guest_read(&g, range, buf);
    return rc < 0 ? qimg_fail_errno(err, -rc, "reading") : 0;
}

int verb_resize(struct image *image, uint64_t size, enum preallocation mode, struct qimg_error *err)
{
    const struct resize_request request = {
        .size = size,
        .preallocation = mode,
        .backing_size = image->backing_name ? VERB_BACKING_LEN : 0,
        .read = read_guest,
        .user = image,
    };

    return qcow2_admin_ops.resize(image, &request, err);
}

/* --- states --------------------------------------------------------------------------------- */

static uint64_t hash_of(struct image *image)
{
    struct guest g = { .image = image };
    AUTO_FREE uint8_t *buf = malloc(image->size + 1);
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    g.backing = backing_of(image);
    g.backing_len = g.backing ? sizeof(backing_bytes) : 0;
    cr_assert_eq(guest_read(&g, (struct qimg_range){ 0, image->size }, buf), 0);
    for (uint64_t i = 0; i < image->size; i++)
        hash = (hash ^ buf[i]) * UINT64_C(0x100000001b3);
    return hash;
}

char *verb_state(struct io_engine *engine)
{
    struct qimg_error err;
    struct image *image = open_disk(engine, false, &err);
    struct str text = { 0 };

    cr_assert_not_null(image, "%s", err.text);
    const struct qcow2 *q = qcow2_of(image);
    str_printf(&text, "v%u r%u f%lx %lu %016lx", q->header.version, q->header.refcount_order,
               (unsigned long)q->header.compatible, (unsigned long)image->size,
               (unsigned long)hash_of(image));
    for (size_t i = 0; i < q->snapshots.count; i++) {
        const struct qcow2_snapshot s = q->snapshots.items[i];
        image->size = s.disk_size;
        cr_assert_eq(qcow2_select_snapshot(image, s.id, s.name, &err), 0, "%s", err.text);
        str_printf(&text, "\n%s %s %lu %016lx", s.id, s.name, (unsigned long)s.disk_size,
                   (unsigned long)hash_of(image));
    }
    image_close(image);
    return str_take(&text);
}

void verb_expect_sound(struct io_engine *engine, const char *title, bool leaks)
{
    const struct verdict v = qcow2_verify_file(engine, "disk");

    cr_expect_eq(v.corruptions, 0, "%s: %u corruptions: %s", title, v.corruptions, v.first);
    if (!leaks)
        cr_expect_eq(v.leaks, 0, "%s: %u leaks: %s", title, v.leaks, v.first);
}

/* --- the promise ---------------------------------------------------------------------------- */

struct promise {
    const char *title, *old, *new;
    unsigned looked_at;
};

static void expect_old_or_new(struct promise *p, struct io_engine *engine, bool done, uint64_t n)
{
    AUTO_FREE char *state = verb_state(engine);
    const bool is_old = strcmp(state, p->old) == 0, is_new = strcmp(state, p->new) == 0;

    p->looked_at++;
    verb_expect_sound(engine, p->title, true);
    cr_expect(is_new || (is_old && !done), "%s: after %lu operations: %s\nis not\n%s\n%s", p->title,
              (unsigned long)n, state, done ? "" : p->old, p->new);
}

static void cut_everywhere(struct promise *p, struct io_engine *engine, bool done, uint64_t n)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        const struct io_sim_cut cut = {
            .survivors = seed == 0   ? IO_SIM_NONE
                         : seed == 1 ? IO_SIM_ALL
                                     : IO_SIM_RANDOM,
            .seed = seed + n * SEEDS,
            .torn = seed > 2,
        };
        struct io_engine *after;
        cr_assert_eq(io_sim_power_cut(engine, &cut, &after), 0);
        expect_old_or_new(p, after, done, n);
        io_engine_free(after);
    }
}

static void expect_cuts(struct promise *p, struct io_engine *start, verb_fn verb)
{
    for (uint64_t n = 0;; n++) {
        struct io_engine *engine = settled(start);
        struct qimg_error err;
        qimg_error_clear(&err);
        struct image *image = open_disk(engine, true, &err);
        cr_assert_not_null(image);
        io_sim_stop_after(engine, io_sim_operations(engine) + n);
        const int rc = verb(image, &err);
        image_close(image);
        /* Tidying up after the flip may fail without a word: done is when nothing was stopped. */
        cut_everywhere(p, engine, rc == 0, n);
        size_t count;
        const struct io_sim_entry *log = io_sim_log(engine, &count);
        const bool all = count == 0 || log[count - 1].result != -EIO;
        io_engine_free(engine);
        if (rc == 0 && all)
            return;
    }
}

static void expect_faults(struct promise *p, struct io_engine *start, verb_fn verb,
                          enum io_sim_fault_kind kind, bool forever)
{
    for (uint64_t n = 1;; n++) {
        struct io_engine *engine = settled(start);
        struct qimg_error err;
        qimg_error_clear(&err);
        struct image *image = open_disk(engine, true, &err);
        cr_assert_not_null(image);
        const uint64_t at = io_sim_operations(engine) + n;
        io_sim_fault(engine, at, kind, forever);
        const int rc = verb(image, &err);
        image_close(image);
        const bool reached = io_sim_operations(engine) >= at;
        io_sim_fault(engine, 0, kind, false);
        expect_old_or_new(p, engine, rc == 0, n);
        io_engine_free(engine);
        if (!reached)
            return;
    }
}

unsigned verb_expect_atomic(struct io_engine *start, verb_fn verb, const char *title)
{
    struct promise p = { .title = title };
    struct qimg_error err;
    AUTO_FREE char *old = verb_state(start);
    struct io_engine *finished = settled(start);

    cr_assert_eq(verb_run(finished, verb, &err), 0, "%s: %s", title, err.text);
    verb_expect_sound(finished, title, false);
    AUTO_FREE char *new = verb_state(finished);
    io_engine_free(finished);
    cr_assert_str_neq(old, new, "%s: does nothing", title);
    p.old = old;
    p.new = new;
    expect_cuts(&p, start, verb);
    for (unsigned forever = 0; forever < 2; forever++) {
        expect_faults(&p, start, verb, IO_SIM_EIO, forever);
        expect_faults(&p, start, verb, IO_SIM_ENOSPC, forever);
    }
    return p.looked_at;
}
