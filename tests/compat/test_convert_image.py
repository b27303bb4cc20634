# SPDX-License-Identifier: Apache-2.0
"""`convert` into images: the guest's bytes, what `map` tells, and `check`."""
import itertools
import json
import os
import random
import time

import pytest

from pylib import images, run
from pylib.paths import LONG


def mapped(directory, name):
    """What `map` says, without offsets: where clusters lie is each program's own affair."""
    images.settle(directory / name)
    merged = []
    for extent in json.loads(run.qemu_img(directory)("map", "--output=json", name).ok().out):
        kind = tuple(extent[key] for key in ("depth", "present", "zero", "data"))
        if merged and merged[-1][1] == kind:
            merged[-1][0] += extent["length"]
        else:
            merged.append([extent["length"], kind])
    return merged


def checked(directory, name):
    """What `check` counts; never corrupt, never leaking."""
    result = run.qemu_img(directory)("check", "--output=json", name).ok()
    found = json.loads(result.out)
    return {key: found.get(key, 0) for key in ("allocated-clusters", "compressed-clusters",
                                               "total-clusters", "corruptions", "leaks")}


def described(directory, name):
    found = json.loads(run.qemu_img(directory)("info", "--output=json", name).ok().out)
    return {key: found.get(key) for key in ("virtual-size", "cluster-size", "format-specific",
                                            "backing-filename", "backing-filename-format")}


def same_image(twin, name, looks=(mapped, checked, described)):
    twin.same_guest(name)
    for look in looks:
        assert look(twin.ours, name) == look(twin.theirs, name), look.__name__


def convert(twin, *args, target="out.qcow2"):
    result = twin.write("convert", *args)
    if result.code == 0:
        # Zeros that -C copies are data in QEMU's images; here they stay zeros.
        same_image(twin, target, (described,) if "-C" in args else (mapped, checked, described))
    return result


def source(twin, layout="compat=1.1"):
    """Real data above one of each kind of cluster."""
    name = images.make(twin, layout)
    images.real_data(twin.theirs / "real")
    return name


def chain(twin, depth, options="compat=1.1", sizes=None):
    name = images.chain(twin, depth, options, sizes=sizes)
    images.settle(twin.theirs / "c0.raw")
    return name


def cases(short, *more):
    """All in the long tier, the telling ones in the short one."""
    return (*short, *more) if LONG else tuple(short)


@pytest.mark.parametrize("layout", images.LAYOUTS if LONG else ("v2", "c512", "r1", "ext",
                                                                "data-raw"))
def test_into_each_layout(twin, layout):
    name = source(twin)
    options = images.LAYOUTS[layout]
    convert(twin, "-O", "qcow2", "-o", options, name, "out.qcow2").ok()
    convert(twin, "-f", "raw", "-O", "qcow2", "-o", options, "real", "out.qcow2").ok()
    if "data_file" not in options:
        convert(twin, "-c", "-O", "qcow2", "-o", options, name, "out.qcow2").ok()


@pytest.mark.parametrize("layout", images.LAYOUTS if LONG else ("c512", "ext-c2M-zstd"))
def test_from_each_layout(twin, layout):
    name = source(twin, images.LAYOUTS[layout])
    convert(twin, "-O", "qcow2", name, "out.qcow2").ok()
    convert(twin, "-c", "-O", "qcow2", name, "out.qcow2").ok()


@pytest.mark.parametrize("options", cases((
    ("-S", "0"), ("-S", "1M"), ("-m", "16", "-W"), ("-t", "none", "-T", "none"),
    ("-t", "directsync"), ("-q", "-p"), ("-C",), ("-c", "-S", "0"), ("-c", "-t", "none"),
    ("-o", "preallocation=metadata"), ("-o", "data_file=d.raw,preallocation=full")),
    ("-S", "512"), ("-S", "64k"), ("-S", "16M"), ("-m", "1"), ("-t", "writethrough"),
    ("-t", "writeback"), ("-t", "unsafe"), ("--salvage",), ("-r", "100M"), ("-U",),
    ("-c", "-W", "-m", "16"), ("-o", "preallocation=falloc"), ("-o", "preallocation=full"),
    ("-o", "preallocation=full,extended_l2=on"), ("-o", "lazy_refcounts=on"),
    ("-o", "size=1M"), ("-c", "-o", "compression_type=zstd")), ids=" ".join)
