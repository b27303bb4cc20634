/* SPDX-License-Identifier: Apache-2.0
 *
 * Planning a move: which files get which names, which images name them, and what these must record
 * afterwards. Files are told apart by device and inode, so that it does not matter by which name an
 * image leads to one. A recorded name that leads to the right file after the move stays as it is.
 */
#include "move.h"

#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base_limits.h"
#include "cleanup.h"
#include "format.h"
#include "open.h"
#include "str.h"
#include "survey.h"

/* A file that goes along. */
struct moved_file {
    struct file_id id;
    char *from, *to;
};

/* An image that may have to be changed. */
struct moved_image {
    struct file_id id, target; /* target.inode 0: none */
    char *path, *format;
    char *recorded, *recorded_format;
    char *new_name; /* NULL = stays */
    bool fingerprint, renew;
    unsigned depth;
};

DEFINE_VEC(moved_file_vec, struct moved_file)
DEFINE_VEC(moved_image_vec, struct moved_image)

struct planner {
    struct qimg_context *context;
    struct qimg_survey *survey; /* for the current directory only */
    const struct qimg_move_options *options;
    struct move *move;
    char *directory; /* that the files go to; absolute */
    struct moved_file_vec files;
    struct moved_image_vec images;
    struct qimg_error *err;
};

static void moved_image_release(struct moved_image *image)
{
    free(image->path);
    free(image->format);
    free(image->recorded);
    free(image->recorded_format);
    free(image->new_name);
}

static void planner_release(struct planner *p)
{
    for (size_t i = 0; i < p->files.count; i++) {
        free(p->files.items[i].from);
        free(p->files.items[i].to);
    }
    for (size_t i = 0; i < p->images.count; i++)
        moved_image_release(&p->images.items[i]);
    moved_file_vec_release(&p->files);
    moved_image_vec_release(&p->images);
    qimg_survey_free(p->survey);
    free(p->directory);
}

static int no_memory(struct planner *p)
{
    return qimg_fail_memory(p->err);
}

static int by_id(const void *a, const void *b)
{
    const struct file_id *x = a, *y = b;
    return x->device != y->device ? compare_u64(x->device, y->device)
                                  : compare_u64(x->inode, y->inode);
}

/* --- files ---------------------------------------------------------------------------------- */

static char *absolute(const struct planner *p, const char *path)
{
    AUTO_FREE char *full = survey_absolute(p->survey, path);
    return full ? repoint_clean(full) : NULL;
}

static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* Calls @visit for each regular file below @root, without following symbolic links. */
static int walk(struct planner *p, const char *root,
                int (*visit)(struct planner *, const char *path, const struct stat *, void *),
                void *user)
{
    char *const roots[] = { (char *)(uintptr_t)root, NULL };
    FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    if (!tree)
        return qimg_fail_errno(p->err, errno, "Could not search '%s'", root);
    int rc = 0;
    for (FTSENT *e = fts_read(tree); e && rc == 0; e = fts_read(tree)) {
        if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR || e->fts_info == FTS_NS)
            rc = qimg_fail_errno(p->err, e->fts_errno, "Could not search '%s'", e->fts_path);
        else if (e->fts_info == FTS_F && S_ISREG(e->fts_statp->st_mode))
            rc = visit(p, e->fts_path, e->fts_statp, user);
    }
    fts_close(tree);
    return rc;
}

static int add_file(struct planner *p, const char *path, const struct stat *st, void *user)
{
    const struct move_rename *r = user;
    const struct moved_file file = {
        .id = { st->st_dev, st->st_ino },
        .from = strdup(path),
        .to = str_format("%s%s", r->to, path + strlen(r->from)),
    };
    if (file.from && file.to && moved_file_vec_push(&p->files, file) == 0)
        return 0;
    free(file.from);
    free(file.to);
    return no_memory(p);
}

static const struct moved_file *find_moved(const struct planner *p, struct file_id id)
{
    return p->files.count
               ? bsearch(&id, p->files.items, p->files.count, sizeof(struct moved_file), by_id)
               : NULL;
}

/* --- sources -------------------------------------------------------------------------------- */

