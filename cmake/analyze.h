/* SPDX-License-Identifier: Apache-2.0
 *
 * Put before each file in the analyze preset. gcc's analyzer looks at one file at a time: that the
 * functions of fail.h return negative numbers, and so end what they are returned from, it has to be
 * told, or it goes on with what was never set.
 */
#include "fail.h"

#define qimg_fail(err, code, ...) \
    ({ \
        qimg_fail((err), (code), __VA_ARGS__); \
        -(code); \
    })
#define qimg_fail_errno(err, code, ...) \
    ({ \
        qimg_fail_errno((err), (code), __VA_ARGS__); \
        -(code); \
    })
#define qimg_within(err, ...) \
    ({ \
        qimg_within((err), __VA_ARGS__); \
        -EINVAL; \
    })
#define qimg_hint(err, ...) \
    ({ \
        qimg_hint((err), __VA_ARGS__); \
        -EINVAL; \
    })
#define qimg_fail_memory(err) \
    ({ \
        qimg_fail_memory((err)); \
        -ENOMEM; \
    })
