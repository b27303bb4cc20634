/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening and closing the image, with qemu-io's options and complaints.
 */
#include <string.h>

#include "io.h"

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
    case 'i':
        if (is_one_of(value, aios))
            return EXIT_DONE;
        return tool_fail(io->tool, "Invalid aio option: %s", value);
    case 'd':
        if (is_one_of(value, discards))
            return EXIT_DONE;
        return tool_fail(io->tool, "Invalid discard option: %s", value);
    default:
        return EXIT_DONE;
    }
}

int io_open_image(struct io *io, const char *name, const struct io_open *open)
{
    struct qimg_error err;
    const char *why = NULL;
    qimg_error_clear(&err);
    if (io->image) {
        tool_fail(io->tool, "file open already, try 'help close'");
        return -1;
    }
    if (open->options.share == QIMG_SHARE_FORCE && !open->read_only)
        why = "force-share=on can only be used with read-only images";
    else if (open->copy_on_read && open->read_only)
        why = "Can't use copy-on-read on read-only device";
    else if (qimg_image_open(io->context, name, &open->options, &io->image, &err) < 0)
        why = args_reason(&err, name);
    if (!why)
        return 0;
    tool_fail(io->tool, "can't open device %s: %s", name, why);
    tool_print_hint(&err);
    return -1;
}

void io_close_image(struct io *io)
{
    io_drain(io);
    qimg_image_close(io->image);
    io->image = NULL;
}
