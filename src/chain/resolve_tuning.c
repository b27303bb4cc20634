/* SPDX-License-Identifier: Apache-2.0
 *
 * Options that tune QEMU's own caches and checks. They mean nothing here, where caches have budgets
 * and checks cannot be turned off; but what QEMU refuses of them is refused, in its words and in
 * its order, so that a mistake is found with either program.
 */
#include "resolve_tuning.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const char *value_of(const struct block_option_vec *options, const char *key)
{
    for (size_t i = 0; i < options->count; i++)
        if (strcmp(options->items[i].key, key) == 0)
            return options->items[i].value;
    return NULL;
}

static bool is_any_of(const char *value, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(value, *names) == 0)
            return true;
    return false;
}

/* --- kinds of values ------------------------------------------------------------------------ */

static const char *const flags_of_nodes[] = { "read-only",    "auto-read-only", "force-share",
                                              "cache.direct", "cache.no-flush", NULL };
static const char *const flags_of_qcow2[] = { "lazy-refcounts",
                                              "pass-discard-request",
                                              "pass-discard-snapshot",
                                              "pass-discard-other",
                                              "discard-no-unref",
                                              "overlap-check.main-header",
                                              "overlap-check.active-l1",
                                              "overlap-check.active-l2",
                                              "overlap-check.refcount-table",
                                              "overlap-check.refcount-block",
                                              "overlap-check.snapshot-table",
                                              "overlap-check.inactive-l1",
                                              "overlap-check.inactive-l2",
                                              "overlap-check.bitmap-directory",
                                              NULL };
static const char *const other_of_qcow2[] = { "overlap-check",        "overlap-check.template",
                                              "cache-size",           "l2-cache-size",
                                              "l2-cache-entry-size",  "refcount-cache-size",
                                              "cache-clean-interval", NULL };

bool tuning_is_qcow2s(const char *key)
{
    return is_any_of(key, flags_of_qcow2) || is_any_of(key, other_of_qcow2);
}

static int check_flags(const struct block_option_vec *options, const char *const *keys,
                       struct qimg_error *err)
{
    for (; *keys; keys++) {
        const char *value = value_of(options, *keys);
        if (value && strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
            return qimg_fail(err, EINVAL, "Parameter '%s' expects 'on' or 'off'", *keys);
    }
    return 0;
}

/* 1: given; 0: not. */
static int read_size(const struct block_option_vec *options, const char *key, uint64_t *out,
                     struct qimg_error *err)
{
    const char *text = value_of(options, key);

    *out = 0;
    if (!text)
        return 0;
    TRY(block_option_size(key, text, out, err));
    return 1;
}

/* --- of every node -------------------------------------------------------------------------- */

int tuning_check_node(const struct block_option_vec *options, struct qimg_error *err)
{
    static const char *const discards[] = { "ignore", "off", "unmap", "on", NULL };
    static const char *const detects[] = { "off", "on", "unmap", NULL };
    const char *discard = value_of(options, "discard");
    const char *detect = value_of(options, "detect-zeroes");
    const char *name = value_of(options, "node-name");

    TRY(check_flags(options, flags_of_nodes, err));
    if (name && !isalpha((unsigned char)*name))
        return qimg_fail(err, EINVAL, "Invalid node-name: '%s'", name);
    if (discard && !is_any_of(discard, discards))
        return qimg_fail(err, EINVAL, "Invalid discard option");
    if (detect && !is_any_of(detect, detects))
        return qimg_fail(err, EINVAL, "invalid parameter value: %s", detect);
    return 0;
}

/* --- of qcow2 ------------------------------------------------------------------------------- */

static int check_caches(const struct block_option_vec *options, struct tuning *out,
                        struct qimg_error *err)
{
    uint64_t all, l2, counts;
    const int has_all = read_size(options, "cache-size", &all, err);
    TRY(has_all);
    const int has_l2 = read_size(options, "l2-cache-size", &l2, err);
    TRY(has_l2);
    const int has_counts = read_size(options, "refcount-cache-size", &counts, err);
    TRY(has_counts);
    const int has_entry = read_size(options, "l2-cache-entry-size", &out->l2_entry_size, err);
    TRY(has_entry);
    out->has_l2_entry_size = has_entry;
    out->refcount_cache = has_counts ? counts : all - (has_l2 && all >= l2 ? l2 : 0);
    if (has_all && has_l2 && has_counts)
        return qimg_fail(err, EINVAL,
                         "cache-size, l2-cache-size and refcount-cache-size may not be "
                         "set at the same time");
    if (has_all && has_l2 && l2 > all)
        return qimg_fail(err, EINVAL, "l2-cache-size may not exceed cache-size");
    if (has_all && has_counts && counts > all)
        return qimg_fail(err, EINVAL, "refcount-cache-size may not exceed cache-size");
    return 0;
}

static int check_interval(const struct block_option_vec *options, struct qimg_error *err)
{
    const char *text = value_of(options, "cache-clean-interval");
    char *end;

    if (!text)
        return 0;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 0);
    if (end == text || *end)
        return qimg_fail(err, EINVAL, "Parameter 'cache-clean-interval' expects a number");
    if (errno || value > UINT_MAX)
        return qimg_fail(err, EINVAL, "Cache clean interval too big");
    return 0;
}

static int check_overlaps(const struct block_option_vec *options, struct qimg_error *err)
{
    static const char *const templates[] = { "none", "constant", "cached", "all", NULL };
    const char *name = value_of(options, "overlap-check");
    const char *template = value_of(options, "overlap-check.template");

    if (name && template && strcmp(name, template) != 0)
        return qimg_fail(err, EINVAL,
                         "Conflicting values for qcow2 options 'overlap-check' ('%s') and "
                         "'overlap-check.template' ('%s')",
                         name, template);
    if (!name)
        name = template;
    if (name && !is_any_of(name, templates))
        return qimg_fail(err, EINVAL,
                         "Unsupported value '%s' for qcow2 option 'overlap-check'. Allowed are any "
                         "of the following: none, constant, cached, all",
                         name);
    return 0;
}

int tuning_check_qcow2(const struct block_option_vec *options, struct tuning *out,
                       struct qimg_error *err)
{
    *out = (struct tuning){ 0 };
    TRY(check_flags(options, flags_of_qcow2, err));
    TRY(check_caches(options, out, err));
    TRY(check_interval(options, err));
    return check_overlaps(options, err);
}

int tuning_fits(const struct tuning *tuning, uint32_t cluster_size, struct qimg_error *err)
{
    const uint64_t entry = tuning->l2_entry_size;

    if (cluster_size == 0)
        return 0;
    if (tuning->has_l2_entry_size &&
        (entry < 512 || entry > cluster_size || (entry & (entry - 1)) != 0))
        return qimg_fail(err, EINVAL,
                         "L2 cache entry size must be a power of two between 512 and the cluster "
                         "size (%u)",
                         cluster_size);
    if (tuning->refcount_cache / cluster_size > INT_MAX)
        return qimg_fail(err, EINVAL, "Refcount cache size too big");
    return 0;
}
