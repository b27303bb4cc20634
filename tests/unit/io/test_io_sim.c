/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator is what the crash tests believe in: its own promises, one by one.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "io_sim.h"

static struct io_engine *engine;
static struct io_file *file;
static uint8_t block[8192], seen[8192];

static void start(const struct io_sim_options *options)
{
    const struct io_open_options how = { .writable = true, .create = true };

    cr_assert_eq(io_sim_new(options, NULL, &engine), 0);
    cr_assert_eq(io_file_open(engine, "a", &how, &file), 0);
    cr_assert_eq(io_sync_directory(engine, "a"), 0);
}

static void stop(void)
{
    io_file_close(file);
    io_engine_free(engine);
}

static struct io_engine *cut(enum io_sim_survivors survivors, uint64_t seed, const bool *chosen)
{
    const struct io_sim_cut how = { .survivors = survivors, .seed = seed, .survives = chosen };
    struct io_engine *after = NULL;

    cr_assert_eq(io_sim_power_cut(engine, &how, &after), 0);
    return after;
}

static void write_byte(uint64_t off, uint8_t byte)
{
    cr_assert_eq(io_write_exact(file, off, &byte, 1), 0);
}

static int byte_at(struct io_engine *disk, uint64_t off)
{
    uint8_t byte = 0xee;

    return io_sim_get(disk, "a", off, &byte, 1) ? byte : -1;
}

Test(io_sim, a_power_cut_keeps_what_was_synced_and_chooses_among_the_rest)
{
    const bool chosen[] = { false, true };

    start(NULL);
    write_byte(0, 1);
    cr_assert_eq(io_sync(file), 0);
    write_byte(0, 2);
    write_byte(5000, 3);
    cr_expect_eq(io_sim_changes(engine), 2);
    cr_expect_eq(byte_at(engine, 0), 2);

    struct io_engine *none = cut(IO_SIM_NONE, 1, NULL), *all = cut(IO_SIM_ALL, 1, NULL),
                     *one = cut(IO_SIM_CHOSEN, 1, chosen);
    cr_expect_eq(byte_at(none, 0), 1);
    cr_expect_eq(io_sim_size(none, "a"), 1);
    cr_expect_eq(byte_at(all, 0), 2);
    cr_expect_eq(byte_at(all, 5000), 3);
    cr_expect_eq(byte_at(one, 0), 1);
    cr_expect_eq(byte_at(one, 5000), 3);
    cr_expect_eq(io_sim_size(one, "a"), 5001);
    cr_expect_eq(io_sim_changes(all), 0, "nothing is volatile after a cut");
    io_engine_free(none);
    io_engine_free(all);
    io_engine_free(one);
    stop();
}

Test(io_sim, random_cuts_differ_by_seed_and_only_by_it)
{
    unsigned seen_values[4] = { 0 };

    start(NULL);
    write_byte(0, 1);
    write_byte(1, 1);
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct io_engine *a = cut(IO_SIM_RANDOM, seed, NULL), *b = cut(IO_SIM_RANDOM, seed, NULL);
        const unsigned value = (unsigned)(byte_at(a, 0) + 2 * byte_at(a, 1));
        cr_expect_eq(value, (unsigned)(byte_at(b, 0) + 2 * byte_at(b, 1)));
        seen_values[value & 3]++;
        io_engine_free(a);
        io_engine_free(b);
    }
    for (unsigned i = 0; i < 4; i++)
        cr_expect_gt(seen_values[i], 0, "outcome %u never came", i);
    stop();
}

Test(io_sim, a_sync_covers_only_what_was_complete_when_it_was_submitted)
{
    struct io_queue *queue;
    uint8_t late = 7;
    struct iovec piece = { &late, 1 };

    start(&(struct io_sim_options){ .in_order = true });
    struct io_request write = {
        .op = IO_WRITE, .file = file, .len = 1, .iov = &piece, .iov_count = 1
    };
    struct io_request sync = { .op = IO_SYNC, .file = file };
    cr_assert_eq(io_queue_new(engine, &(struct io_queue_profile){ .depth = 4 }, &queue), 0);
    io_queue_add(queue, &write);
    io_queue_add(queue, &sync);
    while (io_queue_run(queue, 2) > 0)
        continue;
    struct io_engine *after = cut(IO_SIM_NONE, 0, NULL);
    cr_expect_neq(byte_at(after, 0), 7, "submitted together: not covered");
    io_engine_free(after);

    io_queue_add(queue, &sync);
    cr_assert_eq(io_queue_run(queue, 1), 1);
    after = cut(IO_SIM_NONE, 0, NULL);
    cr_expect_eq(byte_at(after, 0), 7, "complete before: covered");
    io_engine_free(after);
    io_queue_free(queue);
    stop();
}

