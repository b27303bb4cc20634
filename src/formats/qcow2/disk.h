/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of a qcow2 file, as docs/formats/qcow2.md and QEMU's qcow2 specification describe
 * them: layouts, flag bits, and the same structures in host order. Everything on disk is
 * big-endian. Nothing else lives here: header.c, extensions.c, entry.c, snapshot.c and bitmap.c
 * turn one into the other. A "cluster" is 1 << cluster_bits bytes.
 */
#ifndef QCOW2_DISK_H
#define QCOW2_DISK_H

#include <stddef.h>
#include <stdint.h>

/* --- header, cluster 0 -------------------------------------------------------------------
 *
 *   OFFSET SIZE FIELD
 *        0    4 magic                    "QFI\xfb"
 *        4    4 version                  2 or 3
 *        8    8 backing_off              0 = no backing file; the name lies in cluster 0
 *       16    4 backing_len              bytes, not terminated
 *       20    4 cluster_bits             9..21
 *       24    8 size                     virtual size in bytes
 *       32    4 crypt_method             0 none, 1 AES, 2 LUKS
 *       36    4 l1_count                 entries of the active L1 table
 *       40    8 l1_off
 *       48    8 reftable_off
 *       56    4 reftable_clusters
 *       60    4 snapshot_count
 *       64    8 snapshots_off
 *   version 3 only (version 2 ends here, and reads as zeros and refcount_order 4):
 *       72    8 incompatible             QCOW2_INCOMPAT_*; an unknown bit refuses the image
 *       80    8 compatible               QCOW2_COMPAT_*
 *       88    8 autoclear                QCOW2_AUTOCLEAR_*; a writer clears those it knows not
 *       96    4 refcount_order           refcounts are 1 << order bits wide, order 0..6
 *      100    4 header_length            >= 104; extensions begin there
 *      104    1 compression_type         present where header_length > 104
 *      105    7 (zeros)
 *      112      unknown                  up to header_length; kept verbatim
 */
#define QCOW2_MAGIC 0x514649fbu

#define QCOW2_V2_HEADER_LENGTH 72
#define QCOW2_V3_HEADER_MIN    104
#define QCOW2_V3_HEADER_LENGTH 112 /* what we know, and write */

/* Offsets of fields that are rewritten on their own. */
#define QCOW2_AT_BACKING      8
#define QCOW2_AT_REFTABLE     48
#define QCOW2_AT_SNAPSHOTS    60
#define QCOW2_AT_INCOMPATIBLE 72
#define QCOW2_AT_AUTOCLEAR    88
#define QCOW2_AT_COMPRESSION  104

#define QCOW2_INCOMPAT_DIRTY       (UINT64_C(1) << 0)
#define QCOW2_INCOMPAT_CORRUPT     (UINT64_C(1) << 1)
#define QCOW2_INCOMPAT_DATA_FILE   (UINT64_C(1) << 2)
#define QCOW2_INCOMPAT_COMPRESSION (UINT64_C(1) << 3)
#define QCOW2_INCOMPAT_EXTENDED_L2 (UINT64_C(1) << 4)
#define QCOW2_INCOMPAT_KNOWN       UINT64_C(0x1f)

#define QCOW2_COMPAT_LAZY_REFCOUNTS (UINT64_C(1) << 0)

#define QCOW2_AUTOCLEAR_BITMAPS       (UINT64_C(1) << 0)
#define QCOW2_AUTOCLEAR_DATA_FILE_RAW (UINT64_C(1) << 1)
#define QCOW2_AUTOCLEAR_KNOWN         UINT64_C(0x3)

enum qcow2_crypt_method { QCOW2_CRYPT_NONE, QCOW2_CRYPT_AES, QCOW2_CRYPT_LUKS };

enum qcow2_compression_type { QCOW2_COMPRESSION_ZLIB, QCOW2_COMPRESSION_ZSTD };

struct qcow2_header {
    uint32_t magic;
    uint32_t version;
    uint64_t backing_off;
    uint32_t backing_len;
    uint32_t cluster_bits;
    uint64_t size;
    uint32_t crypt_method;
    uint32_t l1_count;
    uint64_t l1_off;
    uint64_t reftable_off;
    uint32_t reftable_clusters;
    uint32_t snapshot_count;
    uint64_t snapshots_off;
    uint64_t incompatible;
    uint64_t compatible;
    uint64_t autoclear;
    uint32_t refcount_order;
    uint32_t header_length; /* 72 for version 2 */
    uint8_t compression_type;
};

/* --- header extensions, from header_length on ---------------------------------------------
 *
 *   OFFSET SIZE FIELD
 *        0    4 type                     QCOW2_EXT_*
 *        4    4 len                      of data
 *        8  len data
 *           0-7 padding to a multiple of 8
 *
 * The area ends with type 0, or at backing_off, or at the end of the cluster.
 */
#define QCOW2_EXT_HEADER_BYTES   8
#define QCOW2_EXT_END            0u
#define QCOW2_EXT_BACKING_FORMAT 0xe2792acau
#define QCOW2_EXT_FEATURE_NAMES  0x6803f857u
#define QCOW2_EXT_BITMAPS        0x23852875u
#define QCOW2_EXT_CRYPTO         0x0537be77u
#define QCOW2_EXT_DATA_FILE      0x44415441u
#define QCOW2_EXT_FINGERPRINT    0x51494d46u /* "QIMF", ours: docs/formats/fingerprint.md */

/* Feature names: any number of these.
 *
 *   OFFSET SIZE FIELD
 *        0    1 set                      0 incompatible, 1 compatible, 2 autoclear
 *        1    1 bit                      0..63
 *        2   46 name                     zero padded
 */
