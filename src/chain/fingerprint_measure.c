/* SPDX-License-Identifier: Apache-2.0
 *
 * What a fingerprint is made of. The identity is taken from metadata alone, in a form that does
 * not depend on how tables are cut:
 *
 *   images with mapping tables: SHA-256 over each run of guest bytes of one kind with consecutive
 *   host offsets, in guest order, unallocated ones left out: guest offset, length, host offset
 *   (all ones: none), packed length, kind (0 zeros, 1 data, 2 compressed, 3 unreadable), 29 bytes
 *   big-endian; then the virtual size;
 *
 *   others (raw): SHA-256 over SAMPLES blocks of 4 KiB, evenly spread from the first to the last
 *   byte, then the file's length. Holes are no part of it: copies of a file have others.
 *
 * The content digest is SHA-256 over the virtual size and the SHA-256 of each MiB of what is read.
 */
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "bits.h"
#include "bytes.h"
#include "cleanup.h"
#include "fingerprint.h"

#define SAMPLES      64
#define SAMPLE_BYTES ((uint64_t)4096)
#define WINDOW       (1 * GiB) /* of guest space, mapped at once; grows where it is empty */
#define LEAF_BYTES   ((size_t)MiB)
#define BATCH_LEAVES 64

/* --- identity ------------------------------------------------------------------------------- */

static void add_run(struct digest *d, const struct extent *e)
{
    uint8_t raw[29];
    struct writer w = writer_of(raw, sizeof(raw));

    write_be64(&w, e->guest_off);
    write_be64(&w, e->len);
    write_be64(&w, e->host_off);
    write_be32(&w, e->packed_len);
    write_u8(&w, e->kind);
    digest_add(d, raw, sizeof(raw));
}

static void add_size(struct digest *d, uint64_t size)
{
    uint8_t raw[8];

    store_be64(raw, size);
    digest_add(d, raw, sizeof(raw));
}

/* One run that may go on in the next window. */
struct pending {
    struct extent run;
    bool any;
};

static bool continues(const struct extent *a, const struct extent *b)
{
    if (a->kind != b->kind || a->guest_off + a->len != b->guest_off || a->kind == EXTENT_COMPRESSED)
        return false;
    if (a->host_off == QIMG_NO_OFFSET || b->host_off == QIMG_NO_OFFSET)
        return a->host_off == b->host_off;
    return a->host_off + a->len == b->host_off;
}

static void add_extent(struct digest *d, struct pending *p, const struct extent *e)
{
    if (e->kind == EXTENT_RESERVED)
        return;
    if (p->any && continues(&p->run, e)) {
        p->run.len += e->len;
        return;
    }
    if (p->any)
        add_run(d, &p->run);
    p->run = *e;
    p->any = true;
}

static int digest_map(const struct image *image, struct digest *d, struct qimg_error *err)
{
    struct pending pending = { 0 };
    uint64_t window = WINDOW;

    for (uint64_t off = 0; off < image->size;) {
        const struct qimg_range want = { off, min_u64(window, image->size - off) };
        struct extent_vec found = { 0 };
        const int rc = image_map(image, want, &found, err);
        for (size_t i = 0; rc == 0 && i < found.count; i++)
            add_extent(d, &pending, &found.items[i]);
        window = found.count || window > INT64_MAX / 2 ? WINDOW : window * 2;
        extent_vec_release(&found);
        TRY(rc);
        off += want.len;
    }
    if (pending.any)
        add_run(d, &pending.run);
    add_size(d, image->size);
    return 0;
}

static int digest_samples(const struct layer *layer, uint64_t len, struct digest *d,
                          struct qimg_error *err)
{
    const uint64_t last = len > SAMPLE_BYTES ? len - SAMPLE_BYTES : 0;
    uint8_t block[SAMPLE_BYTES];

