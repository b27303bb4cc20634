/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator's engine, log and faults, and the power cut. See io_sim.h.
 */
#include "io_sim.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "io_sim_internal.h"

#define SECTOR_DEFAULT 512

/* splitmix64: small, and good enough for coins. */
uint64_t sim_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void sim_lock(struct sim_engine *engine)
{
    pthread_mutex_lock(&engine->state_lock);
}

void sim_unlock(struct sim_engine *engine)
{
    pthread_mutex_unlock(&engine->state_lock);
}

static void *must(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

/* --- files from outside ------------------------------------------------------------------- */

struct sim_disk_file *sim_find(struct sim_engine *engine, const char *name)
{
    for (struct sim_disk_file *file = engine->files; file; file = file->next)
        if (file->present && strcmp(file->name, name) == 0)
            return file;
    return NULL;
}

struct sim_disk_file *sim_file_add(struct sim_engine *engine, const char *name, bool durable)
{
    struct sim_disk_file *file = must(calloc(1, sizeof(*file)));

    file->name = must(strdup(name));
    file->inode = engine->files ? engine->files->inode + 1 : 1;
    file->present = true;
    file->durable_present = durable;
    file->next = engine->files;
    engine->files = file;
    return file;
}

static void forget_changes(struct sim_disk_file *file)
{
    for (size_t i = 0; i < file->changes.count; i++)
        free(file->changes.items[i].data);
    sim_change_vec_release(&file->changes);
}

int io_sim_put(struct io_engine *base, const char *name, const void *data, size_t len,
               uint64_t size)
{
    struct sim_engine *engine = sim_engine(base);

    if (size > INT64_MAX || len > size)
        return -EINVAL;
    sim_lock(engine);
    struct sim_disk_file *file = sim_find(engine, name);
    if (!file)
        file = sim_file_add(engine, name, true);
    forget_changes(file);
    store_release(&file->seen);
    store_release(&file->durable);
    if (len > 0)
        store_write(&file->seen, 0, data, len);
    store_resize(&file->seen, size);
    store_copy(&file->durable, &file->seen);
    sim_unlock(engine);
    return 0;
}

bool io_sim_get(struct io_engine *base, const char *name, uint64_t off, void *buf, size_t len)
{
    struct sim_engine *engine = sim_engine(base);

    sim_lock(engine);
    const struct sim_disk_file *file = sim_find(engine, name);
    if (file)
        store_read(&file->seen, off, buf, len);
    sim_unlock(engine);
    return file;
}

uint64_t io_sim_size(struct io_engine *base, const char *name)
{
    struct sim_engine *engine = sim_engine(base);

    sim_lock(engine);
    const struct sim_disk_file *file = sim_find(engine, name);
    const uint64_t size = file ? file->seen.size : UINT64_MAX;
    sim_unlock(engine);
    return size;
}

/* --- log and faults ----------------------------------------------------------------------- */

const struct io_sim_entry *io_sim_log(struct io_engine *base, size_t *count)
{
    *count = sim_engine(base)->log.count;
    return sim_engine(base)->log.items;
}

uint64_t io_sim_operations(struct io_engine *base)
{
    return sim_engine(base)->operations;
}

void io_sim_fault(struct io_engine *base, uint64_t at, enum io_sim_fault_kind kind, bool forever)
{
    struct sim_engine *engine = sim_engine(base);

    sim_lock(engine);
    engine->fault_at = at;
    engine->fault_kind = kind;
    engine->fault_forever = forever;
    sim_unlock(engine);
}

void io_sim_watch(struct io_engine *base,
                  void (*watch)(void *user, const struct io_sim_event *event), void *user)
{
    sim_lock(sim_engine(base));
    sim_engine(base)->watch = watch;
    sim_engine(base)->watch_user = user;
    sim_unlock(sim_engine(base));
}

void io_sim_stop_after(struct io_engine *base, uint64_t operations)
{
    sim_lock(sim_engine(base));
    sim_engine(base)->stop_after = operations;
    sim_unlock(sim_engine(base));
}

/* --- power -------------------------------------------------------------------------------- */

void sim_apply(struct store *store, const struct sim_change *change, uint32_t sector,
               uint64_t *random)
{
    const uint64_t end = change->off + change->len;

    switch (change->op) {
    case IO_SIM_WRITE:
        for (uint64_t at = change->off; at < end && sector;) {
            const uint64_t next = min_u64(align_down(at, sector) + sector, end);
            if (sim_random(random) & 1)
                store_write(store, at, change->data + (at - change->off), (size_t)(next - at));
            at = next;
        }
        if (!sector)
            store_write(store, change->off, change->data, (size_t)change->len);
        return;
    case IO_SIM_ZERO:
        store_zero(store, change->off, change->len);
        store->size = max_u64(store->size, end);
        return;
    case IO_SIM_PUNCH:
        store_zero(store, change->off, change->len);
        return;
    case IO_SIM_ALLOCATE:
        store->size = max_u64(store->size, end);
        return;
    case IO_SIM_TRUNCATE:
        store_resize(store, change->off);
        return;
    default:
        abort(); /* no other operation is a change */
    }
}

/* The next change's fate: index counts them in the order of io_sim_changes(). */
struct fate {
    const struct io_sim_cut *cut;
    uint64_t random;
    uint32_t sector;
    size_t index;
};

static bool survives(struct fate *fate, bool complete)
{
    const size_t index = fate->index++;

    switch (fate->cut->survivors) {
    case IO_SIM_NONE:
        return false;
    case IO_SIM_ALL:
        return complete;
    case IO_SIM_RANDOM:
        return sim_random(&fate->random) & 1;
    case IO_SIM_CHOSEN:
        return fate->cut->survives[index];
    }
    abort();
}

static void meet_fate(struct fate *fate, struct store *store, const struct sim_change *change,
                      bool complete)
{
    const bool torn = fate->cut->torn && (sim_random(&fate->random) & 1);

    if (survives(fate, complete))
        sim_apply(store, change, torn ? fate->sector : 0, &fate->random);
}

/* A name that comes or goes without its directory synced. */
static bool name_survives(const struct sim_disk_file *file, struct fate *fate)
{
    if (file->present == file->durable_present)
        return file->present;
    switch (fate->cut->survivors) {
    case IO_SIM_NONE:
        return file->durable_present;
    case IO_SIM_RANDOM:
        return sim_random(&fate->random) & 1;
    case IO_SIM_ALL:
    case IO_SIM_CHOSEN:
        return file->present;
    }
    abort();
}

/* Writes of @file that are in a queue and have not happened. */
static void writes_under_way(const struct sim_engine *engine, const struct sim_disk_file *file,
                             struct fate *fate, struct store *store)
{
    for (const struct sim_queue *queue = engine->queues; queue; queue = queue->next) {
        for (const struct io_request *r = queue->flight.first; r; r = r->next) {
            if (r->op != IO_WRITE || ((struct sim_file *)r->file)->disk != file)
                continue;
            struct sim_change change = { .op = IO_SIM_WRITE, .off = r->off, .len = r->len };
            change.data = must(malloc(r->len));
            request_gather(r, 0, change.data, r->len);
            meet_fate(fate, store, &change, false);
            free(change.data);
        }
    }
}

static size_t count_under_way(const struct sim_engine *engine, const struct sim_disk_file *file)
{
    size_t count = 0;

    for (const struct sim_queue *queue = engine->queues; queue; queue = queue->next)
        for (const struct io_request *r = queue->flight.first; r; r = r->next)
            count += r->op == IO_WRITE && ((struct sim_file *)r->file)->disk == file;
    return count;
}

size_t io_sim_changes(struct io_engine *base)
{
    struct sim_engine *engine = sim_engine(base);
    size_t count = 0;

    sim_lock(engine);
    for (const struct sim_disk_file *file = engine->files; file; file = file->next)
        count += file->changes.count + count_under_way(engine, file);
    sim_unlock(engine);
    return count;
}

static void cut_file(const struct sim_engine *engine, const struct sim_disk_file *file,
                     struct fate *fate, struct sim_engine *after)
{
    struct store left;

    store_copy(&left, &file->durable);
    for (size_t i = 0; i < file->changes.count; i++)
        meet_fate(fate, &left, &file->changes.items[i], true);
    writes_under_way(engine, file, fate, &left);
    if (!name_survives(file, fate)) {
        store_release(&left);
        return;
    }
    struct sim_disk_file *copy = sim_file_add(after, file->name, true);
    copy->durable = left;
    store_copy(&copy->seen, &left);
}

int io_sim_power_cut(struct io_engine *base, const struct io_sim_cut *cut, struct io_engine **after)
{
    struct sim_engine *engine = sim_engine(base);
    struct fate fate = { .cut = cut, .random = cut->seed, .sector = engine->options.sector };

    TRY(io_sim_new(&engine->options, base->workers, after));
    sim_lock(engine);
    for (const struct sim_disk_file *file = engine->files; file; file = file->next)
        cut_file(engine, file, &fate, sim_engine(*after));
    sim_unlock(engine);
    return 0;
}

/* --- the engine --------------------------------------------------------------------------- */

static const char *sim_name(struct io_engine *base, const struct io_queue_profile *profile)
{
    (void)base, (void)profile;
    return "simulator";
}

static void sim_free(struct io_engine *base)
{
    struct sim_engine *engine = sim_engine(base);

    assert(!engine->queues);
    while (engine->files) {
        struct sim_disk_file *file = engine->files;
        assert(!file->openers);
        engine->files = file->next;
        forget_changes(file);
        store_release(&file->seen);
        store_release(&file->durable);
        free(file->name);
        free(file);
    }
    sim_log_vec_release(&engine->log);
    pthread_mutex_destroy(&engine->state_lock);
    free(engine);
}

static const struct io_engine_ops sim_engine_ops = {
    .open = sim_open,
    .queue_new = sim_queue_new,
    .sync_directory = sim_sync_directory,
    .unlink = sim_unlink,
    .name = sim_name,
    .free = sim_free,
};

int io_sim_new(const struct io_sim_options *options, struct workers *workers,
               struct io_engine **out)
{
    struct sim_engine *engine = calloc(1, sizeof(*engine));

    if (!engine)
        return -ENOMEM;
    engine->base.ops = &sim_engine_ops;
    engine->base.workers = workers;
    if (options)
        engine->options = *options;
    if (engine->options.sector == 0)
        engine->options.sector = SECTOR_DEFAULT;
    assert(is_pow2(engine->options.sector));
    engine->random = engine->options.seed;
    engine->stop_after = UINT64_MAX;
    pthread_mutex_init(&engine->state_lock, NULL);
    *out = &engine->base;
    return 0;
}
