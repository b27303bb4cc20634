/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits.h"
#include "build_qcow2.h"
#include "qimg/image.h"
#include "scratch.h"

static char *directory;
static struct qimg_context *context;

/* Each test runs in a process of its own: names may be relative. */
static void set_up(void)
{
    struct qimg_error err;
    directory = scratch_new();
    cr_assert_eq(chdir(directory), 0);
    cr_assert_eq(qimg_context_new(NULL, &context, &err), 0);
}

static void tear_down(void)
{
    qimg_context_free(context);
    scratch_remove(directory);
}

TestSuite(open, .init = set_up, .fini = tear_down);

static void use_gate(struct qimg_gate_options gate)
{
    const struct qimg_context_options options = { .gate = gate };
    struct qimg_error err;
    qimg_context_free(context);
    cr_assert_eq(qimg_context_new(&options, &context, &err), 0);
}

/* An overlay on @backing (NULL = none) whose recorded format is @format (NULL = none). */
static void make_overlay(const char *name, const char *backing, const char *format)
{
    const struct build_extension ext = { .type = 0xe2792aca,
                                         .data = format,
                                         .len = format ? (uint32_t)strlen(format) : 0 };
    build_qcow2_file(&(struct build_qcow2){ .size = MiB,
                                            .backing_name = backing,
                                            .extensions = &ext,
                                            .extension_count = format != NULL },
                     name);
}

static void make_file(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");
    cr_assert(f);
    fputs(text, f);
    cr_assert_eq(fclose(f), 0);
}

static int try_open(const char *name, struct qimg_error *err)
{
    struct qimg_image *image = NULL;
    const int rc = qimg_image_open(context, name, NULL, &image, err);
    if (rc == 0)
        qimg_image_close(image);
    return rc;
}

Test(open, what_cannot_be_opened_gets_qemus_sentence)
{
    struct qimg_error err;
    make_overlay("orphan", "gone", "qcow2");
    make_overlay("second", "orphan", "qcow2");
    make_overlay("odd", "orphan", "nosuch");
    make_overlay("remote", "nbd:x", "raw");
    make_file("text", "hello");
    make_overlay("wrong", "text", "qcow2");
    cr_assert_eq(mkfifo("fifo", 0600), 0);
    static const struct {
        const char *name, *text;
    } cases[] = {
        { "gone", "Could not open 'gone': Could not open 'gone': No such file or directory" },
        { "orphan", "Could not open 'orphan': Could not open backing file: Could not open 'gone': "
                    "No such file or directory" },
        { "second", "Could not open 'second': Could not open backing file: Could not open backing "
                    "file: Could not open 'gone': No such file or directory" },
        { "odd", "Could not open 'odd': Could not open backing file: Unknown driver 'nosuch'" },
        { "remote",
          "Could not open 'remote': Could not open backing file: Unknown protocol 'nbd'" },
        { "wrong", "Could not open 'wrong': Could not open backing file: Image is not in qcow2 "
                   "format" },
        { ".", "Could not open '.': 'file' driver requires '.' to be a regular file" },
        { "fifo", "Could not open 'fifo': 'file' driver requires 'fifo' to be a regular file" },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cr_expect_lt(try_open(cases[i].name, &err), 0, "%s", cases[i].name);
        cr_expect_str_eq(err.text, cases[i].text, "%s: %s", cases[i].name, err.text);
    }
}

Test(open, loops_end_at_the_second_visit_whatever_the_name)
{
    struct qimg_error err;
    make_overlay("self", "self", "qcow2");
    make_overlay("a", "b", "qcow2");
    make_overlay("b", "link", "qcow2");
    cr_assert_eq(symlink("a", "link"), 0);
    cr_expect_eq(try_open("self", &err), -ELOOP);
    cr_expect(strstr(err.text, "Backing file 'self' creates an infinite loop."), "%s", err.text);
    cr_expect_eq(try_open("a", &err), -ELOOP);
    cr_expect(strstr(err.text, "Backing file 'link' creates an infinite loop."), "%s", err.text);
    cr_expect(strstr(err.text, "a -> b"), "%s", err.text);
}

