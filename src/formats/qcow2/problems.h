/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything that check can find: one row a problem.
 *
 *   PROBLEM(name, id, severity, structure, sentence, how it is mended)
 *
 * The sentence is QEMU's where it has one; "%s" at its beginning is the word that says what is
 * done about it (ERROR, Leaked, Repairing). Severity is that of qimg_check_finding: what is
 * counted is decided where the problem is found, since QEMU counts some only once.
 */
#define PROBLEMS(PROBLEM) \
    /* --- counts --- */ \
    PROBLEM(COUNT_LOW, "refcount-too-low", CORRUPTION, "refcount block", \
            "%s cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64, \
            "the count is raised to the number of references; where it is 0, all refcounts are " \
            "rebuilt") \
    PROBLEM(COUNT_HIGH, "leaked-cluster", LEAK, "refcount block", \
            "%s cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64, \
            "the count is lowered to the number of references") \
    PROBLEM(COUNT_UNREADABLE, "refcount-unreadable", ERROR, "refcount block", \
            "Can't get refcount for cluster %" PRIu64 ": %s", \
            "all refcounts are rebuilt if anything needs it") \
    PROBLEM(COUNT_OVERFLOW, "refcount-overflow", CORRUPTION, "cluster", \
            "ERROR: overflow cluster offset=0x%" PRIx64 "\n" \
            "Use qemu-img amend to increase the refcount entry width or qemu-img convert to " \
            "create a clean copy if the image cannot be opened for writing", \
            "not by check: copy the image") \
    PROBLEM(PAST_END, "reference-past-end", CORRUPTION, "file", \
            "ERROR: counting reference for region exceeding the end of the file by one cluster " \
            "or more: offset 0x%" PRIx64 " size 0x%" PRIx64, \
            "not by check: nothing tells where the bytes are") \
    PROBLEM(PAST_END_EXTENDED, "reference-past-end", CORRUPTION, "file", \
            "Repairing reference for region exceeding the end of the file: offset 0x%" PRIx64 \
            " size 0x%" PRIx64, \
            "the file is extended, so that what read as zeros still does") \
    PROBLEM(PAST_END_ZEROED, "reference-past-end", CORRUPTION, "L2 table", \
            "Repairing reference for region exceeding the end of the file: offset 0x%" PRIx64 \
            " size 0x%" PRIx64, \
            "the entry says zeros, which is what was read") \
    /* --- refcount structures --- */ \
    PROBLEM(REFTABLE_RESERVED, "reftable-reserved-bits", CORRUPTION, "refcount table", \
            "ERROR refcount table entry %" PRIu64 " has reserved bits set", \
            "all refcounts are rebuilt") \
    PROBLEM(REFBLOCK_UNALIGNED, "refblock-unaligned", CORRUPTION, "refcount table", \
            "ERROR refcount block %" PRIu64 \
            " is not cluster aligned; refcount table entry corrupted", \
            "all refcounts are rebuilt") \
    PROBLEM(REFBLOCK_OUTSIDE, "refblock-outside", CORRUPTION, "refcount table", \
            "%s refcount block %" PRIu64 " is outside image", \
            "the file is extended, or all refcounts are rebuilt") \
    PROBLEM(NOT_EXTENDED, "refblock-outside", NOTE, "refcount table", \
            "ERROR could not resize image: %s", "all refcounts are rebuilt") \
    PROBLEM(REFBLOCK_SHARED, "refblock-shared", CORRUPTION, "refcount block", \
            "ERROR refcount block %" PRIu64 " refcount=%" PRIu64, "all refcounts are rebuilt") \
    PROBLEM(REFBLOCK_BAD_OFFSET, "refblock-unaligned", NOTE, "refcount table", \
            "qcow2: Image is corrupt: Refblock offset %#" PRIx64 " unaligned (reftable index: " \
            "%#" PRIx64 "); further non-fatal corruption events will be suppressed", \
            "all refcounts are rebuilt") \
    PROBLEM(REBUILDING, "rebuilding", NOTE, "refcount table", "Rebuilding refcount structure", \
            "new blocks and a new table in free space, then one write of the header") \
    PROBLEM(STILL_BROKEN, "still-broken", NOTE, "refcount table", \
            "ERROR rebuilt refcount structure is still broken", "not by check") \
    PROBLEM(NEEDS_REBUILD, "needs-rebuild", ERROR, "refcount table", \
            "ERROR need to rebuild refcount structures", "by -r all") \
    /* --- mapping tables --- */ \
    PROBLEM(L1_RESERVED, "l1-reserved-bits", CORRUPTION, "L1 table", \
            "%s found L1 entry with reserved bits set: %" PRIx64, "the bits are cleared") \
    PROBLEM(L2_UNALIGNED, "l2-unaligned", CORRUPTION, "L1 table", \
            "ERROR l2_offset=%" PRIx64 ": Table is not cluster aligned; L1 entry corrupted", \
            "not by check: nothing tells where the table is") \
    PROBLEM(L1_UNREADABLE, "l1-unreadable", ERROR, "L1 table", \
            "ERROR: I/O error in check_refcounts_l1", "not by check") \
    PROBLEM(L2_UNREADABLE, "l2-unreadable", ERROR, "L2 table", \
            "ERROR: I/O error in check_refcounts_l2", "not by check") \
    PROBLEM(L2_RESERVED, "l2-reserved-bits", CORRUPTION, "L2 table", \
            "%s found l2 entry with reserved bits set: %" PRIx64, "the bits are cleared") \
    PROBLEM(PACKED_COPIED, "packed-copied", CORRUPTION, "L2 table", \
            "%s: coffset=0x%" PRIx64 ": copied flag must never be set for compressed clusters", \
            "the flag is cleared") \
    PROBLEM(PACKED_IN_DATA_FILE, "packed-in-data-file", CORRUPTION, "L2 table", \
            "ERROR compressed cluster %u with data file, entry=0x%" PRIx64, \
            "not by check: the data is lost") \
    PROBLEM(PACKED_BITMAP, "packed-bitmap", CORRUPTION, "L2 table", \
            "ERROR compressed cluster %u with non-zero subcluster allocation bitmap, " \
            "entry=0x%" PRIx64, \
            "not by check: nothing tells which of the two is right") \
    PROBLEM(SUBCLUSTERS_BOTH, "subclusters-both", CORRUPTION, "L2 table", \
            "ERROR offset=%" PRIx64 ": Allocated cluster has corrupted subcluster allocation " \
            "bitmap", \
            "not by check: nothing tells which of the bits is right") \
    PROBLEM(SUBCLUSTERS_NOWHERE, "subclusters-nowhere", CORRUPTION, "L2 table", \
            "ERROR: Unallocated cluster has non-zero subcluster allocation map", \
            "not by check: the data is lost") \
    PROBLEM(ZERO_UNALIGNED, "preallocated-unaligned", CORRUPTION, "L2 table", \
            "%s offset=%" PRIx64 \
            ": Preallocated cluster is not properly aligned; L2 entry corrupted.", \
            "the entry reads as zeros without a cluster") \
    PROBLEM(DATA_UNALIGNED, "data-unaligned", CORRUPTION, "L2 table", \
            "ERROR offset=%" PRIx64 ": Data cluster is not properly aligned; L2 entry corrupted.", \
            "not by check: nothing tells where the data is") \
    PROBLEM(L1_COPIED, "l1-copied", CORRUPTION, "L1 table", \
            "%s OFLAG_COPIED L2 cluster: l1_index=%u l1_entry=%" PRIx64 " refcount=%" PRIu64, \
            "the flag is made to say whether the count is 1") \
    PROBLEM(L2_COPIED, "l2-copied", CORRUPTION, "L2 table", \
            "%s OFLAG_COPIED data cluster: l2_entry=%" PRIx64 " refcount=%" PRIu64, \
            "the flag is made to say whether the count is 1") \
    PROBLEM(L2_COPIED_UNREADABLE, "l2-unreadable", ERROR, "L2 table", \
            "ERROR: Could not read L2 table: %s", "not by check") \
    PROBLEM(OVERLAPS, "overlaps", ERROR, "L2 table", "ERROR: Overlap check failed", \
            "not by check: the table lies upon another structure") \
    /* --- snapshots --- */ \
    PROBLEM(SNAPSHOTS_TOO_MANY, "snapshots-too-many", CORRUPTION, "snapshot table", \
            "Discarding %u overhanging snapshots", "the table ends before them") \
    PROBLEM(SNAPSHOTS_TOO_BIG, "snapshots-too-big", CORRUPTION, "snapshot table", \
            "Discarding %u overhanging snapshots (snapshot table is too big)", \
            "the table ends before them") \
    PROBLEM(SNAPSHOT_EXTRA, "snapshot-extra", CORRUPTION, "snapshot table", \
            "Discarding too much extra metadata in snapshot table entry %u (%u > %u)", \
            "the table is written anew without it") \
    PROBLEM(SNAPSHOT_INCOMPLETE, "snapshot-incomplete", CORRUPTION, "snapshot table", \
            "%s snapshot table entry %u is incomplete", \
            "the table is written anew, with the sizes that were missing") \
    PROBLEM(SNAPSHOT_TABLE, "snapshot-table", ERROR, "snapshot table", "ERROR %s", "not by check") \
    PROBLEM(SNAPSHOT_READ, "snapshot-table", ERROR, "snapshot table", \
            "ERROR failed to read the snapshot table: %s", "by -r all where it is too large") \
    PROBLEM(SNAPSHOT_WRITE, "snapshot-table", ERROR, "snapshot table", \
            "ERROR failed to update snapshot table: %s", "not by check") \
    PROBLEM(SNAPSHOT_HINT, "snapshot-table", NOTE, "snapshot table", "%s", "by -r all") \
    PROBLEM(SNAPSHOTS_FORCE, "snapshot-table", NOTE, "snapshot table", \
            "You can force-remove all %u overhanging snapshots with qemu-img check -r all", \
            "by -r all") \
    PROBLEM(SNAPSHOT_L1_UNALIGNED, "snapshot-l1-unaligned", CORRUPTION, "snapshot table", \
            "ERROR snapshot %s (%s) l1_offset=%#" PRIx64 \
            ": L1 table is not cluster aligned; snapshot table entry corrupted", \
            "not by check: delete the snapshot") \
    PROBLEM(SNAPSHOT_L1_SIZE, "snapshot-l1-size", CORRUPTION, "snapshot table", \
            "ERROR snapshot %s (%s) l1_size=%#x: L1 table is too large; snapshot table entry " \
            "corrupted", \
            "not by check: delete the snapshot") \
    PROBLEM(SNAPSHOTS_AND_DATA_FILE, "snapshots-with-data-file", CORRUPTION, "snapshot table", \
            "ERROR %u snapshots in image with data file", "not by check") \
    /* --- bitmaps --- */ \
    PROBLEM(BITMAP_TABLE, "bitmap-table", CORRUPTION, "bitmap table", \
            "ERROR bitmap '%s': table entry %u is broken: %" PRIx64, \
            "not by check: remove the bitmap") \
    PROBLEM(BITMAP_UNREADABLE, "bitmap-table", CORRUPTION, "bitmap table", \
            "ERROR bitmap '%s': table cannot be read: %s", "not by check: remove the bitmap") \
    /* --- writing --- */ \
    PROBLEM(REBUILD_FAILED, "rebuild-failed", ERROR, "refcount table", "%s", \
            "not by check: make room")
