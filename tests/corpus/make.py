# SPDX-License-Identifier: Apache-2.0
"""Crafts the images of this corpus: good-*, bad-*, unsupported-*. README.md explains each.

    make.py DIRECTORY      writes them all there

Every image starts as the same small, whole one (layout below) of which a case changes a few
named fields. Nothing is pasted as bytes, so that a reader sees what is wrong with each.

    cluster 0  header, extensions, backing name     3  L1 table
            1  refcount table                       4  L2 table
            2  refcount block                       5  guest cluster 0, filled with 0x11
"""
import os
import struct
import sys
import zlib
from pathlib import Path

CLUSTER = 65536
COPIED = 1 << 63
COMPRESSED = 1 << 62

# Offset and struct format of each header field.
FIELDS = {
    "magic": (0, ">I"), "version": (4, ">I"), "backing_off": (8, ">Q"), "backing_len": (16, ">I"),
    "cluster_bits": (20, ">I"), "size": (24, ">Q"), "crypt": (32, ">I"), "l1_size": (36, ">I"),
    "l1_off": (40, ">Q"), "reftable_off": (48, ">Q"), "reftable_clusters": (56, ">I"),
    "snapshots": (60, ">I"), "snapshots_off": (64, ">Q"), "incompatible": (72, ">Q"),
    "compatible": (80, ">Q"), "autoclear": (88, ">Q"), "refcount_order": (96, ">I"),
    "header_length": (100, ">I"), "compression": (104, ">B"),
}


class Image:
    def __init__(self, **fields):
        self.data = bytearray(6 * CLUSTER)
        base = dict(magic=0x514649fb, version=3, cluster_bits=16, size=1 << 20, l1_size=1,
                    l1_off=3 * CLUSTER, reftable_off=CLUSTER, reftable_clusters=1,
                    refcount_order=4, header_length=112)
        for name, value in {**base, **fields}.items():
            self.set(name, value)
        self.u64(CLUSTER, 2 * CLUSTER)
        for cluster in range(6):
            self.put(2 * CLUSTER + 2 * cluster, struct.pack(">H", 1))
        self.u64(3 * CLUSTER, 4 * CLUSTER | COPIED)
        self.u64(4 * CLUSTER, 5 * CLUSTER | COPIED)
        self.put(5 * CLUSTER, b"\x11" * CLUSTER)

    def put(self, off, data):
        if off + len(data) > len(self.data):
            self.data.extend(bytes(off + len(data) - len(self.data)))
        self.data[off:off + len(data)] = data
        return self

    def set(self, name, value):
        off, form = FIELDS[name]
        return self.put(off, struct.pack(form, value))

    def u64(self, off, value):
        return self.put(off, struct.pack(">Q", value))

    def l2(self, index, value):
        return self.u64(4 * CLUSTER + 8 * index, value)

    def extension(self, kind, data, off=112, length=None):
        size = len(data) if length is None else length
        return self.put(off, struct.pack(">II", kind, size) + data)

    def backing(self, name, fmt=b"raw", off=1024):
        if fmt is not None:
            self.extension(0xe2792aca, fmt)
        self.set("backing_off", off).set("backing_len", len(name))
        return self.put(off, name)

    def packed(self, data, index=1, sectors=None, off=6 * CLUSTER):
        """A compressed cluster: 54 bits of offset, then the number of further sectors."""
        self.put(off, data)
        more = (off % 512 + len(data) - 1) // 512 if sectors is None else sectors
        return self.l2(index, COMPRESSED | more << 54 | off)

    def cut(self, length):
        del self.data[length:]
        return self


def noise(length):
    """Bytes that deflate cannot shorten, the same in every run."""
    state, out = 12345, bytearray()
    while len(out) < length:
        state = (state * 6364136223846793005 + 1442695040888963407) & (1 << 64) - 1
        out += struct.pack(">Q", state)
    return bytes(out[:length])


