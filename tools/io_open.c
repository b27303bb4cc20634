/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening and closing the image, with qemu-io's options and complaints. What was asked for is kept,
 * so that `reopen` can ask for the same and something else.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"

struct io_opened {
    char *name;
    struct io_open open;
    char *overlay; /* -s: the file that takes the changes, of this program alone; else NULL */
};

static bool is_one_of(const char *value, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(value, *names) == 0)
            return true;
    return false;
}

char *io_option_text(const char *text)
{
    char *out = malloc(2 * strlen(text) + 1), *to = out;

    if (!out)
        return NULL;
    for (; *text; text++) {
        if (*text == ',')
            *to++ = ',';
        *to++ = *text;
    }
    *to = '\0';
    return out;
}

int io_open_letter(struct io *io, struct io_open *open, int letter, const char *value)
{
    static const char *const aios[] = { "threads", "native", "io_uring", NULL };
    static const char *const discards[] = { "ignore", "off", "unmap", "on", NULL };
    switch (letter) {
    case 'r':
        open->read_only = true;
        return EXIT_DONE;
    case 'n':
        open->options.cache = QIMG_CACHE_NONE;
        return EXIT_DONE;
    case 't':
        return args_cache(io->tool, "cache option", value, &open->options.cache);
    case 'U':
        open->options.share = QIMG_SHARE_FORCE;
        return EXIT_DONE;
    case 'C':
        open->copy_on_read = true;
        return EXIT_DONE;
    case 's':
        open->snapshot = true;
        return EXIT_DONE;
    case 'k':
        open->native_aio = true;
        return EXIT_DONE;
    case 'i':
        open->native_aio = strcmp(value, "native") == 0;
        if (is_one_of(value, aios))
            return EXIT_DONE;
        return tool_fail(io->tool, "Invalid aio option: %s", value);
    case 'd':
        open->keep_space = strcmp(value, "ignore") == 0 || strcmp(value, "off") == 0;
        if (is_one_of(value, discards))
            return EXIT_DONE;
        return tool_fail(io->tool, "Invalid discard option: %s", value);
    default:
        return EXIT_DONE;
    }
}

/* --- changes that are not kept ------------------------------------------------------------- */

/* Makes a temporary overlay of the opened image. */
static int make_overlay(struct io *io, const struct io_opened *opened, const char *format,
                        char **out, struct qimg_error *err)
{
    const char *directory = getenv("TMPDIR");
    char *here = getcwd(NULL, 0), *below = NULL, *overlay = NULL;
    const bool whole = opened->name[0] == '/' || strchr(opened->name, ':');
    int rc = -ENOMEM;
    if (here &&
        asprintf(&below, "%s%s%s", whole ? "" : here, whole ? "" : "/", opened->name) >= 0 &&
        asprintf(&overlay, "%s/qimg.XXXXXX", directory ? directory : "/var/tmp") >= 0) {
        const int fd = mkstemp(overlay);
        const struct qimg_create_options options = { .format = "qcow2",
                                                     .backing_name = below,
                                                     .backing_format = format };
        rc = fd < 0 ? -errno : qimg_create(io->context, overlay, &options, err);
        if (fd >= 0)
            close(fd);
    }
    free(here);
    free(below);
    if (rc < 0) {
        free(overlay);
        if (!err->text[0])
            snprintf(err->text, sizeof(err->text), "Could not create temporary overlay: %s",
                     strerror(-rc));
        return rc;
    }
    *out = overlay;
    return 0;
}

/* Opens the image to learn its format, then the overlay above it. */
static int open_with_overlay(struct io *io, struct io_opened *opened, struct qimg_error *err)
{
    struct qimg_open_options options = opened->open.options;
    options.writable = false;
    int rc = 0;
    if (!opened->overlay) {
        struct qimg_image *base = NULL;
        rc = qimg_image_open(io->context, opened->name, &options, &base, err);
        if (rc == 0)
            rc = make_overlay(io, opened, qimg_image_format(base), &opened->overlay, err);
        qimg_image_close(base);
    }
    options = opened->open.options;
    options.format = "qcow2";
    options.image_opts = false;
    return rc < 0 ? rc : qimg_image_open(io->context, opened->overlay, &options, &io->image, err);
}

