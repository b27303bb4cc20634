/* SPDX-License-Identifier: Apache-2.0
 *
 * What the options mean: words to values, and the combinations that QEMU refuses, in its order
 * and with its sentences.
 */
#include <string.h>

#include "base_limits.h"
#include "bits.h"
#include "create_rows.h"

#define DEFAULT_CLUSTER (64 * KiB)
#define REFCOUNTS_NEED_V3 \
    "Different refcount widths than 16 bits require compatibility level 1.1 or above "
#define V3_ONLY "compatibility level 1.1 and above (use version=v3 or greater)"

struct word {
    const char *text;
    int value;
};

static int find_word(const struct word *words, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(words[i].text, text) == 0)
            return words[i].value;
    }
    return -1;
}

static int refuse_word(const char *parameter, const char *value, struct qimg_error *err)
{
    return qimg_fail(err, EINVAL, "Parameter '%s' does not accept value '%s'", parameter, value);
}

/* --- words ---------------------------------------------------------------------------------- */

static const struct word modes[] = {
    { "off", PREALLOC_OFF },
    { "metadata", PREALLOC_METADATA },
    { "falloc", PREALLOC_FALLOC },
    { "full", PREALLOC_FULL },
};

static int read_preallocation(const struct create_options *options, struct create_spec *spec,
                              struct qimg_error *err)
{
    const char *text = create_options_get(options, "preallocation");
    const int mode = text ? find_word(modes, ARRAY_COUNT(modes), text) : PREALLOC_OFF;

    if (mode < 0)
        return refuse_word("preallocation", text, err);
    spec->preallocation = (enum preallocation)mode;
    return 0;
}

static int read_version(const char *text)
{
    static const struct word versions[] = { { "0.10", 2 }, { "v2", 2 }, { "1.1", 3 }, { "v3", 3 } };

    return text ? find_word(versions, ARRAY_COUNT(versions), text) : 3;
}

static int read_words(const struct create_options *options, struct create_spec *spec,
                      struct qimg_error *err)
{
    static const struct word codecs[] = { { "zlib", CODEC_DEFLATE }, { "zstd", CODEC_ZSTD } };
    const char *compat = create_options_get(options, "compat");
    const char *type = create_options_get(options, "compression_type");
    const int version = read_version(compat);
    const int codec = type ? find_word(codecs, ARRAY_COUNT(codecs), type) : CODEC_DEFLATE;

    if (version < 0)
        return refuse_word("version", compat, err);
    if (spec->backing_format && !qimg_format_known(spec->backing_format))
        return refuse_word("backing-fmt", spec->backing_format, err);
    TRY(read_preallocation(options, spec, err));
    if (codec < 0)
        return refuse_word("compression-type", type, err);
    spec->version = (unsigned)version;
    spec->compression = (enum codec)codec;
    return 0;
}

/* --- combinations ---------------------------------------------------------------------------- */

static int check_clusters(const struct create_spec *spec, uint64_t cluster, struct qimg_error *err)
{
    if (spec->extended_l2 && spec->version < 3)
        return qimg_fail(err, EINVAL, "Extended L2 entries are only supported with " V3_ONLY);
    if (!is_pow2(cluster) || cluster < UINT64_C(1) << LIMIT_QCOW2_CLUSTER_BITS_MIN ||
        cluster > UINT64_C(1) << LIMIT_QCOW2_CLUSTER_BITS_MAX)
        return qimg_fail(err, EINVAL, "Cluster size must be a power of two between %d and %dk",
                         1 << LIMIT_QCOW2_CLUSTER_BITS_MIN,
                         1 << (LIMIT_QCOW2_CLUSTER_BITS_MAX - 10));
    if (spec->extended_l2 && cluster < 16 * KiB)
        return qimg_fail(err, EINVAL,
                         "Extended L2 entries are only supported with cluster sizes of at least "
                         "%d bytes",
                         16384);
    return 0;
}

static int check_backing(const struct create_spec *spec, struct qimg_error *err)
{
    if (spec->backing_name && spec->preallocation != PREALLOC_OFF && !spec->extended_l2)
        return qimg_fail(err, EINVAL,
                         "Backing file and preallocation can only be used at the same time if "
                         "extended_l2 is on");
    if (spec->backing_format && !spec->backing_name)
        return qimg_fail(err, EINVAL, "Backing format cannot be used without backing file");
    return 0;
}

static int refuse_refcount_width(struct qimg_error *err)
{
    return qimg_fail(err, EINVAL,
                     "Refcount width must be a power of two and may not exceed 64 bits");
}

static int check_refcounts(const struct create_spec *spec, uint64_t bits, struct qimg_error *err)
{
    if (spec->version < 3 && spec->lazy_refcounts)
        return qimg_fail(err, EINVAL, "Lazy refcounts only supported with " V3_ONLY);
    if (bits > 64 || !is_pow2(bits))
        return refuse_refcount_width(err);
    if (spec->version < 3 && bits != 16)
        return qimg_fail(err, EINVAL, REFCOUNTS_NEED_V3 "(use version=v3 or greater)");
    return 0;
}