def deflated(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    return packer.compress(data) + packer.flush()


def snapshot(l1_off=3 * CLUSTER, l1_size=1, ident=b"1", name=b"s", extra=None):
    extra = struct.pack(">QQQ", 0, 1 << 20, 0) if extra is None else extra
    entry = struct.pack(">QIHHIIQII", l1_off, l1_size, len(ident), len(name), 0, 0, 0, 0,
                        len(extra)) + extra + ident + name
    return entry + bytes(-len(entry) % 8)


def with_snapshot(**changes):
    return Image(snapshots=1, snapshots_off=6 * CLUSTER).put(6 * CLUSTER, snapshot(**changes))


def bitmaps(count=1, size=32, off=6 * CLUSTER, length=24, entry=None):
    image = Image(autoclear=1)
    image.extension(0x23852875, struct.pack(">IIQQ", count, 0, size, off), length=length)
    entry = entry or struct.pack(">QIIBBHI", 7 * CLUSTER, 1, 2, 1, 16, 2, 0) + b"b0" + bytes(6)
    return image.put(6 * CLUSTER, entry).put(7 * CLUSTER, bytes(CLUSTER))


def extended(word, bitmap, **fields):
    image = Image(incompatible=1 << 4, **fields)
    image.put(4 * CLUSTER, bytes(CLUSTER))
    image.u64(4 * CLUSTER, word).u64(4 * CLUSTER + 8, bitmap)
    return image


def feature_table(bit, name):
    row = struct.pack(">BB46s", 0, bit, name)
    return Image(incompatible=1 << bit).extension(0x6803f857, row)


def deep_json(levels):
    return b"json:" + b'{"file":' * levels + b"{}" + b"}" * levels


GOOD = {
    "plain": lambda: Image(),
    "v2": lambda: Image(version=2),
    "header-104": lambda: Image(header_length=104),
    "header-105": lambda: Image(header_length=105),
    "header-unknown-tail": lambda: Image(header_length=128).put(112, b"unknown fields!!"),
    "size-not-sectors": lambda: Image(size=(1 << 20) + 77),
    "size-0": lambda: Image(size=0, l1_size=0),
    "l1-longer-than-needed": lambda: Image(l1_size=100),
    "l1-reserved-bits": lambda: Image().u64(3 * CLUSTER, 4 * CLUSTER | COPIED | 0x1ff),
    "l2-reserved-bits": lambda: Image().l2(0, 5 * CLUSTER | COPIED | 0x1fe),
    "offset-0-copied": lambda: Image().l2(0, COPIED),
    "zero-cluster": lambda: Image().l2(0, 1),
    "zero-cluster-with-offset": lambda: Image().l2(0, 5 * CLUSTER | COPIED | 1),
    "last-cluster-cut": lambda: Image().cut(5 * CLUSTER + 1000),
    "data-past-the-end": lambda: Image().l2(1, 100 * CLUSTER | COPIED),
    "compressed": lambda: Image().packed(deflated(b"\x22" * CLUSTER)),
    "compressed-longer-than-a-cluster": lambda: Image().packed(deflated(b"\x22" * 3 * CLUSTER)),
    "compressed-too-many-sectors": lambda: Image().packed(
        deflated(b"\x22" * CLUSTER), sectors=200).put(7 * CLUSTER, bytes(CLUSTER)),
    "compressed-32k-window": lambda: Image().packed(
        zlib.compressobj(9, zlib.DEFLATED, -15).compress(b"") + deflated(b"\x23" * CLUSTER)),
    "unknown-extension": lambda: Image().extension(0x12345678, b"whatever"),
    "unknown-compatible": lambda: Image(compatible=1 << 40),
    "unknown-autoclear": lambda: Image(autoclear=1 << 40),
    "dirty": lambda: Image(incompatible=1),
    "corrupt-bit": lambda: Image(incompatible=2),
    "refcounts-wrong": lambda: Image().put(2 * CLUSTER, bytes(64)),
    "empty-backing-name": lambda: Image(backing_off=1024),
    "snapshot": lambda: with_snapshot(),
    "snapshot-name-escapes": lambda: with_snapshot(name=b"\x1b[31mred\x07"),
    "bitmap": lambda: bitmaps(),
    "bitmap-bit-without-extension": lambda: Image(autoclear=1),
    "bitmap-extension-without-bit": lambda: bitmaps().set("autoclear", 0),
    "extended": lambda: extended(5 * CLUSTER | COPIED, 0x0000ffff),
    "extended-nothing-mapped": lambda: extended(5 * CLUSTER | COPIED, 0),
    "feature-name-escapes": lambda: Image().extension(
        0x6803f857, struct.pack(">BB46s", 0, 0, b"\x1b]0;title\x07")),
}

BAD = {
    "magic": lambda: Image(magic=0x514649fc),
    "version-0": lambda: Image(version=0),
    "version-1": lambda: Image(version=1),
    "cluster-bits-8": lambda: Image(cluster_bits=8),
    "cluster-bits-22": lambda: Image(cluster_bits=22),
    "cluster-bits-64": lambda: Image(cluster_bits=64),
    "cluster-bits-max": lambda: Image(cluster_bits=0xffffffff),
    "header-length-72": lambda: Image(header_length=72),
    "header-length-past-cluster": lambda: Image(header_length=CLUSTER + 8),
    "header-length-max": lambda: Image(header_length=0xffffffff),
    "refcount-order-7": lambda: Image(refcount_order=7),
    "refcount-order-max": lambda: Image(refcount_order=0xffffffff),
    "size-max": lambda: Image(size=(1 << 64) - 1),
    "size-2-62": lambda: Image(size=1 << 62),
    "l1-too-small": lambda: Image(size=1 << 40),
    "l1-entries-max": lambda: Image(l1_size=0xffffffff),
    "l1-entries-32m": lambda: Image(l1_size=(32 << 20) // 8 + 1),
    "l1-unaligned": lambda: Image(l1_off=3 * CLUSTER + 8),
    "l1-past-end": lambda: Image(l1_off=1000 * CLUSTER),
    "l1-offset-overflow": lambda: Image(l1_off=0xffffffffffff0000),
    "l1-size-0": lambda: Image(l1_size=0),
    "l2-unaligned": lambda: Image().u64(3 * CLUSTER, 4 * CLUSTER + 512 | COPIED),
    "l2-past-end": lambda: Image().u64(3 * CLUSTER, 1000 * CLUSTER | COPIED),
    "data-unaligned": lambda: Image().l2(0, 5 * CLUSTER + 512 | COPIED),
    "v2-zero-flag": lambda: Image(version=2).l2(0, 5 * CLUSTER | COPIED | 1),
    "reftable-unaligned": lambda: Image(reftable_off=CLUSTER + 8),
    "reftable-clusters-0": lambda: Image(reftable_clusters=0),
    "reftable-clusters-max": lambda: Image(reftable_clusters=0xffffffff),
    "reftable-offset-overflow": lambda: Image(reftable_off=0xffffffffffff0000),
    "snapshots-max": lambda: Image(snapshots=0xffffffff, snapshots_off=6 * CLUSTER),
    "snapshots-65536-in-44k": lambda: Image(snapshots=65536, snapshots_off=6 * CLUSTER).put(
        6 * CLUSTER, snapshot() * 600),
    "snapshots-unaligned": lambda: Image(snapshots=1, snapshots_off=6 * CLUSTER + 8),
    "snapshots-past-end": lambda: Image(snapshots=1, snapshots_off=1000 * CLUSTER),
    "snapshot-extra-too-long": lambda: with_snapshot(extra=bytes(1025)),
    "snapshot-cut": lambda: with_snapshot(name=b"n" * 60000).cut(6 * CLUSTER + 100),
    "backing-past-cluster": lambda: Image(backing_off=CLUSTER - 4, backing_len=100),
    "backing-offset-past-cluster": lambda: Image(backing_off=CLUSTER + 8, backing_len=4),
    "backing-name-1024": lambda: Image().backing(b"n" * 1024),
    "backing-name-max": lambda: Image(backing_off=1024, backing_len=0xffffffff),
    "backing-name-1023": lambda: Image().backing(b"n" * 1023),
    "backing-escapes": lambda: Image().backing(b"\x1b[2J\x1b]0;owned\x07.raw"),
    "backing-newline": lambda: Image().backing(b"a\nqemu-img: done"),
    "backing-not-utf8": lambda: Image().backing(b"\xff\xfe\x80.raw"),
    "backing-nul": lambda: Image().backing(b"base\0.raw"),
    "backing-itself": lambda: Image().backing(b"bad-backing-itself.qcow2", b"qcow2"),
    "backing-loop-a": lambda: Image().backing(b"bad-backing-loop-b.qcow2", b"qcow2"),
    "backing-loop-b": lambda: Image().backing(b"bad-backing-loop-a.qcow2", b"qcow2"),
    "backing-directory": lambda: Image().backing(b"."),
    "backing-fifo": lambda: Image().backing(b"fifo"),
    "backing-json-deep": lambda: Image().backing(deep_json(90)),
    "backing-json-cut": lambda: Image().backing(b"json:{"),
    "backing-format-16": lambda: Image().backing(b"base", b"0123456789abcdef"),
    "backing-format-unknown": lambda: Image().backing(b"good-plain.qcow2", b"nosuch"),
    "extension-overrun": lambda: Image().extension(0x12345678, b"", length=0xffffffff),
    "extension-past-cluster": lambda: Image().extension(0x12345678, b"", length=CLUSTER),
    "bitmap-extension-23": lambda: bitmaps(length=23),
    "bitmap-count-0": lambda: bitmaps(count=0),
    "bitmap-directory-unaligned": lambda: bitmaps(off=6 * CLUSTER + 8),
    "bitmap-directory-max": lambda: bitmaps(size=(1 << 64) - 1),
    "bitmap-directory-past-end": lambda: bitmaps(off=1 << 50),
    "bitmap-name-max": lambda: bitmaps(
        entry=struct.pack(">QIIBBHI", 7 * CLUSTER, 1, 2, 1, 16, 65535, 0) + b"b0"),
    "crypto-without-extension": lambda: Image(crypt=2),
    "crypto-extension-8": lambda: Image(crypt=2).extension(0x0537be77, bytes(8)),
    "crypto-unaligned": lambda: Image(crypt=2).extension(0x0537be77, struct.pack(">QQ", 7, 512)),
    "crypto-past-end": lambda: Image(crypt=2).extension(
        0x0537be77, struct.pack(">QQ", 1 << 50, 1 << 20)),
    "compression-bit-without-type": lambda: Image(incompatible=8, compression=0),
    "compression-type-without-bit": lambda: Image(compression=1),
    "compression-bit-short-header": lambda: Image(incompatible=8, header_length=104),
    "compressed-garbage": lambda: Image().packed(b"\xff" * 700),
    "compressed-zlib-header": lambda: Image().packed(zlib.compress(b"\x22" * CLUSTER)),
    "compressed-too-short": lambda: Image().packed(deflated(b"\x22" * 1000)),
    "compressed-cut": lambda: Image().packed(deflated(noise(CLUSTER))[:4000]),
    "compressed-past-end": lambda: Image().l2(1, COMPRESSED | 100 * CLUSTER),
    "compressed-empty": lambda: Image().packed(bytes(512)),
    "extended-both-bits": lambda: extended(5 * CLUSTER | COPIED, 0x0000000100000001),
    "extended-allocated-at-0": lambda: extended(0, 1),
    "extended-small-clusters": lambda: Image(incompatible=1 << 4, cluster_bits=12),
    "data-file-without-name": lambda: Image(incompatible=4),
    "data-file-missing": lambda: Image(incompatible=4).extension(0x44415441, b"nox.bin"),
    "data-file-fifo": lambda: Image(incompatible=4).extension(0x44415441, b"fifo"),
    "data-file-json": lambda: Image(incompatible=4).extension(
        0x44415441, b'json:{"driver":"file","filename":"good-plain.qcow2"}'),
    "data-file-moved-cluster": lambda: Image(incompatible=4).extension(
        0x44415441, b"good-plain.qcow2").l2(0, 2 * CLUSTER | COPIED),
    "header-only": lambda: Image().cut(512),
    "cut-at-100": lambda: Image().cut(100),
    "cut-at-4": lambda: Image().cut(4),
}

UNSUPPORTED = {
    "version-4": lambda: Image(version=4),
    "incompatible-bit-63": lambda: Image(incompatible=1 << 63),
    "incompatible-named": lambda: feature_table(40, b"flux capacitor"),
    "incompatible-named-escapes": lambda: feature_table(40, b"\x1b[31mred"),
    "compression-type-2": lambda: Image(incompatible=8, compression=2),
    "crypt-3": lambda: Image(crypt=3),
    "crypt-aes": lambda: Image(crypt=1),
}


def many_extensions(path):
    """260,000 empty extensions in the first 2 MiB cluster: QEMU makes two reads for each."""
    image = bytearray(6 << 21)
    image[:112] = Image(cluster_bits=21, l1_off=3 << 21, reftable_off=1 << 21).data[:112]
    for off in range(112, (1 << 21) - 8, 8):
        struct.pack_into(">II", image, off, 0x12345678, 0)
    path.write_bytes(image)


def large_l1(path):
    """A header that promises 32 MiB of L1 table in a file of 400 KiB."""
    path.write_bytes(Image(l1_size=(32 << 20) // 8, size=1 << 40).data)


def images():
    """(file name, maker) of each, in a fixed order."""
    for kind, table in (("good", GOOD), ("bad", BAD), ("unsupported", UNSUPPORTED)):
        for name, maker in table.items():
            yield f"{kind}-{name}.qcow2", maker


def make(directory):
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for name, maker in images():
        (directory / name).write_bytes(maker().data)
    many_extensions(directory / "good-260000-extensions.qcow2")
    large_l1(directory / "bad-l1-32m-in-400k.qcow2")
    (directory / "good-empty.raw").write_bytes(b"")
    if not (directory / "fifo").exists():
        os.mkfifo(directory / "fifo")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make.py DIRECTORY")
    make(sys.argv[1])
