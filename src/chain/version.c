/* SPDX-License-Identifier: Apache-2.0 */
#include "qimg/qimg.h"

const char *qimg_version(void)
{
    return QIMG_VERSION;
}
