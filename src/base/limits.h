/* SPDX-License-Identifier: Apache-2.0
 *
 * Every cap on what an image, a name or a user may ask of us, with its reason. QEMU's own caps
 * are kept where it has one, so that we accept what it accepts and refuse what it refuses.
 */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

/* This file shadows libc's of the same name for whoever has src/base in its include path, and
 * #include_next would stop half way (at the compiler's own, whose MB_LEN_MAX libc refuses under
 * fortification): so the few words of it that are used here and in libraries' headers are said. */
#include <linux/limits.h>
#ifndef INT_MAX
#define CHAR_BIT  __CHAR_BIT__
#define INT_MAX   __INT_MAX__
#define INT_MIN   (-INT_MAX - 1)
#define UINT_MAX  (INT_MAX * 2U + 1U)
#define LONG_MAX  __LONG_MAX__
#define LONG_MIN  (-LONG_MAX - 1L)
#define ULONG_MAX (LONG_MAX * 2UL + 1UL)
#define IOV_MAX   1024
#endif

#include "bits.h"

/* --- qcow2 (the specification's, or QEMU's) --- */
#define LIMIT_QCOW2_CLUSTER_BITS_MIN 9
#define LIMIT_QCOW2_CLUSTER_BITS_MAX 21
#define LIMIT_QCOW2_L1_BYTES         (32 * MiB) /* QEMU's QCOW_MAX_L1_SIZE */
#define LIMIT_QCOW2_REFTABLE_BYTES   (8 * MiB)
#define LIMIT_QCOW2_SNAPSHOTS        65536
#define LIMIT_QCOW2_SNAPSHOT_BYTES   (64 * MiB) /* the whole snapshot table */
#define LIMIT_QCOW2_SNAPSHOT_EXTRA   1024
#define LIMIT_QCOW2_BITMAPS          65535
#define LIMIT_QCOW2_BITMAP_DIR_BYTES (65535 * KiB)
#define LIMIT_QCOW2_BITMAP_NAME      1023
#define LIMIT_BACKING_NAME           1023 /* bytes of a recorded backing file name */
#define LIMIT_BACKING_FORMAT         15   /* bytes of a recorded backing format */

/* --- chains --- */
#define LIMIT_CHAIN_DEPTH  4096       /* images in a chain unless --max-depth says otherwise */
#define LIMIT_MAP_BUDGET   (32 * MiB) /* default memory for a chain's merged map */
#define LIMIT_TABLE_BATCH  (8 * MiB)  /* mapping tables in memory at once while a map is loaded */
#define LIMIT_JSON_NESTING 32         /* levels inside a json: name */

/* --- requests --- */
#define LIMIT_COPY_BUFFER (2 * MiB) /* one slot of the copy pipeline */
#define LIMIT_QUEUE_DEPTH 4096

#endif
