/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as an extension area, behind two bytes that choose crypt method and autoclear bits:
 * what is accepted encodes to an area that decodes to the same list.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "qcow2.h"

static void expect_same(const struct qcow2_extension_vec *a, const struct qcow2_extension_vec *b)
{
    require(a->count == b->count);
    for (size_t i = 0; i < a->count; i++) {
        require(a->items[i].type == b->items[i].type && a->items[i].len == b->items[i].len);
        require(memcmp(a->items[i].data, b->items[i].data, a->items[i].len) == 0);
    }
}

static void round_trip(const struct qcow2_header *header, const struct qcow2_extensions *found)
{
    const struct qcow2_extension_vec *list = &found->list;
    const size_t len = qcow2_extensions_encoded_len(list->items, list->count);
    struct qcow2_extensions again = { 0 };
    struct qimg_error err;
    uint8_t *area = malloc(len);

    require(area != NULL);
    struct writer w = writer_of(area, len);
    require(qcow2_extensions_encode(list->items, list->count, &w) == 0 && w.left == 0);
    require(qcow2_extensions_end_within(reader_of(area, len)));
    require(qcow2_extensions_decode(header, reader_of(area, len), &again, &err) == 0);
    expect_same(list, &again.list);
    qcow2_extensions_release(&again);
    free(area);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct qcow2_header header = { .cluster_bits = 9 };
    struct qcow2_extensions found = { 0 };
    struct qimg_error err;

    if (len < 2)
        return 0;
    header.crypt_method = data[0] % 3;
    header.autoclear = data[1] % 4;
    struct reader area = reader_of(data + 2, len - 2);
    (void)qcow2_extensions_end_within(area);
    if (qcow2_extensions_decode(&header, area, &found, &err) == 0) {
        round_trip(&header, &found);
        (void)!qcow2_features_refuse_unknown(UINT64_MAX, found.feature_names,
                                             found.feature_names_len, &err);
    }
    qcow2_extensions_release(&found);
    return 0;
}

/* The extension area of a small image, behind the two bytes. */
uint8_t *fuzz_seed(unsigned index, size_t *len)
{
    static const uint8_t area[] = {
        0,    1,                                                                 /* choices */
        0xe2, 0x79, 0x2a, 0xca, 0, 0, 0, 3,  'r',  'a',  'w',  0,    0, 0, 0, 0, /* format */
        0,    0,    0x12, 0x34, 0, 0, 0, 2,  1,    2,    0,    0,    0, 0, 0, 0, /* unknown */
        0x23, 0x85, 0x28, 0x75, 0, 0, 0, 24,                                     /* bitmaps */
        0,    0,    0,    1,    0, 0, 0, 0,  0,    0,    0,    0,    0, 0, 0, 32,
        0,    0,    0,    0,    0, 0, 2, 0,  0x44, 0x41, 0x54, 0x41, 0, 0, 0, 1, /* data file */
        'd',  0,    0,    0,    0, 0, 0, 0,  0,    0,    0,    0,    0, 0, 0, 0, /* end */
    };

    if (index > 0)
        return NULL;
    uint8_t *seed = malloc(sizeof(area));
    require(seed != NULL);
    memcpy(seed, area, sizeof(area));
    *len = sizeof(area);
    return seed;
}
