/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks crafted images on the simulator: file "disk", undo file "undo". Aborts where the rig
 * itself fails.
 */
#ifndef SUPPORT_CHECK_IMAGE_H
#define SUPPORT_CHECK_IMAGE_H

#include "build_qcow2.h"
#include "io_sim.h"
#include "qimg/check.h"

/* A machine that has the image on its disk. io_engine_free() ends it. */
struct io_engine *check_machine(const struct build_qcow2 *spec);

struct checked {
    int rc;
    struct qimg_check_result result;
    char *said; /* owned: "id: text\n" of each finding; with explain "id@host+guest+len: text\n" */
    struct qimg_error err;
};

struct check_how {
    enum qimg_check_fix fix;
    bool explain, undo;
};

/* Opens, checks, closes. What cannot be opened has rc from there. */
struct checked check_disk(struct io_engine *engine, struct check_how how);

/* The same for a crafted image, and its machine ends. */
struct checked check_built(const struct build_qcow2 *spec, struct check_how how);

void checked_release(struct checked *checked);

/* The whole file; free() it. */
uint8_t *check_file(struct io_engine *engine, const char *name, size_t *len);

/* Checks, repairs and checks again: aborts with what was said if anything is left. */
void check_repairs(struct io_engine *engine);

#endif
