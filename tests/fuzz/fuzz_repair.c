/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as an image that is checked, repaired, and repaired again: a check changes nothing;
 * what could be read before a repair reads the same after it; and where repairs say that they left
 * nothing, they come to an end and a check finds nothing.
 */
#include <string.h>

#include "image_input.h"
#include "machine.h"

struct outcome {
    int rc;
    struct qimg_check_result result;
};

static void on_finding(void *user, const struct qimg_check_finding *f)
{
    (void)user;
    require(f->id && f->text && f->structure && f->mend);
}

static struct outcome check(struct qimg_context *context, enum qimg_check_fix fix)
{
    const struct qimg_open_options how = { .check = true, .writable = fix != QIMG_CHECK_FIX_NONE };
    struct outcome outcome = { .rc = -1 };
    const struct qimg_check_options options = { .fix = fix,
                                                .finding = on_finding,
                                                .explain = true };
    struct qimg_image *image = machine_open(context, &how);
    struct qimg_error err;

    if (!image)
        return outcome;
    outcome.rc = qimg_image_check(image, &options, &outcome.result, &err);
    require(outcome.rc >= 0 || err.text[0] != '\0');
    qimg_image_close(image);
    return outcome;
}

static struct guest_bytes look(struct qimg_context *context, const char *snapshot)
{
    const struct qimg_open_options how = { .snapshot_id = snapshot };
    struct qimg_image *image = machine_open(context, &how);
    const struct guest_bytes guest = guest_of(image);

    qimg_image_close(image);
    return guest;
}

static void expect_kept(struct qimg_context *context, const struct guest_bytes *before,
                        const char *snapshot)
{
    if (!before->bytes)
        return;
    struct guest_bytes after = look(context, snapshot);
    require(after.len == before->len && guest_kept(before, &after));
    guest_bytes_release(&after);
}

/* Where structures lie upon each other, mending one may free what another one needs. */
#define REPAIRS 4

static bool leaves_nothing(const struct outcome *o)
{
    return o->rc >= 0 && !o->result.corruptions && !o->result.leaks && !o->result.check_errors;
}

static void repair(struct qimg_context *context, enum qimg_check_fix fix)
{
    struct guest_bytes active = look(context, NULL), old = look(context, "1");
    struct outcome outcome;
    unsigned repairs = 0;

    do {
        outcome = check(context, fix);
        expect_kept(context, &active, NULL);
        expect_kept(context, &old, "1");
        require(++repairs <= REPAIRS);
    } while (leaves_nothing(&outcome) &&
             (outcome.result.corruptions_fixed || outcome.result.leaks_fixed));
    if (leaves_nothing(&outcome)) {
        outcome = check(context, QIMG_CHECK_FIX_NONE);
        require(leaves_nothing(&outcome));
    }
    guest_bytes_release(&active);
    guest_bytes_release(&old);
}

static void expect_untouched(struct io_engine *engine, const uint8_t *data, size_t len)
{
    uint8_t *now = malloc(len + 1);

    require(now && io_sim_size(engine, "disk") == len);
    require(io_sim_get(engine, "disk", 0, now, len) && memcmp(now, data, len) == 0);
    free(now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct io_engine *engine = machine_new();
    struct qimg_context *context = sim_context_new(engine, NULL);

    machine_put(engine, "disk", data, len);
    (void)check(context, QIMG_CHECK_FIX_NONE);
    expect_untouched(engine, data, len);
    repair(context, len % 4 ? QIMG_CHECK_FIX_ALL : QIMG_CHECK_FIX_LEAKS);
    qimg_context_free(context);
    return 0;
}

uint8_t *fuzz_seed(unsigned index, size_t *len)
{
    return image_seed(index, 0, len);
}

size_t fuzz_mutate(uint8_t *data, size_t len, size_t max, uint64_t seed)
{
    return image_mutate(data, len, max, seed);
}
