# SPDX-License-Identifier: Apache-2.0
"""Time and memory go with the metadata that is there, never with what a file claims: tables as long
as they may be that lie in holes of a file of a tebibyte.
"""
import struct
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from image import CLUSTER, COPIED, Image, bitmap, bitmaps, snapshot, with_snapshots  # noqa: E402
from pylib import run  # noqa: E402
from pylib.paths import SANITIZED  # noqa: E402

TIB = 1 << 40
SECONDS = 30 if SANITIZED else 1
KIB = 64 * 1024


def words(count, word):
    return b"".join(struct.pack(">Q", word(i)) for i in range(count))


def one_l2_table(table=bytes(8), count=1 << 16):
    """@count entries of L1, all of them the same L2 table."""
    image = Image(l1_size=count, l1_off=16 * CLUSTER, size=count << 29)
    return image.put(4 * CLUSTER, table).put(16 * CLUSTER, words(count, lambda i: 4 * CLUSTER))


def full_l2_table():
    return words(8192, lambda i: TIB // 2 + i * CLUSTER)


def far_l2_tables(count=1 << 12):
    image = Image(l1_size=count, l1_off=16 * CLUSTER, size=count << 29)
    return image.put(16 * CLUSTER, words(count, lambda i: TIB // 2 + i * CLUSTER | COPIED))


def snapshots_on_one_l1(count=600):
    entries = [snapshot(l1_off=TIB // 2, l1_size=4 << 20, ident=b"%d" % i) for i in range(count)]
    return with_snapshots(*entries)


def snapshots_on_one_real_l1(count=600, size=4 << 20):
    """Each of the snapshots leads to the same full L2 table from each entry of the same L1 table;
    counts of 64 bits can say it."""
    entries = [snapshot(l1_off=64 * CLUSTER, l1_size=size, ident=b"%d" % i) for i in range(count)]
    image = with_snapshots(*entries, refcount_order=6)
    image.put(32 * CLUSTER, full_l2_table())
    return image.put(64 * CLUSTER, struct.pack(">Q", 32 * CLUSTER) * size)


def bitmaps_on_one_table(count=20000):
    image = bitmaps(*[bitmap(table=128 * CLUSTER, entries=8192, name=b"%d" % i)
                      for i in range(count)])
    return image.put(128 * CLUSTER, full_l2_table())


CHECKS = ("check", "audit", "repair")
# name: (image, commands that must be as cheap as all others; None = all of them)
CLAIMS = {
    "l1-2-to-the-32": (lambda: Image(l1_size=0xffffffff, size=1 << 60), None),
    "l1-in-a-hole": (lambda: Image(l1_size=4 << 20, l1_off=TIB // 2, size=1 << 30), None),
    "reftable-in-a-hole": (lambda: Image(reftable_clusters=128, reftable_off=TIB // 2), None),
    "refblocks-in-holes": (lambda: Image().put(CLUSTER, words(
        8192, lambda i: TIB // 2 + i * CLUSTER if i else 2 * CLUSTER)), None),
    "snapshots-65535": (lambda: Image(snapshots=65535, snapshots_off=TIB // 2), None),
    "snapshots-on-one-l1": (snapshots_on_one_l1, None),
    "bitmaps-65535": (lambda: bitmaps(count=65535, size=65535 * 1024, off=TIB // 2), None),
    "l2-tables-in-holes": (far_l2_tables, None),
    "65536-l2-tables-in-holes": (lambda: far_l2_tables(1 << 16), CHECKS),
    "one-l2-table": (one_l2_table, None),
    "one-full-l2-table": (lambda: one_l2_table(full_l2_table()), None),
    "snapshots-on-one-real-l1": (snapshots_on_one_real_l1, CHECKS),
    "bitmaps-on-one-table": (bitmaps_on_one_table, CHECKS),
    "pebibyte-without-tables": (lambda: Image(size=1 << 50, l1_size=1 << 21, l1_off=TIB // 2),
                                ("map", "convert")),
}
COMMANDS = {
    "info": ["info", "-f", "qcow2"],
    "check": ["check", "-f", "qcow2"],
    "map": ["map", "-f", "qcow2"],
    "measure": ["measure", "-f", "qcow2"],
    "snapshot": ["snapshot", "-l"],
    "audit": ["chain", "audit"],
    "convert": ["convert", "-O", "qcow2", "-f", "qcow2"],
    "repair": ["check", "-f", "qcow2", "-r", "all"],  # the last: it writes
}
AFTER = {"convert": ["b"]}
# A command is left out of "all" where its time goes with what the guest reads, or it writes.
ALL = ("info", "check", "map", "measure", "snapshot", "audit")
# What check remembers of each cluster is its own need; it has the L1 table twice, to mend the one.
OWN_NEED = {"check": 2, "repair": 2}


@pytest.mark.parametrize("name", CLAIMS)
def test_claims_cost_nothing(scratch, name):
    maker, commands = CLAIMS[name]
    with open(scratch / "a", "wb") as image:
        image.write(maker().data)
        image.truncate(TIB)
    for command in commands or ALL:
        result = run.ours(scratch)(*COMMANDS[command], "a", *AFTER.get(command, ()), measure=True)
        assert result.code in (0, 1, 2, 3), f"{result}{result.err}"
        assert result.cpu_seconds < SECONDS, f"{result} took {result.cpu_seconds:.1f} s"
        if not SANITIZED:
            assert result.peak_kib < KIB * OWN_NEED.get(command, 1), f"{result} {result.peak_kib}"
