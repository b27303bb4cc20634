/* SPDX-License-Identifier: Apache-2.0
 *
 * Where did a backing file go? Files of its name, and what speaks for each of them, from cheap to
 * dear: format, size, the overlay's fingerprint, and copied-up evidence. Sectors that a guest did
 * not change within the clusters that an overlay owns were copied from the true base: sectors
 * that are not zero and the same on both sides come from there. Of several that fit none is taken
 * by itself, unless a fingerprint proves one.
 */
#include <fts.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bits.h"
#include "cleanup.h"
#include "fingerprint.h"
#include "fix.h"
#include "repoint.h"
#include "str.h"

#define EVIDENCE_BYTES (8 * MiB) /* read at most of the overlay, and of each candidate */
#define PIECE          (64 * KiB)
#define SECTOR         512
#define CANDIDATES_MAX 100

/* --- by name -------------------------------------------------------------------------------- */

static int add(struct qimg_fix_step *step, char *path)
{
    struct qimg_fix_candidate *grown =
        reallocarray(step->candidates, step->candidate_count + 1, sizeof(*grown));
    if (grown)
        step->candidates = grown;
    if (!grown || !path) {
        free(path);
        return -ENOMEM;
    }
    step->candidates[step->candidate_count++] = (struct qimg_fix_candidate){ .path = path };
    return 0;
}

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode));
}

static int search_directory(const struct fix_search *s, const char *directory, const char *base,
                            struct qimg_fix_step *step)
{
    AUTO_FREE char *root = survey_absolute(s->survey, directory);
    if (!root)
        return -ENOMEM;
    char *const roots[] = { root, NULL };
    FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_NOSTAT, NULL);
    if (!tree)
        return -errno;
    int rc = 0;
    for (FTSENT *e = fts_read(tree); e && rc == 0; e = fts_read(tree))
        if (e->fts_level == FTS_ROOTLEVEL && e->fts_errno)
            rc = -e->fts_errno;
        else if (e->fts_info != FTS_D && e->fts_info != FTS_DP && strcmp(e->fts_name, base) == 0 &&
                 step->candidate_count < CANDIDATES_MAX && is_file(e->fts_path))
            rc = add(step, repoint_clean(e->fts_path));
    fts_close(tree);
    return rc;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct qimg_fix_candidate *)a)->path,
                  ((const struct qimg_fix_candidate *)b)->path);
}

/* --- evidence ------------------------------------------------------------------------------- */

struct look_at {
    const struct fix_search *search;
    struct qimg_fix_candidate *candidate;
    struct qimg_image *overlay; /* alone; NULL = cannot be opened for its data */
    const struct qimg_chain_image *image;
    struct str said;
    bool smaller; /* than the overlay, which may have been made larger: it takes more to fit */
};

static void say(struct look_at *l, const char *text)
{
    str_printf(&l->said, "%s%s", l->said.len ? ", " : "", text);
}

static void reject(struct look_at *l, const char *text)
{
    l->candidate->fits = false;
    say(l, text);
}

static void judge_format(struct look_at *l)
{
    const struct qimg_chain_image *image = l->image;
    const char *recorded = l->search->holder->backing.recorded_format;
    AUTO_FREE char *why = NULL;
    if (image->state != QIMG_CHAIN_READ)
        why = str_format("not readable as %s (%s)", recorded ? recorded : "anything",
                         image->problem ? image->problem : "");
    else if (recorded && strcmp(recorded, "raw") == 0 && image->content)
        why = str_format("looks like %s, not raw", image->content);
    if (why)
        reject(l, why);
    else
        say(l, image->format);
}

static void judge_identity(struct look_at *l)
{
    const struct qimg_chain_file *file = &l->image->file;
    for (size_t i = 0; i < l->search->chain->count; i++)
        if (l->search->chain->items[i].inode == file->inode &&
            l->search->chain->items[i].device == file->device)
            reject(l, "in the chain already");
}