Test(open, strict_refuses_an_unrecorded_format_and_says_how_it_came_there)
{
    struct qimg_error err;
    make_file("base", "");
    make_overlay("mid", "base", NULL);
    make_overlay("top", "mid", "qcow2");
    cr_assert_eq(try_open("top", &err), -EPERM);
    cr_expect_str_eq(err.text, "Could not open 'top': Could not open backing file: Could not open "
                               "backing file: backing file 'base' of image 'mid' has no recorded "
                               "format (reached through top -> mid)");
    cr_expect_str_eq(err.hint, "To record the format: qimg rebase -u -F FORMAT -b 'base' 'mid'");
    use_gate((struct qimg_gate_options){ .policy = QIMG_POLICY_QEMU });
    cr_expect_eq(try_open("top", &err), 0, "%s", err.text);
    use_gate((struct qimg_gate_options){ .allow_probe = true });
    cr_expect_eq(try_open("top", &err), 0, "%s", err.text);
}

Test(open, a_probed_image_that_leads_on_is_refused_under_strict)
{
    struct qimg_error err;
    make_file("base", "");
    make_overlay("mid", "base", "raw");
    make_overlay("top", "mid", NULL);
    use_gate((struct qimg_gate_options){ .allow_probe = true });
    cr_expect_eq(try_open("top", &err), -EPERM, "%s", err.text);
    use_gate((struct qimg_gate_options){ .policy = QIMG_POLICY_QEMU });
    cr_expect_eq(try_open("top", &err), 0, "%s", err.text);
}

Test(open, a_raw_backing_file_is_never_probed)
{
    struct qimg_error err;
    struct qimg_image *image = NULL;
    make_overlay("inner", "gone", "qcow2"); /* what a guest wrote into its raw disk */
    make_overlay("top", "inner", "raw");
    use_gate((struct qimg_gate_options){ .policy = QIMG_POLICY_QEMU });
    cr_assert_eq(qimg_image_open(context, "top", NULL, &image, &err), 0, "%s", err.text);
    cr_expect_eq(qimg_image_depth(image), 2);
    qimg_image_close(image);
}

Test(open, allowed_directories_hold_against_dots_and_links)
{
    static const char *const allowed[] = { "in", NULL };
    static const struct {
        const char *backing;
        bool refused;
    } cases[] = {
        { "base", false },
        { "../out/base", true },
        { "leak", true },
        { "../in/base", false },
    };
    struct qimg_error err;
    cr_assert_eq(mkdir("in", 0700) | mkdir("out", 0700), 0);
    make_file("in/base", "");
    make_file("out/base", "");
    cr_assert_eq(symlink("../out/base", "in/leak"), 0);
    use_gate((struct qimg_gate_options){ .allow_dirs = allowed });
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        make_overlay("in/top", cases[i].backing, "raw");
        cr_expect_eq(try_open("in/top", &err), cases[i].refused ? -EPERM : 0, "%s",
                     cases[i].backing);
    }
}

Test(open, relative_names_count_from_their_image_and_stop_at_json)
{
    struct qimg_error err;
    cr_assert_eq(mkdir("d", 0700), 0);
    make_file("d/base", "");
    make_overlay("d/top", "base", "raw");
    cr_expect_eq(try_open("d/top", &err), 0, "%s", err.text);
    cr_expect_eq(try_open("json:{'driver':'qcow2','file.filename':'d/top'}", &err), 0, "%s",
                 err.text);
    cr_expect_eq(try_open("json:{'driver':'qcow2','file.filename':'d/top','backing':null}", &err),
                 0, "%s", err.text);
}

