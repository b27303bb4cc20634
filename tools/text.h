/* SPDX-License-Identifier: Apache-2.0
 *
 * Text on its way out. What comes from an image or from a file name may hold anything, so that
 * it passes text_show() before a terminal sees it, and text_json() before a JSON reader does.
 */
#ifndef TOOLS_TEXT_H
#define TOOLS_TEXT_H

#include <stdint.h>
#include <stdio.h>

/* Prints @text. Control characters (C0, DEL, C1), bytes that are not UTF-8 and characters that
 * turn the direction of writing come out as \xHH or \u{H...}; all else is left alone. */
void text_show(FILE *to, const char *text);

/* The same, filled up with spaces to @width columns on the right (counting bytes, as printf). */
void text_show_padded(FILE *to, const char *text, int width);

/* Prints @text as a JSON string with its quotes: ASCII only, U+FFFD for what is not UTF-8. */
void text_json(FILE *to, const char *text);

#define TEXT_SIZE_ROOM 32

/* "1.5 GiB" as `info` shows sizes. Returns @buf. */
const char *text_size(uint64_t bytes, char buf[TEXT_SIZE_ROOM]);

#endif
