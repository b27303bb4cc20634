/* SPDX-License-Identifier: Apache-2.0
 *
 * Loaded before a program under valgrind, tells memcheck what the kernel does with the buffers of
 * an io_uring, which valgrind (3.19) does not follow: what is written out must be set, and what a
 * read fills is set then. Of a read from a file only as much as the file has: a tail that nobody
 * zeroed is still found. Stands, by valgrind's function wrapping, around the calls of liburing that
 * hand requests over, linked in or not.
 */
#include <liburing.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <valgrind/memcheck.h>

static uint64_t filled_by_read(const struct io_uring_sqe *sqe, uint64_t len)
{
    struct stat st;

    if (fstat(sqe->fd, &st) < 0 || !S_ISREG(st.st_mode))
        return len;
    const uint64_t size = (uint64_t)st.st_size, off = sqe->off < size ? sqe->off : size;
    return size - off < len ? size - off : len;
}

static void transfer(const struct io_uring_sqe *sqe, const struct iovec *iov, size_t count,
                     int is_read)
{
    uint64_t left = 0;

    for (size_t i = 0; i < count; i++)
        left += iov[i].iov_len;
    if (is_read)
        left = filled_by_read(sqe, left);
    for (size_t i = 0; i < count && left > 0; i++) {
        const size_t len = iov[i].iov_len < left ? iov[i].iov_len : (size_t)left;
        if (!is_read)
            (void)VALGRIND_CHECK_MEM_IS_DEFINED(iov[i].iov_base, len);
        else if (VALGRIND_CHECK_MEM_IS_ADDRESSABLE(iov[i].iov_base, len) == 0)
            (void)VALGRIND_MAKE_MEM_DEFINED(iov[i].iov_base, len);
        left -= len;
    }
}

static void hand_over(const struct io_uring_sqe *sqe)
{
    void *const addr = (void *)(uintptr_t)sqe->addr;
    const struct iovec flat = { .iov_base = addr, .iov_len = sqe->len };
    const int op = sqe->opcode;

    if (op == IORING_OP_READ || op == IORING_OP_WRITE)
        transfer(sqe, &flat, 1, op == IORING_OP_READ);
    else if (op == IORING_OP_READV || op == IORING_OP_WRITEV)
        transfer(sqe, addr, sqe->len, op == IORING_OP_READV);
}

/* All that was prepared and not yet shown to the kernel. */
static void hand_all_over(const struct io_uring *ring)
{
    const struct io_uring_sq *sq = &ring->sq;

    for (unsigned at = sq->sqe_head; at != sq->sqe_tail; at++)
        hand_over(&sq->sqes[at & sq->ring_mask]);
}

/* "Za" is "*": in whatever object. */
int I_WRAP_SONAME_FNNAME_ZU(Za, io_uring_submit_and_wait)(struct io_uring *ring, unsigned wait);
int I_WRAP_SONAME_FNNAME_ZU(Za, io_uring_submit_and_get_events)(struct io_uring *ring);

int I_WRAP_SONAME_FNNAME_ZU(Za, io_uring_submit_and_wait)(struct io_uring *ring, unsigned wait)
{
    OrigFn original;
    int rc;

    VALGRIND_GET_ORIG_FN(original);
    hand_all_over(ring);
    CALL_FN_W_WW(rc, original, ring, wait);
    return rc;
}

int I_WRAP_SONAME_FNNAME_ZU(Za, io_uring_submit_and_get_events)(struct io_uring *ring)
{
    OrigFn original;
    int rc;

    VALGRIND_GET_ORIG_FN(original);
    hand_all_over(ring);
    CALL_FN_W_W(rc, original, ring);
    return rc;
}