Test(open, chains_deeper_than_the_limit_on_open_files_work)
{
    struct qimg_error err;
    struct qimg_image *image = NULL;
    const struct rlimit few = { 64, 64 };
    uint8_t byte = 1;
    for (unsigned i = 0; i < 200; i++) {
        char name[16], backing[16];
        snprintf(name, sizeof(name), "%u", i);
        snprintf(backing, sizeof(backing), "%u", i + 1);
        make_overlay(name, i < 199 ? backing : NULL, i < 199 ? "qcow2" : NULL);
    }
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    use_gate((struct qimg_gate_options){ 0 });
    cr_assert_eq(qimg_image_open(context, "0", NULL, &image, &err), 0, "%s", err.text);
    cr_expect_eq(qimg_image_depth(image), 200);
    cr_expect_eq(qimg_image_read(image, 65536, &byte, 1, &err), 0, "%s", err.text);
    cr_expect_eq(byte, 0);
    qimg_image_close(image);
    use_gate((struct qimg_gate_options){ .max_depth = 199 });
    cr_expect_eq(try_open("0", &err), -EPERM);
    cr_expect(strstr(err.text, "at most 199"), "%s", err.text);
}

Test(open, a_window_of_a_raw_file_is_an_image)
{
    struct qimg_error err;
    struct qimg_image *image = NULL;
    char bytes[513] = { 0 };
    FILE *f = fopen("raw", "w");
    for (int i = 0; i < 8; i++) {
        memset(bytes, 'a' + i, 512);
        fwrite(bytes, 1, 512, f);
    }
    cr_assert_eq(fclose(f), 0);
    cr_assert_eq(qimg_image_open(context,
                                 "json:{'driver':'raw','file.filename':'raw','offset':1024,"
                                 "'size':1024}",
                                 NULL, &image, &err),
                 0, "%s", err.text);
    cr_expect_eq(qimg_image_size(image), 1024);
    cr_expect_eq(qimg_image_read(image, 512, bytes, 512, &err), 0);
    cr_expect_eq(bytes[0], 'd');
    qimg_image_close(image);
    cr_expect_lt(try_open("json:{'driver':'raw','file.filename':'raw','offset':8192}", &err), 0);
    cr_expect(strstr(err.text, "Offset (8192) cannot be greater than size of the containing file "
                               "(4096)"),
              "%s", err.text);
}

Test(open, a_writer_and_a_reader_keep_each_other_out)
{
    struct qimg_error err;
    struct qimg_image *writer = NULL, *reader = NULL;
    const struct qimg_open_options writable = { .writable = true };
    const struct qimg_open_options forced = { .share = QIMG_SHARE_FORCE };
    make_overlay("a", NULL, NULL);
    cr_assert_eq(qimg_image_open(context, "a", &writable, &writer, &err), 0, "%s", err.text);
    cr_expect_eq(try_open("a", &err), -EAGAIN);
    cr_expect_str_eq(err.text, "Could not open 'a': Failed to get shared \"write\" lock");
    cr_expect_str_eq(err.hint, "Is another process using the image [a]?");
    cr_expect_eq(qimg_image_open(context, "a", &forced, &reader, &err), 0, "%s", err.text);
    qimg_image_close(reader);
    qimg_image_close(writer);
    cr_expect_eq(try_open("a", &err), 0, "%s", err.text);
}

Test(open, a_data_file_counts_from_its_image_and_passes_the_gate)
{
    struct qimg_error err;
    const struct build_extension name = { .type = 0x44415441, .data = "data", .len = 4 };
    cr_assert_eq(mkdir("d", 0700), 0);
    build_qcow2_file(
        &(struct build_qcow2){
            .size = MiB, .data_file = true, .extensions = &name, .extension_count = 1 },
        "d/top");
    cr_expect_eq(try_open("d/top", &err), -ENOENT);
    cr_expect_str_eq(err.text, "Could not open 'd/top': Could not open 'd/data': No such file or "
                               "directory");
    make_file("d/data", "");
    cr_expect_eq(try_open("d/top", &err), 0, "%s", err.text);
    use_gate((struct qimg_gate_options){ .policy = QIMG_POLICY_QEMU });
    cr_expect_eq(try_open("d/top", &err), -ENOENT);
    use_gate((struct qimg_gate_options){ .no_data_file = true });
    cr_expect_eq(try_open("d/top", &err), -EPERM);
}
