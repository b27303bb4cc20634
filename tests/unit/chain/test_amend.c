/* SPDX-License-Identifier: Apache-2.0
 *
 * -o of amend: what is refused, and in which words.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "qimg/admin.h"
#include "sim_rig.h"

static int amend(struct sim_rig *rig, const char *key, const char *value, struct qimg_error *err)
{
    const struct qimg_open_options how = { .format = "qcow2", .writable = true };
    const struct qimg_option option = { key, value };
    const struct qimg_amend_options options = { .options = &option, .option_count = 1 };
    struct qimg_image *image;

    qimg_error_clear(err);
    cr_assert_eq(qimg_image_open(rig->context, "disk", &how, &image, err), 0, "%s", err->text);
    const int rc = qimg_image_amend(image, &options, err);
    qimg_image_close(image);
    return rc;
}

static struct sim_rig *rig_with_disk(void)
{
    const struct qimg_create_options options = {
        .format = "qcow2", .sync = true, .has_size = true, .size = 1 << 20
    };
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_error err;

    cr_assert_eq(qimg_create(rig->context, "disk", &options, &err), 0, "%s", err.text);
    return rig;
}

Test(chain_amend, refuses_in_qemus_words)
{
    static const struct {
        const char *key, *value, *text, *hint;
    } cases[] = {
        { "cluster_size", "4k", "Invalid parameter 'cluster_size'",
          "This option is only supported for image creation" },
        { "encrypt.format", "luks", "Invalid parameter 'encrypt.format'",
          "This option is only supported for image creation" },
        { "nocow", "on", "Invalid parameter 'nocow'", "" },
        { "foo", "bar", "Invalid parameter 'foo'", "" },
        { "backing_file", "x", "Cannot amend the backing file",
          "You can use 'qemu-img rebase' instead." },
        { "compat", "v9", "Unknown compatibility level v9", "" },
        { "encrypt.state", "active", "Can't amend encryption options - encryption not present",
          "" },
        { "refcount_bits", "3", "Refcount width must be a power of two and may not exceed 64 bits",
          "" },
        { "lazy_refcounts", "maybe", "Parameter 'lazy_refcounts' expects 'on' or 'off'", "" },
        { "size", "9E", "Image size cannot be negative", "" },
    };
    struct sim_rig *rig = rig_with_disk();

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct qimg_error err;
        cr_expect_lt(amend(rig, cases[i].key, cases[i].value, &err), 0, "%s", cases[i].key);
        cr_expect_str_eq(err.text, cases[i].text);
        cr_expect_eq(strncmp(err.hint, cases[i].hint, strlen(cases[i].hint)), 0, "%s: %s",
                     cases[i].key, err.hint);
    }
    sim_rig_free(rig);
}

Test(chain_amend, takes_every_spelling_of_the_version_and_a_size)
{
    static const char *const spellings[] = { "0.10", "1.1", "v2", "v3" };
    struct sim_rig *rig = rig_with_disk();
    struct qimg_error err;

    for (size_t i = 0; i < 4; i++)
        cr_expect_eq(amend(rig, "compat", spellings[i], &err), 0, "%s: %s", spellings[i], err.text);
    cr_expect_eq(amend(rig, "size", "2M", &err), 0, "%s", err.text);
    struct qimg_image *image = sim_rig_open(rig, "disk", "qcow2");
    cr_expect_eq(qimg_image_size(image), 2 << 20);
    qimg_image_close(image);
    sim_rig_free(rig);
}
