/* SPDX-License-Identifier: Apache-2.0
 *
 * read, readv and aio_read: fetch guest bytes, check them against a pattern, show them. The
 * asynchronous ones go through a queue; what they bring is printed when they are waited for.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "qimg/admin.h"

struct reading {
    struct io_pending pending;
    uint64_t off, len;
    uint64_t pattern_off, pattern_len; /* what of it to check; from off */
    bool check, machine, quiet, dump, whole_pattern, state;
    int pattern;
    uint8_t *block; /* allocated */
    uint8_t *bytes; /* in it */
    struct timespec began;
};

/* --- arguments ---------------------------------------------------------------------------- */

/* One option; -2 for the usage line. */
static int parse_letter(int letter, struct reading *r)
{
    switch (letter) {
    case 'C':
        r->machine = true;
        return 0;
    case 'q':
        r->quiet = true;
        return 0;
    case 'v':
        r->dump = true;
        return 0;
    case 'b':
        r->state = true;
        return 0;
    case 'P':
        r->check = true;
        return io_pattern(optarg, &r->pattern);
    case 's':
        r->whole_pattern = false;
        return io_number(optarg, &r->pattern_off);
    case 'l':
        r->whole_pattern = false;
        return io_number(optarg, &r->pattern_len);
    case 'i':
        return 1; /* ends it there and then */
    case 'p':
    case 'r':
        return 0;
    default:
        return -2;
    }
}

static int parse_letters(const char *letters, int argc, char **argv, struct reading *r)
{
    int letter, rc = 0;
    *r = (struct reading){ .whole_pattern = true, .pattern_len = UINT64_MAX };
    optind = 0;
    while (rc == 0 && (letter = getopt(argc, argv, letters)) != -1)
        rc = parse_letter(letter, r);
    if (rc == 0 && !r->check && !r->whole_pattern)
        rc = -2;
    return rc;
}

static int parse_lengths(int count, char **texts, struct reading *r)
{
    const int rc = io_lengths(count, texts, &r->len);
    r->pattern_len = r->len;
    return rc;
}

static int parse_one_length(const char *text, struct reading *r)
{
    if (io_number(text, &r->len) < 0)
        return -1;
    if (r->len > IO_READ_MOST) {
        printf("length cannot exceed %u, given %s\n", IO_READ_MOST, text);
        return -1;
    }
    if (r->pattern_len == UINT64_MAX)
        r->pattern_len = r->len > r->pattern_off ? r->len - r->pattern_off : 0;
    if (r->pattern_off > r->len || r->pattern_len > r->len - r->pattern_off) {
        printf("pattern verification range exceeds end of read data\n");
        return -1;
    }
    return 0;
}

/* --- reading ------------------------------------------------------------------------------ */

static int make_buffer(struct io *io, struct reading *r)
{
    size_t align = 4096;
    if (posix_memalign((void **)&r->block, align, (size_t)r->len + align) != 0) {
        r->block = NULL;
        printf("read failed: %s\n", strerror(ENOMEM));
        return -1;
    }
    r->bytes = r->block + (io->misaligned ? 16 : 0);
    memset(r->bytes, 0xab, (size_t)r->len);
    return 0;
}

static bool within_disk(const struct io *io, const struct reading *r)
{
    uint64_t size = qimg_image_size(io->image);
    return r->off <= size && r->len <= size - r->off;
}

/* The first byte equals the pattern and each equals the one before it. */
static bool matches(const struct reading *r)
{
    const uint8_t *bytes = r->bytes + r->pattern_off;
    size_t len = (size_t)r->pattern_len;
    return len == 0 || (bytes[0] == r->pattern && memcmp(bytes, bytes + 1, len - 1) == 0);
}

/* Prints the result of a read; -1 where the pattern did not match. */
static int show(const struct reading *r)
{
    struct io_report report = { "read", r->off, r->len, io_since(r->began), r->machine };
    int rc = 0;
    if (r->check && !matches(r)) {
        printf("Pattern verification failed at offset %" PRIu64 ", %" PRIu64 " bytes\n",
               r->off + r->pattern_off, r->pattern_len);
        rc = -1;
    }
    if (r->quiet)
        return rc;
    if (r->dump)
        io_dump(r->bytes, r->off, (size_t)r->len);
    io_print_report(&report);
    return rc;
}

