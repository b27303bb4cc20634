/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "bits.h"
#include "io_sim.h"
#include "raw.h"

Test(raw_create, length_and_storage_are_as_asked)
{
    static const struct {
        enum preallocation mode;
        enum io_sim_op how; /* the operation that reserves the space */
    } cases[] = { { PREALLOC_OFF, IO_SIM_TRUNCATE },
                  { PREALLOC_FALLOC, IO_SIM_ALLOCATE },
                  { PREALLOC_FULL, IO_SIM_WRITE } };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct create_spec spec = { .size = 3 * MiB + 512, .preallocation = cases[i].mode };
        const struct io_open_options how = { .writable = true, .create = true };
        struct io_engine *engine;
        struct io_file *file;
        struct io_stat st;
        struct qimg_error err;
        cr_assert_eq(io_sim_new(NULL, NULL, &engine), 0);
        cr_assert_eq(io_file_open(engine, "r", &how, &file), 0);
        cr_assert_eq(raw_create(file, NULL, &spec, &err), 0, "mode %zu: %s", i, err.text);
        cr_assert_eq(io_stat(file, &st), 0);
        cr_expect_eq(st.size, spec.size, "mode %zu", i);
        bool reserved = false;
        size_t count;
        const struct io_sim_entry *log = io_sim_log(engine, &count);
        for (size_t k = 0; k < count; k++)
            reserved = reserved || log[k].op == cases[i].how;
        cr_expect(reserved, "mode %zu", i);
        cr_expect_eq(log[count - 1].op, IO_SIM_TRUNCATE, "the length comes last: mode %zu", i);
        io_file_close(file);
        io_engine_free(engine);
    }
}

Test(raw_create, a_failure_is_reported_whatever_operation_it_meets)
{
    const struct create_spec spec = { .size = MiB, .preallocation = PREALLOC_FULL };

    for (uint64_t n = 1;; n++) {
        const struct io_open_options how = { .writable = true, .create = true };
        struct io_engine *engine;
        struct io_file *file;
        struct qimg_error err;
        cr_assert_eq(io_sim_new(NULL, NULL, &engine), 0);
        cr_assert_eq(io_file_open(engine, "r", &how, &file), 0);
        const uint64_t at = io_sim_operations(engine) + n;
        io_sim_fault(engine, at, IO_SIM_EIO, false);
        const int rc = raw_create(file, NULL, &spec, &err);
        const bool met = io_sim_operations(engine) >= at;
        cr_expect_eq(rc, met ? -EIO : 0, "operation %lu: %d", (unsigned long)n, rc);
        io_file_close(file);
        io_engine_free(engine);
        if (!met)
            return;
    }
}

Test(raw_create, a_device_is_long_enough_and_no_longer_looks_like_another_format)
{
    static const struct {
        uint64_t size;
        int rc;
        uint8_t first; /* byte of the device afterwards */
    } cases[] = { { 4096, 0, 0 }, { 8192, 0, 0 }, { 8193, -EINVAL, 'Q' } };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct create_spec spec = { .size = cases[i].size };
        const struct io_open_options how = { .writable = true, .create = true };
        uint8_t bytes[8192];
        struct io_engine *engine;
        struct io_file *file;
        struct qimg_error err;
        memset(bytes, 'Q', sizeof(bytes));
        cr_assert_eq(io_sim_new(NULL, NULL, &engine), 0);
        cr_assert_eq(io_file_open(engine, "r", &how, &file), 0);
        cr_assert_eq(io_write_exact(file, 0, bytes, sizeof(bytes)), 0);
        file->is_device = true;
        cr_expect_eq(raw_create(file, NULL, &spec, &err), cases[i].rc, "case %zu", i);
        cr_assert_eq(io_read_exact(file, 0, bytes, sizeof(bytes), NULL), 0);
        cr_expect_eq(bytes[0], cases[i].first, "case %zu", i);
        cr_expect_eq(bytes[511], cases[i].first, "case %zu", i);
        cr_expect_eq(bytes[512], 'Q', "case %zu", i);
        io_file_close(file);
        io_engine_free(engine);
    }
}
