/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator's files: every operation is counted, may meet a fault, changes what readers see,
 * and is kept as a change until a sync covers it.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "checked.h"
#include "io_sim_internal.h"

static struct sim_file *sim_file(struct io_file *file)
{
    return (struct sim_file *)file;
}

/* --- one operation ------------------------------------------------------------------------ */

/* What was asked of the back end, and what became of it. */
struct operation {
    struct sim_engine *engine;
    enum io_sim_op op;
    const char *name;
    uint64_t off, len;
    bool halved; /* a transfer that is to be short */
};

static void record(const struct operation *o, int64_t result)
{
    struct io_sim_entry entry = { .op = o->op, .off = o->off, .len = o->len, .result = result };

    if (o->engine->options.no_log)
        return;
    strncpy(entry.name, o->name, sizeof(entry.name) - 1);
    if (sim_log_vec_push(&o->engine->log, entry) < 0)
        abort();
}

static bool is_transfer(enum io_sim_op op)
{
    return op == IO_SIM_READ || op == IO_SIM_WRITE;
}

static bool takes_space(enum io_sim_op op)
{
    return op == IO_SIM_WRITE || op == IO_SIM_ALLOCATE || op == IO_SIM_CREATE || op == IO_SIM_ZERO;
}

/* What the fault that is set does to this operation: 0, -errno, or -EINTR for once more. */
static int meet_fault(struct sim_engine *engine, struct operation *o)
{
    const bool hit =
        engine->fault_at != 0 && (engine->operations == engine->fault_at ||
                                  (engine->fault_forever && engine->operations > engine->fault_at));

    if (!hit)
        return 0;
    switch (engine->fault_kind) {
    case IO_SIM_EIO:
        return -EIO;
    case IO_SIM_ENOSPC:
        return takes_space(o->op) ? -ENOSPC : 0;
    case IO_SIM_SHORT:
        o->halved = is_transfer(o->op);
        return 0;
    case IO_SIM_EINTR: /* for ever would be an endless loop in a real back end too */
        return engine->operations == engine->fault_at ? -EINTR : 0;
    }
    abort();
}

/* Counts the operation; it fails here where it is to fail before changing anything. */
static int begin(struct operation *o)
{
    struct sim_engine *engine = o->engine;
    int rc;

    for (;;) {
        if (engine->operations >= engine->stop_after) {
            record(o, -EIO);
            engine->operations++;
            return -EIO;
        }
        engine->operations++;
        rc = meet_fault(engine, o);
        if (rc < 0)
            record(o, rc);
        if (rc != -EINTR)
            break;
    }
    if (rc == 0 && is_transfer(o->op) && engine->options.short_in_1000 > 0)
        o->halved |= sim_random(&engine->random) % 1000 < engine->options.short_in_1000;
    return rc;
}

static void tell(struct sim_engine *engine, const struct sim_disk_file *disk,
                 const struct sim_change *change)
{
    const struct io_sim_event event = {
        .op = change->op,
        .name = disk->name,
        .serial = change->serial,
        .off = change->off,
        .len = change->len,
        .data = change->data,
    };

    if (engine->watch)
        engine->watch(engine->watch_user, &event);
}

static void keep_change(struct sim_engine *engine, struct sim_disk_file *disk,
                        struct sim_change change)
{
    change.serial = ++engine->serial;
    tell(engine, disk, &change);
    if (sim_change_vec_push(&disk->changes, change) < 0)
        abort();
}

/* A change without data: begun, done, kept, recorded. */
static int simple_change(struct io_file *base, enum io_sim_op op, struct qimg_range range)
{
    struct sim_file *file = sim_file(base);
    struct sim_engine *engine = sim_engine(base->engine);
    const struct sim_change change = { .op = op, .off = range.off, .len = range.len };
    struct operation o = { engine, op, file->disk->name, range.off, range.len, false };

    if (!base->options.writable)
        return -EBADF;
    sim_lock(engine);
    const int rc = begin(&o);
    if (rc == 0) {
        sim_apply(&file->disk->seen, &change, 0, NULL);
        keep_change(engine, file->disk, change);
        record(&o, 0);
    }
    sim_unlock(engine);
    return rc;
}

