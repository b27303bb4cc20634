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

int raw_create(struct io_file *file, struct io_file *data_file, const struct create_spec *spec,
               struct qimg_error *err);

#endif
