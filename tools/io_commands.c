/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of commands, finding and running them, and those that look at the image without
 * reading it, and those that have little to do with it.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "info_print.h"
#include "io.h"
#include "text.h"

#define SECTOR 512

int io_pattern(const char *text, int *out)
{
    char *end;
    long value = strtol(text, &end, 0);
    if (end == text || *end || value < 0 || value > 255) {
        printf("%s is not a valid pattern byte\n", text);
        return -1;
    }
    *out = (int)value;
    return 0;
}

int io_lengths(int count, char **texts, uint64_t *sum)
{
    for (int i = 0; i < count; i++) {
        uint64_t len;
        if (io_number(texts[i], &len) < 0)
            return -1;
        if (len > IO_READ_MOST - *sum) {
            if (len > IO_READ_MOST)
                printf("Argument '%s' exceeds maximum size %u\n", texts[i], IO_READ_MOST);
            else
                printf("The total number of bytes exceed the maximum size %u\n", IO_READ_MOST);
            return -1;
        }
        *sum += len;
    }
    return 0;
}

void io_failed(const struct io *io, const char *verb, int rc, const struct qimg_error *err)
{
    printf("%s failed: %s\n", verb, strerror(-rc));
    if (err->text[0] && io->tool->verbose)
        tool_fail_error(io->tool, "", err);
}

int io_number(const char *text, uint64_t *out)
{
    int rc = qimg_size_parse(text, out);
    if (rc == 0 && *out <= INT64_MAX)
        return 0;
    if (rc == -EINVAL || *text == '-')
        printf("Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- %s\n",
               text);
    else
        printf("Parsing error: argument too large -- %s\n", text);
    return -1;
}

static int run_length(struct io *io, int argc, char **argv)
{
    char size[IO_UNIT_ROOM];
    (void)argc, (void)argv;
    printf("%s\n", io_unit((double)qimg_image_size(io->image), size));
    return 0;
}

/* A stretch of the disk that the opened image, whatever lies below it, has or has not. */
struct stretch {
    uint64_t len;
    bool allocated;
};

/* The stretch at @off, at most @most long; its len is 0 past the end. */
static int stretch_at(struct io *io, uint64_t off, uint64_t most, struct stretch *out)
{
    struct qimg_extent extents[64];
    struct qimg_error err;
    qimg_error_clear(&err);
    *out = (struct stretch){ 0 };
    while (out->len < most) {
        struct qimg_range want = { off + out->len, most - out->len };
        int count = qimg_image_map(io->image, want, false, extents, 64, &err);
        if (count <= 0)
            return count;
        for (int i = 0; i < count; i++) {
            bool here = extents[i].layer == 0 && extents[i].kind != QIMG_UNALLOCATED;
            if (out->len > 0 && here != out->allocated)
                return 0;
            out->allocated = here;
            out->len += extents[i].len;
        }
    }
    return 0;
}

static int run_map(struct io *io, int argc, char **argv)
{
    uint64_t off = 0, size = qimg_image_size(io->image);
    char len_text[IO_UNIT_ROOM], off_text[IO_UNIT_ROOM];
    (void)argc, (void)argv;
    while (off < size) {
        struct stretch s;
        int rc = stretch_at(io, off, size - off, &s);
        if (rc < 0 || s.len == 0) {
            tool_fail(io->tool, "Failed to get allocation status: %s", strerror(-rc));
            return -1;
        }
        printf("%s (0x%" PRIx64 ") bytes %s at offset %s (0x%" PRIx64 ")\n",
               io_unit((double)s.len, len_text), s.len,
               s.allocated ? "    allocated" : "not allocated", io_unit((double)off, off_text),
               off);
        off += s.len;
    }
    return 0;
}

static int run_alloc(struct io *io, int argc, char **argv)
{
    uint64_t start, count = SECTOR, seen = 0, sum = 0;
    char text[IO_UNIT_ROOM];
    if (io_number(argv[1], &start) < 0 || (argc > 2 && io_number(argv[2], &count) < 0))
        return -1;
    while (seen < count) {
        struct stretch s;
        int rc = stretch_at(io, start + seen, count - seen, &s);
        if (rc < 0) {
            printf("is_allocated failed: %s\n", strerror(-rc));
            return -1;
        }
        if (s.len == 0)
            break;
        seen += s.len;
        if (s.allocated)
            sum += s.len;
    }
    printf("%" PRIu64 "/%" PRIu64 " bytes allocated at offset %s\n", sum, seen,
           io_unit((double)start, text));
    return 0;
}

