/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "open_image.h"
#include "qcow2.h"
#include "qimg/info.h"

/* An image whose LUKS header lies in the data cluster at 0x40000. */
static const uint8_t crypto[16] = { 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0 };
static const struct build_extension extension = { QCOW2_EXT_CRYPTO, crypto, 16, false, 0 };
static const struct build_cluster cluster = { .index = 0 };
static const struct build_qcow2 spec = { .size = MiB,
                                         .crypt_method = QCOW2_CRYPT_LUKS,
                                         .extensions = &extension,
                                         .extension_count = 1,
                                         .clusters = &cluster,
                                         .cluster_count = 1 };

static struct built build_luks(const char *cipher, const char *mode, uint32_t key_bytes)
{
    struct built built = build_qcow2(&spec);
    uint8_t *h = built.bytes + 0x40000;

    memcpy(h, "LUKS\xba\xbe\0\1", 8);
    memcpy(h + 8, cipher, strlen(cipher));
    memcpy(h + 40, mode, strlen(mode));
    memcpy(h + 72, "sha256", 6);
    store_be32(h + 104, 4040);
    store_be32(h + 108, key_bytes);
    store_be32(h + 164, 1000);
    memcpy(h + 168, "4f0e3a4e-0000-0000-0000-000000000000", 36);
    for (unsigned i = 0; i < 8; i++) {
        store_be32(h + 208 + 48 * i, i == 0 ? 0x00ac71f3 : 0x0000dead);
        store_be32(h + 212 + 48 * i, i == 0 ? 2000 : 0);
        store_be32(h + 248 + 48 * i, 8 + 504 * i);
        store_be32(h + 252 + 48 * i, 4000);
    }
    return built;
}

static struct image *open_info(struct built *built, struct qimg_error *err)
{
    const struct image_open_options info = { .info_only = true };
    struct image *image = open_bytes(&qcow2_ops, built->bytes, built->len, &info, err);

    built_release(built);
    return image;
}

static const struct {
    const char *cipher, *mode;
    uint32_t key_bytes;
    const char *want_cipher, *want_mode, *want_ivgen, *want_ivhash;
} good[] = {
    { "aes", "xts-plain64", 64, "aes-256", "xts", "plain64", NULL },
    { "aes", "xts-plain64", 32, "aes-128", "xts", "plain64", NULL },
    { "aes", "cbc-essiv:sha256", 32, "aes-256", "cbc", "essiv", "sha256" },
    { "serpent", "cbc-plain:sha1", 16, "serpent-128", "cbc", "plain", NULL },
};

Test(qcow2_luks, says_what_is_in_clear)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct built built = build_luks(good[i].cipher, good[i].mode, good[i].key_bytes);
        struct qimg_luks_info *luks = NULL;
        struct qimg_error err;
        struct image *image = open_info(&built, &err);
        cr_assert_not_null(image, "case %zu: %s", i, err.text);
        cr_expect(image->encrypted);
        cr_assert_eq(qcow2_luks_describe(qcow2_of(image), &luks, &err), 0, "%s", err.text);
        cr_expect_str_eq(luks->cipher_alg, good[i].want_cipher);
        cr_expect_str_eq(luks->cipher_mode, good[i].want_mode);
        cr_expect_str_eq(luks->ivgen_alg, good[i].want_ivgen);
        cr_expect_eq(luks->ivgen_hash_alg != NULL, good[i].want_ivhash != NULL, "case %zu", i);
        cr_expect_str_eq(luks->hash_alg, "sha256");
        cr_expect_str_eq(luks->uuid, "4f0e3a4e-0000-0000-0000-000000000000");
        cr_expect_eq(luks->payload_offset, 4040 * 512);
        cr_expect_eq(luks->master_key_iters, 1000);
        cr_expect(luks->slots[0].active && !luks->slots[1].active);
        cr_expect_eq(luks->slots[0].iters, 2000);
        cr_expect_eq(luks->slots[0].stripes, 4000);
        cr_expect_eq(luks->slots[1].key_offset, 512 * 512);
        qcow2_luks_free(luks);
        image_close(image);
    }
}

