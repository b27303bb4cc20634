/* SPDX-License-Identifier: Apache-2.0
 *
 * Making errors. qimg_fail() says what is wrong, qimg_within() says where, outermost first:
 *
 *     return qimg_fail(err, EBADMSG, "Unsupported cluster size: 2^%u", bits);
 *     ...
 *     if (l1_load(...) < 0)
 *         return qimg_within(err, "snapshot %u", i);     -> "snapshot 3: L1 table: ..."
 */
#ifndef BASE_FAIL_H
#define BASE_FAIL_H

#include <errno.h>
#include <stdarg.h>

#include "qimg/error.h"

#define MUST_CHECK             __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* Returns a negative result unchanged. The only macro that hides a return. */
#define TRY(expr) \
    do { \
        int try_rc_ = (expr); \
        if (try_rc_ < 0) \
            return try_rc_; \
    } while (0)

/* Fills @err (code, text; hint and advice are cleared) and returns -code; @code > 0. */
int qimg_fail(struct qimg_error *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The same with ": strerror(code)" behind the text. */
int qimg_fail_errno(struct qimg_error *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "fmt: " in front of the text already there; returns -err->code. */
int qimg_within(struct qimg_error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Adds a line to the hint; returns -err->code. */
int qimg_hint(struct qimg_error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Sets the advice; returns -err->code. */
int qimg_advise(struct qimg_error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Out of memory, said without allocating. */
int qimg_fail_memory(struct qimg_error *err);

#endif
