/* SPDX-License-Identifier: Apache-2.0
 *
 * Raw images: the file's bytes are the guest's. raw.c reads them, raw_write.c changes them,
 * raw_create.c makes them.
 */
#ifndef FORMATS_RAW_H
#define FORMATS_RAW_H

#include "format.h"

extern const struct format_ops raw_ops;
extern const struct format_write_ops raw_write_ops;

/* Gives a new file of @size bytes its first block, as all raw files of QEMU have one: there it
 * finds out what alignment the file wants. The length stays to be set. */
MUST_CHECK int raw_write_first_block(struct io_file *file, uint64_t size);

int raw_create(struct io_file *file, struct io_file *data_file, const struct create_spec *spec,
               struct qimg_error *err);

#endif
