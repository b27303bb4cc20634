# SPDX-License-Identifier: Apache-2.0
"""Breaks one field of a qcow2 file's metadata, whichever a seed says, and tells what it did."""
import random
import struct

OFFSETS = 0x00fffffffffffe00


def be(data, off, width):
    return int.from_bytes(data[off:off + width].ljust(width, b"\0"), "big")


class Layout:
    """Where the fields of an image lie, as its header says."""

    def __init__(self, data):
        self.data = data
        self.cluster = 1 << be(data, 20, 4)
        self.version = be(data, 4, 4)
        self.extended = self.version == 3 and be(data, 72, 8) & 16
        self.l1, self.l1_count = be(data, 40, 8), be(data, 36, 4)
        self.reftable = be(data, 48, 8)
        self.snapshots, self.snapshot_count = be(data, 64, 8), be(data, 60, 4)

    def words(self, off, count, step=8):
        return [off + step * i for i in range(count) if off + step * i + 8 <= len(self.data)]

    def tables(self, l1, count):
        offsets = [be(self.data, at, 8) & OFFSETS for at in self.words(l1, count)]
        return [off for off in offsets if 0 < off < len(self.data)]

    def l2_words(self, l1, count):
        step = 16 if self.extended else 8
        found = []
        for table in self.tables(l1, count):
            words = self.words(table, self.cluster // step, step)
            used = [at for at in words if be(self.data, at, 8)]
            found += used + words[len(words) // 2:len(words) // 2 + 1]
            if self.extended:
                found += [at + 8 for at in used]
        return found

    def counts(self):
        found = []
        for at in self.words(self.reftable, 4):
            block = be(self.data, at, 8) & ~0x1ff
            if 0 < block < len(self.data):
                found += list(range(block, min(block + 40, len(self.data) - 8)))
        return found

    def snapshot_fields(self):
        return [self.snapshots + 8, self.snapshots, self.snapshots + 36] \
            if self.snapshot_count else []

    def snapshot_l2(self):
        if not self.snapshot_count:
            return []
        return self.l2_words(be(self.data, self.snapshots, 8), be(self.data, self.snapshots + 8, 4))


def places(layout):
    """(kind, offsets, width)"""
    return [(kind, offsets, width) for kind, offsets, width in (
        ("L1 entry", layout.words(layout.l1, min(layout.l1_count, 8)), 8),
        ("L2 entry", layout.l2_words(layout.l1, layout.l1_count), 8),
        ("L2 entry again", layout.l2_words(layout.l1, layout.l1_count), 8),
        ("refcount table entry", layout.words(layout.reftable, 4), 8),
        ("refcounts", layout.counts(), 1),
        ("snapshot", layout.snapshot_fields(), 4),
        ("snapshot's L2 entry", layout.snapshot_l2(), 8)) if offsets]


def new_value(chance, layout, old, width, others):
    if width < 8:
        return chance.choice((0, 1, 2, 0xff, old ^ 1 << chance.randrange(8 * width),
                              (old + 1) % (1 << 8 * width)))
    return chance.choice((
        0, old ^ 1 << chance.randrange(64), old ^ 1 << chance.randrange(64), old ^ 1 << 63,
        be(layout.data, chance.choice(others), 8), (old + layout.cluster) % (1 << 64),
        (old + 512) % (1 << 64), 1 << 63 | len(layout.data) // layout.cluster * layout.cluster * 2,
        old | 1, old ^ 1 << 62))


def break_one(path, seed):
    """Changes one field of the file; returns what was done."""
    data = path.read_bytes()
    layout = Layout(data)
    chance = random.Random(seed)
    kind, offsets, width = chance.choice(places(layout))
    at = chance.choice(offsets)
    old = be(data, at, width)
    new = new_value(chance, layout, old, width, offsets)
    with open(path, "r+b") as image:
        image.seek(at)
        image.write(new.to_bytes(width, "big"))
    return f"{kind} at {at:#x}: {old:#x} -> {new:#x}"


def set_bit(path, bit):
    """Sets an incompatible feature bit."""
    with open(path, "r+b") as image:
        image.seek(72)
        bits = struct.unpack(">Q", image.read(8))[0]
        image.seek(72)
        image.write(struct.pack(">Q", bits | 1 << bit))