/* --- opening --------------------------------------------------------------------------------- */

static void opened_free(struct io_opened *opened)
{
    if (!opened)
        return;
    if (opened->overlay)
        (void)unlink(opened->overlay);
    free(opened->overlay);
    free(opened->name);
    free(opened);
}

/* What QEMU refuses before it looks at the image; NULL = nothing. */
static const char *contradiction(const struct io_open *open)
{
    const enum qimg_cache cache = open->options.cache;
    if (open->options.share == QIMG_SHARE_FORCE && !open->read_only)
        return "force-share=on can only be used with read-only images";
    if (open->copy_on_read && open->read_only)
        return "Can't use copy-on-read on read-only device";
    if (open->native_aio && cache != QIMG_CACHE_NONE && cache != QIMG_CACHE_DIRECTSYNC)
        return "aio=native was specified, but it requires cache.direct=on, which was not "
               "specified.";
    if (open->snapshot && open->options.image_opts)
        return "an image that is named by options cannot be opened with changes thrown away";
    return NULL;
}

/* Takes over @opened. @shown: what failures call it; NULL = nothing. */
static int open_as(struct io *io, struct io_opened *opened, const char *shown)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    struct io_open *open = &opened->open;
    const char *why = contradiction(open);
    open->options.writable = !open->read_only;
    if (!why) {
        const int rc = open->snapshot ? open_with_overlay(io, opened, &err)
                                      : qimg_image_open(io->context, opened->name, &open->options,
                                                        &io->image, &err);
        if (rc < 0)
            why = args_reason(&err, opened->name);
    }
    if (why) {
        tool_fail(io->tool, "can't open%s%s: %s", shown ? " device " : "", shown ? shown : "", why);
        tool_print_hint(io->tool, &err);
        opened_free(opened);
        return -1;
    }
    io->opened = opened;
    io->keep_space = open->keep_space;
    io->copy_on_read = open->copy_on_read;
    return 0;
}

int io_open_image(struct io *io, const char *name, const char *shown, const struct io_open *open)
{
    if (io->image) {
        tool_fail(io->tool, "file open already, try 'help close'");
        return -1;
    }
    struct io_opened *opened = calloc(1, sizeof(*opened));
    if (opened)
        opened->name = strdup(name);
    if (!opened || !opened->name) {
        opened_free(opened);
        tool_fail(io->tool, "out of memory");
        return -1;
    }
    opened->open = *open;
    return open_as(io, opened, shown);
}

bool io_is_writable(const struct io *io)
{
    return !io->opened->open.read_only;
}

/* Corruption is reported in QEMU's line, which no program's name precedes. */
static void close_failed(const struct io *io, const struct qimg_error *err)
{
    static const char marking[] = "qcow2: Marking image as corrupt: ";
    if (strncmp(err->text, marking, sizeof(marking) - 1) == 0)
        fprintf(stderr, "%s\n", err->text);
    else
        tool_fail_error(io->tool, "", err);
}

/* The image only. */
static int close_image(struct io *io)
{
    struct qimg_error err;
    qimg_error_clear(&err);
    io_drain(io);
    const int rc = io->image ? qimg_image_finish(io->image, &err) : 0;
    if (rc < 0)
        close_failed(io, &err);
    qimg_image_close(io->image);
    io->image = NULL;
    return rc < 0 ? -1 : 0;
}

int io_close_image(struct io *io)
{
    const int rc = close_image(io);
    opened_free(io->opened);
    io->opened = NULL;
    return rc;
}

/* --- reopening ------------------------------------------------------------------------------- */

/* What -r, -w, -c and -o of one command say, together. */
struct reopening {
    struct io_open open;
    bool has_mode, has_cache;
    const char *options;
    char *name; /* the image as it is to be called from now on; NULL = as before */
};