/* Where qcow2 keeps the state of a VM: behind the disk, at the next L2 table's beginning. */
static uint64_t vm_state_offset(const struct qimg_info *info)
{
    if (!info->qcow2 || info->cluster_size == 0)
        return 0;
    uint64_t entries = info->cluster_size / (info->qcow2->extended_l2 ? 16 : 8);
    uint64_t covered = info->cluster_size * entries;
    return (info->virtual_size + covered - 1) / covered * covered;
}

static int run_info(struct io *io, int argc, char **argv)
{
    struct qimg_error err;
    struct qimg_info info;
    char cluster[IO_UNIT_ROOM], state[IO_UNIT_ROOM];
    (void)argc, (void)argv;
    qimg_error_clear(&err);
    if (qimg_image_info(io->image, &info, &err) < 0) {
        tool_fail_error(io->tool, "", &err);
        return -1;
    }
    printf("format name: %s\ncluster size: %s\nvm state offset: %s\n", info.format,
           io_unit(info.cluster_size, cluster), io_unit((double)vm_state_offset(&info), state));
    info_print_specific(stdout, &info, 0);
    qimg_info_release(&info);
    return 0;
}

/* @name may be NULL: the options name the file. */
static int open_listed(struct io *io, const char *list, const char *name,
                       const struct io_open *open)
{
    char *file = io_option_text(name ? name : ""), *whole = NULL;
    const int len =
        file ? asprintf(&whole, "%s%s%s", list, name ? ",file.filename=" : "", file) : -1;
    const int rc = len < 0 ? -1 : io_open_image(io, whole, name, open);
    free(file);
    if (len >= 0)
        free(whole);
    return rc;
}

static int run_open(struct io *io, int argc, char **argv)
{
    struct io_open open = { 0 };
    const char *list = NULL;
    int letter;
    optind = 0;
    while ((letter = getopt(argc, argv, "snCro:ki:t:d:U")) != -1) {
        if (letter == '?')
            return -2;
        if (letter == 'o')
            list = optarg;
        else if (io_open_letter(io, &open, letter, optarg))
            return -1;
    }
    if (optind < argc - 1 || (!list && optind == argc))
        return -2;
    open.options.image_opts = list != NULL;
    if (!list)
        return io_open_image(io, argv[optind], argv[optind], &open);
    return open_listed(io, list, argv[optind], &open);
}

static int run_close(struct io *io, int argc, char **argv)
{
    (void)argc, (void)argv;
    return io_close_image(io);
}

static int run_quit(struct io *io, int argc, char **argv)
{
    (void)argc, (void)argv;
    io->done = true;
    return 0;
}

/* qemu-io says nothing of a flush that failed; we do. */
static int run_flush(struct io *io, int argc, char **argv)
{
    struct qimg_error err;
    (void)argc, (void)argv;
    qimg_error_clear(&err);
    const int rc = qimg_image_flush(io->image, &err);
    if (rc < 0)
        io_failed(io, "flush", rc, &err);
    return rc < 0 ? -1 : 0;
}

static int run_truncate(struct io *io, int argc, char **argv)
{
    struct qimg_resize_options how = { .shrink = true };
    struct qimg_error err;
    int letter;
    optind = 0;
    qimg_error_clear(&err);
    while ((letter = getopt(argc, argv, "m:")) != -1) {
        if (letter == '?')
            return -2;
        if (qimg_preallocation_parse(optarg, &how.preallocation) < 0) {
            tool_fail(io->tool, "Invalid preallocation mode '%s'", optarg);
            return -1;
        }
    }
    if (optind >= argc)
        return -2;
    if (io_number(argv[optind], &how.size) < 0)
        return -1;
    if (how.size % SECTOR != 0 && strcmp(qimg_image_format(io->image), "raw") != 0) {
        tool_fail(io->tool, "The new size must be a multiple of %d", SECTOR);
        return -1;
    }
    if (qimg_image_resize(io->image, &how, &err) < 0) {
        tool_fail_error(io->tool, "", &err);
        return -1;
    }
    return 0;
}

static int run_abort(struct io *io, int argc, char **argv)
{
    (void)io, (void)argc, (void)argv;
    abort();
}

static int run_sigraise(struct io *io, int argc, char **argv)
{
    uint64_t number;
    (void)io, (void)argc;
    if (io_number(argv[1], &number) < 0)
        return -1;
    if (number > INT_MAX) {
        printf("signal '%s' is out of range\n", argv[1]);
        return -1;
    }
    fflush(stdout);
    fflush(stderr);
    raise((int)number);
    return 0;
}

