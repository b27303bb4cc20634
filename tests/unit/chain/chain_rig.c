/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "build_qcow2.h"
#include "chain_rig.h"
#include "scratch.h"

struct qimg_context *rig_context;
struct qimg_survey *rig_survey;
struct qimg_error rig_err;
static char *directory;

void rig_use_gate(struct qimg_gate_options gate)
{
    const struct qimg_context_options options = { .gate = gate };
    qimg_survey_free(rig_survey);
    qimg_context_free(rig_context);
    cr_assert_eq(qimg_context_new(&options, &rig_context, &rig_err), 0);
    cr_assert_eq(qimg_survey_new(rig_context, &rig_survey, &rig_err), 0);
}

void rig_set_up(void)
{
    directory = scratch_new();
    cr_assert_eq(chdir(directory), 0);
    rig_use_gate((struct qimg_gate_options){ 0 });
}

void rig_tear_down(void)
{
    qimg_survey_free(rig_survey);
    qimg_context_free(rig_context);
    scratch_remove(directory);
}

void rig_overlay(const char *name, const char *backing, const char *format)
{
    const struct build_extension ext = { .type = 0xe2792aca,
                                         .data = format,
                                         .len = format ? (uint32_t)strlen(format) : 0 };
    build_qcow2_file(&(struct build_qcow2){ .size = MiB,
                                            .backing_name = backing,
                                            .extensions = &ext,
                                            .extension_count = format != NULL },
                     name);
}

void rig_raw(const char *name)
{
    FILE *f = fopen(name, "w");
    cr_assert(f);
    cr_assert_eq(ftruncate(fileno(f), MiB), 0);
    (void)fclose(f);
}