    for (uint64_t i = 0; i < SAMPLES; i++) {
        /* last / 63 * i + last % 63 * i / 63: no product passes 64 bits */
        const uint64_t at = last / (SAMPLES - 1) * i + last % (SAMPLES - 1) * i / (SAMPLES - 1);
        const int rc = io_read_exact(layer->image->file, at, block, sizeof(block), NULL);
        if (rc < 0)
            return qimg_fail_errno(err, -rc, "Could not read '%s'", layer->path);
        digest_add(d, block, sizeof(block));
        if (last == 0)
            break;
    }
    add_size(d, len);
    return 0;
}

/* --- the file ------------------------------------------------------------------------------- */

static void note_time(const char *path, const struct io_file *file, struct fingerprint *f)
{
    struct stat st;

    if (!path || file->is_device || stat(path, &st) < 0 || st.st_dev != file->device ||
        st.st_ino != file->inode)
        return;
    if (st.st_mtim.tv_sec < f->mtime_sec ||
        (st.st_mtim.tv_sec == f->mtime_sec && st.st_mtim.tv_nsec < f->mtime_nsec))
        return;
    f->mtime_sec = st.st_mtim.tv_sec;
    f->mtime_nsec = (uint32_t)st.st_mtim.tv_nsec;
}

void fingerprint_time(const struct layer *layer, struct fingerprint *out)
{
    out->mtime_sec = 0;
    out->mtime_nsec = 0;
    note_time(layer->path, layer->image->file, out);
    if (layer->image->data_file)
        note_time(layer->data_name, layer->image->data_file, out);
}

int fingerprint_measure(const struct layer *layer, struct fingerprint *out, struct qimg_error *err)
{
    const struct image *image = layer->image;
    uint8_t identity[DIGEST_BYTES];
    struct digest d;
    struct io_stat st;

    const int rc = io_stat(image->file, &st);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not get image size");
    out->size = image->size;
    out->file_len = st.size;
    fingerprint_time(layer, out);
    digest_init(&d);
    TRY(image->ops->map_plan ? digest_map(image, &d, err)
                             : digest_samples(layer, st.size, &d, err));
    digest_end(&d, identity);
    memcpy(out->identity, identity, sizeof(out->identity));
    return 0;
}

/* --- content -------------------------------------------------------------------------------- */

/* One batch of leaves, which the threads of a pool of its own take one after the other. (Not the
 * context's: a reader there would wait for I/O that needs the same threads.) */
struct batch {
    struct qimg_image *image;
    const uint8_t *zero_leaf; /* digest of a whole leaf of zeros */
    uint64_t first;           /* leaf */
    size_t count;
    uint8_t digests[BATCH_LEAVES][DIGEST_BYTES];
    atomic_size_t next;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    unsigned running;
    int rc;
    struct qimg_error err;
};

struct hasher {
    struct work work;
    struct batch *batch;
    uint8_t *buf; /* LEAF_BYTES */
};

static bool reads_as_zeros(struct qimg_image *image, struct qimg_range leaf)
{
    struct qimg_extent extents[4];
    struct qimg_error ignored;
    const int count = qimg_image_map(image, leaf, false, extents, ARRAY_COUNT(extents), &ignored);
    uint64_t covered = 0;

    for (int i = 0; i < count; i++) {
        if (extents[i].kind != QIMG_ZERO && extents[i].kind != QIMG_UNALLOCATED)
            return false;
        covered += extents[i].len;
    }
    return covered >= leaf.len;
}

static int hash_leaf(struct batch *b, size_t index, uint8_t *buf, struct qimg_error *err)
{
    const uint64_t off = (b->first + index) * LEAF_BYTES;
    const size_t len = (size_t)min_u64(LEAF_BYTES, b->image->size - off);

    if (len == LEAF_BYTES && reads_as_zeros(b->image, (struct qimg_range){ off, len })) {
        memcpy(b->digests[index], b->zero_leaf, DIGEST_BYTES);
        return 0;
    }
    TRY(qimg_image_read(b->image, off, buf, len, err));
    digest_of(buf, len, b->digests[index]);
    return 0;
}