#define QCOW2_FEATURE_NAME_BYTES 48
#define QCOW2_FEATURE_NAME_TEXT  46

enum qcow2_feature_set {
    QCOW2_FEATURE_INCOMPATIBLE,
    QCOW2_FEATURE_COMPATIBLE,
    QCOW2_FEATURE_AUTOCLEAR
};

/* Bitmaps.
 *
 *   OFFSET SIZE FIELD
 *        0    4 count                    1..65535
 *        4    4 (zero)
 *        8    8 directory_len            bytes
 *       16    8 directory_off            cluster aligned
 */
#define QCOW2_EXT_BITMAPS_BYTES 24

struct qcow2_bitmaps_ext {
    uint32_t count;
    uint64_t directory_len;
    uint64_t directory_off;
};

/* Crypto (LUKS): where the LUKS header lies.
 *
 *   OFFSET SIZE FIELD
 *        0    8 off                      cluster aligned
 *        8    8 len                      bytes
 */
#define QCOW2_EXT_CRYPTO_BYTES 16

struct qcow2_crypto_ext {
    uint64_t off;
    uint64_t len;
};

/* --- mapping tables ------------------------------------------------------------------------
 *
 * L1 entry, 8 bytes; each stands for one L2 table, which fills exactly one cluster:
 *   BITS    FIELD
 *    9..55  offset of the L2 table (0 = none)
 *   63      COPIED: refcount is exactly 1
 *
 * L2 entry, 8 bytes, bit 62 clear:
 *   BITS    FIELD
 *    0      ZERO: reads as zeros (version 3, not with extended L2)
 *    9..55  offset of the cluster (0 = none; in an external data file, COPIED tells 0 from none)
 *   63      COPIED
 *
 * L2 entry, bit 62 (COMPRESSED) set; x = 62 - (cluster_bits - 8):
 *   BITS    FIELD
 *    0..x-1 offset of the packed bytes, any alignment
 *    x..61  512-byte sectors in which they lie, beyond the one in which they begin
 *
 * Extended L2 entry, 16 bytes: as above without ZERO, then a word for 32 subclusters:
 *   BITS    FIELD
 *    0..31  subcluster i is in the cluster
 *   32..63  subcluster i reads as zeros (never both)
 */
#define QCOW2_OFFSET_MASK    UINT64_C(0x00fffffffffffe00)
#define QCOW2_COPIED         (UINT64_C(1) << 63)
#define QCOW2_COMPRESSED     (UINT64_C(1) << 62)
#define QCOW2_ZERO           (UINT64_C(1) << 0)
#define QCOW2_SUBCLUSTERS    32
#define QCOW2_SECTOR         512 /* unit of a packed cluster's length */
#define QCOW2_L1_ENTRY_BYTES 8

/* --- refcounts ------------------------------------------------------------------------------
 *
 * Refcount table entry, 8 bytes: bits 9..63 are the offset of a refcount block (0 = all counts
 * in it are 0). A block fills one cluster with counts of 1 << refcount_order bits; below a byte
 * the first count is in the lowest bits.
 */
#define QCOW2_REFTABLE_OFFSET_MASK UINT64_C(0xfffffffffffffe00)
#define QCOW2_REFTABLE_ENTRY_BYTES 8

/* --- snapshot table: entries one behind the other, each 8-aligned ---------------------------
 *
 *   OFFSET SIZE FIELD
 *        0    8 l1_off
 *        8    4 l1_count
 *       12    2 id_len
 *       14    2 name_len
 *       16    4 date_sec
 *       20    4 date_nsec
 *       24    8 vm_clock_nsec
 *       32    4 vm_state_size            bytes; 0 where it takes more than 32 bits
 *       36    4 extra_len
 *       40      extra: +0 8 vm_state_size  (overrides the field above)
 *                      +8 8 disk_size      (without it: the image's)
 *                     +16 8 icount         (all ones: none)
 *                     +24   unknown, kept
 *               id, then name, not terminated
 */
#define QCOW2_SNAPSHOT_BYTES        40
#define QCOW2_SNAPSHOT_AT_ID_LEN    12
#define QCOW2_SNAPSHOT_AT_NAME_LEN  14
#define QCOW2_SNAPSHOT_AT_EXTRA_LEN 36
#define QCOW2_SNAPSHOT_VM_STATE     8 /* extra_len from which the extra fields are there */
#define QCOW2_SNAPSHOT_DISK_SIZE    16
#define QCOW2_SNAPSHOT_ICOUNT       24

/* --- bitmap directory: entries one behind the other, each padded to 8 -----------------------
 *
 *   OFFSET SIZE FIELD
 *        0    8 table_off                cluster aligned
 *        8    4 table_count              entries of the bitmap's table
 *       12    4 flags                    QCOW2_BITMAP_*
 *       16    1 type                     1 = dirty tracking
 *       17    1 granularity_bits         9..31
 *       18    2 name_len                 1..1023
 *       20    4 extra_len                must be 0
 *       24      extra, then name
 */
#define QCOW2_BITMAP_BYTES          24
#define QCOW2_BITMAP_AT_FLAGS       12
#define QCOW2_BITMAP_AT_NAME_LEN    18
#define QCOW2_BITMAP_AT_EXTRA_LEN   20
#define QCOW2_BITMAP_IN_USE         (1u << 0)
#define QCOW2_BITMAP_AUTO           (1u << 1)
#define QCOW2_BITMAP_KNOWN          0x3u
#define QCOW2_BITMAP_DIRTY_TRACKING 1

#endif
