/* SPDX-License-Identifier: Apache-2.0
 *
 * Two moves at once. What a move does is in tests/cli/test_chain_mv.py.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "move.h"
#include "qimg/move.h"
#include "scratch.h"

/* A journal that another process begins as soon as somebody has seen that there is none. */
static const char *begun_behind;

static void begin_behind(void)
{
    const int fd = open(begun_behind, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    begun_behind = NULL;
    if (fd >= 0)
        close(fd);
}

/* Instead of the C library's, in this program. */
int access(const char *name, int mode)
{
    const int rc = faccessat(AT_FDCWD, name, mode, 0);
    const int why = errno;
    if (rc < 0 && begun_behind)
        begin_behind();
    errno = why;
    return rc;
}

Test(chain_move, the_journal_of_a_move_under_way_is_not_taken_for_one_that_was_broken_off)
{
    char *dir = scratch_new(), *journal = move_journal_name(dir);
    struct qimg_context *context = NULL;
    struct qimg_error err;
    cr_assert_eq(qimg_context_new(NULL, &context, &err), 0, "%s", err.text);
    begun_behind = journal;
    cr_expect_eq(qimg_move_complete(context, dir, &err), 0, "%s", err.text);
    cr_expect_null(begun_behind, "nobody looked");
    cr_expect_eq(faccessat(AT_FDCWD, journal, F_OK, 0), 0, "it was removed");
    cr_expect_eq(qimg_move_complete(context, dir, &err), 0, "%s", err.text);
    cr_expect_lt(faccessat(AT_FDCWD, journal, F_OK, 0), 0, "it was broken off, and is still there");
    qimg_context_free(context);
    free(journal);
    scratch_remove(dir);
}