static int check_rename(struct planner *p, const struct move_rename *r, const struct stat *from)
{
    AUTO_FREE char *parent = parent_of(r->to);
    const size_t len = strlen(r->from);
    struct stat st;
    if (!parent)
        return no_memory(p);
    if (!S_ISREG(from->st_mode) && !S_ISDIR(from->st_mode))
        return qimg_fail(p->err, EINVAL, "'%s' is neither a regular file nor a directory", r->from);
    if (lstat(r->to, &st) == 0)
        return qimg_fail_errno(p->err, EEXIST, "Could not move '%s' to '%s'", r->from, r->to);
    if (strncmp(r->to, r->from, len) == 0 && r->to[len] == '/')
        return qimg_fail(p->err, EINVAL, "'%s' cannot be moved into itself", r->from);
    if (stat(parent, &st) < 0)
        return qimg_fail_errno(p->err, errno, "Could not move '%s' to '%s'", r->from, r->to);
    if (st.st_dev == from->st_dev)
        return 0;
    (void)qimg_fail(p->err, EXDEV, "'%s' and '%s' are on different file systems", r->from, parent);
    return qimg_hint(p->err, "Copy the files, and mend the names: qimg chain fix --relocate=DIR");
}

static int add_rename(struct planner *p, const char *source, bool into)
{
    struct move_rename r = { .from = absolute(p, source) };
    struct stat st;
    if (!r.from)
        return no_memory(p);
    const char *slash = strrchr(r.from, '/');
    r.to = into ? str_format("%s%s", strcmp(p->directory, "/") ? p->directory : "", slash)
                : absolute(p, p->options->destination);
    if (move_rename_vec_push(&p->move->renames, r) < 0 || !r.to) {
        if (!r.to)
            return no_memory(p);
        free(r.from);
        free(r.to);
        return no_memory(p);
    }
    if (lstat(r.from, &st) < 0)
        return qimg_fail_errno(p->err, errno, "Could not move '%s'", source);
    struct move_rename *kept = &p->move->renames.items[p->move->renames.count - 1];
    kept->device = st.st_dev;
    kept->inode = st.st_ino;
    kept->directory = S_ISDIR(st.st_mode);
    TRY(check_rename(p, kept, &st));
    return walk(p, kept->from, add_file, kept);
}

static bool is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Where the files go, and where the journal is. */
static char *directory_of(const struct planner *p, const char *destination)
{
    AUTO_FREE char *to = absolute(p, destination);
    if (!to)
        return NULL;
    return is_directory(destination) ? TAKE(to) : parent_of(to);
}

static int add_renames(struct planner *p)
{
    const struct qimg_move_options *o = p->options;
    const bool into = is_directory(o->destination);
    p->directory = directory_of(p, o->destination);
    p->move->journal = p->directory ? move_journal_name(p->directory) : NULL;
    if (!p->move->journal)
        return no_memory(p);
    if (!into && o->source_count != 1)
        return qimg_fail_errno(p->err, ENOTDIR, "Could not move %zu files to '%s'", o->source_count,
                               o->destination);
    for (size_t i = 0; i < o->source_count; i++)
        TRY(add_rename(p, o->sources[i], into));
    if (p->files.count)
        qsort(p->files.items, p->files.count, sizeof(struct moved_file), by_id);
    for (size_t i = 0; i < p->move->renames.count; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(p->move->renames.items[i].to, p->move->renames.items[k].to) == 0)
                return qimg_fail_errno(p->err, EEXIST, "Two files would become '%s'",
                                       p->move->renames.items[i].to);
    return 0;
}

/* --- images ----------------------------------------------------------------------------------- */

static int refuse(struct planner *p, const char *path, const char *what)
{
    return qimg_fail(p->err, ENOTSUP, "image '%s' %s", path, what);
}

/* Not the file's fault: nobody knows what is in it. */
static bool is_machines_fault(int rc)
{
    return rc == -ENOMEM || rc == -EIO || rc == -EMFILE || rc == -ENFILE;
}

/* An image that could not be looked at. */
static int not_seen(struct planner *p, const char *path, int rc)
{
    return is_machines_fault(rc) ? qimg_fail_errno(p->err, -rc, "Could not look at '%s'", path) : 0;
}

/* Does @name, recorded by an image at @holder, lead to @target as text? */
static bool leads_there(const char *holder, const char *name, const char *target)
{
    AUTO_FREE char *joined = resolve_join(holder, name);
    AUTO_FREE char *text = joined ? repoint_collapse(joined) : NULL;
    return text && strcmp(text, target) == 0;
}