/* --- transfers ---------------------------------------------------------------------------- */

static size_t total(const struct iovec *iov, unsigned count)
{
    size_t len = 0;

    for (unsigned i = 0; i < count; i++)
        len += iov[i].iov_len;
    return len;
}

/* O_DIRECT's rules; the callers above are to have kept them. */
static bool misaligned(const struct io_file *file, uint64_t off, const struct iovec *iov,
                       unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!is_aligned((uintptr_t)iov[i].iov_base, file->memory_align) ||
            !is_aligned(iov[i].iov_len, file->request_align))
            return true;
    return !is_aligned(off, file->request_align);
}

static size_t halve(const struct io_file *file, size_t len)
{
    const size_t half = (size_t)align_down(len / 2, file->request_align);

    return half > 0 ? half : len;
}

static ssize_t sim_read(struct io_file *base, uint64_t off, const struct iovec *iov, unsigned count)
{
    struct sim_file *file = sim_file(base);
    struct sim_engine *engine = sim_engine(base->engine);
    const struct store *seen = &file->disk->seen;
    struct operation o = { engine, IO_SIM_READ, file->disk->name, off, total(iov, count), false };

    if (off > INT64_MAX || misaligned(base, off, iov, count))
        return -EINVAL;
    sim_lock(engine);
    const int rc = begin(&o);
    if (rc < 0) {
        sim_unlock(engine);
        return rc;
    }
    size_t left = (size_t)range_clip((struct qimg_range){ off, o.len }, seen->size).len;
    if (o.halved)
        left = halve(base, left);
    const size_t n = left;
    for (unsigned i = 0; i < count && left > 0; i++) {
        const size_t part = (size_t)min_u64(iov[i].iov_len, left);
        store_read(seen, off, iov[i].iov_base, part);
        off += part;
        left -= part;
    }
    record(&o, (int64_t)n);
    sim_unlock(engine);
    return (ssize_t)n;
}

static uint8_t *flatten(const struct iovec *iov, unsigned count, size_t len)
{
    uint8_t *flat = malloc(len > 0 ? len : 1);
    size_t done = 0;

    if (!flat)
        abort();
    for (unsigned i = 0; i < count; i++) {
        if (iov[i].iov_len > 0)
            memcpy(flat + done, iov[i].iov_base, iov[i].iov_len);
        done += iov[i].iov_len;
    }
    return flat;
}

static bool no_space(const struct sim_engine *engine, const struct store *store, uint64_t off,
                     uint64_t len)
{
    size_t pages = 0;

    if (engine->options.space == 0)
        return false;
    for (const struct sim_disk_file *file = engine->files; file; file = file->next)
        pages += file->seen.page_count;
    return (pages + store_missing(store, off, len)) * STORE_PAGE > engine->options.space;
}

static ssize_t write_locked(struct sim_file *file, struct operation *o, const struct iovec *iov,
                            unsigned count)
{
    struct store *seen = &file->disk->seen;
    struct sim_change change = { .op = IO_SIM_WRITE, .off = o->off, .len = o->len };
    int rc = begin(o);

    if (rc == 0 && no_space(o->engine, seen, o->off, o->len)) {
        rc = -ENOSPC;
        record(o, rc);
    }
    if (rc < 0)
        return rc;
    if (o->halved)
        change.len = halve(&file->base, (size_t)o->len);
    change.data = flatten(iov, count, (size_t)o->len);
    sim_apply(seen, &change, 0, NULL);
    keep_change(o->engine, file->disk, change);
    record(o, (int64_t)change.len);
    return (ssize_t)change.len;
}

static int sync_locked(struct sim_file *file, uint64_t serial);