static int check_data_file(const struct create_spec *spec, struct qimg_error *err)
{
    if (spec->data_file_raw && !spec->data_file_name)
        return qimg_fail(err, EINVAL, "data-file-raw requires data-file");
    if (spec->data_file_raw && spec->backing_name)
        return qimg_fail(err, EINVAL,
                         "Backing file and data-file-raw cannot be used at the same time");
    if (spec->data_file_name && spec->version < 3)
        return qimg_fail(err, EINVAL, "External data files are only supported with " V3_ONLY);
    if (spec->compression != CODEC_DEFLATE && spec->version < 3)
        return qimg_fail(err, EINVAL, "Non-zlib compression type is only supported with " V3_ONLY);
    return 0;
}

static int refuse_encryption(const struct create_options *options, struct qimg_error *err)
{
    for (size_t i = 0; i < options->row_count; i++) {
        const char *name = options->rows[i].name, *text = options->values[i].text;
        const bool off = strcmp(name, "encryption") == 0 && options->values[i].number == 0;
        if (strncmp(name, "encrypt", 7) == 0 && text && !off)
            return qimg_fail(err, ENOTSUP,
                             "Parameter '%s': creating encrypted images is not "
                             "supported",
                             name);
    }
    return 0;
}

static int resolve_qcow2(const struct create_options *options, struct create_spec *spec,
                         struct qimg_error *err)
{
    const uint64_t cluster = create_options_number(options, "cluster_size", DEFAULT_CLUSTER);
    const uint64_t bits = create_options_number(options, "refcount_bits", 16);

    spec->backing_name = create_options_get(options, "backing_file");
    spec->backing_format = create_options_get(options, "backing_fmt");
    spec->data_file_name = create_options_get(options, "data_file");
    spec->data_file_raw = create_options_number(options, "data_file_raw", 0);
    spec->extended_l2 = create_options_number(options, "extended_l2", 0);
    spec->lazy_refcounts = create_options_number(options, "lazy_refcounts", 0);
    TRY(refuse_encryption(options, err));
    TRY(read_words(options, spec, err));
    TRY(check_clusters(spec, cluster, err));
    TRY(check_backing(spec, err));
    TRY(check_refcounts(spec, bits, err));
    TRY(check_data_file(spec, err));
    spec->cluster_size = (uint32_t)cluster;
    spec->refcount_bits = (unsigned)bits;
    if (spec->data_file_raw && spec->preallocation == PREALLOC_OFF)
        spec->preallocation = PREALLOC_METADATA; /* data file and tables must say the same */
    return 0;
}

static int refuse_mode(const struct create_options *options, struct qimg_error *err)
{
    return qimg_fail(err, EINVAL, "invalid parameter value: %s",
                     create_options_get(options, "preallocation"));
}

static int resolve_raw(const struct create_options *options, struct create_spec *spec,
                       struct qimg_error *err)
{
    if (read_preallocation(options, spec, err) < 0)
        return refuse_mode(options, err);
    if (spec->preallocation == PREALLOC_METADATA)
        return qimg_fail(err, ENOTSUP, "Unsupported preallocation mode: metadata");
    return 0;
}

int create_options_resolve(const struct create_options *options, struct create_spec *out,
                           struct qimg_error *err)
{
    const bool qcow2 = strcmp(options->format, "qcow2") == 0;

    *out = (struct create_spec){ .size = create_options_number(options, "size", 0) };
    TRY(qcow2 ? resolve_qcow2(options, out, err) : resolve_raw(options, out, err));
    if (out->size > (uint64_t)INT64_MAX - 511)
        return qcow2 ? qimg_fail(err, EINVAL,
                                 "Could not resize image: Image size cannot be "
                                 "negative")
                     : qimg_fail_errno(err, EINVAL, "Could not resize file");
    out->size = align_up(out->size, 512);
    return 0;
}

/* --- measuring -------------------------------------------------------------------------------- */

static int measure_qcow2(const struct create_options *options, struct create_spec *spec,
                         struct qimg_error *err)
{
    const uint64_t cluster = create_options_number(options, "cluster_size", DEFAULT_CLUSTER);
    const uint64_t bits = create_options_number(options, "refcount_bits", 16);
    const char *compat = create_options_get(options, "compat");
    const char *encryption = create_options_get(options, "encrypt.format");
    const int version = read_version(compat);

    spec->version = 3; /* extended L2 tables pass with any */
    spec->extended_l2 = create_options_number(options, "extended_l2", 0);
    TRY(check_clusters(spec, cluster, err));
    if (version < 0)
        return qimg_fail(err, EINVAL, "Invalid compatibility level: '%s'", compat);
    if (bits > 64 || !is_pow2(bits))
        return refuse_refcount_width(err);
    if (version < 3 && bits != 16)
        return qimg_fail(err, EINVAL, REFCOUNTS_NEED_V3 "(use compat=1.1 or greater)");
    if (read_preallocation(options, spec, err) < 0)
        return refuse_mode(options, err);
    if (encryption && strcmp(encryption, "luks") == 0)
        return qimg_fail(err, ENOTSUP, "Measuring encrypted images is not supported");
    spec->version = (unsigned)version;
    spec->cluster_size = (uint32_t)cluster;
    spec->refcount_bits = (unsigned)bits;
    spec->backing_name = create_options_get(options, "backing_file");
    return 0;
}

int create_options_for_measure(const struct create_options *options, struct create_spec *out,
                               struct qimg_error *err)
{
    *out = (struct create_spec){ .size = create_options_number(options, "size", 0) };
    return strcmp(options->format, "qcow2") == 0 ? measure_qcow2(options, out, err) : 0;
}
