/* SPDX-License-Identifier: Apache-2.0
 *
 * Audits of strangers' images: may this file be taken in? One verdict and a list of reasons, by a
 * policy. An audit reads the image's own metadata and no guest data, opens no second file, writes
 * nothing, and ends in bounded time and memory whatever the file says. man qimg-chain-audit has
 * the list of reasons, and what each policy makes of them.
 */
#ifndef QIMG_AUDIT_H
#define QIMG_AUDIT_H

#include "qimg/doctor.h"

#ifdef __cplusplus
extern "C" {
#endif

enum qimg_audit_action {
    QIMG_AUDIT_ALLOW, /* not told */
    QIMG_AUDIT_NOTE,  /* told, and no reason */
    QIMG_AUDIT_REJECT,
};

struct qimg_audit_policy;

/* @preset: "upload" (a stranger's file; the strictest, also for NULL), "import" (somebody else's
 * image that a person looks after), "host" (an image of mine: it may have a backing file whose
 * format is recorded). -EINVAL: no such preset. */
QIMG_API int qimg_audit_policy_new(const char *preset, struct qimg_audit_policy **out,
                                   struct qimg_error *err);
QIMG_API void qimg_audit_policy_free(struct qimg_audit_policy *policy);

/* Changes one setting. @value is text, as on a command line:
 *   "allow", "note", "reject"  what becomes of the reasons with these ids, "ID,ID,..."
 *   "expect"                   the format that the file is claimed to have; "" = not claimed
 *   "formats"                  formats that are taken, "raw,qcow2"
 *   "directories"              host: where a backing file may lie, "DIR:DIR"; "" = anywhere
 *   "max-size"                 of the guest's disk; bytes, with suffixes as everywhere
 *   "max-file-size"            of the file
 *   "max-tables"               bytes of metadata that the audit, and any reader, may have to read
 *   "max-read"                 bytes that reading the whole disk may yield from data in the file
 *   "max-expansion"            times that the disk's data may be longer than the file
 * 0 of a limit = none (not of max-tables). -EINVAL with a sentence that names the key. */
QIMG_API int qimg_audit_policy_set(struct qimg_audit_policy *policy, const char *key,
                                   const char *value, struct qimg_error *err);

/* The same from JSON text: an object of the keys above, with strings, numbers for limits, lists of
 * strings for lists; and "policy", a preset that the others change. */
QIMG_API int qimg_audit_policy_parse(const char *json, size_t len, struct qimg_audit_policy **out,
                                     struct qimg_error *err);

/* What the policy does about @id. -EINVAL: no audit tells it. */
QIMG_API int qimg_audit_policy_action(const struct qimg_audit_policy *policy, const char *id);

struct qimg_audit_report {
    bool accepted;
    struct qimg_findings findings; /* reasons (severity error) and notes, in the order found */
    char *format;                  /* that the content speaks for, "raw" where nothing does */
    uint64_t file_size;
    uint64_t virtual_size; /* 0 where it could not be read */
    /* What reading the whole disk would cost, from the tables; cost_known: they were all walked. */
    bool cost_known;
    uint64_t table_bytes;    /* of metadata */
    uint64_t data_bytes;     /* guest bytes that lie unpacked in the file */
    uint64_t packed_bytes;   /* of packed clusters, in the file */
    uint64_t unpacked_bytes; /* guest bytes that these become */
};

QIMG_API void qimg_audit_report_release(struct qimg_audit_report *report);

/* Audits the file @name, a path. Fails only where the file cannot be read (also: it is neither a
 * regular file nor a block device), or with -ENOMEM. @policy is only read. */
QIMG_API int qimg_audit(struct qimg_context *context, const char *name,
                        const struct qimg_audit_policy *policy, struct qimg_audit_report *out,
                        struct qimg_error *err);

/* All ids that an audit may tell, with what each preset makes of them; ends with id NULL. */
struct qimg_audit_kind {
    const char *id, *meaning;
    enum qimg_audit_action upload, import, host;
};
QIMG_API const struct qimg_audit_kind *qimg_audit_kinds(void);

#ifdef __cplusplus
}
#endif
#endif
