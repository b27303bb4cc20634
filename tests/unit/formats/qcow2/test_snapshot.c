/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "open_image.h"
#include "qcow2.h"

static const struct build_cluster active[] = { { .index = 0, .fill = 1 } };
static const struct build_cluster first[] = { { .index = 1, .fill = 2 } };
static const struct build_cluster second[] = { { .index = 2, .kind = BUILD_ZERO } };

static const struct build_snapshot list[] = {
    { .id = "1",
      .name = "2",
      .clusters = first,
      .cluster_count = 1,
      .date_sec = 1600000000,
      .date_nsec = 5,
      .vm_clock_nsec = 77,
      .vm_state_size = UINT64_C(5) << 32,
      .icount = 9,
      .disk_size = 4096 },
    { .id = "2",
      .name = "old",
      .clusters = second,
      .cluster_count = 1,
      .no_extra = true,
      .vm_state_size = 1234 },
    { .id = "3", .name = "old", .extra_len = 1024 },
    { .id = "", .name = "", .extra_len = 16 },
};

static const struct build_qcow2 spec = {
    .size = MiB, .clusters = active, .cluster_count = 1, .snapshots = list, .snapshot_count = 4
};

static struct image *must_open(const struct build_qcow2 *what)
{
    struct qimg_error err;
    struct image *image = open_built(what, NULL, &err);

    cr_assert_not_null(image, "%s", err.text);
    return image;
}

Test(qcow2_snapshot, entries_of_all_ages_are_read)
{
    struct image *image = must_open(&spec);
    const struct qcow2_snapshot_vec *v = &qcow2_of(image)->snapshots;

    cr_assert_eq(v->count, 4);
    const struct qcow2_snapshot *s = v->items;
    cr_expect_str_eq(s[0].id, "1");
    cr_expect_str_eq(s[0].name, "2");
    cr_expect_eq(s[0].date_sec, 1600000000);
    cr_expect_eq(s[0].date_nsec, 5);
    cr_expect_eq(s[0].vm_clock_nsec, 77);
    cr_expect_eq(s[0].vm_state_size, UINT64_C(5) << 32, "the wide field counts");
    cr_expect_eq(s[0].icount, 9);
    cr_expect_eq(s[0].disk_size, 4096);
    cr_expect_eq(s[1].vm_state_size, 1234);
    cr_expect_eq(s[1].disk_size, MiB, "without its own size: the image's");
    cr_expect_eq(s[1].icount, UINT64_MAX);
    cr_expect_str_eq(s[2].name, "old", "unknown extra data is skipped");
    cr_expect_eq(s[2].disk_size, MiB);
    cr_expect_str_eq(s[3].id, "");
    cr_expect_eq(s[3].icount, UINT64_MAX, "16 bytes of extra data have none");
    image_close(image);
}

static const struct {
    const char *id, *name;
    const char *want; /* NULL = not found */
} choices[] = {
    { "1", NULL, "65536+65536 D" },
    { NULL, "2", "65536+65536 D" },
    { "2", NULL, "131072+65536 Z" },
    { NULL, "old", "131072+65536 Z" },
    { "3", "old", "" },
    { "2", "old", "131072+65536 Z" },
    { "1", "old", NULL },
    { "4", NULL, NULL },
    { NULL, "1", NULL },
    { NULL, NULL, NULL },
};

Test(qcow2_snapshot, is_found_by_id_by_name_or_by_both)
{
    for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
        struct qimg_error err;
        struct image *image = must_open(&spec);
        const int rc = qcow2_select_snapshot(image, choices[i].id, choices[i].name, &err);
        if (choices[i].want) {
            cr_expect_eq(rc, 0, "case %zu: %s", i, err.text);
            char *text = map_text(image);
            cr_expect_eq(strncmp(text, choices[i].want, strlen(choices[i].want)), 0, "case %zu: %s",
                         i, text);
            free(text);
        } else {
            cr_expect_eq(rc, -ENOENT, "case %zu", i);
            cr_expect_str_eq(err.text, "Can't find snapshot");
        }
        image_close(image);
    }
}

