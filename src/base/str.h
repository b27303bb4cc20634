/* SPDX-License-Identifier: Apache-2.0
 *
 * A string builder that remembers running out of memory, so that it is tested once.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>

#include "fail.h"

struct str {
    char *text; /* NUL-terminated, or NULL while empty */
    size_t len, room;
    bool failed; /* an append ran out of memory; the text is incomplete */
};

void str_append(struct str *s, const char *bytes, size_t len);
void str_puts(struct str *s, const char *text);
void str_printf(struct str *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Hands the text over to the caller ("" if nothing was added) and empties @s; NULL where memory
 * ran out on the way. */
char *str_take(struct str *s);

void str_release(struct str *s);

/* printf into fresh memory; NULL where memory ran out. */
char *str_format(const char *fmt, ...) PRINTF_LIKE(1, 2);

#endif
