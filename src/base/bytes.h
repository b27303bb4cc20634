/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes on disk to numbers and back. load_/store_ work anywhere in memory; struct reader and
 * struct writer walk a structure field by field, so that the code reads like the format. A
 * cursor that runs out remembers it (overrun) and yields zeros, so it is tested once, at the end.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DEFINE_LOAD_STORE(bits, order) \
    static inline uint##bits##_t load_##order##bits(const void *p) \
    { \
        uint##bits##_t v; \
        memcpy(&v, p, sizeof(v)); \
        return order##bits##toh(v); \
    } \
    static inline void store_##order##bits(void *p, uint##bits##_t v) \
    { \
        v = hto##order##bits(v); \
        memcpy(p, &v, sizeof(v)); \
    }

DEFINE_LOAD_STORE(16, be)
DEFINE_LOAD_STORE(32, be)
DEFINE_LOAD_STORE(64, be)
DEFINE_LOAD_STORE(16, le)
DEFINE_LOAD_STORE(32, le)
DEFINE_LOAD_STORE(64, le)

static inline bool bytes_are_zero(const uint8_t *bytes, size_t len)
{
    return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

struct reader {
    const uint8_t *at;
    size_t left;
    bool overrun;
};

static inline struct reader reader_of(const void *buf, size_t len)
{
    return (struct reader){ .at = (const uint8_t *)buf, .left = len };
}

/* The next @len bytes, or NULL past the end. */
static inline const uint8_t *read_bytes(struct reader *r, size_t len)
{
    if (len > r->left) {
        r->overrun = true;
        r->left = 0;
        return NULL;
    }
    const uint8_t *p = r->at;
    r->at += len;
    r->left -= len;
    return p;
}

static inline uint8_t read_u8(struct reader *r)
{
    const uint8_t *p = read_bytes(r, 1);
    return p ? *p : 0;
}

#define DEFINE_READ(bits, order) \
    static inline uint##bits##_t read_##order##bits(struct reader *r) \
    { \
        const uint8_t *p = read_bytes(r, bits / 8); \
        return p ? load_##order##bits(p) : 0; \
    }

DEFINE_READ(16, be)
DEFINE_READ(32, be)
DEFINE_READ(64, be)

struct writer {
    uint8_t *at;
    size_t left;
    bool overrun;
};

static inline struct writer writer_of(void *buf, size_t len)
{
    return (struct writer){ .at = (uint8_t *)buf, .left = len };
}

/* Room for the next @len bytes, or NULL past the end. */
static inline uint8_t *write_room(struct writer *w, size_t len)
{
    if (len > w->left) {
        w->overrun = true;
        w->left = 0;
        return NULL;
    }
    uint8_t *p = w->at;
    w->at += len;
    w->left -= len;
    return p;
}

static inline void write_bytes(struct writer *w, const void *src, size_t len)
{
    uint8_t *p = write_room(w, len);
    if (p && len)
        memcpy(p, src, len);
}

static inline void write_zeros(struct writer *w, size_t len)
{
    uint8_t *p = write_room(w, len);
    if (p)
        memset(p, 0, len);
}

static inline void write_u8(struct writer *w, uint8_t v)
{
    uint8_t *p = write_room(w, 1);
    if (p)
        *p = v;
}

#define DEFINE_WRITE(bits, order) \
    static inline void write_##order##bits(struct writer *w, uint##bits##_t v) \
    { \
        uint8_t *p = write_room(w, bits / 8); \
        if (p) \
            store_##order##bits(p, v); \
    }

DEFINE_WRITE(16, be)
DEFINE_WRITE(32, be)
DEFINE_WRITE(64, be)

#endif
