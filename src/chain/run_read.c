/* SPDX-License-Identifier: Apache-2.0 */
#include "run_read.h"

#include <assert.h>
#include <string.h>

#include "cleanup.h"
#include "codec.h"

/* The whole cluster is unpacked even if a part is wanted; bytes past the end of the file are not
 * there (a packed cluster that needs them is an I/O error). */
static int read_compressed(const struct layer *layer, const struct run *run, uint8_t *buf)
{
    const size_t cluster = layer->image->cluster_size;
    AUTO_FREE uint8_t *packed = malloc(run->packed_len);
    AUTO_FREE uint8_t *whole = NULL;
    size_t got;

    assert(run->skip + run->len <= cluster);
    if (!packed)
        return -ENOMEM;
    TRY(io_read_exact(layer_data_file(layer), run->host_off, packed, run->packed_len, &got));
    if (run->len == cluster)
        return codec_unpack(run->codec, packed, got, buf, cluster);

    whole = malloc(cluster);
    if (!whole)
        return -ENOMEM;
    TRY(codec_unpack(run->codec, packed, got, whole, cluster));
    memcpy(buf, whole + run->skip, run->len);
    return 0;
}

int run_read(const struct qimg_image *image, const struct run *run, uint8_t *buf)
{
    switch ((enum run_kind)run->kind) {
    case RUN_ZERO:
    case RUN_UNALLOCATED:
        memset(buf, 0, run->len);
        return 0;
    case RUN_DATA:
        return io_read_exact(layer_data_file(&image->layers[run->layer]), run->host_off, buf,
                             run->len, NULL);
    case RUN_COMPRESSED:
        return read_compressed(&image->layers[run->layer], run, buf);
    case RUN_BAD:
        break;
    }
    return -EIO;
}

struct run run_part(const struct run *run, uint64_t skip, uint64_t len)
{
    struct run part = *run;

    assert(skip <= run->len && len <= run->len - skip);
    part.guest_off += skip;
    part.len = len;
    if (run->kind == RUN_COMPRESSED)
        part.skip += (uint32_t)skip;
    else if (part.host_off != QIMG_NO_OFFSET)
        part.host_off += skip;
    return part;
}
