/* SPDX-License-Identifier: Apache-2.0
 *
 * What the LUKS1 header of an encrypted image says in clear, for info. Nothing is decrypted.
 *
 *   OFFSET SIZE FIELD                      (big-endian; texts are zero padded)
 *        0    6 magic                      "LUKS\xba\xbe"
 *        6    2 version                    1
 *        8   32 cipher_name                "aes"
 *       40   32 cipher_mode                "xts-plain64", "cbc-essiv:sha256"
 *       72   32 hash_spec                  "sha256"
 *      104    4 payload_offset             512-byte sectors
 *      108    4 key_bytes
 *      112   20 master_key_digest
 *      132   32 master_key_salt
 *      164    4 master_key_iterations
 *      168   40 uuid
 *      208   48 key slot, eight times:
 *                +0  4 active              0x00ac71f3 enabled, 0x0000dead disabled
 *                +4  4 iterations
 *                +8 32 salt
 *               +40  4 key_offset          512-byte sectors
 *               +44  4 stripes
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "qcow2.h"
#include "str.h"

#define LUKS_HEADER_BYTES 592
#define LUKS_VERSION      1
#define LUKS_SECTOR       512
#define LUKS_NAME_BYTES   32
#define LUKS_LEAST_OFFSET 8    /* sectors, of payload and key material: behind the header */
#define LUKS_STRIPES      4000 /* the only number that there is */
#define LUKS_SLOT_ENABLED 0x00ac71f3u
#define LUKS_SLOT_EMPTY   0x0000deadu
#define LUKS_SLOTS        8

static const uint8_t luks_magic[6] = { 'L', 'U', 'K', 'S', 0xba, 0xbe };

struct luks_header {
    uint16_t version;
    char cipher_name[LUKS_NAME_BYTES + 1], cipher_mode[LUKS_NAME_BYTES + 1];
    char hash_spec[LUKS_NAME_BYTES + 1], uuid[41];
    uint32_t payload_offset, key_bytes, master_key_iterations;
    uint32_t slot_states[LUKS_SLOTS];
};

static void read_text(struct reader *r, char *out, size_t len)
{
    const uint8_t *p = read_bytes(r, len);

    memcpy(out, p ? p : (const uint8_t *)"", p ? len : 0);
    out[p ? len : 0] = '\0';
}

static int decode_header(const uint8_t *raw, struct luks_header *h, struct qimg_luks_info *info,
                         struct qimg_error *err)
{
    struct reader r = reader_of(raw, LUKS_HEADER_BYTES);

    if (memcmp(read_bytes(&r, sizeof(luks_magic)), luks_magic, sizeof(luks_magic)) != 0)
        return qimg_fail(err, EBADMSG, "Volume is not in LUKS format");
    h->version = read_be16(&r);
    if (h->version != LUKS_VERSION)
        return qimg_fail(err, ENOTSUP, "LUKS version %u is not supported", h->version);
    read_text(&r, h->cipher_name, LUKS_NAME_BYTES);
    read_text(&r, h->cipher_mode, LUKS_NAME_BYTES);
    read_text(&r, h->hash_spec, LUKS_NAME_BYTES);
    h->payload_offset = read_be32(&r);
    h->key_bytes = read_be32(&r);
    (void)read_bytes(&r, 20 + 32);
    h->master_key_iterations = read_be32(&r);
    read_text(&r, h->uuid, 40);
    for (size_t i = 0; i < ARRAY_COUNT(info->slots); i++) {
        struct qimg_luks_slot *slot = &info->slots[i];
        h->slot_states[i] = read_be32(&r);
        slot->active = h->slot_states[i] == LUKS_SLOT_ENABLED;
        slot->iters = read_be32(&r);
        (void)read_bytes(&r, 32);
        slot->key_offset = (uint64_t)read_be32(&r) * LUKS_SECTOR;
        slot->stripes = read_be32(&r);
    }
    return 0;
}

static int check_slots(const struct luks_header *h, const struct qimg_luks_info *info,
                       struct qimg_error *err)
{
    static_assert(ARRAY_COUNT(info->slots) == LUKS_SLOTS, "all of them are told");
    for (size_t i = 0; i < LUKS_SLOTS; i++) {
        const struct qimg_luks_slot *slot = &info->slots[i];
        if (slot->stripes != LUKS_STRIPES)
            return qimg_fail(err, EBADMSG, "Keyslot %zu is corrupted (stripes %d != %d)", i,
                             (int)slot->stripes, LUKS_STRIPES);
        if (!slot->active && h->slot_states[i] != LUKS_SLOT_EMPTY)
            return qimg_fail(err, EBADMSG, "Keyslot %zu state (active/disable) is corrupted", i);
        if (slot->active && slot->iters == 0)
            return qimg_fail(err, EBADMSG, "Keyslot %zu iteration count is zero", i);
        if (slot->key_offset / LUKS_SECTOR < LUKS_LEAST_OFFSET)
            return qimg_fail(err, EBADMSG, "Keyslot %zu is overlapping with the LUKS header", i);
    }
    return 0;
}

