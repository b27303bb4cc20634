/* SPDX-License-Identifier: Apache-2.0
 *
 * Signatures: the bytes by which programs tell formats apart, of every format that anything near
 * a hypervisor recognises, whether or not this library reads it. A file may bear several. Nothing
 * behind a signature is looked at, and none of them is proof.
 */
#ifndef FORMATS_SIGNATURE_H
#define FORMATS_SIGNATURE_H

#include "io.h"

struct signature {
    const char *format; /* as QEMU calls it; where QEMU has no name, ours ("iso9660", "gpt") */
    bool of_image;      /* a disk image that a program would unwrap; false: what disks hold */
    int64_t at;         /* bytes from the start, or from the end where negative */
    uint8_t len;
    const char *bytes;
};

/* All of them, those of images first; ends with format NULL. */
extern const struct signature signatures[];

/* Fills @found with up to @room signatures that @file bears, in the table's order, each format
 * once. Returns how many there are (may be more than @room), or a negative errno. */
MUST_CHECK int signature_find(struct io_file *file, const struct signature **found, size_t room);

/* The format whose images begin with @head, the first @len bytes of a file; NULL: none's do. */
const char *signature_at_start(const uint8_t *head, size_t len);

/* The format of the first image signature, NULL for none. 0 or a negative errno. */
MUST_CHECK int signature_of_image(struct io_file *file, const char **format);

#endif
