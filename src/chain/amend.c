/* SPDX-License-Identifier: Apache-2.0
 *
 * amend: -o into a request to the format, with QEMU's complaints in its order.
 */
#include <inttypes.h>
#include <string.h>

#include "bits.h"
#include "chain_admin.h"
#include "create_options.h"
#include "create_rows.h"
#include "qimg/admin.h"

/* What amend takes, as its help shows it. What concerns encryption is known only to be refused. */
static const struct qimg_option_help qcow2_help[] = {
    { "backing_file", "str", "File name of a base image" },
    { "backing_fmt", "str", "Image format of the base image" },
    { "compat", "str", "Compatibility level (v2 [0.10] or v3 [1.1])" },
    { "data_file", "str", "File name of an external data file" },
    { "data_file_raw", "bool (on/off)", "The external data file must stay valid as a raw image" },
    { "lazy_refcounts", "bool (on/off)", "Postpone refcount updates" },
    { "refcount_bits", "num", "Width of a reference count entry in bits" },
    { "size", "size", "Virtual disk size" },
    { NULL, NULL, NULL },
};

static const char *const encryption[] = {
    "encrypt.iter-time",  "encrypt.keyslot", "encrypt.new-secret",
    "encrypt.old-secret", "encrypt.state",
};

/* Options of the file below, which QEMU does not know here either. */
static const char *const of_files[] = { "extent_size_hint", "nocow" };

const struct qimg_option_help *qimg_amend_help(const char *format)
{
    return strcmp(format, "qcow2") == 0 ? qcow2_help : NULL;
}

static bool is_in(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static bool is_amendable(const char *name)
{
    for (const struct qimg_option_help *row = qcow2_help; row->name; row++)
        if (strcmp(row->name, name) == 0)
            return true;
    return false;
}

/* --- reading -------------------------------------------------------------------------------- */

static int refuse_name(const struct create_options *all, const char *name, struct qimg_error *err)
{
    (void)qimg_fail(err, EINVAL, "Invalid parameter '%s'", name);
    for (size_t i = 0; i < all->row_count; i++)
        if (strcmp(all->rows[i].name, name) == 0 && !is_in(of_files, ARRAY_COUNT(of_files), name))
            return qimg_hint(err, "This option is only supported for image creation");
    return -EINVAL;
}

static int parse(const struct qimg_amend_options *asked, struct create_options *out, bool *encrypts,
                 struct qimg_error *err)
{
    TRY(create_options_init(out, "qcow2", err));
    for (size_t i = 0; i < asked->option_count; i++) {
        const char *name = asked->options[i].key;
        if (is_in(encryption, ARRAY_COUNT(encryption), name)) {
            *encrypts = true;
            continue;
        }
        if (!is_amendable(name))
            return refuse_name(out, name, err);
        TRY(create_options_parse(out, &asked->options[i], 1, err));
    }
    return 0;
}

/* --- meaning -------------------------------------------------------------------------------- */

static int read_version(const char *text, unsigned *out, struct qimg_error *err)
{
    if (!text)
        return 0;
    if (strcmp(text, "0.10") == 0 || strcmp(text, "v2") == 0)
        *out = 2;
    else if (strcmp(text, "1.1") == 0 || strcmp(text, "v3") == 0)
        *out = 3;
    else
        return qimg_fail(err, EINVAL, "Unknown compatibility level %s", text);
    return 0;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static int check_backing(const struct create_options *o, const struct image *image,
                         struct qimg_error *err)
{
    const char *name = create_options_get(o, "backing_file");
    const char *format = create_options_get(o, "backing_fmt");

    if ((!name && !format) ||
        (same_text(name, image->backing_name) && same_text(format, image->backing_format)))
        return 0;
    (void)qimg_fail(err, EINVAL, "Cannot amend the backing file");
    return qimg_hint(err, "You can use 'qemu-img rebase' instead.");
}

static int read_size(const struct create_options *o, struct qimg_image *image,
                     struct amend_request *out, struct qimg_error *err)
{
    const uint64_t size = create_options_number(o, "size", 0);

    if (size == 0)
        return 0;
    if (size > INT64_MAX)
        return qimg_fail(err, EINVAL, "Image size cannot be negative");
    TRY(chain_check_size(size, err));
    out->set_size = size != image->size;
    out->resize = chain_resize_request(image, size);
    return 0;
}

static int read_refcount_bits(const struct create_options *o, struct amend_request *out,
                              struct qimg_error *err)
{
    const uint64_t bits = create_options_number(o, "refcount_bits", 16);

    if (!create_options_get(o, "refcount_bits"))
        return 0;
    if (bits > 64 || !is_pow2(bits))
        return qimg_fail(err, EINVAL,
                         "Refcount width must be a power of two and may not exceed 64 bits");
    out->refcount_bits = (unsigned)bits;
    return 0;
}

static int resolve(const struct create_options *o, struct qimg_image *image,
                   struct amend_request *out, struct qimg_error *err)
{
    TRY(read_version(create_options_get(o, "compat"), &out->version, err));
    TRY(check_backing(o, image->layers[0].image, err));
    TRY(read_refcount_bits(o, out, err));
    TRY(read_size(o, image, out, err));
    out->set_lazy_refcounts = create_options_get(o, "lazy_refcounts") != NULL;
    out->lazy_refcounts = create_options_number(o, "lazy_refcounts", 0);
    out->data_file = create_options_get(o, "data_file");
    out->set_data_file_raw = create_options_get(o, "data_file_raw") != NULL;
    out->data_file_raw = create_options_number(o, "data_file_raw", 0);
    return 0;
}

/* --- all of it ------------------------------------------------------------------------------ */

static int amend(struct qimg_image *image, const struct qimg_amend_options *asked,
                 struct qimg_error *err)
{
    struct image *top = image->layers[0].image;
    struct amend_request request = { .progress = asked->progress, .user = asked->user };
    struct create_options options;
    bool encrypts = false;

    if (!top->ops->admin || !top->ops->admin->amend)
        return qimg_fail(err, ENOTSUP, "Format driver '%s' does not support option amendment",
                         top->ops->name);
    TRY(parse(asked, &options, &encrypts, err));
    TRY(resolve(&options, image, &request, err));
    if (encrypts)
        return qimg_fail(err, EINVAL, "Can't amend encryption options - encryption not present");
    return top->ops->admin->amend(top, &request, err);
}

int qimg_image_amend(struct qimg_image *image, const struct qimg_amend_options *options,
                     struct qimg_error *err)
{
    TRY(chain_admin_begin(image, err));
    const int rc = amend(image, options, err);
    chain_admin_end(image);
    return rc;
}
