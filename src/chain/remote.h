/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of places on the network. They are never visited, only parsed.
 */
#ifndef CHAIN_REMOTE_H
#define CHAIN_REMOTE_H

#include "fail.h"
#include "qimg/types.h"
#include "vec.h"

/* Does @recorded (a URI, PROTOCOL:..., or json:) name a place that QEMU would reach by network? */
bool remote_is(const char *recorded);

/* Does the name hold a user or a password? */
bool remote_has_credentials(const char *recorded);

struct remote_host {
    char *transport; /* "unix", "rdma"; NULL = tcp */
    char *name, *port;
    char *socket; /* of "unix": a path */
};

DEFINE_VEC(remote_host_vec, struct remote_host)

/* What a name says, in the words of libvirt's <source>. Strings are owned; NULL = not there. */
struct remote {
    char *protocol; /* "nbd", "https", ... */
    char *name;     /* export, path, volume/path, pool/image, target/lun */
    char *query;    /* http and https */
    struct remote_host_vec hosts;
    char *snapshot, *config; /* rbd */
    char *user, *group;      /* nfs: "+" and a number */
    char *verify;            /* "yes", "no" */
    char *readahead, *timeout;
    bool has_slice; /* raw's offset= and size= */
    struct qimg_range slice;
};

void remote_release(struct remote *remote);

/* Reads @recorded, for which remote_is(). -EINVAL: it lacks a part, or has one that libvirt knows
 * no words for. */
MUST_CHECK int remote_read(const char *recorded, struct remote *out, struct qimg_error *err);

#endif