static int run_sleep(struct io *io, int argc, char **argv)
{
    char *end;
    errno = 0;
    long ms = strtol(argv[1], &end, 0);
    (void)io, (void)argc;
    if (end == argv[1] || *end || errno || ms < 0) {
        printf("%s is not a valid number\n", argv[1]);
        return -1;
    }
    struct timespec wait = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&wait, NULL);
    return 0;
}

static const struct io_command *find(const char *name)
{
    for (const struct io_command *c = io_commands; c->name; c++)
        if (strcmp(c->name, name) == 0 || (c->short_name && strcmp(c->short_name, name) == 0))
            return c;
    return NULL;
}

/* "read [...] off len -- reads ..." */
static void usage(const struct io_command *command)
{
    printf("%s%s%s -- %s\n", command->name, command->args ? " " : "",
           command->args ? command->args : "", command->summary);
}

static int run_help(struct io *io, int argc, char **argv)
{
    (void)io;
    if (argc == 1) {
        for (const struct io_command *c = io_commands; c->name; c++)
            usage(c);
        printf("\nUse 'help commandname' for extended help.\n");
        return 0;
    }
    const struct io_command *command = find(argv[1]);
    if (!command) {
        printf("command %s not found\n", argv[1]);
        return -1;
    }
    usage(command);
    if (command->help)
        printf("\n%s\n", command->help);
    return 0;
}

#define READ_HELP \
    " -C  one line of numbers instead: bytes,ops,time,bytes per second,ops per second\n" \
    " -P  complain unless every byte is this one\n" \
    " -q  print no result lines\n" \
    " -r  accepted, not used\n" \
    " -v  show the bytes\n"

#define WRITE_HELP \
    " -C  one line of numbers instead: bytes,ops,time,bytes per second,ops per second\n" \
    " -f  durable before it is done\n" \
    " -P  write this byte (default: 0xcd)\n" \
    " -q  print no result lines\n"

#define ZERO_HELP \
    " -z  zeros, without writing them where that can be\n" \
    " -u  with -z, space may be given up\n"

#define WRITING (IO_NEEDS_IMAGE | IO_WRITES)

