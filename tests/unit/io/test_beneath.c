/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bits.h"
#include "engines.h"
#include "tier.h"

/* As on a kernel before 5.6; for this test's process only. */
static void forget_openat2(void)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = { ARRAY_COUNT(rules), rules };

    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void put(const struct rig *rig, const char *name, const char *text)
{
    FILE *file = fopen(rig_path(rig, name), "w");

    cr_assert(file && fputs(text, file) >= 0 && fclose(file) == 0, "%s", name);
}

/* in/deep/file and out/deep/secret; links of all kinds lead from one to the other. */
static void lay_out(struct rig *rig, struct io_bounds *bounds)
{
    const char *dirs[] = { "in", "in/deep", "out", "out/deep", "inside" };
    char absolute[512];

    rig_real(rig, IO_ENGINE_AUTO);
    for (size_t i = 0; i < ARRAY_COUNT(dirs); i++)
        cr_assert_eq(mkdir(rig_path(rig, dirs[i]), 0700), 0);
    put(rig, "in/deep/file", "in");
    put(rig, "in/plain", "in");
    put(rig, "out/deep/file", "OUT");
    put(rig, "inside/file", "OUT");
    cr_assert_eq(symlink("deep/file", rig_path(rig, "in/link")), 0);
    cr_assert_eq(symlink("../out/deep/file", rig_path(rig, "in/leak")), 0);
    cr_assert_eq(symlink("../out/deep", rig_path(rig, "in/leaky")), 0);
    cr_assert_eq(symlink("../in/deep", rig_path(rig, "out/back")), 0);
    snprintf(absolute, sizeof(absolute), "%s", rig_path(rig, "in/deep/file"));
    cr_assert_eq(symlink(absolute, rig_path(rig, "in/absolute")), 0);
    const char *const in[] = { rig_path(rig, "in"), NULL };
    cr_assert_eq(io_bounds_init(bounds, in), 0);
}

/* Opens @name, absolute or below the rig. */
static int try_open(struct rig *rig, const char *name, const struct io_bounds *bounds)
{
    const struct io_open_options options = { .bounds = bounds };
    struct io_file *file = NULL;
    char text[4] = "";
    int rc = io_file_open(rig->engine, *name == '/' ? name : rig_path(rig, name), &options, &file);

    if (rc == 0)
        rc = io_read_exact(file, 0, text, 3, NULL);
    io_file_close(file);
    cr_expect(rc < 0 || strcmp(text, "in") == 0, "%s: read '%s'", name, text);
    return rc;
}

/* Rounds of a test: with openat2(), then without. An emulator has no filters, nor openat2(). */
static unsigned rounds(void)
{
    return emulated() ? 1 : 2;
}

Test(beneath, what_a_name_leads_to_must_lie_below_a_directory)
{
    static const struct {
        const char *name;
        int rc;
    } cases[] = {
        { "in/deep/file", 0 },
        { "in/link", 0 },
        { "in/absolute", 0 }, /* wherever the way leads through, the end counts */
        { "in/../in/deep/../deep/./file", 0 },
        { "out/back/file", 0 },
        { "in/leaky/../../in/deep/file", 0 },
        { "in/leaky/../deep/file", -EXDEV }, /* as text it would lie within */
        { "in/leak", -EXDEV },
        { "in/leaky/file", -EXDEV },
        { "in/../out/deep/file", -EXDEV },
        { "out/deep/file", -EXDEV },
        { "inside/file", -EXDEV }, /* begins like "in", and is another directory */
        { "/etc/passwd", -EXDEV },
        { "in/none", -ENOENT },
        { "in/deep", -EMEDIUMTYPE },
        { "in", -EXDEV }, /* the directory itself is not below itself */
    };
    struct io_bounds bounds;
    struct rig rig;

    lay_out(&rig, &bounds);
    for (size_t i = 0; i < rounds() * ARRAY_COUNT(cases); i++) {
        const size_t k = i % ARRAY_COUNT(cases);
        if (i == ARRAY_COUNT(cases))
            forget_openat2();
        const int rc = try_open(&rig, cases[k].name, &bounds);
        cr_expect_eq(rc, cases[k].rc, "%s, %zu: %s", cases[k].name, i, strerror(-rc));
    }
    io_bounds_release(&bounds);
    rig_teardown(&rig);
}