def test_options(twin, options):
    name = source(twin)
    convert(twin, *options, "-O", "qcow2", name, "out.qcow2").ok()
    convert(twin, *options, "-f", "raw", "-O", "qcow2", "real", "out.qcow2").ok()


@pytest.mark.parametrize("options", cases(("", "extended_l2=on"), "cluster_size=512",
                                          "compat=0.10"))
@pytest.mark.parametrize("compress", ((), ("-c",)))
@pytest.mark.parametrize("sizes", cases(((300 * 1024 + 512, 2 << 20),), (4 << 20,) * 3,
                                        (1 << 20, 4 << 20), (8 << 20, 4 << 20)), ids=str)
def test_overlays_of_a_backing_file(twin, options, compress, sizes):
    """-B: only what the top image holds; the rest is taken to be in the backing file."""
    name = chain(twin, len(sizes), sizes=sizes)
    below = f"c{len(sizes) - 2}.qcow2" if len(sizes) > 2 else "c0.raw"
    extra = ("-o", options) if options else ()
    convert(twin, *compress, "-O", "qcow2", "-B", below, "-F", below.split(".")[1], *extra, name,
            "out.qcow2").ok()
    convert(twin, *compress, "-O", "qcow2", "-S", "0", "-o",
            f"backing_file={below},backing_fmt={below.split('.')[1]}", name, "out.qcow2").ok()


def test_an_overlay_from_what_has_no_backing_file(twin):
    name = source(twin)
    twin.img("create", "-q", "-f", "qcow2", "base.qcow2", "5M")
    twin.io("base.qcow2", "write -q -P 9 0 5M")
    convert(twin, "-O", "qcow2", "-B", "base.qcow2", "-F", "qcow2", name, "out.qcow2").ok()
    convert(twin, "-c", "-O", "qcow2", "-B", "base.qcow2", "-F", "qcow2", name, "out.qcow2").ok()


@pytest.mark.parametrize("depth", cases((5,), 2, 20))
@pytest.mark.parametrize("cluster", cases(("64k",), "4k"))
def test_chains_become_one_image(twin, depth, cluster):
    name = chain(twin, depth, f"cluster_size={cluster}")
    convert(twin, "-O", "qcow2", name, "out.qcow2").ok()
    convert(twin, "-c", "-O", "qcow2", name, "out.qcow2").ok()


@pytest.mark.parametrize("layout", cases(("compat=1.1", "extended_l2=on"), "compat=0.10",
                                         "cluster_size=4k"))
def test_into_an_existing_image(twin, layout):
    name = source(twin)
    for size in (images.SIZE, images.SIZE + (1 << 20)):
        twin.img("create", "-q", "-f", "qcow2", "-o", layout, "out.qcow2", size)
        twin.io("out.qcow2", "write -q -P 7 100k 3M", "write -q -z 4M 1M")
        twin.fork()
        result = twin.write("convert", "-n", "-O", "qcow2", name, "out.qcow2")
        assert result.code == 0
        twin.same_guest("out.qcow2")
        assert checked(twin.ours, "out.qcow2")["leaks"] == 0
    twin.img("create", "-q", "-f", "qcow2", "-o", layout, "new.qcow2", images.SIZE)
    twin.fork()
    convert(twin, "-n", "--target-is-zero", "-O", "qcow2", name, "new.qcow2",
            target="new.qcow2").ok()
    twin.write("convert", "-n", "-c", "-O", "qcow2", name, "new.qcow2")
    twin.write("convert", "-n", "-O", "qcow2", name, "nox.qcow2")


def test_compress_into_a_part_of_a_cluster(twin):
    """A packed cluster would take the place of what the target has behind the end of the source."""
    twin.img("create", "-q", "-f", "raw", "base", "1M")
    twin.io("base", "write -q -P 5 0 1M", options=("-f", "raw"))
    twin.img("create", "-q", "-f", "raw", "short", 64 * 1024 + 4608)
    twin.io("short", "write -q -P 9 0 1000", "write -q -P 9 64k 4608", options=("-f", "raw"))
    twin.img("create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw", "out.qcow2")
    twin.fork()
    twin.write("convert", "-f", "raw", "-n", "-c", "-O", "qcow2", "short", "out.qcow2").failed(
        "error while writing at byte 65536: Invalid argument")
    verify = ("-r", "-f", "qcow2", "-c", f"read -q -P 5 {64 * 1024 + 4608} 100k", "out.qcow2")
    assert "failed" not in run.qemu_io(twin.ours)(*verify).ok().out
    twin.img("create", "-q", "-f", "raw", "short", 64 * 1024 + 4608)
    twin.fork()
    twin.write("convert", "-f", "raw", "-n", "-c", "-O", "qcow2", "short", "out.qcow2").ok()
    twin.same_guest("out.qcow2")


