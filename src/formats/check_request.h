/* SPDX-License-Identifier: Apache-2.0
 *
 * What a format is asked when it checks an image.
 */
#ifndef FORMATS_CHECK_REQUEST_H
#define FORMATS_CHECK_REQUEST_H

#include "qimg/check.h"

struct undo_log;

struct check_request {
    enum qimg_check_fix fix;
    bool explain;
    struct undo_log *undo;                                                 /* NULL = none is kept */
    void (*finding)(void *user, const struct qimg_check_finding *finding); /* may be NULL */
    int (*progress)(void *user, uint64_t done, uint64_t total);            /* may be NULL */
    void *user;
};

#endif
