/* SPDX-License-Identifier: Apache-2.0
 *
 * Every cap on what an image, a name or a user may ask of us, with its reason. QEMU's own caps
 * are kept where it has one, so that we accept what it accepts and refuse what it refuses.
 * (Not called limits.h: a compiler's own search for libc's would end here.)
 */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

#include "bits.h"

/* --- qcow2 (the specification's, or QEMU's). Whatever is read into memory as a whole is no longer
 * than one of these, nor than what the file holds of it; docs/confinement.md says which is what.
 * --- */
/* A cluster, an L2 table, a refcount block and the header's extensions are each one piece of
 * memory, of at most 2 MiB; below 512 bytes a header would not fit one. */
#define LIMIT_QCOW2_CLUSTER_BITS_MIN 9
#define LIMIT_QCOW2_CLUSTER_BITS_MAX 21
/* QEMU's QCOW_MAX_L1_SIZE: disks of 2 PiB in clusters of 64 KiB. The active L1 table is in memory
 * while an image is open; of a snapshot's, snapshot -a holds one. */
#define LIMIT_QCOW2_L1_BYTES (32 * MiB)
/* QEMU's QCOW_MAX_REFTABLE_SIZE: files of 2 PiB in clusters of 64 KiB. */
#define LIMIT_QCOW2_REFTABLE_BYTES (8 * MiB)
/* QEMU's: the numbers are its caps on what it lists; each entry is kept with its names. */
#define LIMIT_QCOW2_SNAPSHOTS      65536
#define LIMIT_QCOW2_SNAPSHOT_BYTES (64 * MiB) /* the whole snapshot table */
#define LIMIT_QCOW2_SNAPSHOT_EXTRA 1024       /* beyond what is known, kept as bytes */
/* The specification's and QEMU's: names and places of all bitmaps are in memory, and while one is
 * written its directory. */
#define LIMIT_QCOW2_BITMAPS          65535
#define LIMIT_QCOW2_BITMAP_DIR_BYTES (65535 * KiB)
#define LIMIT_QCOW2_BITMAP_NAME      1023
/* QEMU's cap on a bitmap in memory. Of a table of 512-byte clusters it leaves 8 MiB, which is read
 * as a whole where the bitmap is used. */
#define LIMIT_QCOW2_BITMAP_DATA_BYTES (512 * MiB)
/* The specification's word for the number of clusters that a table names. */
#define LIMIT_QCOW2_BITMAP_TABLE 0x8000000u
#define LIMIT_BACKING_NAME       1023 /* bytes; QEMU's, and what fits a first cluster */
#define LIMIT_BACKING_FORMAT     15   /* bytes; QEMU's */

/* --- chains --- */
#define LIMIT_CHAIN_DEPTH  4096 /* images unless --max-depth says otherwise: an L1 table each */
#define LIMIT_MAP_BUDGET   (32 * MiB) /* default memory for a chain's merged map */
#define LIMIT_TABLE_BATCH  (8 * MiB)  /* mapping tables in memory at once while a map is loaded */
#define LIMIT_JSON_NESTING 32         /* levels inside a json: name: the parser recurses */

/* --- audits: what a stranger's image may make us read and remember --- */
#define LIMIT_AUDIT_TABLE_BYTES (64 * GiB) /* where the policy sets no limit */
#define LIMIT_AUDIT_TABLES      (1 << 20)  /* places, and L2 references; 24 bytes each */
#define LIMIT_AUDIT_MAP_BYTES   (64 * MiB) /* a bit a cluster: 32 TiB in clusters of 64 KiB */

/* --- fixtures: a specification is its author's own, but a typing error should cost no memory  */
#define LIMIT_FIXTURE_IMAGES  65536
#define LIMIT_FIXTURE_CONTENT 1000000    /* ranges in all images, repetitions counted */
#define LIMIT_FIXTURE_BYTES   (64 * MiB) /* a specification or a manifest */

/* --- requests --- */
#define LIMIT_COPY_BUFFER (2 * MiB) /* one slot of the copy pipeline, ... */
#define LIMIT_COPY_PAIR   (4 * MiB) /* ... and one for two sides, each with the largest cluster */
#define LIMIT_QUEUE_DEPTH 4096

#endif
