/* SPDX-License-Identifier: Apache-2.0
 *
 * Verbs that change an image as a whole.
 */
#include <string.h>

#include "admin.h"
#include "bits.h"
#include "scene.h"

/* --- rebase -u -------------------------------------------------------------------------------- */

static int set_backing(struct image *image, const void *argument, struct qimg_error *err)
{
    return image->ops->set_backing(image, argument, argument ? "raw" : NULL, err);
}

static int rebase(struct stage *s)
{
    return stage_do(s, set_backing, "another-base-with-a-longer-name");
}

static int rebase_none(struct stage *s)
{
    return stage_do(s, set_backing, NULL);
}

static bool has_backing(const struct layout *l)
{
    return l->backing;
}

/* --- snapshots -------------------------------------------------------------------------------- */

static bool counts_enough(const struct layout *l)
{
    return l->spec.refcount_bits > 1 && !l->spec.data_file_name;
}

static int create(struct image *image, const void *argument, struct qimg_error *err)
{
    const struct snapshot_request request = { .name = argument, .date_sec = 7 };

    return image->ops->admin->snapshot_create(image, &request, err);
}

static int apply(struct image *image, const void *argument, struct qimg_error *err)
{
    const struct snapshot_request request = { .name = argument };

    return image->ops->admin->snapshot_apply(image, &request, err);
}

static int delete (struct image *image, const void *argument, struct qimg_error *err)
{
    const struct snapshot_request request = { .name = argument };

    return image->ops->admin->snapshot_delete(image, &request, err);
}

static int snapshot(struct stage *s)
{
    return stage_do(s, create, "one");
}

/* A snapshot that shares some of the disk, but not all. */
static int with_snapshot(struct stage *s)
{
    const uint64_t cs = stage_cluster(s);

    TRY(stage_do(s, create, "one"));
    TRY(stage_begin(s));
    TRY(stage_write(s, 0, 512, 0x25));
    TRY(stage_write(s, 6 * cs, cs, 0x26));
    TRY(stage_discard(s, 9 * cs, cs));
    return stage_end(s);
}

static int snapshot_again(struct stage *s)
{
    return stage_do(s, create, "two");
}

static int snapshot_apply(struct stage *s)
{
    return stage_do(s, apply, "one");
}

static int snapshot_delete(struct stage *s)
{
    return stage_do(s, delete, "one");
}

/* Guest writes to what a snapshot shares. */
static int write_shared(struct stage *s)
{
    const uint64_t cs = stage_cluster(s);

    TRY(stage_begin(s));
    TRY(stage_write(s, cs, 512, 0x27));
    TRY(stage_write(s, 2 * cs, cs, 0x28));
    TRY(stage_zero(s, 10 * cs, cs, WRITE_MAY_UNMAP));
    TRY(stage_flush(s));
    TRY(stage_discard(s, 0, 4 * cs));
    TRY(stage_write(s, 8 * cs, 2 * cs, 0x29));
    return stage_end(s);
}

/* --- resize ----------------------------------------------------------------------------------- */

struct resizing {
    const struct stage *stage;
    uint64_t size;
    enum preallocation preallocation;
};

static int read_guest(void *user, struct qimg_range range, void *buf, struct qimg_error *err)
{
    const int rc = guest_read(user, range, buf);

    return rc < 0 ? qimg_fail_errno(err, -rc, "reading") : 0;
}

static int resize(struct image *image, const void *argument, struct qimg_error *err)
{
    const struct resizing *r = argument;
    struct guest g = { .image = image,
                       .backing = r->stage->backing.bytes,
                       .backing_len = r->stage->backing.len };
    const struct resize_request request = {
        .size = r->size,
        .preallocation = r->preallocation,
        .backing_size = r->stage->backing.len,
        .read = read_guest,
        .user = &g,
    };

    return image->ops->admin->resize(image, &request, err);
}

/* So far that L1 moves where clusters are small. */
static int grow(struct stage *s)
{
    const struct resizing r = { .stage = s, .size = s->layout->size + 70 * 64 * stage_cluster(s) };

    return stage_do(s, resize, &r);
}

/* Bytes behind the end of the disk in its last cluster, as QEMU leaves them when it shrinks one. */
static int stale_tail(struct stage *s)
{
    const struct io_open_options how = { .writable = true };
    const uint64_t last = align_down(s->layout->size - 512, 512);
    struct extent_vec extents = { 0 };
    struct io_file *file;
    uint8_t junk[512];

    TRY(stage_begin(s));
    struct image *image = s->guest.image;
    TRY(image->ops->write->map(image, (struct qimg_range){ last, 512 }, &extents, &s->err));
    const uint64_t host_off = extents.items[0].host_off + 512;
    extent_vec_release(&extents);
    TRY(stage_end(s));
    memset(junk, 0xee, sizeof(junk));
    TRY(io_file_open(s->engine, s->layout->spec.data_file_name ? "data" : "disk", &how, &file));
    const int rc = io_write_exact(file, host_off, junk, sizeof(junk));
    io_file_close(file);
    return rc;
}