Test(io_sim, writes_under_way_may_survive)
{
    const bool chosen[] = { true };
    struct io_queue *queue;
    uint8_t byte = 7;
    struct iovec piece = { &byte, 1 };

    start(NULL);
    struct io_request write = {
        .op = IO_WRITE, .file = file, .len = 1, .iov = &piece, .iov_count = 1
    };
    cr_assert_eq(io_queue_new(engine, &(struct io_queue_profile){ .depth = 4 }, &queue), 0);
    io_queue_add(queue, &write);
    io_queue_submit(queue);
    cr_expect_eq(io_sim_size(engine, "a"), 0, "nothing has happened yet");
    cr_expect_eq(io_sim_changes(engine), 1);
    struct io_engine *after = cut(IO_SIM_CHOSEN, 0, chosen);
    cr_expect_eq(byte_at(after, 0), 7);
    io_engine_free(after);
    io_queue_free(queue);
    stop();
}

Test(io_sim, a_torn_write_loses_whole_sectors)
{
    unsigned torn = 0;

    start(&(struct io_sim_options){ .sector = 512 });
    memset(block, 'n', sizeof(block));
    cr_assert_eq(io_truncate(file, sizeof(block)), 0);
    cr_assert_eq(io_sync(file), 0);
    cr_assert_eq(io_write_exact(file, 0, block, sizeof(block)), 0);
    for (uint64_t seed = 0; seed < 20; seed++) {
        const struct io_sim_cut how = { IO_SIM_ALL, seed, true, NULL };
        struct io_engine *after;
        unsigned kept = 0;

        cr_assert_eq(io_sim_power_cut(engine, &how, &after), 0);
        cr_assert(io_sim_get(after, "a", 0, seen, sizeof(seen)));
        for (size_t s = 0; s < sizeof(seen); s += 512) {
            cr_expect_eq(memcmp(seen + s, seen + s + 1, 511), 0, "half a sector");
            kept += seen[s] == 'n';
        }
        torn += kept > 0 && kept < 16;
        io_engine_free(after);
    }
    cr_expect_gt(torn, 0);
    cr_expect_lt(torn, 20, "some arrive whole");
    stop();
}

Test(io_sim, names_are_durable_after_a_sync_of_the_directory)
{
    const struct io_open_options how = { .writable = true, .create = true };
    struct io_file *second;

    start(NULL);
    cr_assert_eq(io_file_open(engine, "b", &how, &second), 0);
    cr_assert_eq(io_sync(second), 0);
    struct io_engine *after = cut(IO_SIM_NONE, 0, NULL);
    cr_expect_eq(io_sim_size(after, "b"), UINT64_MAX);
    cr_expect_eq(io_sim_size(after, "a"), 0);
    io_engine_free(after);
    cr_assert_eq(io_sync_directory(engine, "b"), 0);
    cr_assert_eq(io_unlink(engine, "a"), 0);
    after = cut(IO_SIM_NONE, 0, NULL);
    cr_expect_eq(io_sim_size(after, "b"), 0);
    cr_expect_eq(io_sim_size(after, "a"), 0, "its removal was not durable");
    io_engine_free(after);
    io_file_close(second);
    stop();
}

Test(io_sim, the_nth_operation_fails_once_or_for_ever)
{
    start(NULL);
    io_sim_fault(engine, io_sim_operations(engine) + 2, IO_SIM_EIO, false);
    cr_expect_eq(io_write_exact(file, 0, "x", 1), 0);
    cr_expect_eq(io_write_exact(file, 0, "x", 1), -EIO);
    cr_expect_eq(io_write_exact(file, 0, "x", 1), 0);
    io_sim_fault(engine, io_sim_operations(engine) + 1, IO_SIM_ENOSPC, true);
    cr_expect_eq(io_write_exact(file, 0, "x", 1), -ENOSPC);
    cr_expect_eq(io_write_exact(file, 0, "x", 1), -ENOSPC);
    cr_expect_eq(io_read_exact(file, 0, seen, 1, NULL), 0, "reading takes no space");
    io_sim_fault(engine, 0, IO_SIM_EIO, false);
    cr_expect_eq(io_write_exact(file, 0, "x", 1), 0);
    stop();
}

