/* SPDX-License-Identifier: Apache-2.0 */
#include "qimg/qimg.h"

int main(void)
{
    return 0;
}
