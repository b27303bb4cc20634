/* SPDX-License-Identifier: Apache-2.0
 *
 * Which options may change while an image is open.
 */
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "chain.h"
#include "checked.h"
#include "cleanup.h"
#include "open.h"
#include "resolve_tuning.h"

static const struct block_option *find(const struct block_option_vec *options, const char *key)
{
    for (size_t i = 0; i < options->count; i++)
        if (strcmp(options->items[i].key, key) == 0)
            return &options->items[i];
    return NULL;
}

/* @key without the name of the node below that it belongs to. */
static const char *key_of_node(const char *key)
{
    static const char *const below[] = { "file.", "backing." };

    for (size_t i = 0; i < ARRAY_COUNT(below); i++)
        if (strncmp(key, below[i], strlen(below[i])) == 0)
            return key + strlen(below[i]);
    return key;
}

/* What the image was opened with, though nobody may have said so; NULL: nothing. */
static const char *implied(const struct qimg_image *image, const char *key)
{
    const struct layer *top = &image->layers[0];

    if (strcmp(key, "driver") == 0)
        return qimg_image_format(image);
    if (strcmp(key, "file.driver") == 0)
        return top->image->file->is_device ? "host_device" : "file";
    if (strcmp(key, "file.filename") == 0)
        return top->path;
    if (strcmp(key, "backing.driver") == 0 && image->layer_count > 1)
        return image->layers[1].image->ops->name;
    return NULL;
}

static bool may_change(const struct qimg_image *image, const char *key)
{
    static const char *const nodes[] = { "read-only",      "auto-read-only",
                                         "force-share",    "discard",
                                         "detect-zeroes",  "cache.direct",
                                         "cache.no-flush", NULL };
    const char *own = key_of_node(key);

    for (const char *const *node = nodes; *node; node++)
        if (strcmp(own, *node) == 0)
            return true;
    if (own != key)
        return false;
    if (strcmp(qimg_image_format(image), "raw") == 0)
        return strcmp(key, "offset") == 0 || strcmp(key, "size") == 0;
    return tuning_is_qcow2s(key) && strcmp(qimg_image_format(image), "qcow2") == 0;
}

static int check_key(const struct qimg_image *image, const struct block_option_vec *given,
                     const struct block_option *option, struct qimg_error *err)
{
    const struct block_option *before = find(given, option->key);
    const char *now = before ? before->value : implied(image, option->key);

    if (may_change(image, option->key))
        return 0;
    if (now && option->value && strcmp(now, option->value) == 0)
        return 0;
    if (strcmp(option->key, "file") == 0 || strcmp(option->key, "backing") == 0)
        return qimg_fail(err, EINVAL, "Cannot find device='' nor node-name='%s'",
                         option->value ? option->value : "");
    return qimg_fail(err, EINVAL, "Cannot change the option '%s'", key_of_node(option->key));
}

static int flag_of(const struct block_option_vec *options, const char *key)
{
    const struct block_option *option = find(options, key);

    return option ? strcmp(option->value, "on") == 0 : -1;
}

static int take_size(const struct block_option_vec *options, const char *key, bool *said,
                     uint64_t *out, struct qimg_error *err)
{
    const struct block_option *option = find(options, key);

    if (!option)
        return 0;
    *said = true;
    return block_option_size(key, option->value, out, err);
}

static int take_window(const struct qimg_image *image, const struct block_option_vec *options,
                       struct qimg_reopen *out, struct qimg_error *err)
{
    const struct layer *top = &image->layers[0];
    struct qimg_range *window = &out->window;
    struct io_stat st;

    TRY(window_fits(top->image->file, top->window_off, 0, &st, err));
    *window = (struct qimg_range){ top->window_off, image->size };
    if (range_end(*window) >= st.size)
        window->len = 0;
    TRY(take_size(options, "offset", &out->moves_window, &window->off, err));
    TRY(take_size(options, "size", &out->moves_window, &window->len, err));
    if (!out->moves_window)
        return 0;
    if (window->len % 512 != 0)
        return qimg_fail(err, EINVAL, "Specified size is not multiple of 512");
    return window_fits(top->image->file, window->off, window->len, &st, err);
}

static int check(const struct qimg_image *image, const struct block_option_vec *given,
                 const struct block_option_vec *options, struct qimg_error *err)
{
    struct tuning tuning;

    for (size_t i = 0; i < options->count; i++)
        if (!options->items[i].value)
            return qimg_fail(err, EINVAL, "Invalid parameter '%s'", options->items[i].key);
    TRY(tuning_check_node(options, err));
    TRY(tuning_check_qcow2(options, &tuning, err));
    TRY(tuning_fits(&tuning, image->layers[0].image->cluster_size, err));
    for (size_t i = 0; i < options->count; i++)
        TRY(check_key(image, given, &options->items[i], err));
    return 0;
}

int qimg_image_check_reopen(const struct qimg_image *image, const char *given, const char *options,
                            struct qimg_reopen *out, struct qimg_error *err)
{
    AUTO(block_options_release) struct block_option_vec before = { 0 }, now = { 0 };

    if (given)
        TRY(block_options_from_keyval(given, &before, err));
    TRY(block_options_from_keyval(options, &now, err));
    TRY(check(image, &before, &now, err));
    *out = (struct qimg_reopen){ .read_only = flag_of(&now, "read-only"),
                                 .direct = flag_of(&now, "cache.direct"),
                                 .no_flush = flag_of(&now, "cache.no-flush") };
    return take_window(image, &now, out, err);
}
