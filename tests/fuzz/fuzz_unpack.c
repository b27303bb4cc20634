/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as one packed cluster. Byte 0 chooses codec and cluster size. Both decoders of deflate
 * agree, neither touches a byte beside its buffers (one is assembly, which no sanitizer sees: the
 * buffers end where nothing may be touched), and what comes out packs and unpacks again.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "codec.h"
#include "fuzz.h"

#define ROOM (64 * 1024u)

/* @room bytes that end at a page which may not be touched. */
struct guarded {
    uint8_t *end;
};

static struct guarded guard(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *map =
        mmap(NULL, ROOM + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    require(map != MAP_FAILED && mprotect(map + ROOM, page, PROT_NONE) == 0);
    return (struct guarded){ map + ROOM };
}

static uint8_t *guarded_tail(struct guarded *g, size_t len)
{
    if (!g->end)
        *g = guard();
    return g->end - len;
}

static void round_trip(enum codec codec, const uint8_t *bytes, size_t len)
{
    static struct guarded packed_room, out_room;
    uint8_t *packed = guarded_tail(&packed_room, len);
    uint8_t *out = guarded_tail(&out_room, len);
    const ssize_t n = codec_pack(codec, bytes, len, packed, len);

    require(n > 0 || n == -ENOSPC);
    if (n < 0)
        return;
    require(codec_unpack(codec, packed, (size_t)n, out, len) == 0);
    require(memcmp(out, bytes, len) == 0);
}

static void deflate(const uint8_t *packed, size_t packed_len, size_t len)
{
    static struct guarded rooms[2];
    uint8_t *out = guarded_tail(&rooms[0], len), *again = guarded_tail(&rooms[1], len);
    const int rc = codec_unpack(CODEC_DEFLATE, packed, packed_len, out, len);
    const int zlib = codec_inflate_zlib(packed, packed_len, again, len);

    require(rc == 0 || rc == -EIO);
    require(zlib == 0 || zlib == -EIO);
    require(zlib != 0 || rc == 0); /* the other way round: see codec.h */
    if (zlib == 0) {
        require(memcmp(out, again, len) == 0);
        round_trip(CODEC_DEFLATE, out, len);
    }
}

static void zstd(const uint8_t *packed, size_t packed_len, size_t len)
{
    static struct guarded room;
    uint8_t *out = guarded_tail(&room, len);
    const int rc = codec_unpack(CODEC_ZSTD, packed, packed_len, out, len);

    require(rc == 0 || rc == -EIO || rc == -ENOMEM);
    if (rc == 0)
        round_trip(CODEC_ZSTD, out, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct guarded room;

    if (len < 2 || len > ROOM)
        return 0;
    const size_t cluster = (size_t)512 << data[0] / 2 % 4, packed_len = len - 1;
    uint8_t *packed = guarded_tail(&room, packed_len);
    memcpy(packed, data + 1, packed_len);
    if (data[0] % 2)
        zstd(packed, packed_len, cluster);
    else
        deflate(packed, packed_len, cluster);
    return 0;
}

/* Of each codec and size: text that repeats itself, behind the byte that chooses. */
uint8_t *fuzz_seed(unsigned index, size_t *len)
{
    static const char text[] = "the quick brown fox jumps over the lazy dog 0123456789 ";
    uint8_t cluster[4096];

    if (index >= 8)
        return NULL;
    uint8_t *seed = calloc(1, 1 + sizeof(cluster));
    const size_t size = (size_t)512 << index / 2 % 4;
    require(seed != NULL);
    for (size_t i = 0; i < size; i++)
        cluster[i] = (uint8_t)((size_t)text[i % (sizeof(text) - 1)] + i / 700);
    seed[0] = (uint8_t)index;
    const ssize_t n =
        codec_pack(index % 2 ? CODEC_ZSTD : CODEC_DEFLATE, cluster, size, seed + 1, size);
    require(n > 0);
    *len = 1 + (size_t)n;
    return seed;
}
