/* SPDX-License-Identifier: Apache-2.0
 *
 * Rings of kernels that cannot do what we ask, or not now. liburing's calls end here first
 * (--wrap in tests/CMakeLists.txt).
 */
#include <criterion/criterion.h>
#include <liburing.h>
#include <string.h>

#include "engines.h"
#include "tier.h"

int __real_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);
int __wrap_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);
int __real_io_uring_submit_and_wait(struct io_uring *ring, unsigned wait);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned wait);

static bool without_read; /* a kernel before 5.6 has no IORING_OP_READ */
static unsigned busy;     /* how often the kernel says yet that it has no room */

int __wrap_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
    const int rc = __real_io_uring_queue_init(entries, ring, flags);

    if (rc == 0 && without_read)
        ring->features &= ~(unsigned)IORING_FEAT_RW_CUR_POS;
    return rc;
}

int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned wait)
{
    static const int answers[] = { -EAGAIN, -EBUSY, -ENOMEM, -EINTR };

    if (busy == 0)
        return __real_io_uring_submit_and_wait(ring, wait);
    return answers[--busy % 4];
}

enum { BLOCK = 4096, BLOCKS = 200 };

/* Many more reads than the queue is deep, each into its own place. */
static void read_all(struct io_queue *queue, struct io_file *file)
{
    static uint8_t want[BLOCKS * BLOCK], got[BLOCKS * BLOCK];
    static struct io_request requests[BLOCKS];
    static struct iovec pieces[BLOCKS];
    unsigned done = 0;

    fill_pattern(want, sizeof(want), 1);
    memset(got, 0, sizeof(got));
    cr_assert_eq(io_write_exact(file, 0, want, sizeof(want)), 0);
    for (unsigned i = 0; i < BLOCKS; i++) {
        pieces[i] = (struct iovec){ got + i * BLOCK, BLOCK };
        requests[i] = (struct io_request){ .op = IO_READ,
                                           .file = file,
                                           .off = i * BLOCK,
                                           .len = BLOCK,
                                           .iov = &pieces[i],
                                           .iov_count = 1 };
        io_queue_add(queue, &requests[i]);
    }
    while (done < BLOCKS)
        done += io_queue_run(queue, 1);
    for (unsigned i = 0; i < BLOCKS; i++)
        cr_expect_eq(requests[i].result, 0, "request %u: %d", i, requests[i].result);
    cr_expect_arr_eq(got, want, sizeof(got));
}

static const struct io_queue_profile profile = { .depth = 8, .direct = true };

Test(engine_uring, a_kernel_without_an_operation_is_as_one_without_rings)
{
    struct rig rig;
    struct io_queue *queue;

    if (emulated())
        cr_skip_test("an emulator has no rings");
    without_read = true;
    rig_real(&rig, IO_ENGINE_AUTO);
    struct io_file *file = rig_create(&rig, "a");
    cr_assert_eq(io_queue_new(rig.engine, &profile, &queue), 0);
    cr_expect_str_eq(io_engine_name(rig.engine, &profile), "threads");
    cr_expect_not_null(strstr(rig.notes, strerror(ENOSYS)), "%s", rig.notes);
    read_all(queue, file);
    io_queue_free(queue);
    io_file_close(file);
    rig_teardown(&rig);
    rig_real(&rig, IO_ENGINE_URING);
    cr_expect_eq(io_queue_new(rig.engine, &profile, &queue), -ENOSYS);
    rig_teardown(&rig);
}

Test(engine_uring, a_kernel_that_has_no_room_now_is_asked_again)
{
    struct rig rig;
    struct io_queue *queue;

    if (emulated())
        cr_skip_test("an emulator has no rings");
    rig_real(&rig, IO_ENGINE_URING);
    struct io_file *file = rig_create(&rig, "a");
    cr_assert_eq(io_queue_new(rig.engine, &profile, &queue), 0);
    busy = 9;
    read_all(queue, file);
    cr_expect_eq(busy, 0u, "nobody entered the ring");
    io_queue_free(queue);
    io_file_close(file);
    rig_teardown(&rig);
}
