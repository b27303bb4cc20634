/* SPDX-License-Identifier: Apache-2.0
 *
 * What libFuzzer asks of us: --write-seeds=DIRECTORY puts the built-in seeds there and ends, and
 * three of four mutations know the format.
 */
#include <stdio.h>
#include <string.h>

#include "fuzz.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t len, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t len, size_t max, unsigned seed);
int LLVMFuzzerInitialize(int *argc, char ***argv);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t len, size_t max, unsigned seed)
{
    const size_t known = seed % 4 ? fuzz_mutate(data, len, max, seed) : 0;

    return known ? known : LLVMFuzzerMutate(data, len, max);
}

static int write_seeds(const char *directory)
{
    uint8_t *seed;
    size_t len;

    for (unsigned i = 0; (seed = fuzz_seed(i, &len)) != NULL; i++) {
        char path[4096];
        (void)snprintf(path, sizeof(path), "%s/seed-%u", directory, i);
        FILE *f = fopen(path, "wb");
        if (!f || fwrite(seed, 1, len, f) != len || fclose(f) != 0) {
            perror(path);
            return 1;
        }
        free(seed);
    }
    return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char option[] = "--write-seeds=";

    for (int i = 1; i < *argc; i++)
        if (strncmp((*argv)[i], option, strlen(option)) == 0)
            exit(write_seeds((*argv)[i] + strlen(option)));
    return 0;
}
