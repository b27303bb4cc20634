/* SPDX-License-Identifier: Apache-2.0
 *
 * What is wrong with a chain, as findings: each has a stable id, says in a sentence which image,
 * which field and which value, and brings the command that mends it where one is certain enough
 * to be printed. src/chain/findings.def is the table of all of them.
 */
#ifndef QIMG_DOCTOR_H
#define QIMG_DOCTOR_H

#include "qimg/chain.h"

#ifdef __cplusplus
extern "C" {
#endif

/* From harmless to worst; the worst of a run decides its exit code. */
enum qimg_severity {
    QIMG_SEVERITY_NOTE,      /* worth knowing */
    QIMG_SEVERITY_WARNING,   /* usable, but may hurt */
    QIMG_SEVERITY_UNVISITED, /* nothing wrong seen, but not all was seen */
    QIMG_SEVERITY_ERROR,     /* broken, ambiguous or dangerous: QEMU or libvirt would refuse, or a
                              * guest would see wrong data */
};

/* One thing found. Strings are owned by the struct qimg_findings; NULL = not there. */
struct qimg_finding {
    const char *id; /* "format-missing"; stable, static */
    enum qimg_severity severity;
    size_t level;   /* of the image in the chain that was asked about; 0 = top */
    char *image;    /* the image concerned, as opened */
    char *field;    /* of its header or its file: "backing file format" */
    char *value;    /* what stands there; may hold any bytes */
    char *sentence; /* names image, field and value; bytes from images are escaped in it */
    char *remedy;   /* a command that mends it, ready for a shell (of names with control characters,
                     * one that knows $'...', as bash); several lines = several commands, all
                     * needed, in order */
    char *advice;   /* what to consider first, or to do where no command can be certain */
};

struct qimg_findings {
    struct qimg_finding *items;
    size_t count, room;
    enum qimg_severity worst; /* NOTE where there are none */
};

/* Frees what is in @findings and empties it. */
QIMG_API void qimg_findings_release(struct qimg_findings *findings);

/* The table, for documents and tests; ends with id NULL. */
struct qimg_finding_kind {
    const char *id;
    enum qimg_severity severity;
    const char *meaning;
};
QIMG_API const struct qimg_finding_kind *qimg_finding_kinds(void);

/* "note", "warning", "unvisited", "error" */
QIMG_API const char *qimg_severity_name(enum qimg_severity severity);

struct qimg_doctor_options {
    const char *as_user; /* judge permissions as this user has them; NULL = as we have them */
    bool content;        /* compare the content of backing files where fingerprints have a digest
                          * of it: reads all of them */
    bool find_writers;   /* look through the processes for those that write to a backing file */
};

/* Appends what is wrong with @chain, which is of @survey, to @out: top first. Each image of the
 * survey is judged once: what further chains share with earlier ones is not reported again, but
 * counts in out->worst. @options NULL = all defaults. Fails with -ENOMEM; with -EINVAL where
 * as_user is no user, -EPERM where only root may ask. */
QIMG_API int qimg_survey_diagnose(struct qimg_survey *survey, const struct qimg_chain *chain,
                                  const struct qimg_doctor_options *options,
                                  struct qimg_findings *out, struct qimg_error *err);

#ifdef __cplusplus
}
#endif
#endif