static int read_bytes(struct io *io, const struct reading *r, struct qimg_error *err)
{
    if (r->state) {
        io_drain(io);
        return qimg_vm_state_read(io->image, r->off, r->bytes, (size_t)r->len, err);
    }
    int rc = within_disk(io, r) ? 0 : -EIO;
    if (rc == 0 && io->copy_on_read)
        rc = io_copy_up(io, r->off, r->len);
    return rc == 0 ? qimg_image_read(io->image, r->off, r->bytes, (size_t)r->len, err) : rc;
}

/* Reads and shows; then the buffer is gone. */
static int read_now(struct io *io, struct reading *r, const char *verb)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    if (make_buffer(io, r) < 0)
        return -1;
    clock_gettime(CLOCK_MONOTONIC, &r->began);
    int rc = read_bytes(io, r, &err);
    if (rc < 0) {
        printf("%s failed: %s\n", verb, strerror(-rc));
        if (err.text[0] && io->tool->verbose)
            tool_fail_error(io->tool, "", &err);
    } else {
        rc = show(r);
    }
    free(r->block);
    return rc < 0 ? -1 : 0;
}

int io_read(struct io *io, int argc, char **argv)
{
    struct reading r;
    int rc = parse_letters("bCl:pP:qrs:v", argc, argv, &r);
    if (rc == -1)
        return -1;
    if (rc < 0 || optind != argc - 2)
        return -2;
    if (io_number(argv[optind], &r.off) < 0 || parse_one_length(argv[optind + 1], &r) < 0)
        return -1;
    return read_now(io, &r, "read");
}

int io_readv(struct io *io, int argc, char **argv)
{
    struct reading r;
    int rc = parse_letters("CP:qrv", argc, argv, &r);
    if (rc == -1)
        return -1;
    if (rc < 0 || optind > argc - 2)
        return -2;
    if (io_number(argv[optind], &r.off) < 0 ||
        parse_lengths(argc - optind - 1, argv + optind + 1, &r) < 0)
        return -1;
    return read_now(io, &r, "readv");
}

/* --- in the background ---------------------------------------------------------------------- */

static void async_done(struct io *io, struct io_pending *pending, int result)
{
    struct reading *r = (struct reading *)pending;
    (void)io;
    if (result < 0)
        printf("readv failed: %s\n", strerror(-result));
    else
        (void)show(r); /* a wrong pattern is reported, and does not fail the command */
    free(r->block);
    free(r);
}

static int queue(struct io *io, struct reading *r)
{
    struct qimg_queue *queue = NULL;
    if (!within_disk(io, r))
        return -EIO;
    int rc = io->copy_on_read ? io_copy_up(io, r->off, r->len) : 0;
    if (rc == 0)
        rc = io_async_queue(io, &queue);
    if (rc < 0)
        return rc;
    clock_gettime(CLOCK_MONOTONIC, &r->began);
    rc = qimg_queue_read(queue, r->off, r->bytes, (size_t)r->len, &r->pending);
    if (rc == 0)
        io_async_began(io);
    return rc;
}

static int submit(struct io *io, const struct reading *asked)
{
    struct reading *r = malloc(sizeof(*r));
    if (!r)
        return -1;
    *r = *asked;
    r->pending.done = async_done;
    if (make_buffer(io, r) < 0) {
        free(r);
        return -1;
    }
    const int rc = queue(io, r);
    if (rc < 0)
        async_done(io, &r->pending, rc);
    return 0;
}

int io_aio_read(struct io *io, int argc, char **argv)
{
    struct reading r;
    int rc = parse_letters("CP:iqrv", argc, argv, &r);
    if (rc == -1)
        return -1;
    if (rc > 0) {
        printf("injecting invalid read request\n");
        return 0;
    }
    if (rc < 0 || optind > argc - 2)
        return -2;
    if (io_number(argv[optind], &r.off) < 0 ||
        parse_lengths(argc - optind - 1, argv + optind + 1, &r) < 0)
        return -1;
    return submit(io, &r);
}

int io_aio_flush(struct io *io, int argc, char **argv)
{
    (void)argc, (void)argv;
    io_drain(io);
    return 0;
}