def test_into_an_existing_overlay(twin):
    name = chain(twin, 3)
    twin.img("create", "-q", "-f", "qcow2", "-b", "c0.raw", "-F", "raw", "out.qcow2", "4M")
    twin.io("out.qcow2", "write -q -P 7 100k 3M")
    twin.fork()
    convert(twin, "-n", "-O", "qcow2", name, "out.qcow2").ok()
    twin.img("create", "-q", "-f", "qcow2", "-b", "c1.qcow2", "-F", "qcow2", "new.qcow2", "4M")
    twin.fork()
    twin.write("convert", "-n", "-B", "c1.qcow2", "-O", "qcow2", name, "new.qcow2").ok()
    same_image(twin, "new.qcow2", (checked, described))


def test_target_image_opts(twin):
    name = source(twin)
    twin.img("create", "-q", "-f", "qcow2", "out.qcow2", images.SIZE)
    (twin.theirs / "disk").write_bytes(b"\x55" * (images.SIZE + 65536))
    twin.fork()
    convert(twin, "-n", "--target-image-opts", name,
            "driver=qcow2,file.driver=file,file.filename=out.qcow2").ok()
    part = f"driver=raw,offset=32768,size={images.SIZE},file.driver=file,file.filename=disk"
    twin.write("convert", "-n", "--target-image-opts", name, part).ok()
    twin.same_file("disk")


def test_several_sources_are_joined(twin):
    images.make(twin, "compat=1.1", "a")
    images.real_data(twin.theirs / "real", 1)
    twin.img("convert", "-O", "qcow2", "real", "b")
    for compress in ((), ("-c",)):
        for sources in (("a", "b"), ("b", "a", "b"), ("a", "a")):
            convert(twin, *compress, "-O", "qcow2", *sources, "out.qcow2").ok()


@pytest.mark.parametrize("which", cases(("2", "nox"), "s1", "snapshot.id=1"))
def test_internal_snapshots(twin, which):
    twin.img("create", "-q", "-f", "qcow2", "a", "2M")
    for number in (1, 2):
        twin.io("a", f"write -q -P {number} {number * 300}k 400k")
        twin.img("snapshot", "-c", f"s{number}", "a")
    convert(twin, "-l", which, "-O", "qcow2", "a", "out.qcow2")


