/* SPDX-License-Identifier: Apache-2.0
 *
 * Who else depends on an image that is about to change: a search through directories, by the
 * headers of what lies there. What an image names is taken as it would be opened, and compared by
 * identity, so that links and spellings do not matter.
 */
#ifndef CHAIN_DEPENDANTS_H
#define CHAIN_DEPENDANTS_H

#include "chain.h"

struct dependants_search {
    const struct qimg_image *chain;
    unsigned last; /* of its layers 1 to @last change; who is one of 0 to @last is known */
    void (*found)(void *user, const char *name, const char *backing); /* may be NULL */
    void *user;
    unsigned count; /* set: how many were found */
};

/* Searches all that lies below @directory, without following symbolic links to directories. Fails
 * where a directory cannot be read: then nobody can tell. */
MUST_CHECK int dependants_find(struct dependants_search *search, const char *directory,
                               struct qimg_error *err);

#endif
