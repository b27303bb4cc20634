/* SPDX-License-Identifier: Apache-2.0
 *
 * Walks directories and reads the header of each file, a batch at a time: the names of a batch are
 * shared out among the workers, who open, read, close, and look up what the header names. Only
 * what turns out to be an image is kept.
 */
#include "graph_scan.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "format.h"
#include "remote.h"
#include "resolve.h"
#include "signature.h"
#include "str.h"
#include "survey_stat.h"

#define BATCH 2048 /* files */
#define SHARE 64   /* files that a worker takes at once */

/* --- releasing ------------------------------------------------------------------------------ */

static void release_reference(struct scan_reference *reference)
{
    free(reference->recorded);
    free(reference->format);
    free(reference->path);
}

static void release_item(struct scan_item *item)
{
    free(item->path);
    free(item->problem);
    release_reference(&item->backing);
    release_reference(&item->data_file);
    *item = (struct scan_item){ 0 };
}

void scan_release(struct scan *scan)
{
    for (size_t i = 0; i < scan->images.count; i++)
        release_item(&scan->images.items[i]);
    for (size_t i = 0; i < scan->batch.count; i++)
        release_item(&scan->batch.items[i]);
    scan_vec_release(&scan->images);
    scan_vec_release(&scan->batch);
}

/* --- one file ------------------------------------------------------------------------------- */

static int copy_text(const char *text, char **out)
{
    *out = text ? strdup(text) : NULL;
    return text && !*out ? -ENOMEM : 0;
}

/* Looks up where reference->path leads. */
static void look_up(struct scan_reference *reference)
{
    const bool there = survey_stat(reference->path, &reference->file) == 0;
    reference->kind = there ? QIMG_GRAPH_OUTSIDE : QIMG_GRAPH_MISSING;
}

static int read_backing(struct qimg_context *context, struct scan_item *item,
                        const struct image *image)
{
    struct scan_reference *backing = &item->backing;
    struct location place = { 0 };
    struct qimg_error unheard;
    if (!image->backing_name)
        return 0;
    TRY(copy_text(image->backing_name, &backing->recorded));
    TRY(copy_text(image->backing_format, &backing->format));
    const int rc = resolve_recorded(context, item->path, backing->recorded, &place, &unheard);
    if (rc == -ENOMEM)
        return rc;
    if (rc < 0) {
        backing->kind = remote_is(backing->recorded) ? QIMG_GRAPH_REMOTE : QIMG_GRAPH_NOWHERE;
        return 0;
    }
    backing->path = TAKE(place.path);
    location_release(&place);
    look_up(backing);
    return 0;
}

static int read_data_file(struct scan_item *item, const struct image *image)
{
    struct scan_reference *data = &item->data_file;
    if (!image->data_file_name || *image->data_file_name == '\0')
        return 0;
    TRY(copy_text(image->data_file_name, &data->recorded));
    data->path = resolve_join(item->path, data->recorded);
    if (!data->path)
        return -ENOMEM;
    look_up(data);
    return 0;
}

static void cleanup_file(struct io_file *const *file)
{
    io_file_close(*file);
}

/* Its header, where it is of a format that we read. Takes over @file in any case. */
static int read_header(struct qimg_context *context, struct scan_item *item, struct io_file *file)
{
    const struct image_open_options how = { .info_only = true, .check = true };
    const struct format_ops *ops = item->format ? format_find(item->format) : NULL;
    AUTO(cleanup_file) struct io_file *ours = file;
    struct image *image = NULL;
    struct qimg_error why;
    if (!ops)
        return 0;
    qimg_error_clear(&why);
    const int rc = ops->open(ours, &how, &image, &why);
    if (rc < 0)
        return rc == -ENOMEM ? rc : copy_text(why.text, &item->problem);
    ours = NULL; /* the image's */
    item->virtual_size = image->size;
    int done = read_backing(context, item, image);
    if (done == 0)
        done = read_data_file(item, image);
    image_close(image);
    return done;
}

static int read_file(struct qimg_context *context, struct scan_item *item)
{
    const struct io_open_options how = { 0 };
    struct io_file *file = NULL;
    TRY(io_file_open(context->engine, item->path, &how, &file));
    int rc = signature_of_image(file, &item->format);
    if (rc == 0)
        rc = survey_stat(item->path, &item->file);
    if (rc < 0) {
        io_file_close(file);
        return rc;
    }
    return read_header(context, item, file);
}

/* --- a batch -------------------------------------------------------------------------------- */

struct share {
    struct work work;
    struct barrier *barrier;
    struct qimg_context *context;
    struct scan_item *items;
    size_t count;
};

/* Counts shares that are not done. */
struct barrier {
    pthread_mutex_t lock;
    pthread_cond_t all_done;
    size_t left;
};

static void run_share(struct work *work)
{
    struct share *share = (struct share *)work;
    struct barrier *barrier = share->barrier;
    for (size_t i = 0; i < share->count; i++)
        share->items[i].failed = read_file(share->context, &share->items[i]);
    pthread_mutex_lock(&barrier->lock);
    if (--barrier->left == 0)
        pthread_cond_signal(&barrier->all_done);
    pthread_mutex_unlock(&barrier->lock);
}

