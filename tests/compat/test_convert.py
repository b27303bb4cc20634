# SPDX-License-Identifier: Apache-2.0
"""`convert -O raw`: the bytes, and where the file has holes."""
import os

import pytest

from pylib import images, run
from pylib.extents import extents


def convert(twin, *args, target="out.raw"):
    result = twin.write("convert", *args)
    if result.code == 0:
        twin.same_file(target)
        assert extents(twin.ours / target) == extents(twin.theirs / target), "holes differ"
    return result


@pytest.mark.parametrize("layout", images.LAYOUTS)
def test_each_layout(twin, layout):
    name = images.make(twin, images.LAYOUTS[layout])
    convert(twin, "-O", "raw", name, "out.raw").ok()
    convert(twin, "-f", "qcow2", "-O", "raw", "-S", "0", name, "out.raw").ok()


@pytest.mark.parametrize("options", ((), ("-S", "64k"), ("-S", "512"), ("-S", "1M"), ("-m", "1"),
                                     ("-m", "16"), ("-W",), ("-t", "none"), ("-T", "none"),
                                     ("-t", "writethrough"), ("-t", "directsync"),
                                     ("-q", "-p"), ("-C",), ("--salvage",), ("-r", "100M"),
                                     ("-t", "unsafe"), ("-U",)),
                         ids=lambda o: " ".join(o) or "none")
def test_options(twin, options):
    images.real_data(twin.theirs / "real")
    twin.img("convert", "-O", "qcow2", "real", "a.qcow2")
    convert(twin, *options, "-O", "raw", "a.qcow2", "out.raw").ok()
    convert(twin, *options, "-f", "raw", "-O", "raw", "real", "out.raw").ok()


@pytest.mark.parametrize("kind", ("zlib", "zstd"))
@pytest.mark.parametrize("cluster", ("64k", "4k", "512", "2M"))
def test_compressed_clusters(twin, kind, cluster):
    images.real_data(twin.theirs / "real", 3)
    twin.img("convert", "-c", "-O", "qcow2", "-o",
             f"compression_type={kind},cluster_size={cluster}", "real", "a.qcow2")
    convert(twin, "-O", "raw", "a.qcow2", "out.raw").ok()
    assert (twin.ours / "out.raw").read_bytes() == (twin.theirs / "real").read_bytes()


@pytest.mark.parametrize("depth", (2, 3, 8, 20))
@pytest.mark.parametrize("options", ("compat=1.1", "extended_l2=on", "cluster_size=512"))
def test_chains(twin, depth, options):
    convert(twin, "-O", "raw", images.chain(twin, depth, options), "out.raw").ok()


@pytest.mark.parametrize("sizes", ((1 << 20, 4 << 20), (8 << 20, 4 << 20),
                                   (300 * 1024 + 512, 2 << 20), (4 << 20, 1 << 20, 3 << 20)))
def test_shorter_and_longer_backing_files(twin, sizes):
    convert(twin, "-O", "raw", images.chain(twin, len(sizes), sizes=sizes), "out.raw").ok()


@pytest.mark.parametrize("which", ("s1", "2", "snapshot.id=1", "snapshot.name=s2",
                                   "snapshot.id=2,snapshot.name=s2", "nox", "snapshot.id=7"))
def test_internal_snapshots(twin, which):
    twin.img("create", "-q", "-f", "qcow2", "a", "2M")
    for number in (1, 2, 3):
        twin.io("a", f"write -q -P {number} {number * 300}k 400k")
        twin.img("snapshot", "-c", f"s{number}", "a")
    twin.io("a", "write -q -P 9 0 2M")
    convert(twin, "-l", which, "-O", "raw", "a", "out.raw")


def test_several_sources_are_joined(twin):
    images.make(twin, "compat=1.1", "a")
    images.real_data(twin.theirs / "real", 1)
    twin.img("convert", "-O", "qcow2", "real", "b")
    convert(twin, "-O", "raw", "a", "b", "out.raw").ok()


