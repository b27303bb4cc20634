/* SPDX-License-Identifier: Apache-2.0
 *
 * Fingerprints through the public calls, on files: what each verdict rests on.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "build_qcow2.h"
#include "cleanup.h"
#include "qimg/qimg.h"
#include "scratch.h"
#include "str.h"

struct rig {
    char *dir, *base, *top;
    struct qimg_context *context;
    struct qimg_error err;
};

static const struct build_cluster one_cluster[] = { { .index = 0, .fill = 7 } };
static const struct build_extension as_qcow2[] = {
    { .type = 0xe2792aca, .data = "qcow2", .len = 5 },
};
static const struct build_qcow2 base_spec = { .size = 1 << 20,
                                              .clusters = one_cluster,
                                              .cluster_count = 1 };
static const struct build_qcow2 top_spec = {
    .size = 1 << 20,
    .backing_name = "base",
    .extensions = as_qcow2,
    .extension_count = 1,
    .clusters = one_cluster,
    .cluster_count = 1,
};

static void rig_init(struct rig *rig, const struct build_qcow2 *top)
{
    rig->dir = scratch_new();
    rig->base = str_format("%s/base", rig->dir);
    rig->top = str_format("%s/top", rig->dir);
    build_qcow2_file(&base_spec, rig->base);
    build_qcow2_file(top, rig->top);
    qimg_error_clear(&rig->err);
    cr_assert_eq(qimg_context_new(NULL, &rig->context, &rig->err), 0);
}

static void rig_release(struct rig *rig)
{
    qimg_context_free(rig->context);
    free(rig->base);
    free(rig->top);
    scratch_remove(rig->dir);
}

static struct qimg_image *open_top(struct rig *rig, bool writable)
{
    const struct qimg_open_options how = { .format = "qcow2",
                                           .writable = writable,
                                           .no_backing = true };
    struct qimg_image *image;
    cr_assert_eq(qimg_image_open(rig->context, rig->top, &how, &image, &rig->err), 0, "%s",
                 rig->err.text);
    return image;
}

static int seal(struct rig *rig, bool content)
{
    struct qimg_image *image = open_top(rig, true);
    const struct qimg_seal_options how = { .content = content };
    const int rc = qimg_image_seal(image, &how, &rig->err);
    qimg_image_close(image);
    return rc;
}

static struct qimg_fingerprint_check verify(struct rig *rig, bool content)
{
    struct qimg_fingerprint_check found;
    struct qimg_image *image = open_top(rig, false);
    cr_assert_eq(qimg_image_verify_backing(image, content, &found, &rig->err), 0, "%s",
                 rig->err.text);
    qimg_image_close(image);
    return found;
}

static void set_time(const char *path, time_t sec)
{
    const struct timespec times[2] = { { .tv_sec = sec }, { .tv_sec = sec } };
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* One guest byte of the base, as its host byte: the mapping stays as it was. */
static void write_in_place(const struct rig *rig)
{
    AUTO_FD int fd = open(rig->base, O_RDWR);
    struct built built = build_qcow2(&base_spec);
    const uint64_t data_off = built.l1_off + 2 * 65536;
    uint8_t byte = 8;
    cr_assert_eq(built.bytes[data_off], 7);
    cr_assert_eq(pwrite(fd, &byte, 1, (off_t)data_off), 1);
    built_release(&built);
}

Test(seal, an_untouched_backing_file_is_the_same)
{
    struct rig rig;
    rig_init(&rig, &top_spec);
    cr_expect_eq(verify(&rig, false).state, QIMG_FINGERPRINT_NONE);
    cr_assert_eq(seal(&rig, false), 0, "%s", rig.err.text);
    cr_expect_eq(verify(&rig, true).state, QIMG_FINGERPRINT_SAME);
    rig_release(&rig);
}

Test(seal, a_new_time_is_touched_and_the_content_settles_it)
{
    struct rig rig;
    rig_init(&rig, &top_spec);
    cr_assert_eq(seal(&rig, false), 0);
    set_time(rig.base, 1000000000);
    const struct qimg_fingerprint_check found = verify(&rig, false);
    cr_expect_eq(found.state, QIMG_FINGERPRINT_TOUCHED);
    cr_expect(strstr(found.text, "2001-09-09 01:46:40 UTC"), "%s", found.text);
    cr_assert_eq(seal(&rig, true), 0);
    set_time(rig.base, 1000000001);
    cr_expect_eq(verify(&rig, false).state, QIMG_FINGERPRINT_SAME);
    write_in_place(&rig);
    cr_expect_eq(verify(&rig, false).state, QIMG_FINGERPRINT_CHANGED);
    rig_release(&rig);
}

/* Only the digest can see it, and only where it is asked. */
Test(seal, a_write_with_the_time_put_back_is_seen_by_the_content)
{
    struct rig rig;
    rig_init(&rig, &top_spec);
    set_time(rig.base, 1000000000);
    cr_assert_eq(seal(&rig, true), 0);
    write_in_place(&rig);
    set_time(rig.base, 1000000000);
    cr_expect_eq(verify(&rig, false).state, QIMG_FINGERPRINT_SAME);
    cr_expect_eq(verify(&rig, true).state, QIMG_FINGERPRINT_CHANGED);
    rig_release(&rig);
}

