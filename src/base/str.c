/* SPDX-License-Identifier: Apache-2.0 */
#include "str.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool make_room(struct str *s, size_t more)
{
    if (s->failed)
        return false;
    if (more < s->room - s->len)
        return true;
    size_t room = s->room ? s->room : 64;
    while (room - s->len <= more) {
        if (room > SIZE_MAX / 2) {
            s->failed = true;
            return false;
        }
        room *= 2;
    }
    char *text = realloc(s->text, room);
    if (!text) {
        s->failed = true;
        return false;
    }
    s->text = text;
    s->room = room;
    return true;
}

void str_append(struct str *s, const char *bytes, size_t len)
{
    if (!make_room(s, len))
        return;
    if (len > 0)
        memcpy(s->text + s->len, bytes, len);
    s->len += len;
    s->text[s->len] = '\0';
}

void str_puts(struct str *s, const char *text)
{
    str_append(s, text, strlen(text));
}

void str_printf(struct str *s, const char *fmt, ...)
{
    va_list args, again;

    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len < 0) {
        s->failed = true;
    } else if (make_room(s, (size_t)len)) {
        (void)vsnprintf(s->text + s->len, (size_t)len + 1, fmt, again);
        s->len += (size_t)len;
    }
    va_end(again);
}

char *str_take(struct str *s)
{
    str_append(s, "", 0);
    char *text = s->text;
    if (s->failed) {
        free(text);
        text = NULL;
    }
    *s = (struct str){ 0 };
    return text;
}

void str_release(struct str *s)
{
    free(s->text);
    *s = (struct str){ 0 };
}

char *str_format(const char *fmt, ...)
{
    char *text;
    va_list args;

    va_start(args, fmt);
    int len = vasprintf(&text, fmt, args);
    va_end(args);
    return len < 0 ? NULL : text;
}
