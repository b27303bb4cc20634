/* SPDX-License-Identifier: Apache-2.0
 *
 * libqimg: disk images and backing chains. Start at image.h; docs/libqimg.md has an example.
 */
#ifndef QIMG_QIMG_H
#define QIMG_QIMG_H

#include "qimg/admin.h"
#include "qimg/audit.h"
#include "qimg/bitmap.h"
#include "qimg/chain.h"
#include "qimg/check.h"
#include "qimg/commit.h"
#include "qimg/context.h"
#include "qimg/doctor.h"
#include "qimg/error.h"
#include "qimg/fingerprint.h"
#include "qimg/fix.h"
#include "qimg/fixture.h"
#include "qimg/graph.h"
#include "qimg/image.h"
#include "qimg/info.h"
#include "qimg/jobs.h"
#include "qimg/measure.h"
#include "qimg/move.h"
#include "qimg/options.h"
#include "qimg/rebase.h"
#include "qimg/types.h"
#include "qimg/write.h"

#define QIMG_VERSION_MAJOR 0
#define QIMG_VERSION_MINOR 1
#define QIMG_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0" */
QIMG_API const char *qimg_version(void);

#ifdef __cplusplus
}
#endif
#endif