static int check_header(const struct luks_header *h, const struct qimg_luks_info *info,
                        struct qimg_error *err)
{
    const struct {
        const char *what, *text;
    } names[] = { { "cipher name", h->cipher_name },
                  { "cipher mode", h->cipher_mode },
                  { "hash spec", h->hash_spec } };

    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (strlen(names[i].text) == LUKS_NAME_BYTES)
            return qimg_fail(err, EBADMSG, "LUKS header %s is not NUL terminated", names[i].what);
    if (h->payload_offset < LUKS_LEAST_OFFSET)
        return qimg_fail(err, EBADMSG, "LUKS payload is overlapping with the header");
    if (h->master_key_iterations == 0)
        return qimg_fail(err, EBADMSG, "LUKS key iteration count is zero");
    return check_slots(h, info, err);
}

/* "aes" with a key of 64 bytes in mode "xts", which halves it, is "aes-256". */
static char *cipher_text(const struct luks_header *h, bool xts)
{
    const uint32_t bits = h->key_bytes / (xts ? 2 : 1) * 8;

    return str_format("%s-%" PRIu32, h->cipher_name, bits);
}

static int fill_info(struct luks_header *h, struct qimg_luks_info *info, struct qimg_error *err)
{
    char *ivgen = strchr(h->cipher_mode, '-');

    if (!ivgen)
        return qimg_fail(err, EBADMSG, "Unexpected cipher mode string format '%s'", h->cipher_mode);
    *ivgen++ = '\0';
    char *hash = strchr(ivgen, ':');
    if (hash)
        *hash++ = '\0';
    info->cipher_alg = cipher_text(h, strcmp(h->cipher_mode, "xts") == 0);
    info->cipher_mode = strdup(h->cipher_mode);
    info->ivgen_alg = strdup(ivgen);
    info->hash_alg = strdup(h->hash_spec);
    info->uuid = strdup(h->uuid);
    info->payload_offset = (uint64_t)h->payload_offset * LUKS_SECTOR;
    info->master_key_iters = h->master_key_iterations;
    if (strcmp(ivgen, "essiv") == 0) {
        if (!hash)
            return qimg_fail(err, EBADMSG, "Missing IV generator hash specification");
        info->ivgen_hash_alg = strdup(hash);
        if (!info->ivgen_hash_alg)
            return qimg_fail_memory(err);
    }
    if (!info->cipher_alg || !info->cipher_mode || !info->ivgen_alg || !info->hash_alg ||
        !info->uuid)
        return qimg_fail_memory(err);
    return 0;
}

void qcow2_luks_free(struct qimg_luks_info *info)
{
    if (!info)
        return;
    free(info->cipher_alg);
    free(info->cipher_mode);
    free(info->ivgen_alg);
    free(info->ivgen_hash_alg);
    free(info->hash_alg);
    free(info->uuid);
    free(info);
}

static void cleanup_luks(struct qimg_luks_info **slot)
{
    qcow2_luks_free(*slot);
}

int qcow2_luks_describe(const struct qcow2 *q, struct qimg_luks_info **out, struct qimg_error *err)
{
    const struct qcow2_crypto_ext *place = &q->extensions.crypto;
    uint8_t raw[LUKS_HEADER_BYTES];
    struct luks_header h = { 0 };

    if (!q->extensions.has_crypto)
        return 0;
    if (place->len < LUKS_HEADER_BYTES)
        return qimg_fail(err, EBADMSG, "Request for data outside of extension header");
    if (place->off > INT64_MAX)
        return qimg_fail(err, EBADMSG, "Volume is not in LUKS format");
    AUTO(cleanup_luks) struct qimg_luks_info *info = calloc(1, sizeof(*info));
    if (!info)
        return qimg_fail_memory(err);
    const int rc = io_read_exact(q->image.file, place->off, raw, sizeof(raw), NULL);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not read encryption header");
    TRY(decode_header(raw, &h, info, err));
    TRY(check_header(&h, info, err));
    TRY(fill_info(&h, info, err));
    *out = TAKE(info);
    return 0;
}