static int check_data_file(struct planner *p, const struct image *header, const char *from,
                           const char *to)
{
    const char *name = header->data_file_name;
    struct qimg_chain_file file;
    if (!header->needs_data_file || !name)
        return 0;
    AUTO_FREE char *path = resolve_join(from, name);
    if (!path)
        return no_memory(p);
    if (survey_stat(path, &file) < 0)
        return strcmp(from, to) == 0 || *name == '/' ? 0 : refuse(p, from, "misses its data file");
    const struct moved_file *moved = find_moved(p, (struct file_id){ file.device, file.inode });
    AUTO_FREE char *now = repoint_clean(path);
    const char *then = moved ? moved->to : now;
    if (then && leads_there(to, name, then))
        return 0;
    return refuse(p, from,
                  "would lose its external data file: move both, or record the new name "
                  "by qimg amend -o data_file=NAME");
}

/* What the image is to record, once it and its backing file are where they go. */
static int plan_name(struct planner *p, struct moved_image *image, const char *to)
{
    struct location place = { 0 };
    struct qimg_chain_file file;
    const bool moves = strcmp(image->path, to) != 0, relative = *image->recorded != '/';
    TRY(resolve_recorded(p->context, image->path, image->recorded, &place, p->err));
    const int found = place.path ? survey_stat(place.path, &file) : -ENOENT;
    const bool there = found == 0;
    AUTO_FREE char *now = place.path ? repoint_clean(place.path) : NULL;
    const bool embedded = place.embedded;
    location_release(&place);
    TRY(not_seen(p, image->path, found));
    if (!there)
        return moves && relative && !embedded ? refuse(p, image->path, "misses its backing file")
                                              : 0;
    image->target = (struct file_id){ file.device, file.inode };
    const struct moved_file *moved = find_moved(p, image->target);
    if (!moved && (!moves || (!relative && !embedded)))
        return 0;
    if (embedded)
        return moved ? refuse(p, image->path, "names its backing file by json: or a protocol") : 0;
    const char *then = moved ? moved->to : now;
    if (!then)
        return no_memory(p);
    if (leads_there(to, image->recorded, then))
        return 0;
    image->new_name = relative ? repoint_relative(to, then) : strdup(then);
    return image->new_name ? 0 : no_memory(p);
}

static int fill_image(struct planner *p, struct moved_image *image, const struct image *header)
{
    const struct moved_file *moved = find_moved(p, image->id);
    const char *to = moved ? moved->to : image->path;
    image->format = strdup(header->ops->name);
    image->recorded = header->backing_name ? strdup(header->backing_name) : NULL;
    image->recorded_format = header->backing_format ? strdup(header->backing_format) : NULL;
    image->fingerprint = header->fingerprint != NULL;
    if (!image->format || (header->backing_name && !image->recorded) ||
        (header->backing_format && !image->recorded_format))
        return no_memory(p);
    TRY(check_data_file(p, header, image->path, to));
    return image->recorded ? plan_name(p, image, to) : 0;
}

/* Only what looks like an image with references is opened; what we may not read, or makes no sense,
 * is nobody's dependant. */
static int look(struct planner *p, const char *path, struct moved_image *image)
{
    const struct qimg_open_options how = {
        .format = "qcow2", .info_only = true, .no_backing = true, .share = QIMG_SHARE_FORCE
    };
    const struct io_open_options bytes = { 0 };
    uint8_t head[8] = { 0 };
    struct io_file *file;
    struct qimg_image *opened;
    struct qimg_error unheard;
    int rc = io_file_open(p->context->engine, path, &bytes, &file);
    if (rc < 0)
        return not_seen(p, path, rc);
    rc = io_read_exact(file, 0, head, sizeof(head), NULL);
    io_file_close(file);
    if (rc < 0)
        return not_seen(p, path, rc);
    if (strcmp(format_probe(head, sizeof(head))->name, "qcow2") != 0)
        return 0;
    rc = chain_open_unverified(p->context, path, &how, &opened, &unheard);
    if (rc < 0)
        return not_seen(p, path, rc);
    rc = fill_image(p, image, opened->layers[0].image);
    qimg_image_close(opened);
    return rc < 0 ? rc : 1;
}

static int add_image(struct planner *p, const char *path, const struct stat *st, void *user)
{
    struct moved_image image = { .id = { st->st_dev, st->st_ino }, .path = repoint_clean(path) };
    (void)user;
    if (!image.path)
        return no_memory(p);
    int rc = look(p, path, &image);
    if (rc > 0 && image.recorded) {
        if (moved_image_vec_push(&p->images, image) == 0)
            return 0;
        rc = no_memory(p);
    }
    moved_image_release(&image);
    return rc < 0 ? rc : 0;
}

