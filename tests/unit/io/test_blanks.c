/* SPDX-License-Identifier: Apache-2.0 */
#include "blanks.h"

#include <criterion/criterion.h>
#include <string.h>

#include "bits.h"
#include "engines.h"

#define PART    (64 * KiB)
#define ENOUGH  100 /* parts of zeros that make asking worth its while */
#define IN_DATA (8 * MiB)

/* Data from 8 MiB on, holes around them. */
static struct io_file *make_file(struct rig *rig)
{
    static uint8_t block[2 * PART];
    struct io_file *file = rig_create(rig, "a");

    memset(block, 'd', sizeof(block));
    cr_assert_eq(io_truncate(file, 16 * MiB), 0);
    cr_assert_eq(io_write_exact(file, IN_DATA, block, sizeof(block)), 0);
    return file;
}

static bool have(struct blanks *b, struct io_file *file, uint64_t off)
{
    return blanks_have(b, file, (struct qimg_range){ off, PART });
}

static void note_many(struct blanks *b)
{
    for (uint64_t i = 0; i < ENOUGH; i++)
        blanks_note(b, (struct qimg_range){ i * PART, PART });
}

Test(blanks, holes_are_known_unread_once_many_zeros_were_met)
{
    for (struct rig rig = { 0 }; rig_next(&rig);) {
        struct io_file *file = make_file(&rig);
        struct blanks b = { 0 };

        cr_expect_not(have(&b, file, 1 * MiB), "%s: asked at once", rig.c->name);
        note_many(&b);
        cr_expect(have(&b, file, 6 * MiB), "%s", rig.c->name);
        cr_expect(have(&b, file, 5 * MiB), "%s: before the hole's known part", rig.c->name);
        cr_expect(have(&b, file, 12 * MiB), "%s", rig.c->name);
        cr_expect_not(have(&b, file, IN_DATA), "%s", rig.c->name);
        cr_expect_not(have(&b, file, IN_DATA - PART / 2), "%s: half of it", rig.c->name);
        cr_expect_not(have(&b, file, 16 * MiB), "%s: past the end", rig.c->name);
        blanks_release(&b);
        io_file_close(file);
    }
}

Test(blanks, what_was_read_is_known_until_it_is_forgotten)
{
    struct rig rig;

    rig_real(&rig, IO_ENGINE_THREADS);
    struct io_file *file = make_file(&rig);
    struct blanks b = { 0 };
    note_many(&b);
    blanks_note(&b, (struct qimg_range){ IN_DATA, PART });
    cr_expect(have(&b, file, IN_DATA));
    cr_expect_not(blanks_have(&b, file, (struct qimg_range){ IN_DATA, 2 * PART }), "more of it");
    cr_expect(have(&b, file, 6 * MiB));
    cr_assert_eq(io_write_exact(file, 6 * MiB, "x", 1), 0);
    blanks_forget(&b);
    cr_expect_not(have(&b, file, IN_DATA));
    cr_expect_not(have(&b, file, 6 * MiB));
    blanks_release(&b);
    io_file_close(file);
    rig_teardown(&rig);
}
