/* SPDX-License-Identifier: Apache-2.0
 *
 * Backing chains as data: which files an image leads to, by which names, and what became of each.
 * Looking never fails for what is wrong with a chain: a file that is missing, unreadable, damaged
 * or out of reach is an image of the chain with a state and a sentence. Only headers are read,
 * nothing is written, no lock is taken.
 *
 * A survey remembers what it has looked at: a base under many overlays is opened once, and is one
 * and the same struct qimg_chain_image in all their chains.
 *
 *     struct qimg_survey *survey;
 *     qimg_survey_new(context, &survey, &err);
 *     struct qimg_chain chain;
 *     qimg_survey_chain(survey, "top.qcow2", NULL, &chain, &err);
 *     for (size_t i = 0; i < chain.count; i++)
 *         ... chain.images[i] ...
 *     qimg_chain_release(&chain);
 *     qimg_survey_free(survey);
 *
 * What may be opened on an image's word is the context's gate, as everywhere. Threads: one survey
 * belongs to one thread at a time.
 */
#ifndef QIMG_CHAIN_H
#define QIMG_CHAIN_H

#include "qimg/context.h"
#include "qimg/info.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How far looking at one file came. */
enum qimg_chain_state {
    QIMG_CHAIN_READ,        /* its header was read; info is filled in */
    QIMG_CHAIN_UNREAD,      /* it is there, but nobody says in which format: not believed */
    QIMG_CHAIN_UNSUPPORTED, /* it is there, in a format that this library does not read */
    QIMG_CHAIN_DAMAGED,    /* it is there, but is not what it is said to be, or its header is bad */
    QIMG_CHAIN_MISSING,    /* there is no such file */
    QIMG_CHAIN_UNREADABLE, /* permission denied, I/O error, neither a file nor a block device */
    QIMG_CHAIN_REFUSED,    /* the gate's options keep it shut */
    QIMG_CHAIN_REMOTE,     /* it is elsewhere on the network: never visited */
    QIMG_CHAIN_NOWHERE,    /* its name cannot be understood */
};

struct qimg_chain_image;

/* How an image names another file. */
struct qimg_chain_reference {
    char *recorded;                 /* as it stands in the image; NULL = it names none */
    char *recorded_format;          /* NULL = not recorded */
    bool relative;                  /* joined to the directory of the image that holds it */
    bool json;                      /* json:{...}, or names its protocol */
    bool by_user;                   /* not in the image: given by the user's own json: name */
    struct qimg_chain_image *image; /* where it leads; NULL: it was not followed */
};

/* What a file is, as the file system tells (following symbolic links). */
struct qimg_chain_file {
    bool there; /* the rest is filled in */
    bool is_device;
    uint64_t device, inode;      /* identity; of a block device UINT64_MAX and its number */
    uint64_t size, allocated;    /* bytes */
    int64_t modified_ns;         /* last change of content, since 1970 */
    int64_t born_ns;             /* 0 = the file system does not tell */
    uint32_t mode, owner, group; /* st_mode, st_uid, st_gid */
};

/* One file that a chain leads to. Strings are owned by the survey; NULL = not there. */
struct qimg_chain_image {
    enum qimg_chain_state state;
    char *problem;    /* why it was not read, a sentence without the name */
    int problem_code; /* the positive errno of that; 0 = none */

    char *name;     /* as shown: the path, or json:{...}; of REMOTE and NOWHERE as recorded */
    char *path;     /* of its file, joined textually as QEMU and libvirt do */
    char *absolute; /* the same from the root on; nothing is resolved but the current directory */
    struct qimg_chain_file file;

    char *format;          /* that it is read in; NULL = not known */
    bool probed;           /* ... because of its content alone */
    const char *content;   /* the format whose signature the file bears; NULL = none known, so that
                            * it is either raw or nothing */
    bool content_leads_on; /* UNREAD: read as content says, it would name a further file */

    struct qimg_info info; /* READ: as `qimg info` */
    bool has_window;       /* raw with offset= and size=: only that part of the file */
    struct qimg_range window;

    struct qimg_chain_reference backing;
    struct qimg_chain_reference data_file; /* recorded "" = needed, but not named */

    void *own; /* the library's */
};

enum qimg_chain_end {
    QIMG_CHAIN_COMPLETE,    /* the last image was read and names no further one */
    QIMG_CHAIN_BROKEN,      /* the last image is not READ; its state says why */
    QIMG_CHAIN_LOOP,        /* the last image's backing file is images[loop_to] again */
    QIMG_CHAIN_TOO_DEEP,    /* the last image names a further one, which the gate's depth forbids */
    QIMG_CHAIN_NOT_VISITED, /* the last image is REMOTE, or the gate was told --no-backing */
};

struct qimg_chain {
    struct qimg_chain_image **images; /* top first, count >= 1; the survey's */
    size_t count;
    enum qimg_chain_end end;
    size_t loop_to;
};

/* What the user knows better than the images. */
struct qimg_chain_assumption {
    size_t index;       /* of the image in the chain, >= 1 */
    const char *format; /* that it has, whatever is recorded */
    bool end;           /* and it has no backing file */
};

struct qimg_chain_options {
    const char *format; /* of the top image; NULL = by its content */
    bool image_opts;    /* the name is "key=value,..." */
    const struct qimg_chain_assumption *assumptions;
    size_t assumption_count;
};

struct qimg_survey;

/* Returns 0 or -ENOMEM. The context must outlive the survey. */
QIMG_API int qimg_survey_new(struct qimg_context *context, struct qimg_survey **out,
                             struct qimg_error *err);

/* Chains of it may be used no more. NULL is fine. */
QIMG_API void qimg_survey_free(struct qimg_survey *survey);

/* Looks at @name and what lies below it. @options NULL = all defaults. Fails with -ENOMEM, and
 * with -EINVAL where @name itself cannot be understood. */
QIMG_API int qimg_survey_chain(struct qimg_survey *survey, const char *name,
                               const struct qimg_chain_options *options, struct qimg_chain *out,
                               struct qimg_error *err);

QIMG_API void qimg_chain_release(struct qimg_chain *chain);

/* --- for libvirt ----------------------------------------------------------------------------- */

struct qimg_libvirt_options {
    const char *target; /* <target dev=>; NULL = vda */
    const char *bus;    /* <target bus=>; NULL = virtio */
    bool partial;       /* stop above what is not certain, instead of failing */
    bool numbered;      /* with libvirt's index= of each image and data file, from 1 */
    bool domain;        /* within the least <domain> that is valid */
};

/* The <disk> element that tells libvirt the whole chain, so that it need not look itself. It ends
 * with an empty <backingStore/> only where the chain is complete.
 * @out        malloc'ed text
 * @needs_new  set to why it takes libvirt 10.10 to read it; NULL = any does
 * -EBADMSG: the chain is broken or uncertain; -EINVAL: libvirt has no words for it, or refuses it
 * (more than 200 images); -ENOMEM. */
QIMG_API int qimg_chain_libvirt(const struct qimg_chain *chain,
                                const struct qimg_libvirt_options *options, char **out,
                                const char **needs_new, struct qimg_error *err);

/* --- names ----------------------------------------------------------------------------------- */

/* "read", "missing", ...: for JSON and messages. */
QIMG_API const char *qimg_chain_state_name(enum qimg_chain_state state);
QIMG_API const char *qimg_chain_end_name(enum qimg_chain_end end);

#ifdef __cplusplus
}
#endif
#endif
