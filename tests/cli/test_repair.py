# SPDX-License-Identifier: Apache-2.0
"""Repairs of what QEMU's would make worse."""
import json
import struct

import pytest

from pylib import run
from pylib.paths import SANITIZED

CLUSTER = 65536


def data_on_its_own_counts(twin):
    """An image of one-bit counts, whose first guest cluster is its refcount block: two references,
    of which a bit can tell one. What the guest had before leaks."""
    twin.img("create", "-q", "-f", "qcow2", "-o", "refcount_bits=1", "a", "1M")
    twin.io("a", f"write -q -P 7 0 {CLUSTER}", options=("-f", "qcow2"))
    with open(twin.theirs / "a", "r+b") as image:
        def word(at):
            image.seek(at)
            return struct.unpack(">Q", image.read(8))[0] & ((1 << 56) - 512)
        block, table = word(word(48)), word(word(40))
        image.seek(table)
        image.write(struct.pack(">Q", 1 << 63 | block))
    return run.ours(twin.theirs)


@pytest.mark.parametrize("fix,code", (("leaks", 2), ("all", 0)))
def test_counts_that_a_guest_has_for_data_are_not_written(twin, fix, code):
    tool = data_on_its_own_counts(twin)
    tool("convert", "-O", "raw", "a", "before").ok()
    assert tool("check", "-r", fix, "a").code == code
    tool("convert", "-O", "raw", "a", "after").ok()
    assert (twin.theirs / "before").read_bytes() == (twin.theirs / "after").read_bytes()
    assert tool("check", "a").code == (0 if fix == "all" else 2)


@pytest.mark.skipif(SANITIZED, reason="it asks for time")
def test_a_full_image_is_counted_anew_in_one_go(qimg, scratch):
    """New refcount blocks go behind its end, each next to the one before."""
    qimg("create", "-q", "-f", "qcow2", "-o",
         "cluster_size=512,refcount_bits=64,preallocation=metadata", "a", "256M").ok()
    with open(scratch / "a", "r+b") as image:
        image.seek(48)
        table, = struct.unpack(">Q", image.read(8))
        image.seek(table + 7)
        image.write(b"\x01")  # a block where none can lie
    repaired = qimg("check", "-r", "all", "a", measure=True)
    assert repaired.code == 0 and "Rebuilding" in repaired.err
    assert repaired.cpu_seconds < 2
    assert qimg("check", "a").code == 0


def test_a_snapshot_table_on_the_guests_data_is_mended_at_once(twin):
    """Both refer to the cluster until the table lies elsewhere; then its count is one again."""
    twin.img("create", "-q", "-f", "qcow2", "-o", "cluster_size=512", "a", "1M")
    twin.io("a", "write -q -P 0 0 2k", options=("-f", "qcow2"))
    tool = run.ours(twin.theirs)
    data, = (row["offset"] for row in json.loads(tool("map", "--output=json", "a").ok().out)
             if "offset" in row)
    with open(twin.theirs / "a", "r+b") as image:
        image.seek(60)
        image.write(struct.pack(">IQ", 3, data))  # three entries, all zeros
    repaired = tool("check", "-r", "all", "a")
    assert repaired.code == 0 and "Repairing snapshot table entry 2 is incomplete" in repaired.err
    assert "No errors" in tool("check", "a").ok().out
    tool("convert", "-O", "raw", "a", "after").ok()
    assert (twin.theirs / "after").read_bytes() == bytes(1 << 20)
