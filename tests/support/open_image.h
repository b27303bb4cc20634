/* SPDX-License-Identifier: Apache-2.0
 *
 * Opens crafted images from memory, for tests of formats.
 */
#ifndef SUPPORT_OPEN_IMAGE_H
#define SUPPORT_OPEN_IMAGE_H

#include "build_qcow2.h"
#include "format.h"
#include "mem_file.h"

/* Opens @len bytes as @ops' format. NULL where that fails: see @err. */
struct image *open_bytes(const struct format_ops *ops, const void *bytes, size_t len,
                         const struct image_open_options *options, struct qimg_error *err);

/* The same for a crafted qcow2 image; @options NULL = read its data. */
struct image *open_built(const struct build_qcow2 *spec, const struct image_open_options *options,
                         struct qimg_error *err);

/* "0+65536 D@131072, 131072+65536 Z, ..." of the whole image; malloc'ed. Z? has no offset, C shows
 * @offset/packed length. */
char *map_text(const struct image *image);

#endif
