/* SPDX-License-Identifier: Apache-2.0
 *
 * write, writev, aio_write and discard: guest bytes from a pattern or a file, zeros, compressed
 * clusters. What QEMU refuses is refused in its words and its order.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "qimg/admin.h"

#define SECTOR 512

struct writing {
    struct io_pending pending;
    uint64_t off, len;
    bool state, compressed, machine, durable, no_fallback, quiet, may_unmap, zeroes;
    bool has_pattern;
    int pattern;
    const char *file; /* its bytes are written, repeated as often as needed */
    uint8_t *block;   /* allocated */
    uint8_t *bytes;   /* in it */
    struct timespec began;
};

/* --- arguments ---------------------------------------------------------------------------- */

/* One option; -2 for the usage line, 1 where it says all. */
static int parse_letter(int letter, struct writing *w)
{
    switch (letter) {
    case 'b':
        w->state = true;
        return 0;
    case 'c':
        w->compressed = true;
        return 0;
    case 'C':
        w->machine = true;
        return 0;
    case 'f':
        w->durable = true;
        return 0;
    case 'i':
        return 1; /* ends it there and then */
    case 'n':
        w->no_fallback = true;
        return 0;
    case 'p':
        return 0;
    case 'P':
        w->has_pattern = true;
        return io_pattern(optarg, &w->pattern);
    case 'q':
        w->quiet = true;
        return 0;
    case 's':
        w->file = optarg;
        return 0;
    case 'u':
        w->may_unmap = true;
        return 0;
    case 'z':
        w->zeroes = true;
        return 0;
    default:
        return -2;
    }
}

static int parse_letters(const char *letters, int argc, char **argv, struct writing *w)
{
    int letter, rc = 0;
    *w = (struct writing){ .pattern = 0xcd };
    optind = 0;
    while (rc == 0 && (letter = getopt(argc, argv, letters)) != -1)
        rc = parse_letter(letter, w);
    return rc;
}

/* What can't go together. */
static const char *contradiction(const struct writing *w)
{
    if (w->state && w->zeroes)
        return "-b and -z cannot be specified at the same time";
    if (w->durable && (w->state || w->compressed))
        return "-f and -b or -c cannot be specified at the same time";
    if (w->no_fallback && !w->zeroes)
        return "-n requires -z to be specified";
    if (w->may_unmap && !w->zeroes)
        return "-u requires -z to be specified";
    if (w->zeroes + w->has_pattern + (w->file != NULL) > 1)
        return "Only one of -z, -P, and -s can be specified at the same time";
    return NULL;
}

static int parse_range(char **texts, struct writing *w)
{
    if (io_number(texts[0], &w->off) < 0 || io_number(texts[1], &w->len) < 0)
        return -1;
    if (w->len > IO_READ_MOST && !w->no_fallback) {
        printf("length cannot exceed %u without -n, given %s\n", IO_READ_MOST, texts[1]);
        return -1;
    }
    if (!w->state && !w->compressed)
        return 0;
    const uint64_t values[] = { w->off, w->len };
    for (int i = 0; i < 2; i++) {
        if (values[i] % SECTOR == 0)
            continue;
        printf("%" PRIu64 " is not a sector-aligned value for '%s'\n", values[i],
               i == 0 ? "offset" : "count");
        return -1;
    }
    return 0;
}

/* --- memory --------------------------------------------------------------------------------- */

static int fill_from_file(struct writing *w)
{
    FILE *f = fopen(w->file, "r");
    size_t got = 0;
    if (!f) {
        fprintf(stderr, "%s: %s\n", w->file, strerror(errno));
        return -1;
    }
    errno = 0;
    if (w->len > 0)
        got = fread(w->bytes, 1, (size_t)w->len, f);
    const bool failed = ferror(f) != 0;
    const int why = errno;
    fclose(f);
    if (failed || (got == 0 && w->len > 0)) {
        fprintf(stderr, "%s: %s\n", w->file, failed ? strerror(why) : "file is empty");
        return -1;
    }
    for (size_t at = got; at < w->len; at += got)
        memcpy(w->bytes + at, w->bytes, w->len - at < got ? w->len - at : got);
    return 0;
}

