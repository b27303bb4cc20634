/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "format.h"

Test(registry, finds_formats_by_exact_name)
{
    cr_expect_str_eq(format_find("qcow2")->name, "qcow2");
    cr_expect_str_eq(format_find("raw")->name, "raw");
    cr_expect_null(format_find("QCOW2"));
    cr_expect_null(format_find(""));
}

static const struct {
    const char *name, *head;
    size_t len;
    const char *want;
} probes[] = {
    { "empty file", "", 0, "raw" },
    { "text", "hello", 5, "raw" },
    { "qcow2 version 2", "QFI\xfb\0\0\0\2", 8, "qcow2" },
    { "qcow2 version 3", "QFI\xfb\0\0\0\3", 8, "qcow2" },
    { "a version to come", "QFI\xfb\0\0\0\4", 8, "qcow2" },
    { "version beyond 31 bits", "QFI\xfb\x80\0\0\0", 8, "qcow2" },
    { "qcow version 1", "QFI\xfb\0\0\0\1", 8, "raw" },
    { "version 0", "QFI\xfb\0\0\0\0", 8, "raw" },
    { "magic alone", "QFI\xfb", 4, "raw" },
    { "magic not at the start", "\0QFI\xfb\0\0\0\3", 9, "raw" },
};

Test(registry, probes_by_the_first_bytes)
{
    for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++) {
        uint8_t head[512] = { 0 };
        memcpy(head, probes[i].head, probes[i].len);
        const struct format_ops *ops = format_probe(head, probes[i].len);
        cr_expect_str_eq(ops->name, probes[i].want, "%s: %s", probes[i].name, ops->name);
        if (probes[i].len >= 8) { /* zero padded, as it is read from files */
            ops = format_probe(head, sizeof(head));
            cr_expect_str_eq(ops->name, probes[i].want, "%s, padded", probes[i].name);
        }
    }
}
