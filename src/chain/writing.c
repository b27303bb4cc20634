/* SPDX-License-Identifier: Apache-2.0 */
#include "writing.h"

#include <assert.h>
#include <stdlib.h>

#include "bits.h"

/* So much is worth a call, and the disk is busy with it for a while. */
#define WRITE_BACK_STEP (32 * MiB)

static uint64_t stamp(void *user)
{
    return pins_stamp(user);
}

static bool passed(void *user, uint64_t at)
{
    return pins_passed(user, at);
}

int chain_writing_new(struct chain_writing **out)
{
    pthread_mutexattr_t recursive;
    struct chain_writing *writing = calloc(1, sizeof(*writing));
    if (!writing)
        return -ENOMEM;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&writing->lock, &recursive);
    pthread_mutexattr_destroy(&recursive);
    pthread_cond_init(&writing->changed, NULL);
    pins_init(&writing->pins);
    writing->read_pins =
        (struct read_pins){ .user = &writing->pins, .stamp = stamp, .passed = passed };
    *out = writing;
    return 0;
}

void chain_writing_free(struct chain_writing *writing)
{
    if (!writing)
        return;
    pthread_cond_destroy(&writing->changed);
    pthread_mutex_destroy(&writing->lock);
    free(writing);
}

void chain_lock(struct qimg_image *image)
{
    if (image->writing)
        pthread_mutex_lock(&image->writing->lock);
}

void chain_unlock(struct qimg_image *image)
{
    if (image->writing)
        pthread_mutex_unlock(&image->writing->lock);
}

int chain_writing_begin(struct qimg_image *image, struct qimg_error *err)
{
    struct image *top = image->layers[0].image;
    if (top->writing)
        return 0;
    if (!image->options.writable || image->options.info_only)
        return qimg_fail(err, EACCES, "Block node is read-only");
    if (!image->writing)
        return qimg_fail(err, ENOTSUP, "Block format '%s' does not support writing",
                         top->ops->name);
    if (image->snapshot_selected)
        return qimg_fail(err, EACCES, "an internal snapshot cannot be written");
    top->pins = &image->writing->read_pins;
    TRY(top->ops->write->begin(top, err));
    top->writing = true;
    return 0;
}

int chain_writing_end(struct qimg_image *image, struct qimg_error *err)
{
    struct image *top = image->layer_count > 0 ? image->layers[0].image : NULL;
    if (!top || !top->writing)
        return 0;
    chain_lock(image);
    const int rc = top->ops->write->end(top, err);
    top->writing = false;
    chain_unlock(image);
    return rc;
}

void chain_writing_abandon(struct qimg_image *image)
{
    image->layers[0].image->writing = false; /* closing the format frees the rest */
}

void chain_writing_changed(struct qimg_image *image)
{
    struct chain_writing *writing = image->writing;
    atomic_fetch_add(&writing->changes, 1);
    if (writing->waiting > 0)
        pthread_cond_broadcast(&writing->changed);
}

bool chain_writing_moved(struct qimg_image *image, uint64_t len)
{
    struct chain_writing *writing = image->writing;

    writing->moved += len;
    if (writing->moved < WRITE_BACK_STEP)
        return false;
    writing->moved = 0;
    return true;
}

void chain_writing_wait(struct qimg_image *image, uint64_t seen)
{
    struct chain_writing *writing = image->writing;
    pthread_mutex_lock(&writing->lock);
    writing->waiting++;
    while (atomic_load(&writing->changes) == seen)
        pthread_cond_wait(&writing->changed, &writing->lock);
    writing->waiting--;
    pthread_mutex_unlock(&writing->lock);
}

uint64_t chain_writing_changes(const struct qimg_image *image)
{
    return atomic_load(&image->writing->changes);
}
