/* SPDX-License-Identifier: Apache-2.0
 *
 * `qimg io`, qemu-io's commands: one open image and commands on it, each a row of a table. Commands
 * return 0, -1 where the program's exit code shall tell of failure, or -2 for that and their line
 * of usage.
 */
#ifndef TOOLS_IO_H
#define TOOLS_IO_H

#include <time.h>

#include "args.h"

#define IO_READ_MOST 2147483136U /* bytes in one request, as in QEMU */
#define IO_ARGS_MOST 256

struct io_async; /* requests under way */

struct io {
    struct tool *tool;
    struct qimg_context *context;
    struct qimg_image *image; /* NULL = none open */
    struct io_async *async;
    struct io_opened *opened; /* how the image was opened */
    bool keep_space;          /* -d ignore: discards are */
    bool copy_on_read;        /* -C */
    bool misaligned;          /* -m: buffers not aligned for O_DIRECT */
    bool done;                /* quit was met */
};

enum io_command_flags {
    IO_NEEDS_IMAGE = 1 << 0,
    IO_WRITES = 1 << 1,     /* only where the image is open for writing */
    IO_BACKGROUND = 1 << 2, /* goes on beside requests under way: others wait for them */
};

struct io_command {
    const char *name, *short_name;
    int (*run)(struct io *io, int argc, char **argv);
    int least, most;                   /* arguments; -1 = any number */
    unsigned flags;                    /* enum io_command_flags */
    const char *args, *summary, *help; /* help: NULL = the summary says it all */
};

extern const struct io_command io_commands[];

/* Runs one line. */
int io_run_line(struct io *io, const char *line);

/* How an image is opened: -r -n -t ... of the program and of the command open. */
struct io_open {
    struct qimg_open_options options;
    bool read_only, copy_on_read, snapshot, native_aio, keep_space;
};

/* For letters that the program and the command have in common. EXIT_DONE or EXIT_FAILED. */
int io_open_letter(struct io *io, struct io_open *open, int letter, const char *value);

/* @text as an option's value: commas doubled. NULL: no memory; to be freed. */
char *io_option_text(const char *text);

/* @shown: what a failure calls the image; NULL = nothing, as where options alone name it. */
int io_open_image(struct io *io, const char *name, const char *shown, const struct io_open *open);
bool io_is_writable(const struct io *io);

/* -1 after saying that what was written may be lost. */
int io_close_image(struct io *io);

/* Closes it and opens it anew, with the options of reopen. */
int io_reopen(struct io *io, int argc, char **argv);

/* "off", "len": -1 after complaining. */
int io_number(const char *text, uint64_t *out);

/* A byte's value: -1 after complaining. */
int io_pattern(const char *text, int *out);

/* Lengths of readv and the like: as many as there are arguments, added up. */
int io_lengths(int count, char **texts, uint64_t *sum);

/* "write failed: No space left on device"; with -v also the library's words. */
void io_failed(const struct io *io, const char *verb, int rc, const struct qimg_error *err);

int io_read(struct io *io, int argc, char **argv);
int io_readv(struct io *io, int argc, char **argv);
int io_aio_read(struct io *io, int argc, char **argv);
int io_write(struct io *io, int argc, char **argv);
int io_writev(struct io *io, int argc, char **argv);
int io_aio_write(struct io *io, int argc, char **argv);
int io_discard(struct io *io, int argc, char **argv);
int io_aio_flush(struct io *io, int argc, char **argv);

/* One request under way, the first member of what it belongs to; done() owns that. */
struct io_pending {
    void (*done)(struct io *io, struct io_pending *pending, int result);
};

/* The queue for one more request, with room for it; io_async_began() when it was staged. Returns
 * 0 or a negative errno. */
int io_async_queue(struct io *io, struct qimg_queue **out);
void io_async_began(struct io *io);

/* The time since then. */
struct timespec io_since(struct timespec began);

/* Waits for all requests under way and prints their results. */
void io_drain(struct io *io);

/* -C: what lies below [off, off + len) is kept in the image itself from now on. 0 or a negative
 * errno. */
int io_copy_up(struct io *io, uint64_t off, uint64_t len);

/* The result lines of a request. */
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
