/* SPDX-License-Identifier: Apache-2.0
 *
 * Errors are values. A call that can fail returns a negative errno and takes, as its last
 * parameter, a struct qimg_error that the caller owns (usually on its stack) and that is never
 * NULL. Filling it never allocates, so that running out of memory can be reported too.
 *
 * The vocabulary is errno's: EBADMSG a corrupt image, ENOTSUP a feature that is refused, EINVAL
 * the caller's request, EPERM the gate's refusal, else what the operating system said.
 */
#ifndef QIMG_ERROR_H
#define QIMG_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#define QIMG_ERROR_TEXT   4096
#define QIMG_ERROR_HINT   2048
#define QIMG_ERROR_ADVICE 256

struct qimg_error {
    int code;                       /* positive errno; 0 = no error so far */
    char text[QIMG_ERROR_TEXT];     /* one line, outermost place first, no full stop, no newline */
    char hint[QIMG_ERROR_HINT];     /* what to do next, may hold several lines; "" = nothing */
    char advice[QIMG_ERROR_ADVICE]; /* one line more that QEMU does not have; "" = nothing */
};

/* An error object ready for use; only the bytes that matter are touched. */
static inline void qimg_error_clear(struct qimg_error *err)
{
    err->code = 0;
    err->text[0] = '\0';
    err->hint[0] = '\0';
    err->advice[0] = '\0';
}

#ifdef __cplusplus
}
#endif
#endif
