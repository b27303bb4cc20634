/* SPDX-License-Identifier: Apache-2.0
 *
 * Any text as the name of an image: byte 0 says whether the user gave it, as a name or as options,
 * or an image did, and under which policy. Nothing is opened. What is shown of a name that was
 * understood is a name of the same place.
 */
#include <string.h>

#include "fuzz.h"
#include "resolve.h"
#include "text_input.h"

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void expect_same_place(struct qimg_context *context, const struct location *a)
{
    struct location b = { 0 };
    struct qimg_error err;

    if (strcmp(a->display, a->path) == 0)
        return;
    for (const char *c = a->display; *c; c++)
        if (*c & 0x80)
            return; /* given as options they may be no text at all */
    require(resolve_name(context, a->display, false, &b, &err) == 0);
    require(same(a->path, b.path) && same(a->format, b.format));
    require(a->raw_offset == b.raw_offset && a->raw_size == b.raw_size);
    location_release(&b);
}

static void resolve(struct qimg_context *context, unsigned how, const char *text)
{
    struct location location = { 0 };
    struct qimg_error err;
    int rc;

    if (how == 0)
        rc = resolve_name(context, text, false, &location, &err);
    else if (how == 1)
        rc = resolve_name(context, text, true, &location, &err);
    else
        rc =
            resolve_recorded(context, how == 2 ? "dir/of/image" : "json:{}", text, &location, &err);
    if (rc == 0) {
        require(location.path && location.display);
        expect_same_place(context, &location);
    } else {
        require(rc == -err.code && err.text[0] != '\0');
    }
    location_release(&location);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct qimg_context *contexts[2];
    struct qimg_error err;

    if (len < 1)
        return 0;
    struct qimg_context **context = &contexts[data[0] / 4 % 2];
    const struct qimg_context_options how = { .gate.policy = data[0] / 4 % 2 ? QIMG_POLICY_QEMU
                                                                             : QIMG_POLICY_STRICT };
    if (!*context)
        require(qimg_context_new(&how, context, &err) == 0);
    char *text = malloc(len);
    require(text != NULL);
    memcpy(text, data + 1, len - 1);
    text[len - 1] = '\0';
    resolve(*context, data[0] % 4, text);
    free(resolve_full_name("a/b", text));
    free(resolve_join("a/b", text));
    free(text);
    return 0;
}

static const char *const words[] = { "json:",
                                     "{",
                                     "}",
                                     ":",
                                     ",",
                                     "\"driver\"",
                                     "\"qcow2\"",
                                     "\"raw\"",
                                     "\"file\"",
                                     "\"host_device\"",
                                     "\"filename\"",
                                     "\"file.filename\"",
                                     "\"backing\"",
                                     "\"backing.file.filename\"",
                                     "\"data-file\"",
                                     "null",
                                     "true",
                                     "\"offset\"",
                                     "\"size\"",
                                     "\"18446744073709551615\"",
                                     "-1",
                                     "1e400",
                                     "\\u0000",
                                     "\\ud800",
                                     "\xff",
                                     "driver=",
                                     "file.",
                                     "filename=",
                                     "backing.",
                                     "offset=",
                                     "nbd://h",
                                     "file:",
                                     "/",
                                     "../",
                                     "[",
                                     "]",
                                     "\"",
                                     "\"encrypt.key-secret\"",
                                     "\"cache.direct\"",
                                     "\"read-only\"",
                                     "\"lazy-refcounts\"",
                                     "\"l2-cache-size\"",
                                     "\"force-share\"",
                                     "fat:",
                                     NULL };

uint8_t *fuzz_seed(unsigned index, size_t *len)
{
    static const struct {
        uint8_t how;
        const char *text;
    } seeds[] = {
        { 0, "json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"a\"}}" },
        { 4,
          "json:{\"driver\":\"raw\",\"offset\":512,\"size\":\"1024\",\"file.filename\":\"a b\"}" },
        { 0, "json:{\"file.driver\":\"file\",\"file.filename\":\"x\",\"backing\":null}" },
        { 1, "driver=qcow2,file.driver=file,file.filename=a,,b,backing.driver=raw,"
             "backing.file.filename=c" },
        { 2, "json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"host_device\","
             "\"filename\":\"/dev/x\"},\"backing\":{\"driver\":\"raw\",\"file.filename\":\"c\"}}" },
        { 6, "nbd://host/export" },
        { 2, "file:base.qcow2" },
        { 7, "../a/b.qcow2" },
        { 1, "file.filename=a,cache.direct=on,lazy-refcounts=on,data-file.filename=d" },
    };

    if (index >= sizeof(seeds) / sizeof(seeds[0]))
        return NULL;
    return text_seed(seeds[index].how, seeds[index].text, len);
}

size_t fuzz_mutate(uint8_t *data, size_t len, size_t max, uint64_t seed)
{
    return len ? 1 + text_mutate(words, data + 1, len - 1, max - 1, seed) : 0;
}
