# SPDX-License-Identifier: Apache-2.0
"""The image that all crafted ones start from, and words to change it with.

    cluster 0  header, extensions, backing name     3  L1 table
            1  refcount table                       4  L2 table
            2  refcount block                       5  guest cluster 0, filled with 0x11
"""
import struct
import zlib

CLUSTER = 65536
COPIED = 1 << 63
COMPRESSED = 1 << 62
MAX64 = (1 << 64) - 1
TYPES = {"format": 0xe2792aca, "names": 0x6803f857, "bitmaps": 0x23852875, "crypto": 0x0537be77,
         "data": 0x44415441, "fingerprint": 0x51494d46, "unknown": 0x12345678}

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
    """@bits: as it is laid out. Fields of the header by name, whatever they then say."""

    def __init__(self, bits=16, **fields):
        c = self.cluster = 1 << bits
        self.data = bytearray(6 * c)
        base = dict(magic=0x514649fb, version=3, cluster_bits=bits, size=16 * c, l1_size=1,
                    l1_off=3 * c, reftable_off=c, reftable_clusters=1,
                    refcount_order=4, header_length=112)
        for name, value in {**base, **fields}.items():
            self.set(name, value)
        self.u64(c, 2 * c)
        self.order = min(fields.get("refcount_order", 4), 6)
        for cluster in range(6):
            self.count(cluster, 1)
        self.u64(3 * c, 4 * c | COPIED)
        self.u64(4 * c, 5 * c | COPIED)
        self.put(5 * c, b"\x11" * c)

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

    def u32(self, off, value):
        return self.put(off, struct.pack(">I", value))

    def count(self, cluster, value):
        """The refcount of a cluster; below 8 bits the first count is the lowest bits."""
        width, at = 1 << self.order, 2 * self.cluster
        if width >= 8:
            return self.put(at + cluster * width // 8, value.to_bytes(width // 8, "big"))
        byte, shift = at + cluster * width // 8, cluster * width % 8
        self.data[byte] = self.data[byte] & ~((1 << width) - 1 << shift) | value << shift
        return self

    def counts(self, *clusters):
        for cluster in clusters:
            self.count(cluster, 1)
        return self

    def l1(self, index, value):
        return self.u64(3 * self.cluster + 8 * index, value)

    def l2(self, index, value):
        return self.u64(4 * self.cluster + 8 * index, value)

    def extension(self, kind, data, off=112, length=None):
        size = len(data) if length is None else length
        return self.put(off, struct.pack(">II", TYPES.get(kind, kind), size) + data)

    def extensions(self, *pairs, off=112):
        for kind, data in pairs:
            self.extension(kind, data, off)
            off += 8 + len(data) + -len(data) % 8
        return self

    def backing(self, name, fmt=b"raw", off=1024):
        if fmt is not None:
            self.extension("format", fmt)
        self.set("backing_off", off).set("backing_len", len(name))
        return self.put(off, name)

    def data_file(self, name):
        self.set("incompatible", 4)
        return self.extension("data", name)

    def packed(self, data, index=1, sectors=None, off=None, flags=COMPRESSED):
        """A compressed cluster: offset, then the number of further sectors."""
        off = 6 * self.cluster if off is None else off
        self.put(off, data).counts(off // self.cluster)
        more = (off % 512 + len(data) - 1) // 512 if sectors is None else sectors
        return self.l2(index, flags | more << 62 - (self.cluster.bit_length() - 9) | off)

    def cut(self, length):
        del self.data[length:]
        return self


def noise(length):
    """Bytes that deflate cannot shorten, the same in every run."""
    state, out = 12345, bytearray()
    while len(out) < length:
        state = (state * 6364136223846793005 + 1442695040888963407) & MAX64
        out += struct.pack(">Q", state)
    return bytes(out[:length])


def deflated(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    return packer.compress(data) + packer.flush()


def zstd_frame(*blocks, size=None, window=None, checksum=False):
    """A frame of blocks that each repeat a byte: (byte, how often). @window: its descriptor."""
    out = b"\x28\xb5\x2f\xfd"
    if size is None:
        out += bytes((0x04 if checksum else 0, 0x40 if window is None else window))
    else:
        out += b"\xa0" + struct.pack("<I", size)
    for i, (byte, count) in enumerate(blocks):
        last = i == len(blocks) - 1
        out += struct.pack("<I", last | 1 << 1 | count << 3)[:3] + bytes((byte,))
    return out


def zstd(data, **fields):
    return Image(incompatible=8, compression=1, **fields).packed(data)


def snapshot(l1_off=3 * CLUSTER, l1_size=1, ident=b"1", name=b"s", extra=None, vm=0, date=0,
             lens=()):
    """@lens: what the entry says of id, name and extra data, if not the truth."""
    extra = struct.pack(">QQQ", 0, 1 << 20, 0) if extra is None else extra
    id_len, name_len, extra_len = lens or (len(ident), len(name), len(extra))
    entry = struct.pack(">QIHHIIQII", l1_off, l1_size, id_len, name_len, date, date, 0, vm,
                        extra_len) + extra + ident + name
    return entry + bytes(-len(entry) % 8)


def with_snapshots(*entries, count=None, off=6 * CLUSTER, **fields):
    table = b"".join(entries)
    image = Image(snapshots=len(entries) if count is None else count, snapshots_off=off, **fields)
    for cluster in range(off // CLUSTER, off // CLUSTER + 1 + len(table) // CLUSTER):
        image.counts(cluster)
    return image.put(off, table)


def with_snapshot(**changes):
    return with_snapshots(snapshot(**changes))


def bitmap(table=7 * CLUSTER, entries=1, flags=2, kind=1, granularity=16, name=b"b0", extra=b"",
           lens=None):
    name_len, extra_len = lens or (len(name), len(extra))
    entry = struct.pack(">QIIBBHI", table, entries, flags, kind, granularity, name_len,
                        extra_len) + extra + name
    return entry + bytes(-len(entry) % 8)


def bitmaps(*entries, count=None, size=None, off=6 * CLUSTER, length=24, reserved=0, autoclear=1,
            table=(0,), **fields):
    """A directory at cluster 6 and a bitmap table at cluster 7."""
    entries = entries or (bitmap(),)
    directory = b"".join(entries)
    image = Image(autoclear=autoclear, **fields).counts(6, 7)
    image.extension("bitmaps", struct.pack(
        ">IIQQ", len(entries) if count is None else count, reserved,
        len(directory) if size is None else size, off), length=length)
    return image.put(6 * CLUSTER, directory).put(
        7 * CLUSTER, b"".join(struct.pack(">Q", word) for word in table).ljust(CLUSTER, b"\0"))


def extended(word, bits, cluster_bits=16, **fields):
    image = Image(cluster_bits, incompatible=1 << 4, **fields)
    c = image.cluster
    image.put(4 * c, bytes(c))
    return image.u64(4 * c, word).u64(4 * c + 8, bits)


def feature_row(bit, name, kind=0):
    return struct.pack(">BB46s", kind, bit, name)


def feature_table(bit, name):
    return Image(incompatible=1 << bit).extension("names", feature_row(bit, name))


def deep_json(levels):
    return b"json:" + b'{"file":' * levels + b"{}" + b"}" * levels
