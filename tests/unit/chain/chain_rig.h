/* SPDX-License-Identifier: Apache-2.0
 *
 * What tests of chains share: a directory of the test's own, a context, a survey, small images.
 */
#ifndef UNIT_CHAIN_RIG_H
#define UNIT_CHAIN_RIG_H

#include "qimg/doctor.h"

extern struct qimg_context *rig_context;
extern struct qimg_survey *rig_survey;
extern struct qimg_error rig_err;

/* For TestSuite(). Each test runs in a process of its own, and in an empty current directory. */
void rig_set_up(void);
void rig_tear_down(void);

/* Begins a new survey under @gate. */
void rig_use_gate(struct qimg_gate_options gate);

/* A qcow2 image of 1 MiB that records @backing and its @format (each may be NULL: not recorded). */
void rig_overlay(const char *name, const char *backing, const char *format);

/* A raw image of 1 MiB of zeros. */
void rig_raw(const char *name);

#endif