static ssize_t sim_write(struct io_file *base, uint64_t off, const struct iovec *iov,
                         unsigned count)
{
    struct sim_file *file = sim_file(base);
    struct sim_engine *engine = sim_engine(base->engine);
    struct operation o = { engine, IO_SIM_WRITE, file->disk->name, off, total(iov, count), false };
    uint64_t end;

    if (!base->options.writable)
        return -EBADF;
    if (!add_fits(off, o.len, &end) || end > INT64_MAX)
        return -EFBIG;
    if (misaligned(base, off, iov, count))
        return -EINVAL;
    sim_lock(engine);
    const ssize_t n = write_locked(file, &o, iov, count);
    /* More durable than asked: what the file had before goes along. */
    if (n > 0 && base->options.write_through)
        (void)sync_locked(file, engine->serial);
    sim_unlock(engine);
    return n;
}

/* --- the rest of a file's calls ----------------------------------------------------------- */

static int sim_zero(struct io_file *file, struct qimg_range range, bool may_unmap)
{
    (void)may_unmap;
    return simple_change(file, IO_SIM_ZERO, range);
}

static int sim_punch(struct io_file *file, struct qimg_range range)
{
    return simple_change(file, IO_SIM_PUNCH, range);
}

static int sim_allocate(struct io_file *file, struct qimg_range range)
{
    return simple_change(file, IO_SIM_ALLOCATE, range);
}

static int sim_truncate(struct io_file *file, uint64_t size)
{
    if (size > INT64_MAX)
        return -EFBIG;
    return simple_change(file, IO_SIM_TRUNCATE, (struct qimg_range){ size, 0 });
}

/* Moves the changes up to @serial to the disk. */
static int sync_locked(struct sim_file *file, uint64_t serial)
{
    struct sim_disk_file *disk = file->disk;
    size_t covered = 0;

    tell(sim_engine(file->base.engine), disk,
         &(struct sim_change){ .op = IO_SIM_SYNC, .serial = serial });
    while (covered < disk->changes.count && disk->changes.items[covered].serial <= serial) {
        sim_apply(&disk->durable, &disk->changes.items[covered], 0, NULL);
        free(disk->changes.items[covered].data);
        covered++;
    }
    disk->changes.count -= covered;
    if (covered > 0)
        memmove(disk->changes.items, disk->changes.items + covered,
                disk->changes.count * sizeof(disk->changes.items[0]));
    return 0;
}

int sim_sync_at(struct sim_file *file, uint64_t serial)
{
    struct sim_engine *engine = sim_engine(file->base.engine);
    struct operation o = { engine, IO_SIM_SYNC, file->disk->name, 0, 0, false };

    sim_lock(engine);
    int rc = begin(&o);
    if (rc == 0) {
        rc = sync_locked(file, serial);
        record(&o, rc);
    }
    sim_unlock(engine);
    return rc;
}

static int sim_sync(struct io_file *base)
{
    struct sim_engine *engine = sim_engine(base->engine);

    sim_lock(engine);
    const uint64_t now = engine->serial;
    sim_unlock(engine);
    return sim_sync_at(sim_file(base), now);
}

static int sim_stat(struct io_file *base, struct io_stat *out)
{
    struct sim_engine *engine = sim_engine(base->engine);
    const struct store *seen = &sim_file(base)->disk->seen;

    sim_lock(engine);
    out->size = seen->size;
    out->allocated = (uint64_t)seen->page_count * STORE_PAGE;
    sim_unlock(engine);
    return 0;
}

static int sim_extents(struct io_file *base, uint64_t off, struct io_extent *out)
{
    struct sim_engine *engine = sim_engine(base->engine);
    const struct store *seen = &sim_file(base)->disk->seen;
    uint64_t end;
    int rc = -EINVAL;

    sim_lock(engine);
    if (off < seen->size) {
        out->off = off;
        out->data = store_extent(seen, off, &end);
        out->len = end - off;
        rc = 0;
    }
    sim_unlock(engine);
    return rc;
}

/* Bits that other openers use, or deny. */
static struct io_lock others(const struct sim_file *file)
{
    struct io_lock all = { 0 };

    for (const struct sim_file *other = file->disk->openers; other; other = other->next) {
        if (other == file)
            continue;
        all.uses |= other->held.uses;
        all.denies |= other->held.denies;
    }
    return all;
}

static enum io_permission lowest(unsigned bits)
{
    return (enum io_permission)(bits & -bits);
}

