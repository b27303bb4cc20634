/* SPDX-License-Identifier: Apache-2.0
 *
 * The doctor's checks. Each looks at one image of a chain, and at how it names what lies below it,
 * and appends what it finds; doctor.c has the list. A check costs nothing for healthy images but
 * comparing what the survey has read.
 */
#ifndef CHAIN_DOCTOR_H
#define CHAIN_DOCTOR_H

#include "finding.h"
#include "survey.h"

/* What is being judged: image @level of @chain. */
struct diagnosis {
    struct qimg_survey *survey;
    const struct qimg_chain *chain;
    const struct qimg_doctor_options *options;
    size_t level;
    const struct qimg_chain_image *image; /* chain->images[level] */
    const struct qimg_chain_image *below; /* the next one; NULL = the chain ends here */
    struct qimg_findings *out;
    struct qimg_error *err;
};

/* Returns 0, or a negative errno with d->err filled in where judging itself failed. */
typedef int doctor_check(struct diagnosis *d);

/* doctor_reference.c: how the image names its backing file, and what is there */
doctor_check doctor_backing_name, doctor_backing_format;
/* doctor_fingerprint.c: is what is there still what it was? */
doctor_check doctor_fingerprint;
/* doctor_missing.c: the backing file is not there (called by doctor_backing_name) */
doctor_check doctor_missing;
/* doctor_relation.c: the image beside its backing file */
doctor_check doctor_sizes, doctor_base_newer, doctor_names;
/* doctor_access.c, doctor_writers.c: who may read it, who writes to it */
doctor_check doctor_access, doctor_writers;
/* doctor_image.c: the image itself; doctor_data.c: its data file */
doctor_check doctor_state, doctor_flags, doctor_data_file;

/* The names of d->image and of a value, shown; and d->image's for a command line. */
struct doctor_words {
    char *image, *value;    /* 'top.qcow2' */
    char *operand, *quoted; /* of the image, of the value */
};

/* @value may be NULL. 0 or -ENOMEM with d->err filled in. */
MUST_CHECK int doctor_words(struct diagnosis *d, const char *value, struct doctor_words *out);
void doctor_words_release(struct doctor_words *words);
#define AUTO_WORDS __attribute__((cleanup(doctor_words_release)))

/* A finding about d->image. */
struct finding doctor_begin(struct diagnosis *d, enum finding_id id);
/* Ends it; -ENOMEM with d->err filled in. */
MUST_CHECK int doctor_end(struct diagnosis *d, struct finding *f);

#endif
