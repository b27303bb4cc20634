# SPDX-License-Identifier: Apache-2.0
"""Refcount tables and blocks of every width."""
from image import CLUSTER, MAX64, Image


def of_width(order):
    bits = 1 << order
    name = f"good-refcount-width-{bits}"
    return (
        (name, f"counts of {bits} bit{'s' if order else ''}", lambda: Image(refcount_order=order)),
        (f"{name}-low", "a cluster in use that is not counted",
         lambda: Image(refcount_order=order).count(5, 0)),
        (f"{name}-leak", "a cluster that nobody uses is counted",
         lambda: Image(refcount_order=order).count(9, 1)),
        (f"{name}-max", "the highest count there is",
         lambda: Image(refcount_order=order).count(5, (1 << bits) - 1)),
    )


CASES = (
    ("good-refcounts-wrong", "all counts are 0: readers do not care",
     lambda: Image().put(2 * CLUSTER, bytes(64))),
    *(case for order in range(7) for case in of_width(order)),
    ("good-refcount-order-7-v2", "version 2 has no such field",
     lambda: Image(version=2, refcount_order=7)),
    ("good-reftable-empty", "no blocks at all", lambda: Image().u64(CLUSTER, 0)),
    ("good-reftable-entry-reserved", "reserved bits of an entry",
     lambda: Image().u64(CLUSTER, 2 * CLUSTER | 1)),
    ("good-reftable-entry-unaligned", "a block at no cluster",
     lambda: Image().u64(CLUSTER, 2 * CLUSTER + 512)),
    ("good-reftable-entry-past-end", "a block past the end",
     lambda: Image().u64(CLUSTER, 1000 * CLUSTER)),
    ("good-reftable-entry-max", "all bits", lambda: Image().u64(CLUSTER, MAX64)),
    ("good-reftable-entry-is-header", "the header as a block: offset 0 is none",
     lambda: Image().u64(CLUSTER, 0)),
    ("good-reftable-entry-is-reftable", "the table is its own block",
     lambda: Image().u64(CLUSTER, CLUSTER)),
    ("good-reftable-entry-is-l1", "the L1 table is a block",
     lambda: Image().u64(CLUSTER, 3 * CLUSTER)),
    ("good-reftable-block-twice", "one block for two parts of the file",
     lambda: Image().u64(CLUSTER + 8, 2 * CLUSTER)),
    ("good-reftable-far-block", "a block for a part of the file that is not there",
     lambda: Image().u64(CLUSTER + 8 * 8191, 6 * CLUSTER).put(6 * CLUSTER, bytes(CLUSTER))
        .counts(6)),
    ("good-refblock-not-counted", "the block does not count itself", lambda: Image().count(2, 0)),
    ("good-header-not-counted", "the header's cluster is free for the next writer",
     lambda: Image().count(0, 0)),
    ("good-reftable-not-counted", "the table's too", lambda: Image().count(1, 0)),
)