static int sim_lock_file(struct io_file *base, struct io_lock want,
                         struct io_lock_conflict *conflict)
{
    struct sim_file *file = sim_file(base);
    struct sim_engine *engine = sim_engine(base->engine);
    int rc = -EAGAIN;

    sim_lock(engine);
    const struct io_lock other = others(file);
    if (want.uses & other.denies) {
        *conflict = (struct io_lock_conflict){ .permission = lowest(want.uses & other.denies) };
    } else if (want.denies & other.uses) {
        *conflict = (struct io_lock_conflict){ .permission = lowest(want.denies & other.uses),
                                               .shared = true };
    } else {
        file->held = want;
        rc = 0;
    }
    sim_unlock(engine);
    return rc;
}

static void sim_close(struct io_file *base)
{
    struct sim_file *file = sim_file(base);
    struct sim_engine *engine = sim_engine(base->engine);

    sim_lock(engine);
    struct sim_file **at = &file->disk->openers;
    while (*at != file)
        at = &(*at)->next;
    *at = file->next;
    sim_unlock(engine);
    io_file_base_release(base);
    free(file);
}

static const struct io_file_ops sim_file_ops = {
    .read = sim_read,
    .write = sim_write,
    .zero = sim_zero,
    .punch = sim_punch,
    .truncate = sim_truncate,
    .sync = sim_sync,
    .stat = sim_stat,
    .extents = sim_extents,
    .lock = sim_lock_file,
    .allocate = sim_allocate,
    .close = sim_close,
};

/* --- names -------------------------------------------------------------------------------- */

static int find_or_create(struct sim_engine *engine, const char *name, bool create,
                          struct sim_disk_file **out)
{
    struct operation o = { engine, IO_SIM_CREATE, name, 0, 0, false };

    *out = sim_find(engine, name);
    if (*out)
        return 0;
    if (!create)
        return -ENOENT;
    TRY(begin(&o));
    *out = sim_file_add(engine, name, false);
    record(&o, 0);
    return 1;
}

int sim_open(struct io_engine *base, const char *name, const struct io_open_options *options,
             struct io_file **out)
{
    struct sim_engine *engine = sim_engine(base);
    struct sim_file *file = calloc(1, sizeof(*file));

    if (!file)
        return -ENOMEM;
    sim_lock(engine);
    const int rc = find_or_create(engine, name, options->create, &file->disk);
    if (rc < 0) {
        sim_unlock(engine);
        free(file);
        return rc;
    }
    io_file_base_init(&file->base, base, &sim_file_ops, options);
    file->base.device = 1;
    file->base.inode = file->disk->inode;
    file->base.created = rc > 0;
    if (options->direct && engine->options.request_align > 0)
        file->base.request_align = engine->options.request_align;
    if (options->direct && engine->options.memory_align > 0)
        file->base.memory_align = engine->options.memory_align;
    file->next = file->disk->openers;
    file->disk->openers = file;
    sim_unlock(engine);
    *out = &file->base;
    return 0;
}

int sim_unlink(struct io_engine *base, const char *name)
{
    struct sim_engine *engine = sim_engine(base);
    struct operation o = { engine, IO_SIM_UNLINK, name, 0, 0, false };

    sim_lock(engine);
    int rc = begin(&o);
    if (rc == 0) {
        struct sim_disk_file *file = sim_find(engine, name);
        if (file)
            file->present = false;
        rc = file ? 0 : -ENOENT;
        record(&o, rc);
    }
    sim_unlock(engine);
    return rc;
}

/* There is one directory: all names become durable as they are. */
int sim_sync_directory(struct io_engine *base, const char *name)
{
    struct sim_engine *engine = sim_engine(base);
    struct operation o = { engine, IO_SIM_SYNC_DIRECTORY, name, 0, 0, false };

    sim_lock(engine);
    const int rc = begin(&o);
    if (rc == 0) {
        for (struct sim_disk_file *file = engine->files; file; file = file->next)
            file->durable_present = file->present;
        record(&o, 0);
    }
    sim_unlock(engine);
    return rc;
}
