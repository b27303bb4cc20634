/* SPDX-License-Identifier: Apache-2.0
 *
 * The public calls over base/size.h: programs that use libqimg read and print sizes as qimg does.
 */
#include "size.h"

#include "qimg/options.h"

int qimg_size_parse(const char *text, uint64_t *out)
{
    return size_parse(text, out);
}

void qimg_size_print(uint64_t bytes, char *buf, size_t room)
{
    size_print(bytes, buf, room);
}
