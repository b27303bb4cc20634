/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "context.h"
#include "file_lock.h"
#include "scratch.h"
#include "str.h"

Test(file_lock, a_conflict_is_told_in_qemus_words)
{
    const struct io_open_options how = { .writable = true, .create = true };
    const struct io_lock writer = { .uses = IO_PERM_WRITE, .denies = IO_PERM_WRITE };
    const struct io_lock other = { .uses = IO_PERM_WRITE };
    const struct io_lock denier = { .denies = IO_PERM_WRITE };
    struct qimg_context *context;
    struct io_file *a, *b;
    struct qimg_error err;
    char *folder = scratch_new(), *path = str_format("%s/a", folder);

    cr_assert_eq(qimg_context_new(NULL, &context, &err), 0);
    cr_assert_eq(io_file_open(context->engine, path, &how, &a), 0);
    cr_assert_eq(io_file_open(context->engine, path, &how, &b), 0);
    cr_expect_eq(file_lock(a, "a", writer, &err), 0);
    cr_expect_eq(file_lock(b, "a", other, &err), -EAGAIN);
    cr_expect_str_eq(err.text, "Failed to get \"write\" lock");
    cr_expect_str_eq(err.hint, "Is another process using the image [a]?");
    cr_expect_eq(file_lock(b, "a", denier, &err), -EAGAIN);
    cr_expect_str_eq(err.text, "Failed to get shared \"write\" lock");
    io_file_close(a);
    cr_expect_eq(file_lock(b, "a", other, &err), 0, "closing lets go");
    io_file_close(b);
    qimg_context_free(context);
    free(path);
    scratch_remove(folder);
}
