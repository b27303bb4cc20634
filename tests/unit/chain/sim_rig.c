/* SPDX-License-Identifier: Apache-2.0 */
#include "sim_rig.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"

#define BLOCK 4096u

static void keep_note(void *user, enum qimg_note_level level, const char *text)
{
    struct sim_rig *rig = user;
    const size_t used = strlen(rig->notes);

    if (level == QIMG_NOTE_WARNING)
        (void)snprintf(rig->notes + used, sizeof(rig->notes) - used, "%s\n", text);
}

struct sim_rig *sim_rig_new(const struct io_sim_options *options)
{
    struct sim_rig *rig = calloc(1, sizeof(*rig));
    struct qimg_error err;
    const struct qimg_context_options how = { .note = keep_note, .note_user = rig };

    cr_assert_not_null(rig);
    cr_assert_eq(qimg_context_new(&how, &rig->context, &err), 0, "%s", err.text);
    io_engine_free(rig->context->engine);
    cr_assert_eq(io_sim_new(options, rig->context->workers, &rig->engine), 0);
    rig->context->engine = rig->engine;
    return rig;
}

void sim_rig_free(struct sim_rig *rig)
{
    qimg_context_free(rig->context);
    free(rig);
}

void sim_rig_raw(struct sim_rig *rig, const char *name, const char *pattern)
{
    const size_t blocks = strlen(pattern);
    uint8_t block[BLOCK];
    struct io_file *file;
    const struct io_open_options how = { .writable = true };

    cr_assert_eq(io_sim_put(rig->engine, name, NULL, 0, blocks * BLOCK), 0);
    cr_assert_eq(io_file_open(rig->engine, name, &how, &file), 0);
    for (size_t i = 0; i < blocks; i++) {
        if (pattern[i] == '.')
            continue;
        memset(block, pattern[i] == '0' ? 0 : pattern[i], BLOCK);
        cr_assert_eq(io_write_exact(file, i * BLOCK, block, BLOCK), 0);
    }
    cr_assert_eq(io_sync(file), 0);
    io_file_close(file);
}

struct qimg_image *sim_rig_open(struct sim_rig *rig, const char *name, const char *format)
{
    struct qimg_image *image;
    struct qimg_error err;
    const struct qimg_open_options how = { .format = format ? format : "raw" };

    cr_assert_eq(qimg_image_open(rig->context, name, &how, &image, &err), 0, "%s", err.text);
    return image;
}

char *sim_rig_pattern(struct sim_rig *rig, const char *name)
{
    const uint64_t size = io_sim_size(rig->engine, name);
    uint8_t block[BLOCK];

    if (size == UINT64_MAX)
        return NULL;
    char *pattern = calloc(1, size / BLOCK + 2);
    cr_assert_not_null(pattern);
    for (uint64_t i = 0; i * BLOCK < size; i++) {
        const size_t len = min_u64(BLOCK, size - i * BLOCK);
        cr_assert(io_sim_get(rig->engine, name, i * BLOCK, block, len));
        pattern[i] = block[0] == 0 ? '.' : (char)block[0];
        for (size_t k = 1; k < len; k++)
            if (block[k] != block[0])
                pattern[i] = '?';
    }
    return pattern;
}
