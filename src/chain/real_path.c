/* SPDX-License-Identifier: Apache-2.0 */
#include "real_path.h"

#include <stdlib.h>

char *real_path(const char *path)
{
    return realpath(path, NULL);
}
