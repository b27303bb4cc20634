/* SPDX-License-Identifier: Apache-2.0
 *
 * Is the backing file what the record says? Cheap questions first; the content is read only where
 * nothing cheaper can tell, and a digest of it was recorded.
 *
 *   name, format    another one: the record is stale, whatever the file is
 *   size, identity  another one: changed, unless the content's digest is the same
 *   time, length    another one: the content's digest decides; without one it stays open
 *
 * A commit by a program that knows nothing of fingerprints writes to the backing file, and empties
 * the image after that: then the record is stale, and nothing is wrong.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "fingerprint.h"

#define WINDOW (UINT64_C(1) << 40)

/* --- the image that keeps the record ------------------------------------------------------- */

/* Does the image hold no cluster of its own? (Stops at the first one.) */
static int is_empty(const struct image *image, struct qimg_error *err)
{
    for (uint64_t off = 0; off < image->size; off += WINDOW) {
        struct extent_vec found = { 0 };
        const int rc = image_map(image, (struct qimg_range){ off, WINDOW }, &found, err);
        const bool any = found.count > 0;
        extent_vec_release(&found);
        if (rc < 0 || any)
            return rc;
    }
    return 1;
}

static bool not_after(const struct fingerprint *a, const struct fingerprint *b)
{
    return a->mtime_sec < b->mtime_sec ||
           (a->mtime_sec == b->mtime_sec && a->mtime_nsec <= b->mtime_nsec);
}

/* --- what differs --------------------------------------------------------------------------- */

struct verdict {
    const struct fingerprint_subject *subject;
    const struct fingerprint *then, *now;
    struct qimg_fingerprint_check *out;
};