Test(seal, another_mapping_or_size_is_changed_whatever_the_time_says)
{
    static const struct build_cluster elsewhere[] = { { .index = 1, .fill = 7 } };
    static const struct {
        const char *what, *said;
        struct build_qcow2 spec;
    } cases[] = {
        { "mapping",
          "its mapping is another one",
          { .size = 1 << 20, .clusters = elsewhere, .cluster_count = 1 } },
        { "size",
          "its disk was 1048576 bytes long and is 2097152",
          { .size = 2 << 20, .clusters = one_cluster, .cluster_count = 1 } },
    };
    for (size_t i = 0; i < 2; i++) {
        struct rig rig;
        rig_init(&rig, &top_spec);
        set_time(rig.base, 1000000000);
        cr_assert_eq(seal(&rig, false), 0);
        build_qcow2_file(&cases[i].spec, rig.base);
        set_time(rig.base, 1000000000);
        const struct qimg_fingerprint_check found = verify(&rig, false);
        cr_expect_eq(found.state, QIMG_FINGERPRINT_CHANGED, "%s", cases[i].what);
        cr_expect_str_eq(found.text, cases[i].said);
        rig_release(&rig);
    }
}

/* Sealed, base written, image emptied later: a commit. A base written later than that is not. */
Test(seal, an_image_emptied_after_its_base_was_written_is_stale)
{
    static const struct build_cluster elsewhere[] = { { .index = 1, .fill = 7 } };
    static const struct build_qcow2 other = { .size = 1 << 20,
                                              .clusters = elsewhere,
                                              .cluster_count = 1 };
    static const struct build_qcow2 empty = {
        .size = 1 << 20, .backing_name = "base", .extensions = as_qcow2, .extension_count = 1
    };
    struct rig rig;
    rig_init(&rig, &empty);
    cr_assert_eq(seal(&rig, false), 0);
    build_qcow2_file(&other, rig.base);
    const time_t now = time(NULL);
    set_time(rig.base, now + 10);
    set_time(rig.top, now + 20);
    cr_expect_eq(verify(&rig, false).state, QIMG_FINGERPRINT_STALE);
    set_time(rig.base, now + 30);
    cr_expect_eq(verify(&rig, false).state, QIMG_FINGERPRINT_CHANGED);
    set_time(rig.base, now - 1000); /* older than the record: brought from elsewhere */
    cr_expect_eq(verify(&rig, false).state, QIMG_FINGERPRINT_CHANGED);
    rig_release(&rig);
}

Test(seal, another_name_drops_the_record_and_unseal_does)
{
    struct rig rig;
    struct qimg_fingerprint f;
    rig_init(&rig, &top_spec);
    cr_assert_eq(seal(&rig, false), 0);
    struct qimg_image *image = open_top(&rig, true);
    cr_assert_eq(qimg_image_fingerprint(image, &f, &rig.err), 1);
    cr_expect_str_eq(f.backing_name, "base");
    cr_expect_str_eq(f.backing_format, "qcow2");
    cr_expect(f.name_whole && !f.has_content && f.size == 1 << 20);
    qimg_fingerprint_release(&f);
    cr_assert_eq(qimg_image_set_backing(image, "base", "qcow2", &rig.err), 0);
    cr_assert_eq(qimg_image_fingerprint(image, &f, &rig.err), 1, "same name: kept");
    qimg_fingerprint_release(&f);
    cr_assert_eq(qimg_image_set_backing(image, "./base", "qcow2", &rig.err), 0);
    cr_expect_eq(qimg_image_fingerprint(image, &f, &rig.err), 0, "another name: gone");
    qimg_image_close(image);

    cr_assert_eq(seal(&rig, false), 0);
    image = open_top(&rig, true);
    cr_expect_eq(qimg_image_unseal(image, &rig.err), 0);
    cr_expect_eq(qimg_image_fingerprint(image, &f, &rig.err), 0);
    cr_expect_eq(qimg_image_unseal(image, &rig.err), 0, "twice is fine");
    qimg_image_close(image);
    rig_release(&rig);
}

Test(seal, where_the_header_has_no_room_nothing_changes)
{
    struct build_qcow2 small = top_spec;
    struct stat before, after;
    struct rig rig;
    small.cluster_bits = 9;
    rig_init(&rig, &small);
    set_time(rig.top, 1000000000);
    cr_assert_eq(stat(rig.top, &before), 0);
    cr_expect_eq(seal(&rig, false), -ENOSPC);
    cr_expect(strstr(rig.err.text, "has no room for a fingerprint"), "%s", rig.err.text);
    cr_assert_eq(stat(rig.top, &after), 0);
    cr_expect_eq(before.st_mtim.tv_sec, after.st_mtim.tv_sec);
    rig_release(&rig);
}

Test(seal, raw_images_and_images_without_backing_are_refused)
{
    struct build_qcow2 alone = base_spec;
    struct rig rig;
    rig_init(&rig, &alone);
    cr_expect_eq(seal(&rig, false), -ENOENT);
    const struct qimg_open_options raw = { .format = "raw", .writable = true };
    const struct qimg_seal_options how = { .content = false };
    struct qimg_image *image;
    cr_assert_eq(qimg_image_open(rig.context, rig.base, &raw, &image, &rig.err), 0);
    cr_expect_eq(qimg_image_seal(image, &how, &rig.err), -ENOTSUP);
    qimg_image_close(image);
    rig_release(&rig);
}
