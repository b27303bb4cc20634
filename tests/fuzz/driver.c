/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a fuzzer without libFuzzer, and without knowing what it covers:
 *
 *     fuzz_x [--once | --seconds N --seed S] [--keep FILE] [FILE...]
 *
 * The files are old findings; they and the built-in seeds run first. Then, but for --once, changed
 * ones do: so many of each, always the same, or until the time is over. The input that is being
 * run stands in --keep's file, so that a crash leaves it there.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

#define RUNS_OF_EACH   400 /* without --seconds, ... */
#define LONGEST        4   /* ... and no longer than this */
#define SECONDS_OF_ONE 120 /* on a busy machine, under sanitizers: more is a hang */
#define MAX_LEN        131072
#define MAX_INPUTS     1024

static struct input {
    uint8_t *bytes; /* owned */
    size_t len;
} inputs[MAX_INPUTS];
static unsigned input_count;

static uint8_t *kept; /* mapped: its length in 8 bytes, then the input; NULL = not asked for */

/* --- one run --------------------------------------------------------------------------------- */

/* In an exact allocation, so that a sanitizer sees a read one byte too far. */
static void run(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);

    require(copy != NULL);
    if (len)
        memcpy(copy, bytes, len);
    if (kept) {
        memcpy(kept, &len, sizeof(len));
        memcpy(kept + sizeof(len), copy, len);
    }
    alarm(SECONDS_OF_ONE);
    LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

/* One to four bytes, half of them among the first. */
static size_t mutate_bytes(uint8_t *bytes, size_t len, uint64_t *state)
{
    static const uint8_t telling[] = { 0, 1, 0x7f, 0x80, 0xff };
    const uint64_t changes = 1 + fuzz_below(state, 4);

    if (len == 0)
        return 0;
    for (uint64_t i = 0; i < changes; i++) {
        const size_t reach = fuzz_below(state, 2) && len > 256 ? 256 : len;
        bytes[fuzz_below(state, reach)] = fuzz_below(state, 2)
                                              ? telling[fuzz_below(state, sizeof(telling))]
                                              : (uint8_t)fuzz_random(state);
    }
    return fuzz_below(state, 8) == 0 ? fuzz_below(state, len + 1) : len;
}

static void run_changed(const struct input *input, uint64_t *state)
{
    static uint8_t bytes[MAX_LEN];
    size_t len = 0;

    memcpy(bytes, input->bytes, input->len);
    if (fuzz_below(state, 4))
        len = fuzz_mutate(bytes, input->len, sizeof(bytes), fuzz_random(state));
    if (len == 0)
        len = mutate_bytes(bytes, input->len, state);
    run(bytes, len);
}

/* --- inputs ---------------------------------------------------------------------------------- */

static void add_input(uint8_t *bytes, size_t len)
{
    require(input_count < MAX_INPUTS && len <= MAX_LEN);
    inputs[input_count++] = (struct input){ bytes, len };
}

static void add_seeds(void)
{
    uint8_t *bytes;
    size_t len;

    for (unsigned i = 0; (bytes = fuzz_seed(i, &len)) != NULL; i++)
        add_input(bytes, len);
}

static int add_file(const char *path)
{
    uint8_t *bytes = malloc(MAX_LEN);
    FILE *f = fopen(path, "rb");

    if (!f) {
        perror(path);
        free(bytes);
        return 1;
    }
    require(bytes != NULL);
    add_input(bytes, fread(bytes, 1, MAX_LEN, f));
    fclose(f);
    return 0;
}

static int keep_in(const char *path)
{
    const size_t room = sizeof(size_t) + MAX_LEN;
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (fd < 0 || ftruncate(fd, (off_t)room) < 0) {
        perror(path);
        return 1;
    }
    void *map = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    require(map != MAP_FAILED);
    kept = map;
    return 0;
}

/* --- all runs -------------------------------------------------------------------------------- */

static unsigned long run_all(bool once, unsigned long seconds, uint64_t state)
{
    const unsigned long most = seconds ? ~0UL
                               : once  ? 0
                                       : (unsigned long)input_count * RUNS_OF_EACH;
    const time_t until = time(NULL) + (time_t)(seconds ? seconds : LONGEST);
    unsigned long runs = 1;

    run(NULL, 0);
    for (unsigned i = 0; i < input_count; i++, runs++)
        run(inputs[i].bytes, inputs[i].len);
    for (unsigned long i = 0; i < most && time(NULL) < until; i++, runs++)
        run_changed(&inputs[i % input_count], &state);
    return runs;
}

int main(int argc, char **argv)
{
    unsigned long seconds = 0, seed = 0;
    bool once = false;
    int failed = 0;

    add_seeds();
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--once") == 0)
            once = true;
        else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
            seconds = strtoul(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoul(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--keep") == 0 && i + 1 < argc)
            failed |= keep_in(argv[++i]);
        else
            failed |= add_file(argv[i]);
    }
    if (failed)
        return 1;
    const unsigned long runs = run_all(once, seconds, seed);
    printf("%u inputs, %lu runs, seed %lu\n", input_count, runs, seed);
    for (unsigned i = 0; i < input_count; i++)
        free(inputs[i].bytes);
    return 0;
}
