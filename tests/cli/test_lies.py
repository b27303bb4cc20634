# SPDX-License-Identifier: Apache-2.0
"""An image that says wrong things about its own structures: two of them in one cluster, or one
where its counts say that nothing is. No command builds upon one, or gives one back; QEMU does."""
import struct

import pytest

from pylib import run

CLUSTER = 512
SIZE = 2 << 20


class Parts:
    """Where the structures of an image lie."""

    def __init__(self, data):
        self.data = data
        l1, self.reftable, snapshots = self.word(40), self.word(48), self.word(64)
        self.l2 = self.word(l1)
        self.places = {"header": 0, "L1": l1, "refcount table": self.reftable, "L2": self.l2,
                       "refcount block": self.word(self.reftable), "snapshot table": snapshots,
                       "L1 of a snapshot": self.word(snapshots)}

    def word(self, off):
        return struct.unpack_from(">Q", self.data, off)[0] & 0x00fffffffffffe00

    def put(self, form, off, value):
        struct.pack_into(form, self.data, off, value)

    def uncount(self, off):
        block, count = divmod(off // CLUSTER, CLUSTER // 2)
        self.put(">H", self.word(self.reftable + 8 * block) + 2 * count, 0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An image with two snapshots, each with data of its own."""
    directory = tmp_path_factory.mktemp("lies")
    tool, io = run.ours(directory), run.as_qemu_io(directory)
    tool("create", "-q", "-f", "qcow2", "-o", f"cluster_size={CLUSTER}", "a", str(SIZE)).ok()
    for i, length in enumerate(("1M", "100k", "10k")):
        io("-c", f"write -q -P {7 + i} 0 {length}", "a").ok()
        if i < 2:
            tool("snapshot", "-c", f"s{i}", "a").ok()
    return (directory / "a").read_bytes()


def guest(scratch, *options):
    run.ours(scratch)("convert", "-f", "qcow2", "-O", "raw", *options, "a", "guest").ok()
    return (scratch / "guest").read_bytes()


@pytest.mark.parametrize("command", ("discard 15k 512", "write -z -u 15k 512", "write 15k 512",
                                     "write 15k 100"))
@pytest.mark.parametrize("part", ("L1", "refcount table", "refcount block", "L2", "snapshot table",
                                  "L1 of a snapshot"))
def test_metadata_that_the_guest_has_for_data_is_not_given_back(whole, scratch, part, command):
    parts = Parts(bytearray(whole))
    parts.put(">Q", parts.l2 + 8 * 30, parts.places[part])  # not COPIED: a write goes elsewhere
    (scratch / "a").write_bytes(parts.data)
    before = guest(scratch)
    result = run.as_qemu_io(scratch)("-c", command, "a")
    assert result.code == 1 and "Preventing invalid write on metadata" in result.err
    assert guest(scratch, "-U") == before


VERBS = {
    "create": ("snapshot", "-c", "new", "a"), "apply": ("snapshot", "-a", "s0", "a"),
    "delete": ("snapshot", "-d", "s1", "a"), "grow": ("resize", "-f", "qcow2", "a", "+1M"),
    "shrink": ("resize", "-f", "qcow2", "--shrink", "a", "1536K"),
    "downgrade": ("amend", "-f", "qcow2", "-o", "compat=0.10", "a"),
    "widen": ("amend", "-f", "qcow2", "-o", "refcount_bits=32", "a"),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("part", ("header", "L1", "refcount table", "refcount block", "L2",
                                  "snapshot table", "L1 of a snapshot"))
def test_a_structure_that_is_not_counted_is_not_built_upon(whole, scratch, part, verb):
    parts = Parts(bytearray(whole))
    image = scratch / "a"
    image.write_bytes(parts.data)
    kept = guest(scratch, *(("-l", "s0") if verb == "apply" else ()))
    parts.uncount(parts.places[part])
    image.write_bytes(parts.data)
    before = guest(scratch)
    result = run.ours(scratch)(*VERBS[verb])
    if result.code:
        result.failed("refcount is 0", "check -r all")
        assert image.read_bytes() == parts.data and guest(scratch) == before
    else:
        after = guest(scratch)
        assert after[:len(kept)] == kept[:len(after)]
    guest(scratch, "-l", "s0" if verb == "delete" else "s1")


def test_a_snapshot_table_in_the_header_is_not_given_back(whole, scratch):
    parts = Parts(bytearray(whole))
    parts.put(">Q", 64, 0)
    (scratch / "a").write_bytes(parts.data)
    for verb in ("create", "apply", "delete"):
        assert run.ours(scratch)(*VERBS[verb]).code == 1
    assert (scratch / "a").read_bytes() == parts.data


@pytest.mark.parametrize("verb", VERBS)
def test_an_entry_that_cannot_be_is_said_with_what_mends_it(whole, scratch, verb):
    parts = Parts(bytearray(whole))
    parts.put(">Q", parts.reftable + 8, 1 << 40)  # a refcount block far behind the end
    (scratch / "a").write_bytes(parts.data)
    run.ours(scratch)(*VERBS[verb]).failed("Input/output error", "check -r all")
    assert (scratch / "a").read_bytes() == parts.data


@pytest.mark.parametrize("behind", (0, 1, 3, 9))
@pytest.mark.parametrize("verb", VERBS)
def test_what_is_called_a_table_behind_the_end_does_not_become_one(whole, scratch, verb, behind):
    """Its place may come to lie inside the file: nothing is there then, and it reads as zeros."""
    parts = Parts(bytearray(whole))
    end = len(whole) + CLUSTER - len(whole) % CLUSTER
    for i in range(32):  # the upper half of the guest
        table = end + CLUSTER * (behind + 2 * i)
        parts.put(">Q", parts.places["L1"] + 8 * (32 + i), 1 << 63 | table)
    (scratch / "a").write_bytes(parts.data)
    reads = [word for i in range(32) for word in ("-c", f"read -P 0 {1024 + 32 * i}k 32k")]
    refused = run.as_qemu_io(scratch)(*reads, "a")
    assert refused.out == 32 * "read failed: Input/output error\n"
    if run.ours(scratch)(*VERBS[verb]).code == 0 and verb not in ("apply", "shrink"):
        said = run.as_qemu_io(scratch)(*reads, "a").out
        assert "Pattern verification failed" not in said
        assert said.count("read 32768/32768") + said.count("read failed: Input/output error") == 32


@pytest.mark.parametrize("behind", (0, 1, 3))
def test_no_write_goes_where_a_table_behind_the_end_is_said_to_be(whole, scratch, behind):
    parts = Parts(bytearray(whole))
    end = len(whole) + CLUSTER - len(whole) % CLUSTER
    parts.put(">Q", parts.places["L1"] + 8 * 40, 1 << 63 | end + CLUSTER * behind)
    for name, tool in (("ours", run.as_qemu_io), ("theirs", run.qemu_io)):
        (scratch / name).mkdir()
        (scratch / name / "a").write_bytes(parts.data)
        said = tool(scratch / name)("-c", "write 1M 10k", "a")
        assert "Preventing invalid write on metadata (overlaps with active L2 table)" in said.err
        again = tool(scratch / name)("-r", "-c", "read -P 0 1280k 32k", "a")
        assert "Pattern verification failed" not in again.out