static void share_out(struct scan *scan, struct share *shares, size_t count)
{
    struct barrier barrier = { .left = count };
    pthread_mutex_init(&barrier.lock, NULL);
    pthread_cond_init(&barrier.all_done, NULL);
    for (size_t i = 0; i < count; i++) {
        const size_t begin = i * SHARE;
        shares[i] = (struct share){ .work = { .run = run_share },
                                    .barrier = &barrier,
                                    .context = scan->context,
                                    .items = scan->batch.items + begin,
                                    .count = min_u64(SHARE, scan->batch.count - begin) };
        workers_submit(scan->context->workers, &shares[i].work);
    }
    pthread_mutex_lock(&barrier.lock);
    while (barrier.left > 0)
        pthread_cond_wait(&barrier.all_done, &barrier.lock);
    pthread_mutex_unlock(&barrier.lock);
    pthread_cond_destroy(&barrier.all_done);
    pthread_mutex_destroy(&barrier.lock);
}

/* A raw image bears no signature: its name decides. */
static bool is_called_raw(const char *path)
{
    assert(path);
    const char *dot = strrchr(path, '.');
    return dot && (strcmp(dot, ".raw") == 0 || strcmp(dot, ".img") == 0);
}

static int keep_image(struct scan *scan, struct scan_item *item)
{
    if (item->failed == -ENOMEM)
        return -ENOMEM;
    if (item->failed < 0) {
        scan->unreadable++;
        return 0;
    }
    if (!item->format && !is_called_raw(item->path))
        return 0;
    TRY(scan_vec_push(&scan->images, *item));
    *item = (struct scan_item){ 0 };
    return 0;
}

int scan_finish(struct scan *scan)
{
    const size_t count = (scan->batch.count + SHARE - 1) / SHARE;
    struct share *shares = calloc(count ? count : 1, sizeof(*shares));
    if (!shares)
        return -ENOMEM;
    share_out(scan, shares, count);
    free(shares);
    int rc = 0;
    for (size_t i = 0; i < scan->batch.count; i++) {
        if (rc == 0)
            rc = keep_image(scan, &scan->batch.items[i]);
        release_item(&scan->batch.items[i]);
    }
    scan->batch.count = 0;
    return rc;
}

/* Takes over @path. */
static int add_file(struct scan *scan, char *path)
{
    scan->files++;
    if (!path || scan_vec_push(&scan->batch, (struct scan_item){ .path = path }) < 0) {
        free(path);
        return -ENOMEM;
    }
    return scan->batch.count == BATCH ? scan_finish(scan) : 0;
}

/* --- directories ---------------------------------------------------------------------------- */

static void cleanup_dir(DIR *const *dir)
{
    if (*dir)
        (void)closedir(*dir);
}

DEFINE_VEC(dir_vec, char *)

static void cleanup_dirs(struct dir_vec *dirs)
{
    for (size_t i = 0; i < dirs->count; i++)
        free(dirs->items[i]);
    dir_vec_release(dirs);
}

/* DT_REG, DT_DIR, or whatever else it is. */
static unsigned type_of(DIR *dir, const struct dirent *entry)
{
    struct stat st;
    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type;
    if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return DT_UNKNOWN;
    return S_ISREG(st.st_mode) ? DT_REG : S_ISDIR(st.st_mode) ? DT_DIR : DT_UNKNOWN;
}

static int add_entry(struct scan *scan, DIR *dir, const char *name, const struct dirent *entry,
                     struct dir_vec *below)
{
    const unsigned type = type_of(dir, entry);
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
        (type != DT_REG && type != DT_DIR))
        return 0;
    const bool slash = name[strlen(name) - 1] == '/';
    char *path = str_format("%s%s%s", name, slash ? "" : "/", entry->d_name);
    if (type == DT_REG)
        return add_file(scan, path);
    if (path && dir_vec_push(below, path) == 0)
        return 0;
    free(path);
    return -ENOMEM;
}

static int read_directory(struct scan *scan, const char *name, struct dir_vec *below)
{
    const struct dirent *entry;
    AUTO(cleanup_dir) DIR *dir = opendir(name);
    if (!dir) {
        scan->unreadable++;
        return errno == ENOMEM ? -ENOMEM : 0;
    }
    while ((entry = readdir(dir)))
        TRY(add_entry(scan, dir, name, entry, below));
    return 0;
}

int scan_path(struct scan *scan, const char *path)
{
    AUTO(cleanup_dirs) struct dir_vec dirs = { 0 };
    struct stat st;
    if (stat(path, &st) < 0)
        return -errno;
    char *copy = strdup(path);
    if (!S_ISDIR(st.st_mode))
        return add_file(scan, copy);
    if (!copy || dir_vec_push(&dirs, copy) < 0) {
        free(copy);
        return -ENOMEM;
    }
    while (dirs.count > 0) {
        AUTO_FREE char *next = dirs.items[--dirs.count];
        TRY(read_directory(scan, next, &dirs));
    }
    return 0;
}