def test_into_an_existing_target(twin):
    name = images.make(twin, "compat=1.1")
    for size in (images.SIZE, images.SIZE + (1 << 20)):
        (twin.theirs / "out.raw").write_bytes(b"\xaa" * size)
        twin.fork()
        convert(twin, "-n", "-O", "raw", name, "out.raw").ok()
    (twin.theirs / "out.raw").write_bytes(b"\xaa" * 1024)
    twin.fork()
    convert(twin, "-n", "-O", "raw", name, "out.raw")
    convert(twin, "-O", "raw", name, "out.raw").ok()
    with open(twin.theirs / "out.raw", "wb") as raw:
        raw.truncate(images.SIZE)
    twin.fork()
    convert(twin, "-n", "--target-is-zero", "-O", "raw", name, "out.raw").ok()


@pytest.mark.parametrize("size", (0, 1, 511, 512, 1000, 65537))
def test_odd_sizes_of_raw(twin, size):
    (twin.theirs / "a").write_bytes(bytes(range(1, 256)) * (size // 255 + 1))
    os.truncate(twin.theirs / "a", size)
    convert(twin, "-f", "raw", "-O", "raw", "a", "out.raw").ok()


@pytest.mark.parametrize("args", (
    ("a",), ("nox", "out.raw"), ("-O", "nosuch", "a", "out.raw"), ("-S", "100", "a", "out.raw"),
    ("-S", "32M", "a", "out.raw"), ("-m", "0", "a", "out.raw"), ("-m", "17", "a", "out.raw"),
    ("-t", "foo", "a", "out.raw"), ("-T", "foo", "a", "out.raw"), ("-l", "nox", "a", "out.raw"),
    ("--target-is-zero", "a", "out.raw"), ("-n", "a", "nox.raw"), ("a", "nodir/out.raw"),
    ("-f", "qcow2", "real", "out.raw"), ("-n", "-o", "size=1M", "a", "out.raw"), ("a", "a"),
    ("-l", "nox", "a", "a", "out.raw"), ("a", 'json:{"driver":"file","filename":"out.raw"}'),
    ("-C", "-S", "4k", "a", "out.raw"), ("-C", "--salvage", "a", "out.raw"),
    ("-O", "raw", "-o", "nosuch=1", "a", "out.raw"), ("-O", "raw", "-c", "a", "out.raw"),
    ("--skip-broken-bitmaps", "a", "out.raw"), ("--target-image-opts", "a", "file.filename=x"),
    ("-O", "raw", "-b", "x", "-F", "raw", "a", "out.raw"), ("-r", "x", "a", "out.raw"),
    ("-p", "-n", "--target-is-zero", "-B", "real", "a", "out.raw"), # exits with 0
), ids=lambda args: " ".join(args))
def test_refused_with_qemus_words(twin, args):
    images.make(twin, "compat=1.1", "a", 1 << 20)
    images.real_data(twin.theirs / "real", 1)
    if args[:2] == ("-O", "raw") and args[2] == "-b":
        # 10.1 gave -b its meaning; 7.2 knows -B alone.
        pytest.skip("the oracle has no convert -b")
    twin.write("convert", *args)
    if "--target-is-zero" in args:
        run.ours(twin.ours)("convert", *args).failed()


def test_a_backing_file_is_read_through_each_form_of_its_name(twin):
    images.make(twin, "compat=1.1", "base.qcow2")
    here = twin.theirs
    for number, form in enumerate((
            "base.qcow2", str(here / "base.qcow2"), "./base.qcow2", "file:base.qcow2",
            f"file:{here}/base.qcow2",
            'json:{"driver":"qcow2","file":{"driver":"file","filename":"base.qcow2"}}',
            'json:{"driver":"qcow2","file.driver":"file","file.filename":"base.qcow2"}',
            "json:{'driver':'qcow2','file.filename':'base.qcow2'}",
            "json:{'file':{'filename':'base.qcow2'}}",
            "json:{'driver':'qcow2','file':'nosuchnode'}",
            "json:{'driver':'qcow2'", "nosuchproto:base.qcow2", "json:[]")):
        name = f"t{number}.qcow2"
        twin.img("create", "-q", "-u", "-f", "qcow2", "-b", form, "-F", "qcow2", name,
                 images.SIZE)
        twin.read("info", "--backing-chain", name)
        twin.read("map", "--output=json", name)
        mine = run.as_qemu_img(here)("convert", "-O", "raw", name, "mine.raw")
        oracle = run.qemu_img(here)("convert", "-O", "raw", name, "oracle.raw")
        assert mine.code == oracle.code, form
        if mine.code == 0:
            assert (here / "mine.raw").read_bytes() == (here / "oracle.raw").read_bytes(), form
