/* SPDX-License-Identifier: Apache-2.0
 *
 * `qimg io`, the reading half of qemu-io: one open image and commands on it, each a row of a
 * table. Commands return 0, -1 where the program's exit code shall tell of failure, or
 * -2 for that and their line of usage.
 */
#ifndef TOOLS_IO_H
#define TOOLS_IO_H

#include <time.h>

#include "args.h"

#define IO_READ_MOST 2147483136U /* bytes in one request, as in QEMU */
#define IO_ARGS_MOST 256

struct io_async; /* reads under way */

struct io {
    struct tool *tool;
    struct qimg_context *context;
    struct qimg_image *image; /* NULL = none open */
    struct io_async *async;
    bool misaligned; /* -m: buffers not aligned for O_DIRECT */
    bool done;       /* quit was met */
};

struct io_command {
    const char *name, *short_name;
    int (*run)(struct io *io, int argc, char **argv);
    int least, most; /* arguments; -1 = any number */
    bool needs_image;
    const char *args, *summary, *help; /* help: NULL = the summary says it all */
};

extern const struct io_command io_commands[];

/* Runs one line. */
int io_run_line(struct io *io, const char *line);

/* How an image is opened: -r -n -t ... of the program and of the command open. */
struct io_open {
    struct qimg_open_options options;
    bool read_only, copy_on_read;
};

/* For letters that the program and the command have in common. EXIT_DONE or EXIT_FAILED. */
int io_open_letter(struct io *io, struct io_open *open, int letter, const char *value);

int io_open_image(struct io *io, const char *name, const struct io_open *open);
void io_close_image(struct io *io);

/* Prints "read [...] off len -- reads ..." */
void io_usage(const struct io_command *command);

/* "off", "len": -1 after complaining. */
int io_number(const char *text, uint64_t *out);

int io_read(struct io *io, int argc, char **argv);
int io_readv(struct io *io, int argc, char **argv);
int io_aio_read(struct io *io, int argc, char **argv);
int io_aio_flush(struct io *io, int argc, char **argv);

/* Waits for all reads under way and prints what they brought. */
void io_drain(struct io *io);

/* The result lines of a read. */
struct io_report {
    const char *verb;
    uint64_t off, len;
    struct timespec took;
    bool machine; /* -C */
};
void io_print_report(const struct io_report *report);

#define IO_UNIT_ROOM 64

/* "64 KiB", "1.500 KiB", "512 bytes". Returns @buf. */
const char *io_unit(double value, char buf[IO_UNIT_ROOM]);

/* Hex and ASCII, 16 bytes a line. */
void io_dump(const uint8_t *bytes, uint64_t off, size_t len);

#endif
