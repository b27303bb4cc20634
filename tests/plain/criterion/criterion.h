/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of Criterion's interface that our unit tests use, for machines that have no Criterion
 * and for tools under which it does not start (qemu-user, valgrind, ThreadSanitizer). With
 * -DQIMG_PLAIN_UNITS=ON the unit tests find this header first. plain.c runs them: each test in a
 * process of its own, as Criterion does.
 */
#ifndef PLAIN_CRITERION_H
#define PLAIN_CRITERION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One Test(), or with run == NULL one TestSuite(): what a test leaves out, its suite may have. */
struct plain_test {
    const char *suite, *name;
    void (*run)(void), (*init)(void), (*fini)(void);
    int signal;     /* that the test must die of */
    double timeout; /* seconds; 0: PLAIN_TIMEOUT_S */
    struct plain_test *next;
};

struct plain_place {
    const char *file;
    int line;
    bool fatal; /* the test ends here */
};

void plain_add(struct plain_test *test);
void plain_failed(struct plain_place at, const char *condition, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
_Noreturn void plain_skip(const char *why);

#define PLAIN_ADD(suite_, name_, run_, ...) \
    static struct plain_test plain_##suite_##_##name_ = { \
        .suite = #suite_, .name = #name_, .run = run_, __VA_ARGS__ \
    }; \
    __attribute__((constructor)) static void plain_add_##suite_##_##name_(void) \
    { \
        plain_add(&plain_##suite_##_##name_); \
    }

#define Test(suite_, name_, ...) \
    static void suite_##_##name_##_plain(void); \
    PLAIN_ADD(suite_, name_, suite_##_##name_##_plain, __VA_ARGS__) \
    static void suite_##_##name_##_plain(void)

#define TestSuite(suite_, ...) \
    PLAIN_ADD(suite_, all_of_them, NULL, __VA_ARGS__) \
    struct plain_test

/* The message is optional, and computed only when it is needed; a blank one keeps
 * -Wformat-zero-length quiet. */
#define PLAIN_CHECK(fatal, condition, ...) \
    do { \
        if (!(condition)) \
            plain_failed((struct plain_place){ __FILE__, __LINE__, fatal }, #condition, \
                         " " __VA_ARGS__); \
    } while (0)
#define PLAIN_STR_EQ(a, b)    (strcmp((a), (b)) == 0)
#define PLAIN_ARR_EQ(a, b, n) (memcmp((a), (b), (n)) == 0)

#define cr_expect(a, ...)              PLAIN_CHECK(false, (a), __VA_ARGS__)
#define cr_expect_not(a, ...)          PLAIN_CHECK(false, !(a), __VA_ARGS__)
#define cr_expect_null(a, ...)         PLAIN_CHECK(false, (a) == NULL, __VA_ARGS__)
#define cr_expect_not_null(a, ...)     PLAIN_CHECK(false, (a) != NULL, __VA_ARGS__)
#define cr_expect_eq(a, b, ...)        PLAIN_CHECK(false, (a) == (b), __VA_ARGS__)
#define cr_expect_neq(a, b, ...)       PLAIN_CHECK(false, (a) != (b), __VA_ARGS__)
#define cr_expect_lt(a, b, ...)        PLAIN_CHECK(false, (a) < (b), __VA_ARGS__)
#define cr_expect_leq(a, b, ...)       PLAIN_CHECK(false, (a) <= (b), __VA_ARGS__)
#define cr_expect_gt(a, b, ...)        PLAIN_CHECK(false, (a) > (b), __VA_ARGS__)
#define cr_expect_geq(a, b, ...)       PLAIN_CHECK(false, (a) >= (b), __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...)    PLAIN_CHECK(false, PLAIN_STR_EQ(a, b), __VA_ARGS__)
#define cr_expect_str_neq(a, b, ...)   PLAIN_CHECK(false, !PLAIN_STR_EQ(a, b), __VA_ARGS__)
#define cr_expect_arr_eq(a, b, n, ...) PLAIN_CHECK(false, PLAIN_ARR_EQ(a, b, n), __VA_ARGS__)

#define cr_assert(a, ...)              PLAIN_CHECK(true, (a), __VA_ARGS__)
#define cr_assert_not(a, ...)          PLAIN_CHECK(true, !(a), __VA_ARGS__)
#define cr_assert_null(a, ...)         PLAIN_CHECK(true, (a) == NULL, __VA_ARGS__)
#define cr_assert_not_null(a, ...)     PLAIN_CHECK(true, (a) != NULL, __VA_ARGS__)
#define cr_assert_eq(a, b, ...)        PLAIN_CHECK(true, (a) == (b), __VA_ARGS__)
#define cr_assert_neq(a, b, ...)       PLAIN_CHECK(true, (a) != (b), __VA_ARGS__)
#define cr_assert_lt(a, b, ...)        PLAIN_CHECK(true, (a) < (b), __VA_ARGS__)
#define cr_assert_leq(a, b, ...)       PLAIN_CHECK(true, (a) <= (b), __VA_ARGS__)
#define cr_assert_gt(a, b, ...)        PLAIN_CHECK(true, (a) > (b), __VA_ARGS__)
#define cr_assert_geq(a, b, ...)       PLAIN_CHECK(true, (a) >= (b), __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...)    PLAIN_CHECK(true, PLAIN_STR_EQ(a, b), __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...)   PLAIN_CHECK(true, !PLAIN_STR_EQ(a, b), __VA_ARGS__)
#define cr_assert_arr_eq(a, b, n, ...) PLAIN_CHECK(true, PLAIN_ARR_EQ(a, b, n), __VA_ARGS__)
#define cr_assert_fail(...)            PLAIN_CHECK(true, false, __VA_ARGS__)
#define cr_skip_test(why)              plain_skip(why)
#define cr_log_warn(...)               fprintf(stderr, __VA_ARGS__)

#endif
