/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "engines.h"

#define LEN ((size_t)1 << 20)

static uint64_t uncached(struct io_file *file)
{
    uint64_t cached = 77;
    cr_assert_eq(io_uncache(file, &cached), 0);
    return cached;
}

Test(uncache, the_page_cache_has_nothing_of_the_file_afterwards)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        const struct engine_case *c = rig.c;
        uint8_t *bytes = malloc(LEN), *again = malloc(LEN);
        struct statfs fs;

        struct io_file *file = rig_create(&rig, "a");
        fill_pattern(bytes, LEN, 3);
        cr_assert_eq(io_write_exact(file, 0, bytes, LEN), 0);
        const bool memory = !c->simulated && statfs(rig.dir, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
        cr_assert_eq(uncached(file), memory ? LEN : 0, "%s", c->name);
        if (!memory)
            cr_assert_eq(io_read_cached(file, 0, again, LEN), -EAGAIN, "%s", c->name);
        cr_assert_eq(io_read_exact(file, 0, again, LEN, NULL), 0);
        cr_assert_arr_eq(again, bytes, LEN);
        io_file_close(file);
        free(bytes);
        free(again);
    }
}

/* Pages that a process has mapped and touched are not given up. */
Test(uncache, what_stays_is_told)
{
    const long page = sysconf(_SC_PAGESIZE);
    uint8_t *bytes = calloc(1, LEN);
    struct rig rig;

    rig_real(&rig, IO_ENGINE_THREADS);
    struct io_file *file = rig_create(&rig, "a");
    cr_assert_eq(io_write_exact(file, 0, bytes, LEN), 0);
    FILE *mapped = fopen(rig_path(&rig, "a"), "rb");
    const volatile uint8_t *at =
        mmap(NULL, LEN, PROT_READ, MAP_SHARED | MAP_POPULATE, fileno(mapped), 0);
    cr_assert(at != MAP_FAILED && at[5 * page] == 0);
    const uint64_t cached = uncached(file);
    cr_assert(cached >= (uint64_t)page && cached <= LEN);
    munmap((void *)(uintptr_t)at, LEN);
    (void)fclose(mapped);
    io_file_close(file);
    rig_teardown(&rig);
    free(bytes);
}
