/* SPDX-License-Identifier: Apache-2.0 */
#include "audit_request.h"

#include <stdio.h>

void audit_tell(const struct audit_request *request, const char *id, const char *value,
                const char *fmt, ...)
{
    char text[QIMG_ERROR_TEXT];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    request->found(request->user, id, value, text);
}
