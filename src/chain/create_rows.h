/* SPDX-License-Identifier: Apache-2.0
 *
 * A row of an option table (create_options.c), for the two files that read them.
 */
#ifndef CHAIN_CREATE_ROWS_H
#define CHAIN_CREATE_ROWS_H

#include "create_options.h"

enum create_type { CREATE_TEXT, CREATE_SIZE, CREATE_NUMBER, CREATE_BOOL };

struct create_row {
    const char *name;
    enum create_type type;
    const char *otherwise; /* default, as it is printed; NULL = none to print */
    unsigned rank;         /* place in the "Formatting" line */
};

#define CREATE_RANKS 33

/* The value of a size, number or bool; @otherwise where it was not given. */
uint64_t create_options_number(const struct create_options *options, const char *name,
                               uint64_t otherwise);

#endif
