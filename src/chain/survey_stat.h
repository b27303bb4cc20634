/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CHAIN_SURVEY_STAT_H
#define CHAIN_SURVEY_STAT_H

#include "fail.h"
#include "qimg/chain.h"

/* What the file system says of @path, following symbolic links. 0 or a negative errno. */
MUST_CHECK int survey_stat(const char *path, struct qimg_chain_file *out);

#endif