static void judge_size(struct look_at *l)
{
    const uint64_t size = l->image->info.virtual_size;
    const uint64_t want = l->search->holder->info.virtual_size;
    if (size == want) {
        say(l, "same size");
        return;
    }
    l->smaller = size < want;
    AUTO_FREE char *text = str_format("%" PRIu64 " bytes, the overlay has %" PRIu64, size, want);
    const char *said = text ? text : "another size";
    if (l->smaller)
        say(l, said);
    else
        reject(l, said);
}

/* What the overlay's fingerprint says of the candidate overrules size and times. */
static void judge_fingerprint(struct look_at *l)
{
    struct qimg_context *context = l->search->survey->context;
    const struct layer *holder = l->overlay ? &l->overlay->layers[0] : NULL;
    const struct qimg_open_options how = { .share = QIMG_SHARE_FORCE };
    struct location place = { 0 };
    struct layer child = { 0 };
    struct qimg_fingerprint_check found;
    struct qimg_error unheard;
    if (!holder || !holder->image->fingerprint || l->image->state != QIMG_CHAIN_READ)
        return;
    const struct open_request request = { .place = &place,
                                          .format = l->image->format,
                                          .options = &how };
    const struct fingerprint_subject subject = { .context = context,
                                                 .holder = holder,
                                                 .child = &child };
    if (resolve_name(context, l->candidate->path, false, &place, &unheard) == 0 &&
        open_layer(context, &request, &child, &unheard) == 0 &&
        fingerprint_check(&subject, &found, &unheard) == 0) {
        if (found.state == QIMG_FINGERPRINT_SAME) {
            l->candidate->fits = l->candidate->proven = true;
            say(l, "as the fingerprint says");
        } else if (found.state == QIMG_FINGERPRINT_CHANGED) {
            reject(l, "not what the fingerprint describes");
        } else if (found.state == QIMG_FINGERPRINT_TOUCHED) {
            say(l, "as the fingerprint says, but for its time");
        }
    }
    layer_release(&child);
    location_release(&place);
}

static bool all_zeros(const uint8_t *sector)
{
    return sector[0] == 0 && memcmp(sector, sector + 1, SECTOR - 1) == 0;
}

static void compare_piece(struct look_at *l, struct qimg_image *base, uint64_t off, size_t len,
                          uint8_t *bufs)
{
    struct qimg_error unheard;
    uint8_t *a = bufs, *b = bufs + PIECE;
    if (off + len > qimg_image_size(base) ||
        qimg_image_read(l->overlay, off, a, len, &unheard) < 0 ||
        qimg_image_read(base, off, b, len, &unheard) < 0)
        return;
    for (size_t at = 0; at + SECTOR <= len; at += SECTOR) {
        if (all_zeros(a + at))
            continue;
        l->candidate->compared++;
        l->candidate->equal += memcmp(a + at, b + at, SECTOR) == 0;
    }
}

static void compare_sectors(struct look_at *l, struct qimg_image *base, uint8_t *bufs)
{
    const struct image *image = l->overlay->layers[0].image;
    struct extent_vec found = { 0 };
    struct qimg_error unheard;
    uint64_t left = EVIDENCE_BYTES;
    for (uint64_t off = 0; off < image->size && left > 0; off += GiB) {
        found.count = 0;
        if (image_map(image, (struct qimg_range){ off, GiB }, &found, &unheard) < 0)
            break;
        for (size_t i = 0; i < found.count && left > 0; i++) {
            const struct extent *e = &found.items[i];
            const size_t len = (size_t)min_u64(min_u64(e->len, PIECE), left);
            if (e->kind != EXTENT_DATA && e->kind != EXTENT_COMPRESSED)
                continue;
            compare_piece(l, base, e->guest_off, len, bufs);
            left -= len;
        }
    }
    extent_vec_release(&found);
}

