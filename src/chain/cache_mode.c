/* SPDX-License-Identifier: Apache-2.0
 *
 * The names of cache modes, as -t and -T take them.
 */
#include <errno.h>
#include <string.h>

#include "qimg/options.h"

int qimg_cache_parse(const char *name, enum qimg_cache *out)
{
    static const struct {
        const char *name;
        enum qimg_cache cache;
    } modes[] = {
        { "none", QIMG_CACHE_NONE },
        { "off", QIMG_CACHE_NONE },
        { "directsync", QIMG_CACHE_DIRECTSYNC },
        { "writeback", QIMG_CACHE_WRITEBACK },
        { "writethrough", QIMG_CACHE_WRITETHROUGH },
        { "unsafe", QIMG_CACHE_UNSAFE },
    };
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        if (strcmp(modes[i].name, name) == 0) {
            *out = modes[i].cache;
            return 0;
        }
    return -EINVAL;
}
