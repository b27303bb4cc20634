/* SPDX-License-Identifier: Apache-2.0
 *
 * The three sets of feature bits and their names. An image may carry a table of names, so that
 * a program that does not know a bit can still say what it is missing.
 */
#include <inttypes.h>
#include <stdio.h>

#include "qcow2.h"

static int find_name(uint64_t missing, const uint8_t *row)
{
    if (row[0] != QCOW2_FEATURE_INCOMPATIBLE || row[1] > 63 || !(missing >> row[1] & 1))
        return -1;
    return row[1];
}

int qcow2_features_refuse_unknown(uint64_t incompatible, const uint8_t *names, size_t names_len,
                                  struct qimg_error *err)
{
    uint64_t missing = incompatible & ~QCOW2_INCOMPAT_KNOWN;
    char text[64 * (QCOW2_FEATURE_NAME_TEXT + 2) + 64] = "";
    size_t used = 0;

    if (missing == 0)
        return 0;
    /* A nameless row ends the table. Each row that prints clears a bit: 64 at most do. */
    for (size_t at = 0; at < names_len; at += QCOW2_FEATURE_NAME_BYTES) {
        uint8_t row[QCOW2_FEATURE_NAME_BYTES] = { 0 };
        memcpy(row, names + at, min_u64(names_len - at, sizeof(row)));
        if (row[2] == 0)
            break;
        const int bit = find_name(missing, row);
        if (bit < 0)
            continue;
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%.46s", used ? ", " : "",
                                 (const char *)row + 2);
        missing &= ~(UINT64_C(1) << bit);
    }
    if (missing)
        snprintf(text + used, sizeof(text) - used, "%sUnknown incompatible feature: %" PRIx64,
                 used ? ", " : "", missing);
    return qimg_fail(err, ENOTSUP, "Unsupported qcow2 feature(s): %s", text);
}

static const struct {
    uint8_t set, bit;
    char name[QCOW2_FEATURE_NAME_TEXT];
} known_names[] = {
    { QCOW2_FEATURE_INCOMPATIBLE, 0, "dirty bit" },
    { QCOW2_FEATURE_INCOMPATIBLE, 1, "corrupt bit" },
    { QCOW2_FEATURE_INCOMPATIBLE, 2, "external data file" },
    { QCOW2_FEATURE_INCOMPATIBLE, 3, "compression type" },
    { QCOW2_FEATURE_INCOMPATIBLE, 4, "extended L2 entries" },
    { QCOW2_FEATURE_COMPATIBLE, 0, "lazy refcounts" },
    { QCOW2_FEATURE_AUTOCLEAR, 0, "bitmaps" },
    { QCOW2_FEATURE_AUTOCLEAR, 1, "raw external data" },
};

/* Bytes only, so memory is the table as it stands on disk. */
_Static_assert(sizeof(known_names[0]) == QCOW2_FEATURE_NAME_BYTES, "a row has no padding");

const uint8_t *qcow2_feature_names(uint32_t *len)
{
    *len = sizeof(known_names);
    return (const uint8_t *)known_names;
}