static void run_hasher(struct work *work)
{
    struct hasher *h = (struct hasher *)work;
    struct batch *b = h->batch;
    struct qimg_error err;
    int rc = 0;

    qimg_error_clear(&err);
    for (size_t i = atomic_fetch_add(&b->next, 1); rc == 0 && i < b->count;
         i = atomic_fetch_add(&b->next, 1))
        rc = hash_leaf(b, i, h->buf, &err);
    pthread_mutex_lock(&b->lock);
    if (rc < 0 && b->rc == 0) {
        b->rc = rc;
        b->err = err;
    }
    b->running--;
    pthread_cond_signal(&b->ended);
    pthread_mutex_unlock(&b->lock);
}

static int run_batch(struct batch *b, struct workers *pool, struct hasher *hashers, unsigned count)
{
    atomic_store(&b->next, 0);
    b->running = count;
    for (unsigned i = 0; i < count; i++)
        workers_submit(pool, &hashers[i].work);
    pthread_mutex_lock(&b->lock);
    while (b->running)
        pthread_cond_wait(&b->ended, &b->lock);
    pthread_mutex_unlock(&b->lock);
    return b->rc;
}

static int hash_all(struct batch *b, struct workers *pool, struct hasher *hashers, struct digest *d,
                    qimg_progress_fn progress, void *user)
{
    const uint64_t leaves = div_up(b->image->size, LEAF_BYTES);

    add_size(d, b->image->size);
    for (b->first = 0; b->first < leaves; b->first += b->count) {
        b->count = (size_t)min_u64(BATCH_LEAVES, leaves - b->first);
        TRY(run_batch(b, pool, hashers, workers_count(pool)));
        digest_add(d, b->digests, b->count * DIGEST_BYTES);
        if (progress && progress(user, min_u64((b->first + b->count) * LEAF_BYTES, b->image->size),
                                 b->image->size) != 0)
            return -ECANCELED;
    }
    return 0;
}

static struct hasher *hashers_new(struct batch *b, unsigned count)
{
    struct hasher *hashers = calloc(count, sizeof(*hashers) + LEAF_BYTES);
    uint8_t *bufs = (uint8_t *)(hashers + count);

    for (unsigned i = 0; hashers && i < count; i++)
        hashers[i] =
            (struct hasher){ .work.run = run_hasher, .batch = b, .buf = bufs + i * LEAF_BYTES };
    return hashers;
}

static void zero_leaf_digest(uint8_t out[DIGEST_BYTES])
{
    static const uint8_t zeros[4096];
    struct digest d;

    digest_init(&d);
    for (size_t done = 0; done < LEAF_BYTES; done += sizeof(zeros))
        digest_add(&d, zeros, sizeof(zeros));
    digest_end(&d, out);
}

int fingerprint_content(struct qimg_image *image, qimg_progress_fn progress, void *user,
                        uint8_t out[DIGEST_BYTES], struct qimg_error *err)
{
    uint8_t zero_leaf[DIGEST_BYTES];
    struct workers *pool = NULL;
    struct digest d;

    if (workers_new(0, &pool) < 0)
        return qimg_fail_memory(err);
    AUTO_FREE struct batch *b = calloc(1, sizeof(*b));
    AUTO_FREE struct hasher *hashers = b ? hashers_new(b, workers_count(pool)) : NULL;
    if (!hashers) {
        workers_free(pool);
        return qimg_fail_memory(err);
    }
    zero_leaf_digest(zero_leaf);
    b->image = image;
    b->zero_leaf = zero_leaf;
    qimg_error_clear(&b->err);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->ended, NULL);
    digest_init(&d);
    int rc = hash_all(b, pool, hashers, &d, progress, user);
    if (rc == -ECANCELED && b->rc == 0)
        rc = qimg_fail(err, ECANCELED, "Interrupted");
    else if (rc < 0)
        *err = b->err;
    workers_free(pool);
    pthread_cond_destroy(&b->ended);
    pthread_mutex_destroy(&b->lock);
    digest_end(&d, out);
    return rc;
}
