/* SPDX-License-Identifier: Apache-2.0
 *
 * Crafts qcow2 chains for the benchmarks, in one pass and without any image tool: 512 overlays
 * are there in seconds. Guest clusters are dealt out by a seeded generator, so that the same
 * arguments give the same files. Layout of each: header, refcount table, refcount blocks, L1,
 * L2 tables, data; version 3, 64 KiB clusters, 16-bit refcounts, all counts right.
 *
 *     make_image PREFIX DEPTH SIZE_MIB CLUSTERS [sparse] [seed=N] [backing=NAME]
 *
 * writes PREFIX0.qcow2 (the base) to PREFIX<DEPTH-1>.qcow2 (the top); CLUSTERS is how many guest
 * clusters have data, over all layers together. sparse: data clusters are holes in the files
 * (for map, which does not read them). backing: what the base itself lies on, a qcow2 image.
 */
#include <endian.h>
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLUSTER_BITS 16
#define CLUSTER      (UINT64_C(1) << CLUSTER_BITS)
#define L2_ENTRIES   (CLUSTER / 8)
#define COPIED       (UINT64_C(1) << 63)

struct plan {
    const char *prefix;
    unsigned depth;
    uint64_t guest_clusters;
    uint64_t data_clusters;
    bool sparse;
    uint64_t seed;
    const char *backing;
};

struct image {
    int fd;
    uint64_t l1_off, l1_entries;
    uint64_t *l1;  /* host offsets of L2 tables; 0 = none */
    uint64_t **l2; /* host offsets of data, native order; NULL = none */
    uint64_t next; /* first free host offset */
};

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void *must(void *memory)
{
    if (!memory)
        err(1, "memory");
    return memory;
}

static void put(const struct image *image, const void *bytes, size_t len, uint64_t off)
{
    if (pwrite(image->fd, bytes, len, (off_t)off) != (ssize_t)len)
        err(1, "write");
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
    v = htobe32(v);
    memcpy(p, &v, sizeof(v));
    return p + sizeof(v);
}

static uint8_t *put64(uint8_t *p, uint64_t v)
{
    v = htobe64(v);
    memcpy(p, &v, sizeof(v));
    return p + sizeof(v);
}

static void put_table(const struct image *image, const uint64_t *words, size_t count, uint64_t flag,
                      uint64_t off)
{
    uint8_t *raw = must(calloc(count, 8));

    for (size_t i = 0; i < count; i++)
        (void)put64(raw + 8 * i, words[i] ? words[i] | flag : 0);
    put(image, raw, count * 8, off);
    free(raw);
}

static uint64_t cluster_up(uint64_t bytes)
{
    return (bytes + CLUSTER - 1) & ~(CLUSTER - 1);
}

static void put_header(const struct image *image, uint64_t size, const char *backing)
{
    uint8_t raw[4096] = { 0 };
    uint8_t *p = raw;

    p = put32(p, 0x514649fb);
    p = put32(p, 3);
    p = put64(p, backing ? 1024 : 0);
    p = put32(p, backing ? (uint32_t)strlen(backing) : 0);
    p = put32(p, CLUSTER_BITS);
    p = put64(p, size);
    p = put32(p, 0);
    p = put32(p, (uint32_t)image->l1_entries);
    p = put64(p, image->l1_off);
    p = put64(p, CLUSTER); /* refcount table */
    p = put32(p, 1);
    p = put32(p, 0);
    p = put64(p, 0);
    p = put64(p, 0); /* features: none */
    p = put64(p, 0);
    p = put64(p, 0);
    p = put32(p, 4);
    p = put32(p, 104);
    if (backing) {
        p = put32(p, 0xe2792aca);
        p = put32(p, 5);
        memcpy(p, "qcow2", 5);
        memcpy(raw + 1024, backing, strlen(backing));
    }
    put(image, raw, sizeof(raw), 0);
}

/* Every cluster up to the end of the file is used once. */
static void put_refcounts(const struct image *image)
{
    const uint64_t used = image->next >> CLUSTER_BITS, per_block = CLUSTER / 2;
    const uint64_t blocks = (used + per_block - 1) / per_block;
    uint64_t *table = must(calloc(blocks, 8));
    uint16_t *counts = must(calloc(per_block, 2));

    for (uint64_t b = 0; b < blocks; b++) {
        table[b] = 2 * CLUSTER + b * CLUSTER;
        for (uint64_t i = 0; i < per_block; i++)
            counts[i] = b * per_block + i < used ? htobe16(1) : 0;
        put(image, counts, CLUSTER, table[b]);
    }
    put_table(image, table, blocks, 0, CLUSTER);
    free(table);
    free(counts);
}