Test(beneath, the_root_directory_bounds_nothing)
{
    const char *const root[] = { "/", NULL };
    struct io_bounds in, all;
    struct rig rig;

    if (emulated())
        cr_skip_test("an emulator's root is where its libraries are");
    lay_out(&rig, &in);
    cr_assert_eq(io_bounds_init(&all, root), 0);
    const struct io_open_options options = { .bounds = &all };
    struct io_file *file = NULL;
    cr_expect_eq(io_file_open(rig.engine, rig_path(&rig, "out/deep/file"), &options, &file), 0);
    io_file_close(file);
    io_bounds_release(&all);
    io_bounds_release(&in);
    rig_teardown(&rig);
}

Test(beneath, a_directory_that_was_renamed_is_still_the_same)
{
    struct io_bounds bounds;
    struct rig rig;
    char from[512];

    lay_out(&rig, &bounds);
    snprintf(from, sizeof(from), "%s", rig_path(&rig, "in"));
    cr_assert_eq(rename(from, rig_path(&rig, "elsewhere")), 0);
    cr_assert_eq(mkdir(from, 0700), 0);
    put(&rig, "in/file", "OUT");
    cr_expect_eq(try_open(&rig, "elsewhere/deep/file", &bounds), 0);
    cr_expect_eq(try_open(&rig, "in/file", &bounds), -EXDEV);
    io_bounds_release(&bounds);
    rig_teardown(&rig);
}

/* --- races ---------------------------------------------------------------------------------- */

struct swapper {
    char a[512], b[512];
    atomic_bool stop;
    atomic_uint swaps;
};

static void *swap(void *user)
{
    struct swapper *s = user;

    /* An even number of times: the next race begins as this one did. */
    while (!atomic_load(&s->stop) || atomic_load(&s->swaps) % 2) {
        cr_assert_eq(renameat2(AT_FDCWD, s->a, AT_FDCWD, s->b, RENAME_EXCHANGE), 0);
        atomic_fetch_add(&s->swaps, 1);
    }
    return NULL;
}

struct score {
    unsigned opened, refused;
};

/* Opens @name while the two of @pair, one of which leads out, trade places all the time. */
static struct score race(struct rig *rig, const struct io_bounds *bounds, const char *name,
                         const char *const pair[2])
{
    struct swapper s = { 0 };
    struct score score = { 0 };
    pthread_t thread;

    snprintf(s.a, sizeof(s.a), "%s", rig_path(rig, pair[0]));
    snprintf(s.b, sizeof(s.b), "%s", rig_path(rig, pair[1]));
    cr_assert_eq(pthread_create(&thread, NULL, swap, &s), 0);
    while ((score.opened < 500 || score.refused < 500 || atomic_load(&s.swaps) < 5000) &&
           score.opened + score.refused < 200000) {
        const int rc = try_open(rig, name, bounds);
        cr_expect(rc == 0 || rc == -EXDEV || rc == -ESTALE, "%s: %s", name, strerror(-rc));
        score.opened += rc == 0;
        score.refused += rc != 0;
    }
    atomic_store(&s.stop, true);
    pthread_join(thread, NULL);
    return score;
}

/* try_open() sees what is read: never what is outside. */
Test(beneath, no_swapped_link_or_directory_leads_out, .timeout = 60)
{
    static const struct {
        const char *name, *pair[2];
    } cases[] = {
        { "in/link", { "in/link", "in/leak" } },
        { "in/plain", { "in/plain", "in/leak" } },
        { "in/deep/file", { "in/deep", "in/leaky" } },
    };
    struct io_bounds bounds;
    struct rig rig;

    lay_out(&rig, &bounds);
    for (size_t i = 0; i < rounds() * ARRAY_COUNT(cases); i++) {
        const size_t k = i % ARRAY_COUNT(cases);
        if (i == ARRAY_COUNT(cases))
            forget_openat2();
        const struct score score = race(&rig, &bounds, cases[k].name, cases[k].pair);
        cr_expect(score.opened > 0 && score.refused > 0, "%s: no race: %u opened, %u refused",
                  cases[k].name, score.opened, score.refused);
    }
    io_bounds_release(&bounds);
    rig_teardown(&rig);
}
