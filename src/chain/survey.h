/* SPDX-License-Identifier: Apache-2.0
 *
 * A survey's insides, shared by those that look (survey_look.c) and those that judge (doctor*.c).
 */
#ifndef CHAIN_SURVEY_H
#define CHAIN_SURVEY_H

#include "gate.h"
#include "qimg/chain.h"
#include "resolve.h"
#include "survey_stat.h"
#include "table.h"
#include "vec.h"
#include "writers.h"

/* What the library keeps of an image beside what it shows: its `own`. */
struct surveyed {
    struct qimg_chain_image image;
    struct location place; /* where it was opened: backing options of json: names count below it */
    struct surveyed *same; /* the first image seen of the same file */
    size_t walk, at;       /* of `same`: the last walk that came by, and its place in the chain */
    bool followed;         /* image.backing.image and image.data_file.image are final */
    bool vouched;          /* a fingerprint tells more of the backing file than its time can */
    bool judged;           /* the doctor told what there is, ... */
    bool judged_as_base;   /* ... and what there is of an image that others depend on */
    unsigned worst;        /* enum qimg_severity of all that */
    uint64_t name_end;     /* where the recorded backing name ends in the file; 0 = not known */
    bool sealed;           /* it keeps a fingerprint of its backing file */
    unsigned overlays;     /* images whose backing file it is, so far */
};

DEFINE_VEC(surveyed_vec, struct surveyed *)
DEFINE_VEC(text_vec, char *)

struct qimg_survey {
    struct qimg_context *context;
    struct surveyed_vec images; /* owned */
    struct table by_key;        /* to images: by how they were asked for, and what they are */
    struct text_vec keys;       /* owned: the table's */
    char *directory;            /* the current one when the survey began */
    size_t walks;               /* chains walked so far */
    struct writers *writers;    /* NULL = nobody asked yet */
};

static inline struct surveyed *surveyed_of(const struct qimg_chain_image *image)
{
    return image->own;
}

/* What somebody says of a file that is to be looked at. */
struct look {
    const struct location *place; /* NULL where the name does not lead to a local file */
    const char *name;             /* as recorded: shown where there is no place */
    const char *problem;          /* not NULL: why it is not looked at; state is final then */
    enum qimg_chain_state state;
    const char *format;                   /* NULL = nobody says */
    bool probe;                           /* go by the content then */
    bool data_file;                       /* bytes only: no header is read */
    const struct gate_request *reference; /* NULL: the user names it */
};

/* Fills s->image from the file at @look, whatever there is. Fails only with -ENOMEM. */
MUST_CHECK int survey_look(struct qimg_survey *survey, const struct look *look, struct surveyed *s,
                           struct qimg_error *err);

/* The format whose signature the file at @path bears, NULL for none. A negative errno where it is
 * not there, is no file or device, or cannot be read. */
MUST_CHECK int survey_content(const struct qimg_survey *survey, const char *path,
                              const char **format);

/* The textual absolute form of @path. NULL: no memory. */
char *survey_absolute(const struct qimg_survey *survey, const char *path);

#endif
