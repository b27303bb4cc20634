/* SPDX-License-Identifier: Apache-2.0
 *
 * Chains of a few clusters in the simulator, for tests of what moves data between their images. A
 * pattern has a letter for each cluster: '.' none, '0' zeros, else the cluster is filled with it.
 */
#ifndef UNIT_PULL_RIG_H
#define UNIT_PULL_RIG_H

#include "sim_rig.h"

#define CLUSTER 65536u

/* All abort the test where they fail. */

/* A durable qcow2 image over @backing. */
void put_overlay(struct sim_rig *rig, const char *name, const char *backing, const char *format,
                 const char *own);

/* A durable raw image; '0' is written zeros. */
void put_raw(struct sim_rig *rig, const char *name, const char *pattern);

struct qimg_image *open_for(struct sim_rig *rig, const char *name, bool writable);

/* Through the whole chain; '.' are zeros here. */
void expect_guest(struct sim_rig *rig, const char *name, const char *want);

/* The recorded name; NULL: none. */
void expect_backing(struct sim_rig *rig, const char *name, const char *want);

#endif