Test(io_sim, short_and_interrupted_transfers_are_continued)
{
    start(NULL);
    memset(block, 's', sizeof(block));
    const uint64_t before = io_sim_operations(engine);
    io_sim_fault(engine, before + 1, IO_SIM_SHORT, false);
    cr_expect_eq(io_write_exact(file, 0, block, sizeof(block)), 0);
    cr_expect_eq(io_sim_operations(engine), before + 2);
    io_sim_fault(engine, before + 3, IO_SIM_EINTR, false);
    cr_expect_eq(io_read_exact(file, 0, seen, sizeof(seen), NULL), 0);
    cr_expect_eq(io_sim_operations(engine), before + 4);
    cr_expect_eq(memcmp(seen, block, sizeof(block)), 0);
    stop();
}

Test(io_sim, a_stopped_machine_changes_nothing_more)
{
    start(NULL);
    io_sim_stop_after(engine, io_sim_operations(engine) + 1);
    write_byte(0, 1);
    cr_expect_eq(io_write_exact(file, 0, "\2", 1), -EIO);
    cr_expect_eq(io_sync(file), -EIO);
    cr_expect_eq(byte_at(engine, 0), 1);
    cr_expect_eq(io_sim_changes(engine), 1);
    stop();
}

Test(io_sim, space_runs_out_by_pages)
{
    start(&(struct io_sim_options){ .space = 8192 });
    write_byte(0, 1);
    write_byte(1 * TiB, 1);
    cr_expect_eq(io_write_exact(file, 4096, "x", 1), -ENOSPC);
    cr_expect_eq(io_punch(file, (struct qimg_range){ 0, 4096 }), 0);
    cr_expect_eq(io_write_exact(file, 4096, "x", 1), 0);
    stop();
}

Test(io_sim, the_log_tells_what_was_asked_in_order)
{
    size_t count;

    start(NULL);
    cr_assert_eq(io_write_exact(file, 10, "abc", 3), 0);
    cr_assert_eq(io_truncate(file, 99), 0);
    cr_assert_eq(io_sync(file), 0);
    const struct io_sim_entry *log = io_sim_log(engine, &count);
    cr_assert_eq(count, io_sim_operations(engine));
    cr_expect_eq(log[count - 3].op, IO_SIM_WRITE);
    cr_expect_eq(log[count - 3].off, 10);
    cr_expect_eq(log[count - 3].result, 3);
    cr_expect_eq(log[count - 2].op, IO_SIM_TRUNCATE);
    cr_expect_eq(log[count - 2].off, 99);
    cr_expect_eq(log[count - 1].op, IO_SIM_SYNC);
    cr_expect_str_eq(log[count - 1].name, "a");
    stop();
}

static unsigned completion_order(uint64_t seed)
{
    static struct io_request requests[4];
    static struct iovec pieces[4];
    struct io_queue *queue;
    unsigned order = 0;

    start(&(struct io_sim_options){ .seed = seed });
    cr_assert_eq(io_queue_new(engine, &(struct io_queue_profile){ .depth = 4 }, &queue), 0);
    for (unsigned i = 0; i < 4; i++) {
        pieces[i] = (struct iovec){ seen + i, 1 };
        requests[i] = (struct io_request){
            .op = IO_READ, .file = file, .len = 1, .iov = &pieces[i], .iov_count = 1
        };
        io_queue_add(queue, &requests[i]);
    }
    for (struct io_request *r = io_queue_reap(queue, 4); r; r = r->next)
        order = order * 4 + (unsigned)(r - requests);
    io_queue_free(queue);
    stop();
    return order;
}

Test(io_sim, completions_come_in_an_order_that_the_seed_decides)
{
    unsigned different = 0;

    for (uint64_t seed = 0; seed < 20; seed++) {
        const unsigned order = completion_order(seed);
        cr_expect_eq(order, completion_order(seed));
        different += order != completion_order(seed + 1);
    }
    cr_expect_gt(different, 10);
}

static void touch_under_way(enum io_op op)
{
    struct io_queue *queue;
    uint8_t byte = 7;
    struct iovec piece = { &byte, 1 };

    start(NULL);
    struct io_request request = { .op = op, .file = file, .len = 1, .iov = &piece, .iov_count = 1 };
    cr_assert_eq(io_queue_new(engine, &(struct io_queue_profile){ .depth = 4 }, &queue), 0);
    io_queue_add(queue, &request);
    io_queue_submit(queue);
    byte = 8;
    (void)io_queue_run(queue, 1);
}

Test(io_sim, touching_the_memory_of_a_write_under_way_aborts, .signal = SIGABRT)
{
    touch_under_way(IO_WRITE);
}

Test(io_sim, touching_the_memory_of_a_read_under_way_aborts, .signal = SIGABRT)
{
    touch_under_way(IO_READ);
}