static void say_time(const struct fingerprint *f, char buf[static 40])
{
    const time_t sec = (time_t)f->mtime_sec;
    struct tm tm;

    if (!gmtime_r(&sec, &tm) || strftime(buf, 40, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        (void)snprintf(buf, 40, "@%" PRId64, f->mtime_sec);
}

static int content_of_child(const struct fingerprint_subject *s, uint8_t out[DIGEST_BYTES],
                            struct qimg_error *err)
{
    const struct qimg_open_options how = { .format = s->child->image->ops->name };
    struct qimg_image *image;

    TRY(chain_open_unverified(s->context, s->child->name, &how, &image, err));
    const int rc = fingerprint_content(image, NULL, NULL, out, err);
    qimg_image_close(image);
    return rc;
}

/* 1: the content is the recorded one, 0: it is not. */
static int same_content(const struct verdict *v, struct qimg_error *err)
{
    uint8_t content[DIGEST_BYTES];

    TRY(content_of_child(v->subject, content, err));
    return memcmp(content, v->then->content, sizeof(content)) == 0;
}

/* Sealed, then the backing file written to, then the image changed, which is empty now? */
static int was_committed(const struct verdict *v, struct qimg_error *err)
{
    const struct layer *holder = v->subject->holder;
    struct fingerprint own = { 0 };

    fingerprint_time(holder, &own);
    if (v->now->mtime_sec < v->then->sealed_sec || !not_after(v->now, &own))
        return 0;
    return is_empty(holder->image, err);
}

static int changed(const struct verdict *v, struct qimg_error *err)
{
    const int committed = was_committed(v, err);

    v->out->state = QIMG_FINGERPRINT_CHANGED;
    if (committed <= 0)
        return committed;
    v->out->state = QIMG_FINGERPRINT_STALE;
    (void)snprintf(v->out->text, sizeof(v->out->text),
                   "the image was emptied after its backing file was written to, as by a commit");
    return 0;
}

static int judge_content(const struct verdict *v, struct qimg_error *err)
{
    const int same = same_content(v, err);

    if (same < 0)
        return same;
    if (!same) {
        (void)snprintf(v->out->text, sizeof(v->out->text), "its content is another one");
        return changed(v, err);
    }
    v->out->state = QIMG_FINGERPRINT_SAME;
    v->out->text[0] = '\0';
    return 0;
}

static void say_difference(const struct verdict *v)
{
    char *text = v->out->text;
    const size_t room = sizeof(v->out->text);
    char then[40], now[40];

    if (v->then->size != v->now->size) {
        (void)snprintf(text, room, "its disk was %" PRIu64 " bytes long and is %" PRIu64,
                       v->then->size, v->now->size);
    } else if (memcmp(v->then->identity, v->now->identity, sizeof(v->then->identity)) != 0) {
        (void)snprintf(text, room, "its %s is another one",
                       v->subject->child->image->ops->map_plan ? "mapping" : "content");
    } else if (v->then->file_len != v->now->file_len) {
        (void)snprintf(text, room, "its file was %" PRIu64 " bytes long and is %" PRIu64,
                       v->then->file_len, v->now->file_len);
    } else {
        say_time(v->then, then);
        say_time(v->now, now);
        (void)snprintf(text, room, "it was last written to at %s UTC, and now at %s UTC", then,
                       now);
    }
}

static int judge(const struct verdict *v, struct qimg_error *err)
{
    const struct fingerprint *then = v->then, *now = v->now;
    const bool other = then->size != now->size ||
                       memcmp(then->identity, now->identity, sizeof(then->identity)) != 0;
    const bool touched = then->file_len != now->file_len || then->mtime_sec != now->mtime_sec ||
                         then->mtime_nsec != now->mtime_nsec;

    if (!other && !touched) {
        v->out->state = QIMG_FINGERPRINT_SAME;
        return v->subject->content && then->has_content ? judge_content(v, err) : 0;
    }
    say_difference(v);
    if (then->has_content && then->size == now->size)
        return judge_content(v, err);
    if (other)
        return changed(v, err);
    v->out->state = QIMG_FINGERPRINT_TOUCHED;
    return 0;
}

/* --- questions -------------------------------------------------------------------------------- */

static void say_stale(const struct fingerprint *f, struct qimg_fingerprint_check *out)
{
    out->state = QIMG_FINGERPRINT_STALE;
    (void)snprintf(out->text, sizeof(out->text), "it describes '%s%.*s'%s%.*s%s",
                   f->name_end_len < f->name_len ? "..." : "", (int)f->name_end_len, f->name_end,
                   f->format_len ? " (" : "", (int)f->format_len, f->format_len ? f->format : "",
                   f->format_len ? ")" : "");
}

int fingerprint_check(const struct fingerprint_subject *subject, struct qimg_fingerprint_check *out,
                      struct qimg_error *err)
{
    const struct image *holder = subject->holder->image;
    struct fingerprint then, now = { 0 };

    *out = (struct qimg_fingerprint_check){ .state = QIMG_FINGERPRINT_NONE };
    if (!holder->fingerprint)
        return 0;
    if (fingerprint_decode(holder->fingerprint, holder->fingerprint_len, &then) < 0) {
        out->state = QIMG_FINGERPRINT_UNKNOWN;
        (void)snprintf(out->text, sizeof(out->text), "it is damaged, or of a later version");
        return 0;
    }
    if (!fingerprint_is_for(&then, holder->backing_name ? holder->backing_name : "",
                            holder->backing_format)) {
        say_stale(&then, out);
        return 0;
    }
    TRY(fingerprint_measure(subject->child, &now, err));
    const struct verdict v = { .subject = subject, .then = &then, .now = &now, .out = out };
    return judge(&v, err);
}

/* --- the gate's ----------------------------------------------------------------------------- */

static int refuse(const struct layer *holder, const struct qimg_fingerprint_check *found,
                  struct qimg_error *err)
{
    AUTO_FREE char *recorded = gate_printable(holder->image->backing_name);
    AUTO_FREE char *name = gate_printable(holder->name);
    AUTO_FREE char *operand = gate_shell_operand(holder->name);

    if (!recorded || !name || !operand)
        return qimg_fail_memory(err);
    (void)qimg_fail(err, EPERM,
                    "backing file '%s' of image '%s' is not what its fingerprint describes: %s",
                    recorded, name, found->text);
    return qimg_hint(err, "If it is right all the same: qimg chain seal %s", operand);
}

int fingerprint_ask(struct qimg_context *context, const struct layer *holder,
                    const struct layer *child, struct qimg_error *err)
{
    const struct fingerprint_subject subject = { .context = context,
                                                 .holder = holder,
                                                 .child = child };
    struct qimg_fingerprint_check found;

    TRY(fingerprint_check(&subject, &found, err));
    if (found.state == QIMG_FINGERPRINT_SAME)
        return 0;
    if (found.state == QIMG_FINGERPRINT_CHANGED || found.state == QIMG_FINGERPRINT_TOUCHED)
        return refuse(holder, &found, err);
    AUTO_FREE char *name = gate_printable(holder->name);
    AUTO_FREE char *text = gate_printable(found.text);
    if (found.state == QIMG_FINGERPRINT_NONE)
        context_note(context, QIMG_NOTE_WARNING,
                     "image '%s' keeps no fingerprint of its backing file", name ? name : "");
    else
        context_note(context, QIMG_NOTE_WARNING, "the fingerprint in image '%s' is not used: %s",
                     name ? name : "", text ? text : "");
    return 0;
}