/* An image found twice (its directory was named twice, or it goes along too) is one. */
static void drop_twins(struct planner *p)
{
    struct moved_image_vec *v = &p->images;
    size_t kept = 0;
    if (v->count)
        qsort(v->items, v->count, sizeof(struct moved_image), by_id);
    for (size_t i = 0; i < v->count; i++) {
        if (kept && by_id(&v->items[kept - 1].id, &v->items[i].id) == 0) {
            moved_image_release(&v->items[i]);
            continue;
        }
        v->items[kept++] = v->items[i];
    }
    v->count = kept;
}

static int add_images(struct planner *p)
{
    for (size_t i = 0; i < p->move->renames.count; i++)
        TRY(walk(p, p->move->renames.items[i].from, add_image, NULL));
    for (const char *const *dir = p->options->dependants; dir && *dir; dir++) {
        AUTO_FREE char *root = absolute(p, *dir);
        if (!root)
            return no_memory(p);
        TRY(walk(p, root, add_image, NULL));
    }
    drop_twins(p);
    return 0;
}

/* --- fingerprints ----------------------------------------------------------------------------- */

static struct moved_image *find_image(const struct planner *p, struct file_id id)
{
    return p->images.count
               ? bsearch(&id, p->images.items, p->images.count, sizeof(struct moved_image), by_id)
               : NULL;
}

/* Images below it, as far as they are among those that were found. */
static unsigned depth_of(const struct planner *p, const struct moved_image *image)
{
    unsigned depth = 0;
    while ((image = find_image(p, image->target)) && depth < LIMIT_CHAIN_DEPTH)
        depth++;
    return depth;
}

static int by_depth(const void *a, const void *b)
{
    const struct moved_image *const *x = a, *const *y = b;
    return compare_u64((*x)->depth, (*y)->depth);
}

static int add_change(struct planner *p, const struct moved_image *image)
{
    const struct moved_file *moved = find_moved(p, image->id);
    struct move_change c = { .renew = image->renew };
    c.from = strdup(image->path);
    c.to = strdup(moved ? moved->to : image->path);
    c.repoint.format = strdup(image->format);
    c.repoint.old_name = strdup(image->recorded);
    c.repoint.new_name = strdup(image->new_name ? image->new_name : image->recorded);
    c.repoint.old_format = image->recorded_format ? strdup(image->recorded_format) : NULL;
    c.repoint.new_format = image->recorded_format ? strdup(image->recorded_format) : NULL;
    const bool whole = c.from && c.to && c.repoint.format && c.repoint.old_name &&
                       c.repoint.new_name &&
                       (!image->recorded_format || (c.repoint.old_format && c.repoint.new_format));
    if (whole && move_change_vec_push(&p->move->changes, c) == 0)
        return 0;
    free(c.from);
    free(c.to);
    repoint_release(&c.repoint);
    return no_memory(p);
}

/* The deepest first, so that a fingerprint is renewed when what it describes is final. */
static int add_changes(struct planner *p)
{
    AUTO_FREE struct moved_image **order =
        calloc(p->images.count + 1, sizeof(struct moved_image *));
    if (!order)
        return no_memory(p);
    for (size_t i = 0; i < p->images.count; i++) {
        order[i] = &p->images.items[i];
        order[i]->depth = depth_of(p, order[i]);
    }
    if (p->images.count)
        qsort(order, p->images.count, sizeof(struct moved_image *), by_depth);
    for (size_t i = 0; i < p->images.count; i++) {
        struct moved_image *image = order[i];
        const struct moved_image *below = find_image(p, image->target);
        image->renew = image->fingerprint && below && (below->new_name || below->renew) &&
                       repoint_is_sealed(p->context, image->path, image->format);
        if (image->new_name || image->renew)
            TRY(add_change(p, image));
    }
    return 0;
}

/* --- the plan --------------------------------------------------------------------------------- */

int move_plan(struct qimg_context *context, const struct qimg_move_options *options,
              struct move *move, struct qimg_error *err)
{
    struct planner p = { .context = context, .options = options, .move = move, .err = err };
    TRY(qimg_survey_new(context, &p.survey, err));
    int rc = add_renames(&p);
    if (rc == 0)
        rc = add_images(&p);
    if (rc == 0)
        rc = add_changes(&p);
    planner_release(&p);
    return rc;
}

int move_journal_of(struct qimg_context *context, const char *destination, char **journal,
                    struct qimg_error *err)
{
    struct planner p = { .context = context, .err = err };
    TRY(qimg_survey_new(context, &p.survey, err));
    p.directory = directory_of(&p, destination);
    *journal = p.directory ? move_journal_name(p.directory) : NULL;
    planner_release(&p);
    return *journal ? 0 : qimg_fail_memory(err);
}
