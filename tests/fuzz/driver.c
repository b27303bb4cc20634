/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a fuzzer without libFuzzer: each file named on the command line, or, without any, the
 * built-in seeds and changes of one to four bytes in them, always the same ones, for at most
 * SECONDS. A crash, a sanitizer's report or a failed assert is the failure.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "build_qcow2.h"
#include "fuzz.h"

#define SECONDS   10
#define MUTATIONS 20000 /* of each seed, time permitting */

/* --- seeds ----------------------------------------------------------------------------------- */

/* 512 bytes of zeros in raw deflate. */
static const uint8_t packed_zeros[] = {
    0x63, 0x60, 0x18, 0x05, 0xa3, 0x60, 0x14, 0x0c, 0x00, 0x00
};

static const struct build_cluster clusters[] = {
    { .index = 0, .count = 3, .fill = 1 },
    { .index = 4, .kind = BUILD_ZERO },
    { .index = 5, .kind = BUILD_ZERO_ALLOC },
    { .index = 6,
      .kind = BUILD_COMPRESSED,
      .packed = packed_zeros,
      .packed_len = sizeof(packed_zeros) },
    { .index = 70, .fill = 2 },
};
static const struct build_cluster plain[] = { { .index = 1 }, { .index = 65 } };
static const struct build_cluster parts[] = {
    { .index = 0, .kind = BUILD_SUBCLUSTERS, .alloc = 0xff, .zero = 0xff00 },
    { .index = 2, .kind = BUILD_ZERO },
};
static const struct build_snapshot snapshots[] = {
    { .id = "1", .name = "first", .clusters = plain, .cluster_count = 2 },
    { .id = "2", .name = "", .no_extra = true },
};
static const struct build_bitmap bitmaps[] = { { .name = "b0", .flags = 2 },
                                               { .name = "longer name", .flags = 1 } };
static const struct build_extension texts[] = { { 0xe2792aca, "raw", 3, false, 0 },
                                                { 0x1234, "unknown", 7, false, 0 } };
static const struct build_extension data_file[] = { { 0x44415441, "d.raw", 5, false, 0 } };

static const struct build_qcow2 seeds[] = {
    { .cluster_bits = 9,
      .size = 64000,
      .clusters = clusters,
      .cluster_count = 5,
      .snapshots = snapshots,
      .snapshot_count = 2,
      .bitmaps = bitmaps,
      .bitmap_count = 2,
      .extensions = texts,
      .extension_count = 2,
      .backing_name = "base.raw" },
    { .version = 2,
      .cluster_bits = 9,
      .size = 40000,
      .clusters = plain,
      .cluster_count = 2,
      .backing_name = "b" },
    { .cluster_bits = 14,
      .size = 100000,
      .extended_l2 = true,
      .zstd = true,
      .clusters = parts,
      .cluster_count = 2,
      .refcount_bits = 1 },
    { .cluster_bits = 9,
      .size = 40000,
      .data_file = true,
      .autoclear = 2,
      .clusters = plain,
      .cluster_count = 2,
      .extensions = data_file,
      .extension_count = 1 },
    { .cluster_bits = 9,
      .size = 4096,
      .incompatible = UINT64_C(1) << 40,
      .extensions = texts,
      .extension_count = 2 },
};

__attribute__((weak)) uint8_t *fuzz_seed(unsigned index, size_t *len)
{
    if (index >= sizeof(seeds) / sizeof(seeds[0]))
        return NULL;
    const struct built built = build_qcow2(&seeds[index]);
    *len = built.len;
    return built.bytes;
}

/* --- runs ------------------------------------------------------------------------------------ */

static uint64_t state = UINT64_C(0x9e3779b97f4a7c15);

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* In an exact allocation, so that a sanitizer sees a read one byte too far. */
static void run_copy(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);

    if (!copy)
        abort();
    if (len)
        memcpy(copy, bytes, len);
    LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

static void mutate(uint8_t *bytes, size_t len)
{
    static const uint8_t telling[] = { 0, 1, 0x7f, 0x80, 0xff };
    const unsigned changes = 1 + next_random() % 4;

    for (unsigned i = 0; i < changes; i++) {
        /* Half of the changes hit the header and its extensions. */
        const size_t reach = next_random() % 2 && len > 256 ? 256 : len;
        const size_t at = next_random() % reach;
        bytes[at] =
            next_random() % 2 ? telling[next_random() % sizeof(telling)] : (uint8_t)next_random();
    }
}

static unsigned run_seed(const uint8_t *seed, size_t len, time_t until)
{
    uint8_t *bytes = malloc(len ? len : 1);
    unsigned runs = 1;

    if (!bytes)
        abort();
    run_copy(seed, len);
    for (; len && runs < MUTATIONS && time(NULL) < until; runs++) {
        memcpy(bytes, seed, len);
        mutate(bytes, len);
        const size_t cut = next_random() % 8 == 0 ? next_random() % (len + 1) : len;
        run_copy(bytes, cut);
    }
    free(bytes);
    return runs;
}

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *bytes = NULL;
    size_t len = 0, n = 0;

    if (!f) {
        perror(path);
        return 1;
    }
    do {
        bytes = realloc(bytes, len + 65536);
        if (!bytes)
            abort();
        n = fread(bytes + len, 1, 65536, f);
        len += n;
    } while (n > 0);
    fclose(f);
    run_copy(bytes, len);
    free(bytes);
    return 0;
}

int main(int argc, char **argv)
{
    int failed = 0;
    size_t len;
    uint8_t *seed;

    for (int i = 1; i < argc; i++)
        failed |= run_file(argv[i]);
    if (argc > 1)
        return failed;
    run_copy((const uint8_t *)"", 0);
    unsigned count = 0, runs = 0;
    while ((seed = fuzz_seed(count, &len)) != NULL) {
        free(seed);
        count++;
    }
    const time_t start = time(NULL);
    for (unsigned i = 0; (seed = fuzz_seed(i, &len)) != NULL; i++) {
        runs += run_seed(seed, len, start + (time_t)(SECONDS * (i + 1) / count));
        free(seed);
    }
    printf("%u seeds, %u runs\n", count, runs);
    return 0;
}
