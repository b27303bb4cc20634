/* SPDX-License-Identifier: Apache-2.0
 *
 * Filling struct qimg_error. Text that does not fit is cut, and never in the middle of the
 * structure: the outermost place, which names the file, always survives.
 */
#include "fail.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

PRINTF_LIKE(3, 0)
static void set_text(struct qimg_error *err, int code, const char *fmt, va_list args)
{
    assert(code > 0);
    err->code = code;
    err->hint[0] = '\0';
    err->advice[0] = '\0';
    (void)vsnprintf(err->text, sizeof(err->text), fmt, args);
}

int qimg_fail(struct qimg_error *err, int code, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    set_text(err, code, fmt, args);
    va_end(args);
    return -code;
}

int qimg_fail_errno(struct qimg_error *err, int code, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    set_text(err, code, fmt, args);
    va_end(args);

    size_t used = strlen(err->text);
    (void)snprintf(err->text + used, sizeof(err->text) - used, ": %s", strerror(code));
    return -code;
}

int qimg_within(struct qimg_error *err, const char *fmt, ...)
{
    char where[QIMG_ERROR_TEXT];
    va_list args;

    assert(err->code > 0);
    va_start(args, fmt);
    int written = vsnprintf(where, sizeof(where), fmt, args);
    va_end(args);
    if (written < 0)
        return -err->code;

    size_t where_len = strlen(where);
    if (where_len + 2 >= sizeof(err->text))
        where_len = sizeof(err->text) - 3;
    size_t keep = strlen(err->text);
    if (keep > sizeof(err->text) - 1 - where_len - 2)
        keep = sizeof(err->text) - 1 - where_len - 2;
    memmove(err->text + where_len + 2, err->text, keep);
    memcpy(err->text, where, where_len);
    memcpy(err->text + where_len, ": ", 2);
    err->text[where_len + 2 + keep] = '\0';
    return -err->code;
}

int qimg_hint(struct qimg_error *err, const char *fmt, ...)
{
    size_t used = strlen(err->hint);
    va_list args;

    if (used > 0 && used < sizeof(err->hint) - 1)
        err->hint[used++] = '\n';
    va_start(args, fmt);
    (void)vsnprintf(err->hint + used, sizeof(err->hint) - used, fmt, args);
    va_end(args);
    return -err->code;
}

int qimg_advise(struct qimg_error *err, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(err->advice, sizeof(err->advice), fmt, args);
    va_end(args);
    return -err->code;
}

int qimg_fail_memory(struct qimg_error *err)
{
    return qimg_fail(err, ENOMEM, "Cannot allocate memory");
}