static const struct {
    const char *name;
    uint64_t off; /* in the entry */
    unsigned width;
    uint64_t value;
    const char *want;
} bad_l1[] = {
    { "too large", 8, 4, 4194305, "Snapshot L1 table too large" },
    { "unaligned", 0, 8, 0x30001, "Snapshot L1 table offset invalid" },
    { "past the end", 0, 8, UINT64_C(0x100000000),
      "Snapshot L1 table at offset 0x100000000 begins past the end of the file" },
};

Test(qcow2_snapshot, a_wrong_l1_table_matters_only_when_it_is_used)
{
    for (size_t i = 0; i < sizeof(bad_l1) / sizeof(bad_l1[0]); i++) {
        struct built built = build_qcow2(&spec);
        const struct build_patch patch = { built.snapshots_off + bad_l1[i].off, bad_l1[i].width,
                                           bad_l1[i].value };
        struct build_qcow2 patched = spec;
        struct qimg_error err;

        patched.patches = &patch;
        patched.patch_count = 1;
        struct image *image = must_open(&patched);
        cr_expect_lt(qcow2_select_snapshot(image, "1", NULL, &err), 0, "%s", bad_l1[i].name);
        cr_expect_eq(strncmp(err.text, bad_l1[i].want, strlen(bad_l1[i].want)), 0, "%s: %s",
                     bad_l1[i].name, err.text);
        char *text = map_text(image);
        cr_expect_eq(text[0], '0', "the active state stays: %s", text);
        free(text);
        image_close(image);
        built_release(&built);
    }
}

Test(qcow2_snapshot, a_table_that_begins_past_the_end_is_refused)
{
    const struct build_patch patch = { 64, 8, UINT64_C(0x100000000) };
    struct build_qcow2 patched = spec;
    struct qimg_error err;

    patched.patches = &patch;
    patched.patch_count = 1;
    cr_expect_null(open_built(&patched, NULL, &err));
    cr_expect_eq(strncmp(err.text, "Snapshot table at offset 0x100000000 begins past", 48), 0, "%s",
                 err.text);
}

Test(qcow2_snapshot, too_much_extra_data_is_refused_with_qemus_hint)
{
    struct built built = build_qcow2(&spec);
    const struct build_patch patch = { built.snapshots_off + 36, 4, 1025 };
    struct build_qcow2 patched = spec;
    struct qimg_error err;

    patched.patches = &patch;
    patched.patch_count = 1;
    cr_expect_null(open_built(&patched, NULL, &err));
    cr_expect_str_eq(err.text, "Too much extra metadata in snapshot table entry 0");
    cr_expect_str_eq(err.hint, "You can force-remove this extra metadata with qemu-img check -r "
                               "all");
    built_release(&built);
}

Test(qcow2_snapshot, a_claim_of_65536_costs_little)
{
    struct build_qcow2 patched = spec;
    const struct build_patch patch = { 60, 4, 65536 };

    patched.patches = &patch;
    patched.patch_count = 1;
    struct image *image = must_open(&patched);
    cr_expect_eq(qcow2_of(image)->snapshots.count, 65536);
    cr_expect_lt(((struct mem_file *)image->file)->reads, 100);
    image_close(image);
}

Test(qcow2_snapshot, a_table_above_64_MiB_is_refused)
{
    /* One entry with the longest texts, over and over: 512 of them are 64 MiB. */
    const size_t entry = 40 + 65535 + 65535 + 2, count = 520;
    struct built built = build_qcow2(&(struct build_qcow2){ .size = MiB });
    uint8_t *bytes = calloc(1, built.len + count * entry);
    struct qimg_error err;

    memcpy(bytes, built.bytes, built.len);
    store_be32(bytes + 60, (uint32_t)count);
    store_be64(bytes + 64, built.len);
    for (size_t i = 0; i < count; i++) {
        store_be16(bytes + built.len + i * entry + 12, 65535);
        store_be16(bytes + built.len + i * entry + 14, 65535);
    }
    cr_expect_null(open_bytes(&qcow2_ops, bytes, built.len + count * entry, NULL, &err));
    cr_expect_str_eq(err.text, "Snapshot table is too big");
    free(bytes);
    built_release(&built);
}
