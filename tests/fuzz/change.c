/* SPDX-License-Identifier: Apache-2.0 */
#include "change.h"

#include "image_input.h"
#include "qimg/write.h"

#define CHANGE_VERBS 8

static struct guest_bytes look(struct qimg_context *context)
{
    struct qimg_image *image = machine_open(context, &(struct qimg_open_options){ 0 });
    const struct guest_bytes guest = guest_of(image);

    qimg_image_close(image);
    return guest;
}

/* One verb with an open and a close of its own. */
static bool run_verb(struct qimg_context *context, uint8_t verb)
{
    const struct qimg_open_options how = { .writable = true };
    struct qimg_image *image = machine_open(context, &how);
    struct qimg_error err;

    if (!image)
        return true;
    const bool keeps = change_once(image, verb);
    if (qimg_image_finish(image, &err) < 0)
        require(err.text[0] != '\0');
    qimg_image_close(image);
    return keeps;
}

static void expect_kept(struct qimg_context *context, const struct guest_bytes *before)
{
    struct guest_bytes after = look(context);

    require(!before->bytes || (before->len == after.len && guest_kept(before, &after)));
    guest_bytes_release(&after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct io_engine *engine = machine_new();
    struct qimg_context *context = sim_context_new(engine, NULL);

    if (len > CHANGE_VERBS)
        machine_put(engine, "disk", data + CHANGE_VERBS, len - CHANGE_VERBS);
    const bool sound = machine_is_sound(context);
    for (size_t i = 0; i < CHANGE_VERBS && i < len; i++) {
        if (data[i] == 0)
            continue;
        struct guest_bytes before = look(context);
        const bool keeps = run_verb(context, data[i]);
        if (sound && keeps)
            expect_kept(context, &before);
        guest_bytes_release(&before);
    }
    require(!sound || machine_is_sound(context));
    qimg_context_free(context);
    return 0;
}

/* Image seed number @index with some verbs before it. */
uint8_t *fuzz_seed(unsigned index, size_t *len)
{
    uint8_t *seed = image_seed(index, CHANGE_VERBS, len);

    for (unsigned i = 0; seed && i < 3; i++)
        seed[i] = (uint8_t)(1 + index * 3 + i);
    return seed;
}

size_t fuzz_mutate(uint8_t *data, size_t len, size_t max, uint64_t seed)
{
    if (len <= CHANGE_VERBS)
        return 0;
    if (fuzz_below(&seed, 2))
        data[fuzz_below(&seed, CHANGE_VERBS)] = (uint8_t)fuzz_below(&seed, 32);
    if (fuzz_below(&seed, 4) == 0)
        return len;
    const size_t image = image_mutate(data + CHANGE_VERBS, len - CHANGE_VERBS, max - CHANGE_VERBS,
                                      fuzz_random(&seed));
    return image ? CHANGE_VERBS + image : 0;
}
