/* SPDX-License-Identifier: Apache-2.0 */
#include "resolve.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "str.h"

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

Test(resolve, names_mean_what_qemu_takes_them_for)
{
    static const struct {
        const char *name, *path, *display, *format, *driver;
        bool embedded;
    } cases[] = {
        { "a", "a", "a", NULL, NULL, false },
        { "./a:b", "./a:b", "./a:b", NULL, NULL, false },
        { "d/a:b", "d/a:b", "d/a:b", NULL, NULL, false },
        { "file:a", "a", "a", NULL, "file", true },
        { "file:./a:b", "./a:b", "./a:b", NULL, "file", true },
        { "host_device:/dev/x", "/dev/x", "/dev/x", NULL, "host_device", true },
        { "json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"a\"}}", "a", "a",
          "qcow2", "file", true },
        { "json:{'driver':'qcow2','file.filename':'a'}", "a", "a", "qcow2", NULL, true },
        { "json: {'file': {'filename': 'it\\'s \"a\"'}}", "it's \"a\"", "it's \"a\"", NULL, NULL,
          true },
        { "json:{'driver':'file','filename':'a'}", "a", "a", NULL, "file", true },
        { "json:{'driver':'qcow2','file.filename':'a','lazy-refcounts':true,'l2-cache-size':65536}",
          "a", "a", "qcow2", NULL, true },
        { "json:{'driver':'raw','file.filename':'a','offset':512}", "a",
          "json:{\"offset\": 512, \"driver\": \"raw\", \"file\": {\"driver\": \"file\", "
          "\"filename\": \"a\"}}",
          "raw", NULL, true },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct location at = { 0 };
        struct qimg_error err;
        cr_assert_eq(resolve_name(NULL, cases[i].name, false, &at, &err), 0, "%s: %s",
                     cases[i].name, err.text);
        cr_expect(same(at.path, cases[i].path), "%s: %s", cases[i].name, at.path);
        cr_expect(same(at.display, cases[i].display), "%s: %s", cases[i].name, at.display);
        cr_expect(same(at.format, cases[i].format), "%s", cases[i].name);
        cr_expect(same(at.driver, cases[i].driver), "%s", cases[i].name);
        cr_expect_eq(at.embedded, cases[i].embedded, "%s", cases[i].name);
        location_release(&at);
    }
}

Test(resolve, bad_names_get_qemus_sentence)
{
    static const struct {
        const char *name, *text;
        bool image_opts;
    } cases[] = {
        { "", "The 'file' block driver requires a file name", false },
        { "a:b", "Unknown protocol 'a'", false },
        { "json:{bad", "Could not parse the JSON options: JSON parse error, invalid keyword 'bad'",
          false },
        { "json:[1]", "Invalid JSON object given", false },
        { "json:{}", "Must specify either driver or file", false },
        { "json:{'driver':'qcow2'}", "A block device must be specified for \"file\"", false },
        { "json:{'driver':'qcow2','file':'x'}", "Cannot find device='x' nor node-name='x'", false },
        { "json:{'driver':'nosuch','host':'x'}", "Unknown driver 'nosuch'", false },
        { "json:{'driver':'qcow2','file.filename':'a','foo':1}",
          "Block format 'qcow2' does not support the option 'foo'", false },
        { "json:{'driver':'qcow2','file.filename':'a','file.foo':1}",
          "Block protocol 'file' doesn't support the option 'foo'", false },
        { "json:{'driver':'raw','file.filename':'a','size':100}",
          "Specified size is not multiple of 512", false },
        { "a.qcow2", "Cannot find device='a.qcow2' nor node-name='a.qcow2'", true },
        { "driver=qcow2,file.filename=a,foo=2",
          "Block format 'qcow2' does not support the option 'foo'", true },
        { "driver=qcow2,file.filename=a,backing=x",
          "Could not open backing file: Cannot find device='x' nor node-name='x'", true },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct location at = { 0 };
        struct qimg_error err;
        cr_assert_lt(resolve_name(NULL, cases[i].name, cases[i].image_opts, &at, &err), 0, "%s",
                     cases[i].name);
        cr_expect_str_eq(err.text, cases[i].text, "%s: %s", cases[i].name, err.text);
    }
}

Test(resolve, nesting_is_bounded_before_anything_recurses)
{
    struct str name = { 0 };
    struct location at = { 0 };
    struct qimg_error err;
    str_puts(&name, "json:");
    for (int i = 0; i < 100000; i++)
        str_puts(&name, "{'a':");
    cr_assert_lt(resolve_name(NULL, name.text, false, &at, &err), 0);
    cr_expect(strstr(err.text, "nested deeper than 32"), "%s", err.text);
    str_release(&name);
}

Test(resolve, image_opts_double_their_commas)
{
    struct location at = { 0 };
    struct qimg_error err;
    cr_assert_eq(resolve_name(NULL, "driver=qcow2,file.filename=a,,b,read-only", true, &at, &err),
                 0, "%s", err.text);
    cr_expect_str_eq(at.path, "a,b");
    cr_expect(at.read_only);
    location_release(&at);
}

Test(resolve, backing_names_are_joined_as_text)
{
    static const struct {
        const char *holder, *recorded, *full; /* full NULL: refused */
    } cases[] = {
        { "a", "b", "b" },
        { "d/a", "b", "d/b" },
        { "d/a", "../b", "d/../b" },
        { "/x/../y/a", "./b:c", "/x/../y/./b:c" },
        { "d/a", "/b", "/b" },
        { "d/a", "file:b", "b" },
        { "d/a", "file:b:c", "./b:c" },
        { "p:q/a", "b", "p:q/b" },
        { "json:{\"driver\"...", "b", NULL },
        { "json:{\"driver\"...", "/b", "/b" },
        { "d/a", "nbd:b", NULL },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct location at = { 0 };
        struct qimg_error err;
        const int rc = resolve_recorded(NULL, cases[i].holder, cases[i].recorded, &at, &err);
        cr_expect_eq(rc == 0, cases[i].full != NULL, "%s: %d", cases[i].recorded, rc);
        cr_expect(same(at.path, cases[i].full), "%s in %s: %s", cases[i].recorded, cases[i].holder,
                  at.path);
        location_release(&at);
    }
    char *full = resolve_full_name("d/a", "json:{}");
    cr_expect_str_eq(full, "json:{}");
    free(full);
}