/* Refcount blocks for @data clusters and all metadata come right after the table. */
static void image_open(struct image *image, const char *name, const struct plan *plan,
                       uint64_t data)
{
    image->l1_entries = (plan->guest_clusters + L2_ENTRIES - 1) / L2_ENTRIES;
    const uint64_t most = 16 + 2 * image->l1_entries + data;
    const uint64_t blocks = most / (CLUSTER / 2) + 1;

    image->fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (image->fd < 0)
        err(1, "%s", name);
    image->l1 = must(calloc(image->l1_entries, sizeof(*image->l1)));
    image->l2 = must(calloc(image->l1_entries, sizeof(*image->l2)));
    image->l1_off = 2 * CLUSTER + blocks * CLUSTER;
    image->next = image->l1_off + cluster_up(image->l1_entries * 8);
}

static void image_add(struct image *image, const struct plan *plan, uint64_t guest_cluster,
                      uint64_t *random)
{
    static uint64_t data[CLUSTER / 8];
    const uint64_t i = guest_cluster / L2_ENTRIES;

    if (!image->l2[i]) {
        image->l2[i] = must(calloc(L2_ENTRIES, sizeof(uint64_t)));
        image->l1[i] = image->next;
        image->next += CLUSTER;
    }
    image->l2[i][guest_cluster % L2_ENTRIES] = image->next;
    if (!plan->sparse) {
        for (size_t k = 0; k < CLUSTER / 8; k++)
            data[k] = random_next(random);
        put(image, data, sizeof(data), image->next);
    }
    image->next += CLUSTER;
}

static void image_close(struct image *image, const struct plan *plan, const char *backing)
{
    for (uint64_t i = 0; i < image->l1_entries; i++) {
        if (image->l2[i])
            put_table(image, image->l2[i], L2_ENTRIES, COPIED, image->l1[i]);
        free(image->l2[i]);
    }
    put_table(image, image->l1, image->l1_entries, COPIED, image->l1_off);
    put_refcounts(image);
    put_header(image, plan->guest_clusters << CLUSTER_BITS, backing);
    if (ftruncate(image->fd, (off_t)image->next) < 0 || close(image->fd) < 0)
        err(1, "image");
    free(image->l1);
    free(image->l2);
}

/* Which guest clusters have data, in the order in which the layers get them. */
static uint64_t *deal(const struct plan *plan, uint64_t *random)
{
    uint64_t *all = must(calloc(plan->guest_clusters, sizeof(*all)));

    for (uint64_t i = 0; i < plan->guest_clusters; i++)
        all[i] = i;
    for (uint64_t i = 0; i < plan->data_clusters; i++) {
        const uint64_t k = i + random_next(random) % (plan->guest_clusters - i);
        const uint64_t swap = all[i];
        all[i] = all[k];
        all[k] = swap;
    }
    return all;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    if (argc < 5)
        errx(2,
             "usage: make_image PREFIX DEPTH SIZE_MIB CLUSTERS [sparse] [seed=N] [backing=NAME]");
    struct plan plan = {
        .prefix = argv[1],
        .depth = (unsigned)strtoul(argv[2], NULL, 0),
        .guest_clusters = strtoull(argv[3], NULL, 0) << 20 >> CLUSTER_BITS,
        .data_clusters = strtoull(argv[4], NULL, 0),
        .seed = 88172645463325252u,
    };
    for (int i = 5; i < argc; i++) {
        plan.sparse |= strcmp(argv[i], "sparse") == 0;
        if (strncmp(argv[i], "seed=", 5) == 0)
            plan.seed += strtoull(argv[i] + 5, NULL, 0);
        if (strncmp(argv[i], "backing=", 8) == 0)
            plan.backing = argv[i] + 8;
    }
    if (plan.depth == 0 || plan.data_clusters > plan.guest_clusters)
        errx(2, "nothing to make");

    uint64_t random = plan.seed, done = 0;
    uint64_t *order = deal(&plan, &random);
    char name[4096], backing[4096] = "";

    for (unsigned layer = 0; layer < plan.depth; layer++) {
        struct image image;
        const uint64_t end = plan.data_clusters * (layer + 1) / plan.depth;
        const char *slash = strrchr(plan.prefix, '/');

        (void)snprintf(name, sizeof(name), "%s%u.qcow2", plan.prefix, layer);
        image_open(&image, name, &plan, end - done);
        qsort(order + done, end - done, sizeof(*order), by_number);
        for (; done < end; done++)
            image_add(&image, &plan, order[done], &random);
        image_close(&image, &plan, layer ? backing : plan.backing);
        (void)snprintf(backing, sizeof(backing), "%s%u.qcow2", slash ? slash + 1 : plan.prefix,
                       layer);
    }
    free(order);
    return 0;
}