static const struct {
    const char *name;
    uint64_t off;
    uint8_t value;
    const char *want;
} broken[] = {
    { "magic", 0x40000, 'X', "Volume is not in LUKS format" },
    { "version", 0x40007, 2, "LUKS version 2 is not supported" },
    { "mode without a generator", 0x40000 + 43, 0, "Unexpected cipher mode string format 'xts'" },
    { "no room in the extension", 0x70 + 8 + 13, 0,
      "Request for data outside of extension header" },
};

/* Words of the LUKS header, in QEMU's order: what comes first is told. */
static const struct {
    uint64_t off;
    uint32_t word;
    const char *want;
} broken_words[] = {
    { 104, 7, "LUKS payload is overlapping with the header" },
    { 164, 0, "LUKS key iteration count is zero" },
    { 208, 1, "Keyslot 0 state (active/disable) is corrupted" },
    { 212, 0, "Keyslot 0 iteration count is zero" },
    { 248, 7, "Keyslot 0 is overlapping with the LUKS header" },
    { 252 + 48 * 7, 3999, "Keyslot 7 is corrupted (stripes 3999 != 4000)" },
};

Test(qcow2_luks, words_that_cannot_be_are_refused)
{
    for (size_t i = 0; i < sizeof(broken_words) / sizeof(broken_words[0]); i++) {
        struct built built = build_luks("aes", "xts-plain64", 64);
        struct qimg_error err;
        store_be32(built.bytes + 0x40000 + broken_words[i].off, broken_words[i].word);
        cr_expect_null(open_info(&built, &err), "case %zu was accepted", i);
        cr_expect_str_eq(err.text, broken_words[i].want, "%s", err.text);
    }
}

Test(qcow2_luks, offsets_are_longer_than_their_sectors)
{
    struct built built = build_luks("aes", "xts-plain64", 64);
    struct qimg_luks_info *luks = NULL;
    struct qimg_error err;
    store_be32(built.bytes + 0x40000 + 104, UINT32_MAX);
    struct image *image = open_info(&built, &err);
    cr_assert_eq(qcow2_luks_describe(qcow2_of(image), &luks, &err), 0, "%s", err.text);
    cr_expect_eq(luks->payload_offset, UINT64_C(512) * UINT32_MAX);
    qcow2_luks_free(luks);
    image_close(image);
}

Test(qcow2_luks, names_must_end)
{
    const char *const want[] = { "LUKS header cipher name is not NUL terminated",
                                 "LUKS header cipher mode is not NUL terminated",
                                 "LUKS header hash spec is not NUL terminated" };
    for (size_t i = 0; i < 3; i++) {
        struct built built = build_luks("aes", "xts-plain64", 64);
        struct qimg_error err;
        memset(built.bytes + 0x40000 + 8 + 32 * i, 'a', 32);
        cr_expect_null(open_info(&built, &err));
        cr_expect_str_eq(err.text, want[i], "%s", err.text);
    }
}

Test(qcow2_luks, a_broken_header_is_refused)
{
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        struct built built = build_luks("aes", "xts-plain64", 64);
        struct qimg_error err;
        built.bytes[broken[i].off] = broken[i].value;
        cr_expect_null(open_info(&built, &err), "%s was accepted", broken[i].name);
        cr_expect_str_eq(err.text, broken[i].want, "%s: %s", broken[i].name, err.text);
    }
}

Test(qcow2_luks, info_survives_a_missing_crypto_extension)
{
    const struct build_qcow2 bare = { .size = MiB, .crypt_method = QCOW2_CRYPT_LUKS };
    struct built built = build_qcow2(&bare);
    struct qimg_error err;
    struct image *image = open_info(&built, &err);

    cr_expect_not_null(image, "%s", err.text);
    image_close(image);
    cr_expect_null(open_built(&bare, NULL, &err));
    cr_expect_str_eq(err.text, "Missing CRYPTO header for crypt method 2");
}

Test(qcow2_luks, data_is_out_of_reach)
{
    struct built built = build_luks("aes", "xts-plain64", 64);
    struct qimg_error err;

    cr_expect_null(open_bytes(&qcow2_ops, built.bytes, built.len, NULL, &err));
    cr_expect_str_eq(err.text, "Parameter 'encrypt.key-secret' is required for cipher");
    built_release(&built);
    const struct build_qcow2 aes = { .size = MiB, .crypt_method = QCOW2_CRYPT_AES };
    cr_expect_null(open_built(&aes, NULL, &err));
    cr_expect_str_eq(err.text, "Parameter 'encrypt.key-secret' is required for cipher");
}
