/* SPDX-License-Identifier: Apache-2.0
 *
 * Block options as QEMU's names spell them: json:{...} (nested or dotted) and --image-opts
 * ("driver=qcow2,file.filename=a") both become one flat list of dotted keys.
 */
#ifndef CHAIN_RESOLVE_OPTIONS_H
#define CHAIN_RESOLVE_OPTIONS_H

#include "resolve.h"
#include "vec.h"

struct block_option {
    char *key;   /* dotted, e.g. "file.filename" */
    char *value; /* NULL = null */
    bool text;   /* it was a string, not a number or a flag of JSON */
    bool used;
};

DEFINE_VEC(block_option_vec, struct block_option)

void block_options_release(struct block_option_vec *options);

/* @text is what follows "json:". */
MUST_CHECK int block_options_from_json(const char *text, struct block_option_vec *out,
                                       struct qimg_error *err);

MUST_CHECK int block_options_from_keyval(const char *text, struct block_option_vec *out,
                                         struct qimg_error *err);

/* What the options mean. */
MUST_CHECK int location_from_options(struct block_option_vec *options, struct location *out,
                                     struct qimg_error *err);

/* The option @key's value as a size, refused in QEMU's words. */
MUST_CHECK int block_option_size(const char *key, const char *value, uint64_t *out,
                                 struct qimg_error *err);

#endif
