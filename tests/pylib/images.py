# SPDX-License-Identifier: Apache-2.0
"""The matrix of images that the suites run over, made by the installed qemu-img and qemu-io."""

import os
import struct

# Name of a layout: its options for `qemu-img create -f qcow2 -o`.
LAYOUTS = {
    "v2": "compat=0.10",
    "v2-512": "compat=0.10,cluster_size=512",
    "v3": "compat=1.1",
    "c512": "cluster_size=512",
    "c1k": "cluster_size=1k",
    "c4k": "cluster_size=4k",
    "c16k": "cluster_size=16k",
    "c2M": "cluster_size=2M",
    "r1": "refcount_bits=1",
    "r2": "refcount_bits=2",
    "r4": "refcount_bits=4",
    "r8-c512": "refcount_bits=8,cluster_size=512",
    "r32": "refcount_bits=32",
    "r64-c4k": "refcount_bits=64,cluster_size=4k",
    "lazy": "lazy_refcounts=on",
    "zstd": "compression_type=zstd",
    "zstd-c4k": "compression_type=zstd,cluster_size=4k",
    "zstd-c2M": "compression_type=zstd,cluster_size=2M",
    "ext": "extended_l2=on",
    "ext-c16k": "extended_l2=on,cluster_size=16k",
    "ext-c2M-zstd": "extended_l2=on,cluster_size=2M,compression_type=zstd",
    "data": "data_file=data.bin",
    "data-ext": "data_file=data.bin,extended_l2=on",
    "data-raw": "data_file=data.bin,data_file_raw=on",
}

# Not a multiple of any cluster size: the last cluster is cut.
SIZE = (8 << 20) + 3 * 512

# One of each kind of cluster, with edges inside clusters of every size but 512.
WRITES = (
    "write -q -P 1 0 192k",
    "write -q -P 2 300k 5k",
    "write -q -z 512k 128k",
    "write -q -P 3 576k 1k",
    "write -q -z -u 704k 64k",
    "write -q -P 4 1M 256k",
    "discard -q 1088k 128k",
    "write -q -P 5 3145216 4096",
    "write -q -P 0 5M 64k",
    f"write -q -P 6 {SIZE - 1024} 1024",
)


def cluster_size(options):
    sizes = {"512": 512, "1k": 1024, "4k": 4096, "16k": 16384, "2M": 2 << 20}
    for option in options.split(","):
        if option.startswith("cluster_size="):
            return sizes[option.split("=")[1]]
    return 65536


def compressed_writes(options):
    """Compressed clusters next to plain ones, where the layout may have them."""
    if "data_file" in options:
        return ()
    length = max(cluster_size(options), 65536)
    return (f"write -q -c -P 7 6M {length}",)


def settle(path):
    """Lets the file system place what was written: QEMU's `map` looks at the blocks in use, which
    change while written data waits for its place."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def make(twin, options, name="a.qcow2", size=SIZE, extra=()):
    """One image of layout @options with one of each kind of cluster."""
    twin.img("create", "-q", "-f", "qcow2", "-o", options, name, size)
    writes = WRITES + compressed_writes(options) if size == SIZE else ()
    if writes or extra:
        twin.io(name, *writes, *extra, options=("-f", "qcow2"))
    settle(twin.theirs / name)
    return name


def forget_format(path):
    """Makes the backing format extension an unknown one, as images of old tools lack it."""
    head = path.read_bytes()[:65536]
    at = head.index(b"\xe2\x79\x2a\xca")
    with open(path, "r+b") as image:
        image.seek(at)
        image.write(b"\x11\x22\x33\x44")


def real_data(path, megabytes=3):
    """Bytes that look like what people keep: text that compresses, noise that does not, zeros."""
    state, blocks = 12345, []
    for number in range(megabytes * 16):
        if number % 4 == 0:
            words = b"".join(b"line %d of %d\n" % (n * 7 % 1000, number) for n in range(5000))
            blocks.append(words[:65536])
        elif number % 4 == 1:
            noise = bytearray(65536)
            for i in range(0, 65536, 4):
                state = (state * 1103515245 + 12345) & 0x7fffffff
                noise[i:i + 4] = state.to_bytes(4, "little")
            blocks.append(bytes(noise))
        elif number % 4 == 2:
            blocks.append(bytes(65536))
        else:
            blocks.append((b"%05d" % number * 14000)[:40000] + bytes(25536))
    path.write_bytes(b"".join(blocks))


def chain(twin, depth, options="compat=1.1", base="raw", sizes=None):
    """c1 <- c2 <- ... : @depth images over each other, the top last; each writes at its own
    place and over its neighbour's. Returns the name of the top."""
    below, fmt = None, None
    for level in range(depth):
        size = sizes[level] if sizes else 4 << 20
        if level == 0 and base == "raw":
            name, fmt_here = "c0.raw", "raw"
            twin.img("create", "-q", "-f", "raw", name, size)
        else:
            name, fmt_here = f"c{level}.qcow2", "qcow2"
            opts = options
            deep = depth > 20  # QEMU opens the whole chain for each step: link afterwards
            back = ("-b", below, "-F", fmt) if below and not deep else ()
            twin.img("create", "-q", "-f", "qcow2", "-o", opts, *back, name, size)
        at = level * 150 * 1024 % (size - 200 * 1024) & ~511
        twin.io(name, f"write -q -P {level % 250 + 1} {at} 100k",
                f"write -q -z {at + 50 * 1024} 10k", options=("-f", fmt_here))
        if depth > 20 and below:
            twin.img("rebase", "-u", "-b", below, "-F", fmt, name)
        below, fmt = name, fmt_here
    return below


def small_chain(twin):
    """base <- top, which has a snapshot; other beside base; and broken, no count of which is there.
    Returns their directory."""
    for name, pattern in (("base", 1), ("other", 2), ("broken", 5)):
        twin.img("create", "-q", "-f", "qcow2", name, "8M")
        twin.io(name, f"write -q -P {pattern} 0 1M")
    twin.img("create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top")
    twin.io("top", "write -q -P 3 1M 256k")
    twin.img("snapshot", "-c", "old", "top")
    twin.io("top", "write -q -P 4 1M 256k")
    with open(twin.theirs / "broken", "r+b") as image:
        image.seek(48)
        table_off = struct.unpack(">Q", image.read(8))[0]
        image.seek(table_off)
        image.write(bytes(8))
    return twin.theirs
