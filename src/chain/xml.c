/* SPDX-License-Identifier: Apache-2.0
 *
 * XML 1.0 has no way to write most control characters, nor bytes that are not UTF-8: a name with
 * such is not written at all.
 */
#include "xml.h"

#include <stdint.h>

static void indent(struct xml *xml)
{
    for (unsigned i = 0; i < xml->depth; i++)
        str_puts(&xml->text, "  ");
}

/* The length of the UTF-8 character at @p that XML may hold; 0 = it is none. */
static size_t character(const unsigned char *p)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t len = p[0] < 0x80       ? 1
                 : p[0] >> 5 == 6  ? 2
                 : p[0] >> 4 == 14 ? 3
                 : p[0] >> 3 == 30 ? 4
                                   : 0;
    uint32_t code = len == 1 ? p[0] : len ? p[0] & (0xffu >> (len + 1)) : 0;
    for (size_t i = 1; i < len; i++) {
        if (p[i] >> 6 != 2)
            return 0;
        code = code << 6 | (p[i] & 0x3f);
    }
    if (len == 0 || code < least[len] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ||
        code == 0xfffe || code == 0xffff)
        return 0;
    return len == 1 && code < 0x20 ? 0 : len;
}

static const char *escape_of(char c)
{
    switch (c) {
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '&':
        return "&amp;";
    case '\'':
        return "&apos;";
    case '"':
        return "&quot;";
    default:
        return NULL;
    }
}

static void put_value(struct xml *xml, const char *value)
{
    for (const char *p = value; *p;) {
        const size_t len = character((const unsigned char *)p);
        const char *escape = escape_of(*p);
        if (len == 0) {
            xml->unfit = true;
            return;
        }
        if (escape)
            str_puts(&xml->text, escape);
        else
            str_append(&xml->text, p, len);
        p += len;
    }
}

void xml_begin(struct xml *xml, const char *name)
{
    indent(xml);
    str_printf(&xml->text, "<%s", name);
}

void xml_attribute(struct xml *xml, const char *name, const char *value)
{
    if (!value)
        return;
    str_printf(&xml->text, " %s='", name);
    put_value(xml, value);
    str_puts(&xml->text, "'");
}

void xml_empty_end(struct xml *xml)
{
    str_puts(&xml->text, "/>\n");
}

void xml_open_end(struct xml *xml)
{
    str_puts(&xml->text, ">\n");
    xml->depth++;
}

void xml_close(struct xml *xml, const char *name)
{
    xml->depth--;
    indent(xml);
    str_printf(&xml->text, "</%s>\n", name);
}
