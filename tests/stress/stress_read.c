/* SPDX-License-Identifier: Apache-2.0
 *
 * Several threads read one chain at once, each in its own way, under a map budget so small that
 * windows come and go beneath them. Every byte is checked. A plain main() for ThreadSanitizer.
 */
#include <err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "build_qcow2.h"
#include "qimg/image.h"
#include "scratch.h"

#define LAYERS   6u
#define SIZE     (4 * MiB)
#define CLUSTER  4096u
#define CLUSTERS (SIZE / CLUSTER)
#define THREADS  6u
#define ROUNDS   400u

static uint8_t expected[SIZE];

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Layer @i has every cluster whose number is @i modulo LAYERS + 1; the rest is nobody's. */
static void make_layer(const char *dir, unsigned i)
{
    static struct build_cluster clusters[CLUSTERS];
    size_t count = 0;
    for (uint64_t c = i; c < CLUSTERS; c += LAYERS + 1) {
        const uint8_t fill = (uint8_t)(1 + c % 251);
        clusters[count++] = (struct build_cluster){ .index = c, .fill = fill };
        memset(expected + c * CLUSTER, fill, CLUSTER);
    }
    const struct build_extension format = { .type = 0xe2792aca, .data = "qcow2", .len = 5 };
    char path[256], backing[16];
    snprintf(path, sizeof(path), "%s/%u", dir, i);
    snprintf(backing, sizeof(backing), "%u", i + 1);
    build_qcow2_file(&(struct build_qcow2){ .size = SIZE,
                                            .cluster_bits = 12,
                                            .backing_name = i + 1 < LAYERS ? backing : NULL,
                                            .extensions = &format,
                                            .extension_count = i + 1 < LAYERS,
                                            .clusters = clusters,
                                            .cluster_count = count },
                     path);
}

static void check(uint64_t off, const uint8_t *buf, size_t len)
{
    if (memcmp(buf, expected + off, len) != 0)
        errx(1, "wrong bytes at %llu", (unsigned long long)off);
}

static void read_alone(struct qimg_image *image, uint32_t seed)
{
    uint8_t *buf = malloc(64 * KiB);
    struct qimg_error error;
    for (unsigned i = 0; buf && i < ROUNDS; i++) {
        const size_t len = 1 + next_random(&seed) % (64 * KiB);
        const uint64_t off = next_random(&seed) % (SIZE - len);
        if (qimg_image_read(image, off, buf, len, &error) < 0)
            errx(1, "%s", error.text);
        check(off, buf, len);
    }
    free(buf);
}

static void read_in_batches(struct qimg_image *image, uint32_t seed)
{
    enum { DEPTH = 16, LEN = 4096 };
    uint8_t *buf = malloc((size_t)DEPTH * LEN);
    uint64_t offs[DEPTH];
    struct qimg_completion done[DEPTH];
    struct qimg_queue *queue = NULL;
    struct qimg_error error;
    if (!buf || qimg_queue_new(image, DEPTH, &queue, &error) < 0)
        errx(1, "no queue");
    for (unsigned i = 0; i < ROUNDS / 4; i++) {
        for (size_t k = 0; k < DEPTH; k++) {
            offs[k] = next_random(&seed) % (SIZE - LEN);
            if (qimg_queue_read(queue, offs[k], buf + k * LEN, LEN, &offs[k]) < 0)
                errx(1, "not staged");
        }
        for (int left = DEPTH; left > 0;) {
            const int got = qimg_queue_wait(queue, done, DEPTH, 1);
            for (int k = 0; k < got; k++) {
                const size_t slot = (size_t)((uint64_t *)done[k].tag - offs);
                if (done[k].result < 0)
                    errx(1, "read failed: %d", done[k].result);
                check(offs[slot], buf + slot * LEN, LEN);
            }
            left -= got;
        }
    }
    qimg_queue_free(queue);
    free(buf);
}

struct reader_thread {
    pthread_t thread;
    struct qimg_image *image;
    unsigned number;
};

static void *run_reader(void *arg)
{
    const struct reader_thread *reader = arg;
    if (reader->number % 2)
        read_alone(reader->image, reader->number);
    else
        read_in_batches(reader->image, reader->number);
    return NULL;
}

int main(void)
{
    const struct qimg_context_options options = { .map_budget = 24 * KiB };
    struct reader_thread readers[THREADS];
    struct qimg_context *context = NULL;
    struct qimg_image *image = NULL;
    struct qimg_error error;
    char *dir = scratch_new(), top[256];
    for (unsigned i = 0; i < LAYERS; i++)
        make_layer(dir, i);
    snprintf(top, sizeof(top), "%s/0", dir);
    if (qimg_context_new(&options, &context, &error) < 0 ||
        qimg_image_open(context, top, NULL, &image, &error) < 0)
        errx(1, "%s", error.text);
    for (unsigned i = 0; i < THREADS; i++) {
        readers[i] = (struct reader_thread){ .image = image, .number = i };
        if (pthread_create(&readers[i].thread, NULL, run_reader, &readers[i]) != 0)
            errx(1, "no thread");
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(readers[i].thread, NULL);
    qimg_image_close(image);
    qimg_context_free(context);
    scratch_remove(dir);
    return 0;
}
