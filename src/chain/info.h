/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CHAIN_INFO_H
#define CHAIN_INFO_H

#include "chain.h"

/* Everything `info` prints for one open layer. @info is zeroed first; on failure it is empty. */
MUST_CHECK int info_of_layer(const struct layer *layer, struct qimg_info *info,
                             struct qimg_error *err);

#endif