static bool ends_inside(const struct layout *l)
{
    return l->size % l->spec.cluster_size != 0;
}

static int grow_preallocated(struct stage *s)
{
    const struct resizing r = { .stage = s,
                                .size = s->layout->size + 5 * stage_cluster(s),
                                .preallocation = PREALLOC_METADATA };

    return stage_do(s, resize, &r);
}

static int shrink(struct stage *s)
{
    const struct resizing r = { .stage = s,
                                .size =
                                    align_up(3 * stage_cluster(s) - stage_cluster(s) / 2, 512) };

    return stage_do(s, resize, &r);
}

/* --- what commit does to the overlay -------------------------------------------------------- */

static int forget(struct image *image, const void *argument, struct qimg_error *err)
{
    (void)argument;
    return image->ops->admin->empty(image, err);
}

static int empty(struct stage *s)
{
    return stage_do(s, forget, NULL);
}

/* --- amend ---------------------------------------------------------------------------------- */

static int amend(struct image *image, const void *argument, struct qimg_error *err)
{
    return image->ops->admin->amend(image, argument, err);
}

static int amend_v3(struct stage *s)
{
    const struct amend_request request = { .version = 3 };

    return stage_do(s, amend, &request);
}

static int amend_v2(struct stage *s)
{
    const struct amend_request request = { .version = 2 };

    return stage_do(s, amend, &request);
}

static int amend_counts(struct stage *s)
{
    const struct amend_request request = { .refcount_bits =
                                               s->layout->spec.refcount_bits == 16 ? 64 : 16 };

    return stage_do(s, amend, &request);
}

static int amend_lazy(struct stage *s)
{
    const struct amend_request request = { .set_lazy_refcounts = true,
                                           .lazy_refcounts = !s->layout->spec.lazy_refcounts };

    return stage_do(s, amend, &request);
}

static bool version_2(const struct layout *l)
{
    return l->spec.version == 2;
}

static bool version_3(const struct layout *l)
{
    return l->spec.version == 3;
}

static bool can_be_v2(const struct layout *l)
{
    return version_3(l) && !l->spec.extended_l2 && !l->spec.data_file_name &&
           l->spec.refcount_bits == 16 && l->spec.compression != CODEC_ZSTD;
}

#define ATOMIC   .verb = true, .atomic = true
#define SNAPSHOT .verb = true, .atomic = true, .fits = counts_enough

const struct scene verb_scenes[] = {
    { .name = "rebase", ATOMIC, .run = rebase },
    { .name = "rebase-none", ATOMIC, .run = rebase_none, .fits = has_backing },
    { .name = "snapshot-c", SNAPSHOT, .run = snapshot },
    { .name = "snapshot-c-again", SNAPSHOT, .prepare = with_snapshot, .run = snapshot_again },
    { .name = "snapshot-a", SNAPSHOT, .prepare = with_snapshot, .run = snapshot_apply },
    { .name = "snapshot-d", SNAPSHOT, .prepare = with_snapshot, .run = snapshot_delete },
    { .name = "write-shared", .fits = counts_enough, .prepare = snapshot, .run = write_shared },
    { .name = "resize-grow", ATOMIC, .run = grow },
    { .name = "resize-grow-stale",
      ATOMIC,
      .prepare = stale_tail,
      .run = grow,
      .fits = ends_inside },
    { .name = "resize-preallocated", ATOMIC, .run = grow_preallocated },
    { .name = "resize-shrink", ATOMIC, .run = shrink },
    { .name = "empty", ATOMIC, .run = empty },
    { .name = "empty-with-snapshot", SNAPSHOT, .prepare = with_snapshot, .run = empty },
    { .name = "amend-v3", ATOMIC, .fits = version_2, .run = amend_v3 },
    { .name = "amend-v2", ATOMIC, .fits = can_be_v2, .run = amend_v2 },
    { .name = "amend-lazy", ATOMIC, .fits = version_3, .run = amend_lazy },
    { .name = "amend-refcounts", ATOMIC, .fits = version_3, .run = amend_counts },
};
const size_t verb_scene_count = ARRAY_COUNT(verb_scenes);
