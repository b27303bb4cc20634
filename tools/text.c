/* SPDX-License-Identifier: Apache-2.0
 *
 * One UTF-8 decoder and two ways to print what it finds.
 */
#include "text.h"

#include <stdbool.h>
#include <string.h>

#include "qimg/qimg.h"

#define NOT_UTF8 UINT32_MAX

struct glyph {
    uint32_t code; /* NOT_UTF8: the bytes are no character */
    unsigned len;  /* bytes taken, >= 1 */
};

/* What a lead byte announces: bytes in all, and the smallest code that needs so many. */
static struct glyph lead_of(uint8_t byte, uint32_t *least)
{
    *least = 0;
    if (byte < 0x80)
        return (struct glyph){ byte, 1 };
    if (byte >= 0xc0 && byte < 0xe0) {
        *least = 0x80;
        return (struct glyph){ byte & 0x1fU, 2 };
    }
    if (byte >= 0xe0 && byte < 0xf0) {
        *least = 0x800;
        return (struct glyph){ byte & 0x0fU, 3 };
    }
    if (byte >= 0xf0 && byte < 0xf8) {
        *least = 0x10000;
        return (struct glyph){ byte & 0x07U, 4 };
    }
    return (struct glyph){ NOT_UTF8, 1 };
}

static struct glyph decode(const char *text)
{
    const uint8_t *bytes = (const uint8_t *)text;
    uint32_t least;
    struct glyph g = lead_of(bytes[0], &least);
    if (g.code == NOT_UTF8)
        return g;
    for (unsigned i = 1; i < g.len; i++) {
        if ((bytes[i] & 0xc0) != 0x80) /* the terminating NUL stops here too */
            return (struct glyph){ NOT_UTF8, i };
        g.code = g.code << 6 | (bytes[i] & 0x3fU);
    }
    bool surrogate = g.code >= 0xd800 && g.code <= 0xdfff;
    if (g.code < least || g.code > 0x10ffff || surrogate)
        g.code = NOT_UTF8;
    return g;
}

static bool is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0);
}

static bool turns_direction(uint32_t code)
{
    return code == 0x061c || code == 0x200e || code == 0x200f ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

static void show_escaped(FILE *to, const char *text, struct glyph g)
{
    if (turns_direction(g.code)) {
        fprintf(to, "\\u{%x}", g.code);
        return;
    }
    for (unsigned i = 0; i < g.len; i++)
        fprintf(to, "\\x%02x", (uint8_t)text[i]);
}

/* What may stand as it is goes out in one piece: check tells findings by the million. */
void text_show(FILE *to, const char *text)
{
    const char *shown = text; /* up to here */
    struct glyph g;

    for (; *text; text += g.len) {
        g = decode(text);
        if (g.code != NOT_UTF8 && !is_control(g.code) && !turns_direction(g.code))
            continue;
        fwrite(shown, 1, (size_t)(text - shown), to);
        show_escaped(to, text, g);
        shown = text + g.len;
    }
    fwrite(shown, 1, (size_t)(text - shown), to);
}

void text_show_padded(FILE *to, const char *text, int width)
{
    int missing = width - (int)strlen(text);
    text_show(to, text);
    fprintf(to, "%*s", missing > 0 ? missing : 0, "");
}

static const char *json_short(uint32_t code)
{
    switch (code) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\b':
        return "\\b";
    case '\f':
        return "\\f";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        return NULL;
    }
}

static void json_glyph(FILE *to, uint32_t code)
{
    if (code == NOT_UTF8)
        code = 0xfffd;
    const char *escape = json_short(code);
    if (escape)
        fputs(escape, to);
    else if (code >= 0x20 && code < 0x7f)
        putc((int)code, to);
    else if (code <= 0xffff)
        fprintf(to, "\\u%04X", code);
    else
        fprintf(to, "\\u%04X\\u%04X", 0xd800 + ((code - 0x10000) >> 10),
                0xdc00 + ((code - 0x10000) & 0x3ff));
}

void text_json(FILE *to, const char *text)
{
    struct glyph g;
    putc('"', to);
    for (; *text; text += g.len) {
        g = decode(text);
        json_glyph(to, g.code);
    }
    putc('"', to);
}

const char *text_size(uint64_t bytes, char buf[TEXT_SIZE_ROOM])
{
    qimg_size_print(bytes, buf, TEXT_SIZE_ROOM);
    return buf;
}
