/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a qcow2 header: what is accepted encodes to the same bytes again.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "image_input.h"
#include "qcow2.h"

/* Up to the padding behind the compression type, which is written as zeros. */
static size_t exact_len(const struct qcow2_header *h)
{
    return h->header_length > QCOW2_AT_COMPRESSION ? QCOW2_AT_COMPRESSION + 1 : h->header_length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct qcow2_header h;
    struct qimg_error err;

    if (qcow2_header_decode(data, len, &h, &err) < 0) {
        require(err.code != 0);
        return 0;
    }
    (void)!qcow2_header_check(&h, false, len, &err);
    if (len < h.header_length)
        return 0;
    uint8_t *again = malloc(h.header_length);
    require(again != NULL);
    struct writer w = writer_of(again, h.header_length);
    require(qcow2_header_encode(&h, data + QCOW2_V3_HEADER_LENGTH, &w) == 0 && w.left == 0);
    require(memcmp(again, data, exact_len(&h)) == 0);
    require(h.header_length <= QCOW2_V3_HEADER_LENGTH ||
            memcmp(again + QCOW2_V3_HEADER_LENGTH, data + QCOW2_V3_HEADER_LENGTH,
                   h.header_length - QCOW2_V3_HEADER_LENGTH) == 0);
    free(again);
    return 0;
}

/* Headers of images: what is behind them is not looked at. */
uint8_t *fuzz_seed(unsigned index, size_t *len)
{
    uint8_t *seed = image_seed(index, 0, len);

    *len = seed && *len > 512 ? 512 : *len;
    return seed;
}

size_t fuzz_mutate(uint8_t *data, size_t len, size_t max, uint64_t seed)
{
    return image_mutate(data, len, max, seed);
}