static int take_letter(struct io *io, struct reopening *r, int letter, const char *value)
{
    switch (letter) {
    case 'c':
        r->has_cache = true;
        return args_cache(io->tool, "cache option", value, &r->open.options.cache) ? -1 : 0;
    case 'o':
        r->options = value;
        return 0;
    case 'r':
    case 'w':
        if (r->has_mode)
            return tool_fail(io->tool, "Only one -r/-w option may be given"), -1;
        r->has_mode = true;
        r->open.read_only = letter == 'r';
        return 0;
    default:
        return -2;
    }
}

/* direct and no_flush as QEMU's cache modes name them; what was not said stays. */
static enum qimg_cache cache_of(enum qimg_cache now, const struct qimg_reopen *asked)
{
    const bool through = now == QIMG_CACHE_WRITETHROUGH || now == QIMG_CACHE_DIRECTSYNC;
    bool direct = now == QIMG_CACHE_NONE || now == QIMG_CACHE_DIRECTSYNC;
    bool no_flush = now == QIMG_CACHE_UNSAFE;

    direct = asked->direct < 0 ? direct : asked->direct;
    no_flush = asked->no_flush < 0 ? no_flush : asked->no_flush;
    if (direct)
        return through ? QIMG_CACHE_DIRECTSYNC : QIMG_CACHE_NONE;
    if (no_flush)
        return QIMG_CACHE_UNSAFE;
    return through ? QIMG_CACHE_WRITETHROUGH : QIMG_CACHE_WRITEBACK;
}

/* Another part of the same raw file, by the options that name it. */
static int take_window(struct io *io, struct reopening *r, struct qimg_range window)
{
    char size[32] = "";
    char *file = io_option_text(qimg_image_file(io->image, 0));
    int rc = -1;
    if (window.len)
        snprintf(size, sizeof(size), ",size=%llu", (unsigned long long)window.len);
    if (file)
        rc = asprintf(&r->name, "driver=raw,offset=%llu%s,file.filename=%s",
                      (unsigned long long)window.off, size, file);
    free(file);
    if (rc < 0) {
        r->name = NULL;
        return tool_fail(io->tool, "out of memory"), -1;
    }
    r->open.options.image_opts = true;
    r->open.options.format = NULL;
    return 0;
}

static int take_options(struct io *io, struct reopening *r)
{
    const struct io_opened *opened = io->opened;
    const char *given = opened->open.options.image_opts ? opened->name : NULL;
    struct qimg_reopen asked;
    struct qimg_error err;

    if (!r->options)
        return 0;
    qimg_error_clear(&err);
    if (qimg_image_check_reopen(io->image, given, r->options, &asked, &err) < 0)
        return tool_fail_error(io->tool, "", &err), -1;
    if (r->has_mode && asked.read_only >= 0)
        return tool_fail(io->tool, "Cannot set both -r/-w and 'read-only'"), -1;
    if (r->has_cache && (asked.direct >= 0 || asked.no_flush >= 0))
        return tool_fail(io->tool, "Cannot set both -c and the cache options"), -1;
    if (asked.read_only > 0 && !r->open.read_only)
        return tool_fail(io->tool, "Read-only block node '%s' cannot support read-write users",
                         qimg_image_file(io->image, 0)),
               -1;
    if (asked.read_only == 0)
        r->open.read_only = false;
    r->open.options.cache = cache_of(r->open.options.cache, &asked);
    return asked.moves_window ? take_window(io, r, asked.window) : 0;
}

int io_reopen(struct io *io, int argc, char **argv)
{
    struct reopening r = { .open = io->opened->open };
    int letter;

    optind = 0;
    while ((letter = getopt(argc, argv, "c:o:rw")) != -1) {
        const int rc = take_letter(io, &r, letter, optarg);
        if (rc < 0)
            return rc;
    }
    if (optind != argc)
        return -2;
    if (take_options(io, &r) < 0)
        return -1;
    const int closed = close_image(io);
    struct io_opened *opened = io->opened;
    io->opened = NULL;
    opened->open = r.open;
    if (r.name) {
        free(opened->name);
        opened->name = r.name;
    }
    return open_as(io, opened, opened->name) < 0 || closed < 0 ? -1 : 0;
}
