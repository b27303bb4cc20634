/* SPDX-License-Identifier: Apache-2.0 */
#include "packers.h"

#include <pthread.h>
#include <stdlib.h>

#include "vec.h"

DEFINE_VEC(packer_vec, struct codec_packer *)

struct packers {
    pthread_mutex_t lock;
    struct packer_vec idle;
    enum codec codec;
    unsigned level;
};

static int take(struct packers *packers, struct codec_packer **out)
{
    struct codec_packer *packer = NULL;

    pthread_mutex_lock(&packers->lock);
    if (packers->idle.count > 0)
        packer = packers->idle.items[--packers->idle.count];
    pthread_mutex_unlock(&packers->lock);
    *out = packer;
    return packer ? 0 : codec_packer_new(packers->codec, packers->level, out);
}

static void give_back(struct packers *packers, struct codec_packer *packer)
{
    pthread_mutex_lock(&packers->lock);
    const int rc = packer_vec_push(&packers->idle, packer);
    pthread_mutex_unlock(&packers->lock);
    if (rc < 0)
        codec_packer_free(packer);
}

ssize_t packers_pack(struct packers *packers, const uint8_t *in, size_t len, uint8_t *out,
                     size_t room)
{
    struct codec_packer *packer;

    TRY(take(packers, &packer));
    const ssize_t got = codec_packer_pack(packer, in, len, out, room);
    give_back(packers, packer);
    return got;
}

int packers_new(enum codec codec, unsigned level, struct packers **out)
{
    struct packers *packers = calloc(1, sizeof(*packers));
    struct codec_packer *first;

    if (!packers)
        return -ENOMEM;
    pthread_mutex_init(&packers->lock, NULL);
    packers->codec = codec;
    packers->level = level;
    const int rc = take(packers, &first);
    if (rc < 0) {
        packers_free(packers);
        return rc;
    }
    give_back(packers, first);
    *out = packers;
    return 0;
}

void packers_free(struct packers *packers)
{
    if (!packers)
        return;
    for (size_t i = 0; i < packers->idle.count; i++)
        codec_packer_free(packers->idle.items[i]);
    packer_vec_release(&packers->idle);
    pthread_mutex_destroy(&packers->lock);
    free(packers);
}
