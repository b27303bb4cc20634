/* SPDX-License-Identifier: Apache-2.0
 *
 * May a user read a file, and if not, where on the way is the door that is shut? Asked of the
 * kernel itself, with the user's identity, so that ACLs and capabilities count.
 */
#ifndef CHAIN_ACCESS_H
#define CHAIN_ACCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "fail.h"

struct access_user {
    bool other; /* not who we are: questions need root */
    char *name; /* as shown; owned */
    uid_t uid;
    gid_t gid;
    gid_t *groups; /* owned; all of them */
    int group_count;
};

/* @name: of a user, or a number; NULL = who we are. -EINVAL: no such user; -EPERM: only root may
 * ask for others. */
MUST_CHECK int access_user_find(const char *name, struct access_user *out, struct qimg_error *err);
void access_user_release(struct access_user *user);

/* May @user open @path for reading? 0, or the negative errno that they would get. */
MUST_CHECK int access_check(const struct access_user *user, const char *path);

/* Where and why not. */
struct access_block {
    char *path; /* the directory that may not be searched, or the file; owned */
    bool directory;
    mode_t mode;
    uid_t owner;
    gid_t group;
    char whose; /* 'u', 'g' or 'o': whose bits of the mode count for the user */
};

/* Finds the first thing on the absolute @path that keeps @user out. Returns 1, 0 where nothing
 * does, or a negative errno. */
MUST_CHECK int access_find_block(const struct access_user *user, const char *path,
                                 struct access_block *out);

#endif
