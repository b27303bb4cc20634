/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of the simulator among themselves. state_lock guards everything but the queues, each
 * of which belongs to one thread.
 */
#ifndef SUPPORT_IO_SIM_INTERNAL_H
#define SUPPORT_IO_SIM_INTERNAL_H

#include "io_sim.h"
#include "io_sim_store.h"
#include "request.h"
#include "vec.h"

/* A change that no sync has covered yet. */
struct sim_change {
    enum io_sim_op op; /* WRITE, ZERO (also for PUNCH), TRUNCATE, ALLOCATE (grows) */
    uint64_t serial;   /* order of completion over the whole engine */
    uint64_t off, len;
    uint8_t *data; /* WRITE */
};

DEFINE_VEC(sim_change_vec, struct sim_change)
DEFINE_VEC(sim_log_vec, struct io_sim_entry)

struct sim_disk_file {
    struct sim_disk_file *next;
    char *name;
    uint64_t inode;
    struct store seen, durable;
    struct sim_change_vec changes; /* in order of completion: durable + changes = seen */
    bool present, durable_present; /* its name */
    struct sim_file *openers;
};

struct sim_file {
    struct io_file base;
    struct sim_disk_file *disk;
    struct io_lock held;
    struct sim_file *next; /* other openers of the same */
};

struct sim_queue {
    struct io_queue base;
    struct sim_queue *next;     /* other queues of the engine */
    struct request_list staged; /* not submitted, or no room yet */
    struct request_list flight; /* under way: nothing has happened yet */
    struct request_list ready;
    unsigned under_way; /* I/O in flight */
};

struct sim_engine {
    struct io_engine base;
    struct io_sim_options options;
    pthread_mutex_t state_lock;
    uint64_t random;
    uint64_t operations, serial;
    uint64_t stop_after;
    uint64_t fault_at;
    enum io_sim_fault_kind fault_kind;
    bool fault_forever;
    struct sim_disk_file *files;
    struct sim_queue *queues;
    struct sim_log_vec log;
    void (*watch)(void *user, const struct io_sim_event *event); /* NULL = nobody */
    void *watch_user;
};

static inline struct sim_engine *sim_engine(struct io_engine *engine)
{
    return (struct sim_engine *)engine;
}

uint64_t sim_random(uint64_t *state);
void sim_lock(struct sim_engine *engine);
void sim_unlock(struct sim_engine *engine);

/* Makes a file; durable says whether its name is. */
struct sim_disk_file *sim_file_add(struct sim_engine *engine, const char *name, bool durable);

/* Puts one change on a disk; @sector and @random tear a write (0: whole). */
void sim_apply(struct store *store, const struct sim_change *change, uint32_t sector,
               uint64_t *random);

/* A sync of @file that was submitted when @serial changes were complete. */
int sim_sync_at(struct sim_file *file, uint64_t serial);

/* The file of that name as readers see it, or NULL. */
struct sim_disk_file *sim_find(struct sim_engine *engine, const char *name);

int sim_open(struct io_engine *base, const char *name, const struct io_open_options *options,
             struct io_file **out);
int sim_unlink(struct io_engine *base, const char *name);
int sim_sync_directory(struct io_engine *base, const char *name);

int sim_queue_new(struct io_engine *base, const struct io_queue_profile *profile,
                  struct io_queue **out);

#endif
