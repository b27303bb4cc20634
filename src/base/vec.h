/* SPDX-License-Identifier: Apache-2.0
 *
 * A growable array of one type:
 *
 *     DEFINE_VEC(run_vec, struct run)
 *     struct run_vec runs = { 0 };
 *     if (run_vec_push(&runs, (struct run){ ... }) < 0) -> -ENOMEM
 *     run_vec_release(&runs);
 */
#ifndef BASE_VEC_H
#define BASE_VEC_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "fail.h"

/* Not every file that defines one calls all of it; clang complains of that where gcc does not. */
#define VEC_FN __attribute__((unused)) static inline

#define DEFINE_VEC(name, type) \
    struct name { \
        type *items; \
        size_t count, room; \
    }; \
    /* Makes room for @more further items without changing count. */ \
    MUST_CHECK VEC_FN int name##_reserve(struct name *v, size_t more) \
    { \
        if (more <= v->room - v->count) \
            return 0; \
        size_t room = v->room ? v->room : 8; \
        while (room - v->count < more) { \
            if (room > SIZE_MAX / sizeof(type) / 2) \
                return -ENOMEM; \
            room *= 2; \
        } \
        type *items = (type *)reallocarray(v->items, room, sizeof(type)); \
        if (!items) \
            return -ENOMEM; \
        v->items = items; \
        v->room = room; \
        return 0; \
    } \
    MUST_CHECK VEC_FN int name##_push(struct name *v, type item) \
    { \
        if (name##_reserve(v, 1) < 0) \
            return -ENOMEM; \
        v->items[v->count++] = item; \
        return 0; \
    } \
    VEC_FN void name##_release(struct name *v) \
    { \
        free(v->items); \
        *v = (struct name){ 0 }; \
    }

/* The index of the first of @count @items, sorted by @field, whose @field is at or behind @key. */
#define LOWER_BOUND(items, count, field, key) \
    ({ \
        size_t low_ = 0, high_ = (count); \
        while (low_ < high_) { \
            const size_t mid_ = low_ + (high_ - low_) / 2; \
            if ((items)[mid_].field < (key)) \
                low_ = mid_ + 1; \
            else \
                high_ = mid_; \
        } \
        low_; \
    })

#endif
