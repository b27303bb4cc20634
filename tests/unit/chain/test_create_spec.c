/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "bits.h"
#include "create_options.h"

static int resolve(const struct qimg_option *given, size_t count, const char *backing,
                   struct create_spec *spec, struct qimg_error *err)
{
    static struct create_options options;

    cr_assert_eq(create_options_init(&options, "qcow2", err), 0);
    cr_assert_eq(create_options_parse(&options, given, count, err), 0, "%s", err->text);
    (void)create_options_set(&options, "size", "", MiB - 1);
    if (backing)
        (void)create_options_set(&options, "backing_file", backing, 0);
    return create_options_resolve(&options, spec, err);
}

Test(create_spec, combinations_that_qemu_refuses)
{
    static const struct {
        struct qimg_option given[2];
        const char *backing, *want;
    } cases[] = {
        { { { "compat", "0.10" }, { "extended_l2", "on" } },
          NULL,
          "Extended L2 entries are only supported with compatibility level 1.1 and above (use "
          "version=v3 or greater)" },
        { { { "cluster_size", "8k" }, { "extended_l2", "on" } },
          NULL,
          "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes" },
        { { { "compat", "v2" }, { "lazy_refcounts", "on" } },
          NULL,
          "Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 "
          "or greater)" },
        { { { "compat", "v2" }, { "refcount_bits", "8" } },
          NULL,
          "Different refcount widths than 16 bits require compatibility level 1.1 or above (use "
          "version=v3 or greater)" },
        { { { "compat", "v2" }, { "data_file", "d" } },
          NULL,
          "External data files are only supported with compatibility level 1.1 and above (use "
          "version=v3 or greater)" },
        { { { "compat", "v2" }, { "compression_type", "zstd" } },
          NULL,
          "Non-zlib compression type is only supported with compatibility level 1.1 and above "
          "(use version=v3 or greater)" },
        { { { "data_file", "d" }, { "data_file_raw", "on" } },
          "b",
          "Backing file and data-file-raw cannot be used at the same time" },
        { { { "preallocation", "full" }, { "compat", "v3" } },
          "b",
          "Backing file and preallocation can only be used at the same time if extended_l2 is "
          "on" },
        { { { "backing_fmt", "raw" }, { "compat", "v3" } },
          NULL,
          "Backing format cannot be used without backing file" },
        { { { "refcount_bits", "128" }, { "compat", "v3" } },
          NULL,
          "Refcount width must be a power of two and may not exceed 64 bits" },
        { { { "refcount_bits", "0" }, { "compat", "v3" } },
          NULL,
          "Refcount width must be a power of two and may not exceed 64 bits" },
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct create_spec spec;
        struct qimg_error err;
        cr_expect_eq(resolve(cases[i].given, 2, cases[i].backing, &spec, &err), -EINVAL, "case %zu",
                     i);
        cr_expect_str_eq(err.text, cases[i].want, "case %zu: %s", i, err.text);
    }
}

Test(create_spec, defaults_and_a_raw_data_file_that_forces_metadata)
{
    static const struct qimg_option raw[] = { { "data_file", "d" }, { "data_file_raw", "on" } };
    struct create_spec spec;
    struct qimg_error err;

    cr_assert_eq(resolve(NULL, 0, NULL, &spec, &err), 0, "%s", err.text);
    cr_expect_eq(spec.size, MiB, "rounded up to sectors");
    cr_expect_eq(spec.version, 3);
    cr_expect_eq(spec.cluster_size, 65536);
    cr_expect_eq(spec.refcount_bits, 16);
    cr_expect_eq(spec.preallocation, PREALLOC_OFF);
    cr_assert_eq(resolve(raw, 2, NULL, &spec, &err), 0, "%s", err.text);
    cr_expect_eq(spec.preallocation, PREALLOC_METADATA);
}