static void judge_copied_up(struct look_at *l)
{
    const struct qimg_open_options how = { .format = l->image->format, .share = QIMG_SHARE_FORCE };
    struct qimg_image *base;
    struct qimg_error unheard;
    AUTO_FREE uint8_t *bufs = malloc(2 * PIECE);
    if (!bufs || !l->overlay || l->image->state != QIMG_CHAIN_READ)
        return;
    if (chain_open_unverified(l->search->survey->context, l->candidate->path, &how, &base,
                              &unheard) < 0)
        return;
    compare_sectors(l, base, bufs);
    qimg_image_close(base);
    if (l->candidate->compared == 0)
        return;
    AUTO_FREE char *text = str_format("%" PRIu64 " of %" PRIu64 " copied-up sectors match",
                                      l->candidate->equal, l->candidate->compared);
    if (text)
        say(l, text);
}

static int judge(const struct fix_search *s, struct qimg_image *overlay,
                 struct qimg_fix_candidate *candidate, struct qimg_error *err)
{
    const struct qimg_chain_options how = { .format = s->holder->backing.recorded_format };
    struct look_at l = { .search = s, .candidate = candidate, .overlay = overlay };
    struct qimg_chain chain;
    TRY(qimg_survey_chain(s->survey, candidate->path, &how, &chain, err));
    l.image = chain.images[0];
    candidate->fits = true;
    judge_format(&l);
    if (l.image->state == QIMG_CHAIN_READ) {
        judge_size(&l);
        judge_fingerprint(&l);
        judge_copied_up(&l);
    }
    if (l.smaller && !candidate->proven &&
        (candidate->equal == 0 || candidate->equal < candidate->compared / 2))
        candidate->fits = false;
    judge_identity(&l);
    qimg_chain_release(&chain);
    candidate->evidence = str_take(&l.said);
    return candidate->evidence ? 0 : qimg_fail_memory(err);
}

int fix_search_candidates(const struct fix_search *s, struct qimg_fix_step *step,
                          struct qimg_error *err)
{
    const char *lost = s->holder->backing.image->path; /* a json: name's part that is a path */
    const char *slash = strrchr(lost, '/');
    const char *base = slash ? slash + 1 : lost;
    const struct qimg_open_options how = { .format = s->holder->format,
                                           .no_backing = true,
                                           .share = QIMG_SHARE_FORCE };
    struct qimg_image *overlay = NULL;
    struct qimg_error unheard;
    int rc = 0;
    for (const char *const *dir = s->directories; dir && *dir; dir++) {
        rc = search_directory(s, *dir, base, step);
        if (rc < 0)
            return rc == -ENOMEM ? qimg_fail_memory(err)
                                 : qimg_fail_errno(err, -rc, "Could not search '%s'", *dir);
    }
    if (step->candidate_count)
        qsort(step->candidates, step->candidate_count, sizeof(*step->candidates), by_path);
    if (chain_open_unverified(s->survey->context, s->holder->absolute, &how, &overlay, &unheard) <
        0)
        overlay = NULL;
    for (size_t i = 0; i < step->candidate_count && rc == 0; i++)
        rc = judge(s, overlay, &step->candidates[i], err);
    qimg_image_close(overlay);
    return rc;
}

/* --- choosing ------------------------------------------------------------------------------- */

static bool same_file(const struct qimg_fix_candidate *a, const struct qimg_fix_candidate *b)
{
    struct qimg_chain_file x, y;
    return survey_stat(a->path, &x) == 0 && survey_stat(b->path, &y) == 0 && x.device == y.device &&
           x.inode == y.inode;
}

/* The only candidate that fits (and, with @proven, is proven), hard links of one file being one. */
static struct qimg_fix_candidate *only(struct qimg_fix_step *step, bool proven)
{
    struct qimg_fix_candidate *one = NULL;
    for (size_t i = 0; i < step->candidate_count; i++) {
        struct qimg_fix_candidate *c = &step->candidates[i];
        if (!(proven ? c->proven && c->fits : c->fits) || (one && same_file(one, c)))
            continue;
        if (one)
            return NULL;
        one = c;
    }
    return one;
}

struct qimg_fix_candidate *fix_take(struct qimg_fix_step *step)
{
    struct qimg_fix_candidate *one = only(step, true);
    if (!one && step->candidate_count < CANDIDATES_MAX) /* else there may be more of them */
        one = only(step, false);
    if (one)
        one->taken = true;
    return one;
}