static int make_buffer(const struct io *io, struct writing *w)
{
    const size_t align = 4096;
    if (w->zeroes)
        return 0;
    if (posix_memalign((void **)&w->block, align, (size_t)w->len + align) != 0) {
        w->block = NULL;
        printf("write failed: %s\n", strerror(ENOMEM));
        return -1;
    }
    w->bytes = w->block + (io->misaligned ? 16 : 0);
    if (w->file)
        return fill_from_file(w);
    memset(w->bytes, w->pattern, (size_t)w->len);
    return 0;
}

/* --- writing -------------------------------------------------------------------------------- */

static void report(const struct writing *w, const char *verb)
{
    struct io_report said = { verb, w->off, w->len, io_since(w->began), w->machine };
    if (!w->quiet)
        io_print_report(&said);
}

static bool within_disk(const struct io *io, const struct writing *w)
{
    const uint64_t size = qimg_image_size(io->image);
    return w->off <= size && w->len <= size - w->off;
}

static unsigned zero_flags(const struct io *io, const struct writing *w)
{
    return (w->may_unmap && !io->keep_space ? QIMG_ZERO_MAY_UNMAP : 0u) |
           (w->no_fallback ? QIMG_ZERO_NO_FALLBACK : 0u);
}

/* Cluster by cluster; nothing is written where the ends are not theirs. */
static int write_compressed(struct io *io, const struct writing *w, struct qimg_error *err)
{
    struct qimg_info info;
    int rc = qimg_image_info(io->image, &info, err);
    if (rc < 0)
        return rc;
    const uint64_t cluster = info.cluster_size, end = w->off + w->len;
    qimg_info_release(&info);
    if (cluster == 0)
        return -ENOTSUP;
    if (w->off % cluster != 0 || (end % cluster != 0 && end != qimg_image_size(io->image)))
        return -EINVAL;
    for (uint64_t done = 0; done < w->len && rc == 0; done += cluster) {
        const uint64_t len = w->len - done < cluster ? w->len - done : cluster;
        rc = qimg_image_write_compressed(io->image, w->off + done, w->bytes + done, (size_t)len,
                                         err);
    }
    return rc;
}

static int write_bytes(struct io *io, const struct writing *w, struct qimg_error *err)
{
    int rc;
    if (w->state) {
        io_drain(io);
        return qimg_vm_state_write(io->image, w->off, w->bytes, (size_t)w->len, err);
    }
    if (!within_disk(io, w))
        return -EIO;
    if (w->zeroes)
        rc = qimg_image_write_zeroes(io->image, w->off, w->len, zero_flags(io, w), err);
    else if (w->compressed)
        rc = write_compressed(io, w, err);
    else
        rc = qimg_image_write(io->image, w->off, w->bytes, (size_t)w->len, err);
    return rc == 0 && w->durable ? qimg_image_flush(io->image, err) : rc;
}

static int write_now(struct io *io, struct writing *w, const char *verb)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    int rc = make_buffer(io, w);
    if (rc == 0) {
        clock_gettime(CLOCK_MONOTONIC, &w->began);
        rc = write_bytes(io, w, &err);
        if (rc < 0)
            io_failed(io, verb, rc, &err);
        else
            report(w, "wrote");
    }
    free(w->block);
    return rc < 0 ? -1 : 0;
}

int io_write(struct io *io, int argc, char **argv)
{
    struct writing w;
    const int rc = parse_letters("bcCfnpP:qs:uz", argc, argv, &w);
    if (rc < 0)
        return rc;
    if (optind != argc - 2)
        return -2;
    const char *why = contradiction(&w);
    if (why) {
        printf("%s\n", why);
        return -1;
    }
    if (parse_range(argv + optind, &w) < 0)
        return -1;
    return write_now(io, &w, "write");
}

