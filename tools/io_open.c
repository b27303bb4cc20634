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

/* Makes an image of its own above @name, in the directory for temporary files. */
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
        tool_print_hint(&err);
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

/* What corruption was met is said in QEMU's line, which has no program's name before it. */
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

/* Options of the format that can change while an image is open. None of them matters here. */
static int check_reopen_options(struct io *io, const char *list)
{
    static const char *const known[] = { "lazy-refcounts",
                                         "pass-discard-request",
                                         "pass-discard-snapshot",
                                         "pass-discard-other",
                                         "overlap-check",
                                         "overlap-check.template",
                                         "cache-size",
                                         "l2-cache-size",
                                         "l2-cache-entry-size",
                                         "refcount-cache-size",
                                         "cache-clean-interval",
                                         "discard-no-unref",
                                         NULL };
    char *copy = strdup(list), *rest = copy, *option;
    int rc = copy ? 0 : -1;
    while (rc == 0 && (option = strsep(&rest, ","))) {
        option[strcspn(option, "=")] = '\0';
        if (*option == '\0' || is_one_of(option, known))
            continue;
        tool_fail(io->tool, "Cannot change the option '%s'", option);
        rc = -1;
    }
    free(copy);
    return rc;
}

int io_reopen(struct io *io, int argc, char **argv)
{
    struct io_open open = io->opened->open;
    bool mode_given = false;
    int letter;
    optind = 0;
    while ((letter = getopt(argc, argv, "c:o:rw")) != -1) {
        if (letter == '?')
            return -2;
        if (letter == 'c' && args_cache(io->tool, "cache option", optarg, &open.options.cache))
            return -1;
        if (letter == 'o' && check_reopen_options(io, optarg) < 0)
            return -1;
        if (letter != 'r' && letter != 'w')
            continue;
        if (mode_given) {
            tool_fail(io->tool, "Only one -r/-w option may be given");
            return -1;
        }
        mode_given = true;
        open.read_only = letter == 'r';
    }
    if (optind != argc)
        return -2;
    const int closed = close_image(io);
    struct io_opened *opened = io->opened;
    io->opened = NULL;
    opened->open = open;
    return open_as(io, opened, opened->name) < 0 || closed < 0 ? -1 : 0;
}
