/* SPDX-License-Identifier: Apache-2.0
 *
 * Options without a meaning here are held to QEMU's rules all the same (the sentences are compared
 * with QEMU's own in tests/compat).
 */
#include <criterion/criterion.h>

#include "bits.h"
#include "resolve_tuning.h"

static int check(const char *text, struct tuning *out, struct qimg_error *err)
{
    struct block_option_vec options = { 0 };
    int rc = block_options_from_keyval(text, &options, err);

    if (rc == 0)
        rc = tuning_check_node(&options, err);
    if (rc == 0)
        rc = tuning_check_qcow2(&options, out, err);
    block_options_release(&options);
    return rc;
}

Test(resolve_tuning, sizes_bound_each_other)
{
    static const struct {
        const char *options;
        int rc;
    } cases[] = {
        { "cache-size=2M,l2-cache-size=2M", 0 },
        { "cache-size=2M,l2-cache-size=2049k", -EINVAL },
        { "cache-size=2M,refcount-cache-size=2049k", -EINVAL },
        { "l2-cache-size=1M,refcount-cache-size=1M", 0 },
        { "cache-size=3M,l2-cache-size=1M,refcount-cache-size=1M", -EINVAL },
        { "cache-size=some", -EINVAL },
        { "cache-clean-interval=4294967295", 0 },
        { "cache-clean-interval=4294967296", -EINVAL },
        { "overlap-check=none,overlap-check.template=none", 0 },
        { "overlap-check=none,overlap-check.template=all", -EINVAL },
        { "lazy-refcounts=maybe", -EINVAL },
        { "discard=never", -EINVAL },
        { "node-name=1", -EINVAL },
    };
    struct tuning tuning;
    struct qimg_error err;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        cr_expect_eq(check(cases[i].options, &tuning, &err), cases[i].rc, "%s", cases[i].options);
}

Test(resolve_tuning, entries_fit_clusters)
{
    static const struct {
        const char *options;
        uint32_t cluster_size;
        int rc;
    } cases[] = {
        { "l2-cache-entry-size=512", 512, 0 },
        { "l2-cache-entry-size=1k", 512, -EINVAL },
        { "l2-cache-entry-size=768", 65536, -EINVAL },
        { "l2-cache-entry-size=0", 65536, -EINVAL },
        { "l2-cache-entry-size=256", 0, 0 },
        { "refcount-cache-size=127T", 65536, 0 },
        { "refcount-cache-size=128T", 65536, -EINVAL },
    };
    struct tuning tuning;
    struct qimg_error err;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cr_assert_eq(check(cases[i].options, &tuning, &err), 0, "%s", err.text);
        cr_expect_eq(tuning_fits(&tuning, cases[i].cluster_size, &err), cases[i].rc, "%s",
                     cases[i].options);
    }
}