const struct io_command io_commands[] = {
    { "abort", NULL, run_abort, 0, 0, IO_BACKGROUND, NULL,
      "simulate a program crash using abort(3)", NULL },
    { "aio_flush", NULL, io_aio_flush, 0, 0, IO_NEEDS_IMAGE, NULL,
      "completes all outstanding aio requests", NULL },
    { "aio_read", NULL, io_aio_read, 2, -1, IO_NEEDS_IMAGE | IO_BACKGROUND,
      "[-Ciqrv] [-P pattern] off len [len..]", "asynchronously reads a number of bytes",
      " What was read is shown when it has come, at the latest by aio_flush. The command\n"
      " succeeds once the read is under way.\n" READ_HELP
      " -i  only says that the request is invalid\n" },
    { "aio_write", NULL, io_aio_write, 2, -1, WRITING | IO_BACKGROUND,
      "[-Cfiquz] [-P pattern] off len [len..]", "asynchronously writes a number of bytes",
      " What came of it is shown when it is done, at the latest by aio_flush. The command\n"
      " succeeds once the write is under way.\n" WRITE_HELP ZERO_HELP
      " -i  only says that the request is invalid\n" },
    { "alloc", "a", run_alloc, 1, 2, IO_NEEDS_IMAGE, "offset [count]",
      "checks if offset is allocated in the file", NULL },
    { "close", "c", run_close, 0, 0, IO_NEEDS_IMAGE, NULL, "close the current open file", NULL },
    { "discard", "d", io_discard, 2, -1, WRITING, "[-Cq] off len",
      "discards a number of bytes at a specified offset",
      " Whole clusters lose their space, and read as zeros then; parts stay as they are.\n"
      " -C  one line of numbers instead\n"
      " -q  print no result lines\n" },
    { "flush", "f", run_flush, 0, 0, IO_NEEDS_IMAGE, NULL, "flush all in-core file state to disk",
      NULL },
    { "help", "?", run_help, 0, 1, IO_BACKGROUND, "[command]", "help for one or all commands",
      NULL },
    { "info", "i", run_info, 0, 0, IO_NEEDS_IMAGE, NULL,
      "prints information about the current file", NULL },
    { "length", "l", run_length, 0, 0, IO_NEEDS_IMAGE, NULL, "gets the length of the current file",
      NULL },
    { "map", NULL, run_map, 0, 0, IO_NEEDS_IMAGE, NULL, "prints the allocated areas of a file",
      NULL },
    { "open", "o", run_open, 1, -1, 0, "[-rsCnkU] [-t cache] [-d discard] [-o options] [path]",
      "open the file specified by path",
      " -r  for reading only\n"
      " -U  although others may write to it (with -r)\n"
      " -n  without the host's cache, short for -t none\n"
      " -t  cache mode\n"
      " -o  options, key=value,... (driver=FMT names the format)\n"
      " -s  throw changes away when it is closed\n"
      " -d  ignore or unmap: what discards do\n"
      " -k, -i  only checked\n"
      " -C  keep what reading fetches from below\n" },
    { "quit", "q", run_quit, 0, 0, 0, NULL, "exit the program", NULL },
    { "read", "r", io_read, 2, -1, IO_NEEDS_IMAGE,
      "[-bCqrv] [-P pattern [-s off] [-l len]] off len",
      "reads a number of bytes at a specified offset",
      READ_HELP " -s  begin to compare with the pattern at this offset of what was read\n"
                " -l  compare so many bytes\n"
                " -b  of the state of a VM, not of the disk\n"
                " -p  accepted, not used\n" },
    { "readv", NULL, io_readv, 2, -1, IO_NEEDS_IMAGE, "[-Cqrv] [-P pattern] off len [len..]",
      "reads a number of bytes at a specified offset", READ_HELP },
    { "reopen", NULL, io_reopen, 0, -1, IO_NEEDS_IMAGE, "[(-r|-w)] [-c cache] [-o options]",
      "reopens an image with new options",
      " -r  for reading only\n"
      " -w  for reading and writing\n"
      " -c  cache mode\n"
      " -o  options that QEMU can change; none of them matters here\n" },
    { "sigraise", NULL, run_sigraise, 1, 1, IO_BACKGROUND, "signal", "raises a signal", NULL },
    { "sleep", NULL, run_sleep, 1, 1, 0, NULL, "waits for the given value in milliseconds", NULL },
    { "truncate", "t", run_truncate, 1, 3, WRITING, "[-m prealloc_mode] off",
      "truncates the current file at the given offset", NULL },
    { "write", "w", io_write, 2, -1, WRITING, "[-bcCfnquz] [-P pattern | -s source_file] off len",
      "writes a number of bytes at a specified offset",
      WRITE_HELP ZERO_HELP " -n  with -z, fail rather than write zeros as data\n"
                           " -c  compressed, whole clusters\n"
                           " -s  the bytes of this file, over and over\n"
                           " -b  to the state of a VM, not to the disk\n"
                           " -p  accepted, not used\n" },
    { "writev", NULL, io_writev, 2, -1, WRITING, "[-Cfq] [-P pattern] off len [len..]",
      "writes a number of bytes at a specified offset", WRITE_HELP },
    { 0 },
};

/* Complains as qemu-io does; 0 where the count is right. */
static int check_count(const struct io_command *command, int count)
{
    bool few = count < command->least, many = command->most >= 0 && count > command->most;
    if (!few && !many)
        return 0;
    fprintf(stderr, "bad argument count %d to %s, expected ", count, command->name);
    if (command->most < 0)
        fprintf(stderr, "at least %d arguments\n", command->least);
    else if (command->least == command->most)
        fprintf(stderr, "%d arguments\n", command->least);
    else
        fprintf(stderr, "between %d and %d arguments\n", command->least, command->most);
    return -1;
}

static int run_command(struct io *io, int argc, char **argv)
{
    const struct io_command *command = find(argv[0]);
    if (!command) {
        fputs("command \"", stderr);
        text_show(stderr, argv[0]);
        fputs("\" not found\n", stderr);
        return -1;
    }
    if ((command->flags & IO_NEEDS_IMAGE) && !io->image) {
        fprintf(stderr, "no file open, try 'help open'\n");
        return -1;
    }
    if (check_count(command, argc - 1) < 0)
        return -1;
    if ((command->flags & IO_WRITES) && !io_is_writable(io)) {
        tool_fail(io->tool, "Block node is read-only");
        return -1;
    }
    if (!(command->flags & IO_BACKGROUND))
        io_drain(io);
    int rc = command->run(io, argc, argv);
    if (rc == -2)
        usage(command);
    return rc < 0 ? -1 : 0;
}

int io_run_line(struct io *io, const char *line)
{
    char *argv[IO_ARGS_MOST + 1];
    int argc = 0, rc = 0;
    char *copy = strdup(line), *rest = copy, *word;
    if (!copy)
        return -1;
    while (argc < IO_ARGS_MOST && (word = strsep(&rest, " ")))
        if (*word)
            argv[argc++] = word;
    argv[argc] = NULL;
    if (argc > 0)
        rc = run_command(io, argc, argv);
    free(copy);
    return rc;
}