@pytest.mark.parametrize("size", cases((0, (2 << 20) + 1000), 512, 65536 + 512))
def test_odd_sizes(twin, size):
    (twin.theirs / "a").write_bytes(bytes(range(1, 256)) * (size // 255 + 1))
    os.truncate(twin.theirs / "a", size)
    for compress in ((), ("-c",)):
        convert(twin, *compress, "-f", "raw", "-O", "qcow2", "a", "out.qcow2").ok()


# --- bitmaps ------------------------------------------------------------------------------------

def bitmaps_of(directory, name):
    found = json.loads(run.qemu_img(directory)("info", "--output=json", name).ok().out)
    return found["format-specific"]["data"].get("bitmaps")


def with_bitmaps(twin):
    twin.img("create", "-q", "-f", "qcow2", "a", "4M")
    twin.img("bitmap", "--add", "a", "b0")
    twin.img("bitmap", "--add", "-g", "4k", "a", "b1")
    twin.io("a", "write -q -P 1 100k 300k")
    twin.img("bitmap", "--disable", "a", "b1")
    twin.io("a", "write -q -P 2 3M 100k")
    return "a"


def test_bitmaps(twin):
    name = with_bitmaps(twin)
    twin.write("convert", "--bitmaps", "-O", "qcow2", name, "out.qcow2").ok()
    same_image(twin, "out.qcow2", (checked, described))
    assert bitmaps_of(twin.ours, "out.qcow2") == bitmaps_of(twin.theirs, "out.qcow2")
    assert len(bitmaps_of(twin.ours, "out.qcow2")) == 2
    for number in (0, 1):
        for directory in (twin.ours, twin.theirs):
            run.qemu_img(directory)("create", "-q", "-f", "qcow2", "m", "4M").ok()
            run.qemu_img(directory)("bitmap", "--add", "-g", "4k", "m", "m").ok()
            run.qemu_img(directory)("bitmap", "--merge", f"b{number}", "-b", "out.qcow2", "-F",
                                    "qcow2", "m", "m").ok()
        assert (twin.ours / "m").read_bytes() == (twin.theirs / "m").read_bytes(), number


def test_inconsistent_bitmaps(twin):
    name = with_bitmaps(twin)
    process = run.qemu_io(twin.theirs).start(name)
    run.until_prompt(process)
    process.stdin.write("write 0 4k\n")
    process.stdin.flush()
    run.until_prompt(process)
    process.kill()
    process.communicate()
    twin.fork()
    twin.write("convert", "--bitmaps", "-O", "qcow2", name, "out.qcow2").failed()
    twin.write("convert", "--bitmaps", "--skip-broken-bitmaps", "-O", "qcow2", name,
               "out.qcow2").ok()
    same_image(twin, "out.qcow2", (checked, described))
    assert bitmaps_of(twin.ours, "out.qcow2") == bitmaps_of(twin.theirs, "out.qcow2")


# --- refusals -----------------------------------------------------------------------------------

@pytest.mark.parametrize("args", (
    ("-B", "real", "a", "out.qcow2"), ("-B", "nox", "-F", "raw", "a", "out.qcow2"),
    ("-B", "real", "-F", "nosuch", "a", "out.qcow2"), ("-o", "nosuch=1", "a", "out.qcow2"),
    ("-o", "cluster_size=3000", "a", "out.qcow2"), ("-o", "backing_file=real", "a", "out.qcow2"),
    ("-B", "real", "-F", "raw", "a", "a", "out.qcow2"),
    ("-c", "-o", "preallocation=full", "a", "out.qcow2"),
    ("-c", "-o", "data_file=d", "-f", "raw", "real", "out.qcow2"),
    ("-o", "data_file_raw=on", "a", "out.qcow2"), ("-o", "compat=0.10,extended_l2=on", "a", "o"),
    ("--bitmaps", "a", "a", "out.qcow2"), ("--bitmaps", "-f", "raw", "real", "out.qcow2"),
    ("a", "a"), ("a", "nodir/out.qcow2"), ("-n", "a", "real"), ("-n", "-c", "-O", "raw", "a", "b"),
    ("-F", "raw", "a", "out.qcow2"), ("-c", "-C", "a", "out.qcow2"),
), ids=lambda args: " ".join(args))
def test_refused_with_qemus_words(twin, args):
    images.make(twin, "compat=1.1", "a", 1 << 20)
    images.make(twin, "compat=1.1", "b", 1 << 20)
    images.real_data(twin.theirs / "real", 1)
    twin.write("convert", "-O", "qcow2", *args)


def test_bitmaps_that_the_target_has(twin):
    name = with_bitmaps(twin)
    twin.img("create", "-q", "-f", "qcow2", "out.qcow2", "4M")
    twin.img("bitmap", "--add", "out.qcow2", "b0")
    twin.fork()
    twin.write("convert", "-n", "--bitmaps", "-O", "qcow2", name, "out.qcow2").failed()


# --- ours alone ---------------------------------------------------------------------------------

@pytest.mark.parametrize("options", ((), ("-c",), ("-B", "base", "-F", "raw")), ids=str)
def test_the_same_bytes_whatever_threads_and_engine(twin, options):
    name = source(twin)
    (twin.theirs / "base").write_bytes(bytes(images.SIZE))
    mine, first = run.ours(twin.theirs), None
    for engine, parallel, order in itertools.product(("threads", "io_uring"), ("1", "16"),
                                                     ((), ("-W",))):
        mine("convert", f"--engine={engine}", "-m", parallel, *order, *options, "-O", "qcow2",
             name, "out.qcow2").ok()
        made = (twin.theirs / "out.qcow2").read_bytes()
        assert made == (first or made), (engine, parallel, order)
        first = made


@pytest.mark.parametrize("kind,levels", (("zlib", (1, 2, 3, 4, 9)), ("zstd", (1, 9, 19))))
def test_compression_levels_are_read_by_qemu(twin, kind, levels):
    images.real_data(twin.theirs / "real")
    mine, sizes = run.ours(twin.theirs), []
    for level in levels:
        mine("convert", "-f", "raw", "-c", "--compression-level", level, "-O", "qcow2", "-o",
             f"compression_type={kind}", "real", "out.qcow2").ok()
        twin.img("compare", "-f", "raw", "-F", "qcow2", "real", "out.qcow2")
        twin.img("check", "out.qcow2")
        sizes.append((twin.theirs / "out.qcow2").stat().st_size)
    assert sizes[0] >= sizes[-1]
    mine("convert", "-c", "--compression-level=10", "-O", "qcow2", "-f", "raw", "real",
         "out.qcow2").failed("compression level 10")


@pytest.mark.parametrize("options", ((), ("-o", "data_file=data"), ("-c",)), ids=str)
def test_what_fails_leaves_no_file_or_an_empty_one(twin, options):
    """The source ends in packed clusters that do not unpack."""
    images.real_data(twin.theirs / "real")
    twin.img("convert", "-c", "-O", "qcow2", "real", "a")
    with open(twin.theirs / "a", "r+b") as broken:
        broken.seek(800 << 10)
        broken.write(b"\xff" * (100 << 10))
    mine, out = run.ours(twin.theirs), twin.theirs / "out.qcow2"
    command = ("convert", "-O", "qcow2", *options, "a", "out.qcow2")
    mine(*command).failed("error while reading at byte ", "Input/output error")
    assert not out.exists() and not (twin.theirs / "data").exists()
    out.write_bytes(b"before")
    inode = out.stat().st_ino
    mine(*command).failed("error while reading at byte ")
    assert out.stat().st_size == 0 and out.stat().st_ino == inode
    mine("convert", "-O", "qcow2", *options, "-f", "raw", "real", "out.qcow2").ok()
    assert out.stat().st_ino == inode
    twin.img("compare", "-f", "raw", "real", "out.qcow2")


@pytest.mark.parametrize("options", ((), ("-c", "--compression-level=1")), ids=str)
def test_killed_at_any_moment_leaves_a_whole_image_or_none(twin, options):
    """Over an older image, the worst case: it must not show through."""
    images.real_data(twin.theirs / "real", 4)
    twin.img("create", "-q", "-f", "qcow2", "old", "4M")
    mine, out = run.ours(twin.theirs), twin.theirs / "out.qcow2"
    moment, old = random.Random(4), (twin.theirs / "old").read_bytes()
    for _ in range(200 if LONG else 12):
        out.write_bytes(old)
        process = mine.start("convert", "-f", "raw", "-r", "100M", "-O", "qcow2", *options, "real",
                             "out.qcow2")
        time.sleep(moment.random() * 0.08)
        process.kill()
        process.communicate()
        left = out.read_bytes()
        if left[:4] == b"QFI\xfb" and left != old:
            twin.img("compare", "-f", "raw", "-F", "qcow2", "real", "out.qcow2")
            twin.img("check", "out.qcow2")
    mine("convert", "-f", "raw", "-O", "qcow2", *options, "real", "out.qcow2").ok()
    twin.img("compare", "-f", "raw", "-F", "qcow2", "real", "out.qcow2")


@pytest.mark.parametrize("options", ((), ("-c",), ("-o", "preallocation=metadata"),
                                     ("-t", "none", "-o", "extended_l2=on")), ids=str)
def test_onto_a_block_device(twin, loop_device, options):
    """It keeps nothing of what it had before."""
    images.real_data(twin.theirs / "real")
    (twin.theirs / "disk").write_bytes(b"\xa5" * (8 << 20))
    device = loop_device("disk")
    mine = run.ours(twin.theirs)
    mine("convert", "-f", "raw", "-O", "qcow2", *options, "real", device).ok()
    twin.img("compare", "-f", "raw", "-F", "qcow2", "real", device)
    twin.img("check", "-f", "qcow2", device)
    mine("convert", "-f", "raw", "-O", "raw", "real", device).ok()
    real = (twin.theirs / "real").read_bytes()
    with open(device, "rb") as disk:
        assert disk.read(len(real)) == real
        disk.seek(-4, os.SEEK_END)
        assert disk.read() == b"\xa5" * 4
    (twin.theirs / "large").write_bytes(bytes(range(256)) * (40 << 10))
    mine("convert", "-f", "raw", "-O", "qcow2", "large", device).failed("No space left on device")
    run.qemu_img(twin.theirs)("info", "-f", "qcow2", device).failed("not in qcow2 format")
