/* SPDX-License-Identifier: Apache-2.0 */
#include "writing.h"

#include <criterion/criterion.h>
#include <unistd.h>

#include "qimg/write.h"
#include "sim_rig.h"

static struct qimg_error err;

static struct qimg_image *open_raw(struct sim_rig *rig, bool writable)
{
    struct qimg_image *image;
    const struct qimg_open_options how = { .format = "raw", .writable = writable };
    sim_rig_raw(rig, "disk", "abc");
    cr_assert_eq(qimg_image_open(rig->context, "disk", &how, &image, &err), 0, "%s", err.text);
    return image;
}

Test(writing, images_open_for_reading_have_no_state_and_no_pins)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_image *image = open_raw(rig, false);
    cr_expect_null(image->writing);
    chain_lock(image);
    cr_expect_eq(chain_writing_begin(image, &err), -EACCES);
    chain_unlock(image);
    chain_unpin(image, chain_pin(image));
    cr_expect_eq(chain_writing_end(image, &err), 0);
    qimg_image_close(image);
    sim_rig_free(rig);
}

/* Opening for writing changes nothing: commands that only change metadata leave bitmaps valid. */
Test(writing, the_format_begins_with_the_first_change_only)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_image *image = open_raw(rig, true);
    uint8_t byte = 1;
    cr_expect_not(image->layers[0].image->writing);
    cr_assert_eq(qimg_image_read(image, 0, &byte, 1, &err), 0);
    cr_assert_eq(qimg_image_flush(image, &err), 0);
    cr_expect_not(image->layers[0].image->writing);
    cr_assert_eq(qimg_image_write(image, 0, &byte, 1, &err), 0);
    cr_expect(image->layers[0].image->writing);
    cr_assert_eq(qimg_image_finish(image, &err), 0);
    cr_expect_not(image->layers[0].image->writing);
    qimg_image_close(image);
    sim_rig_free(rig);
}

static void *change_later(void *arg)
{
    struct qimg_image *image = arg;
    usleep(20000);
    chain_lock(image);
    chain_writing_changed(image);
    chain_unlock(image);
    return NULL;
}

Test(writing, who_waits_is_woken_by_the_next_change, .timeout = 20)
{
    struct sim_rig *rig = sim_rig_new(NULL);
    struct qimg_image *image = open_raw(rig, true);
    const uint64_t seen = chain_writing_changes(image);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, change_later, image), 0);
    chain_writing_wait(image, seen);
    cr_expect_gt(chain_writing_changes(image), seen);
    chain_writing_wait(image, seen); /* has changed already: does not wait */
    pthread_join(thread, NULL);
    qimg_image_close(image);
    sim_rig_free(rig);
}