int io_writev(struct io *io, int argc, char **argv)
{
    struct writing w;
    const int rc = parse_letters("CfqP:", argc, argv, &w);
    if (rc < 0)
        return rc;
    if (optind > argc - 2)
        return -2;
    if (io_number(argv[optind], &w.off) < 0 ||
        io_lengths(argc - optind - 1, argv + optind + 1, &w.len) < 0)
        return -1;
    return write_now(io, &w, "writev");
}

/* --- in the background ---------------------------------------------------------------------- */

static void async_done(struct io *io, struct io_pending *pending, int result)
{
    struct writing *w = (struct writing *)pending;
    struct qimg_error err;
    qimg_error_clear(&err);
    if (result == 0 && w->durable)
        result = qimg_image_flush(io->image, &err);
    if (result < 0)
        io_failed(io, "aio_write", result, &err);
    else
        report(w, "wrote");
    free(w->block);
    free(w);
}

static int queue(struct io *io, struct writing *w)
{
    struct qimg_queue *queue;
    if (!within_disk(io, w))
        return -EIO;
    int rc = io_async_queue(io, &queue);
    if (rc < 0)
        return rc;
    clock_gettime(CLOCK_MONOTONIC, &w->began);
    rc = w->zeroes ? qimg_queue_write_zeroes(queue, w->off, w->len, zero_flags(io, w), &w->pending)
                   : qimg_queue_write(queue, w->off, w->bytes, (size_t)w->len, &w->pending);
    if (rc == 0)
        io_async_began(io);
    return rc;
}

/* The command succeeds once the request is under way; its outcome is printed when it completes. */
static int submit(struct io *io, const struct writing *asked)
{
    struct writing *w = malloc(sizeof(*w));
    if (!w)
        return -1;
    *w = *asked;
    w->pending.done = async_done;
    if (make_buffer(io, w) < 0) {
        free(w);
        return -1;
    }
    const int rc = queue(io, w);
    if (rc < 0)
        async_done(io, &w->pending, rc);
    return 0;
}

int io_aio_write(struct io *io, int argc, char **argv)
{
    struct writing w;
    const int rc = parse_letters("CfiP:quz", argc, argv, &w);
    if (rc < 0)
        return rc;
    if (rc > 0) {
        printf("injecting invalid write request\n");
        return 0;
    }
    if (optind > argc - 2)
        return -2;
    if ((w.zeroes && optind != argc - 2) || (w.may_unmap && !w.zeroes)) {
        printf("%s\n", w.zeroes ? "-z supports only a single length parameter"
                                : "-u requires -z to be specified");
        return -1;
    }
    if (io_number(argv[optind], &w.off) < 0)
        return -1;
    const int lengths = w.zeroes ? io_number(argv[optind + 1], &w.len)
                                 : io_lengths(argc - optind - 1, argv + optind + 1, &w.len);
    return lengths < 0 ? -1 : submit(io, &w);
}

/* --- discarding ----------------------------------------------------------------------------- */

int io_discard(struct io *io, int argc, char **argv)
{
    struct writing w;
    struct qimg_error err;
    qimg_error_clear(&err);
    int rc = parse_letters("Cq", argc, argv, &w);
    if (rc < 0)
        return rc;
    if (optind != argc - 2)
        return -2;
    if (io_number(argv[optind], &w.off) < 0 || io_number(argv[optind + 1], &w.len) < 0)
        return -1;
    if (w.len > IO_READ_MOST) {
        printf("length cannot exceed %u, given %s\n", IO_READ_MOST, argv[optind + 1]);
        return -1;
    }
    clock_gettime(CLOCK_MONOTONIC, &w.began);
    if (!within_disk(io, &w))
        rc = -EIO;
    else if (!io->keep_space)
        rc = qimg_image_discard(io->image, w.off, w.len, &err);
    if (rc < 0) {
        io_failed(io, "discard", rc, &err);
        return -1;
    }
    report(&w, "discard");
    return 0;
}
