# SPDX-License-Identifier: Apache-2.0
"""`create`: what is printed, what is refused, and an image that QEMU finds whole."""
import json

import pytest

from pylib import images, run

SIZES = ("0", "1", "512", "1000", "64k", "65537", "1M", "10G", "1.5G", "2T")


def check(twin, name="a.qcow2"):
    """QEMU's check of our image, and the same description as QEMU's own image has."""
    result = run.qemu_img(twin.ours)("check", name)
    assert result.code == 0, f"{result.out}{result.err}"
    mine, oracle = (json.loads(run.qemu_img(d)("info", "--output=json", name).ok().out)
                    for d in (twin.ours, twin.theirs))
    for info in (mine, oracle):
        info.pop("actual-size")
    assert mine == oracle
    twin.same_guest(name)


def create(twin, *args):
    return twin.write("create", "-f", "qcow2", *args)


@pytest.mark.parametrize("layout", images.LAYOUTS)
def test_create_of_each_layout_is_clean_and_described_alike(twin, layout):
    create(twin, "-o", images.LAYOUTS[layout], "a.qcow2", images.SIZE).ok()
    check(twin)


@pytest.mark.parametrize("size", SIZES)
def test_create_of_each_size(twin, size):
    create(twin, "a.qcow2", size)
    check(twin)
    twin.write("create", "-f", "raw", "a.raw", size)
    assert (twin.ours / "a.raw").stat().st_size == (twin.theirs / "a.raw").stat().st_size


@pytest.mark.parametrize("mode", ("off", "metadata", "falloc", "full"))
@pytest.mark.parametrize("options", ("compat=1.1", "compat=0.10", "cluster_size=512",
                                     "extended_l2=on", "cluster_size=2M", "refcount_bits=1"))
def test_preallocation_maps_alike(twin, mode, options):
    create(twin, "-o", f"preallocation={mode},{options}", "a.qcow2", "3000k").ok()
    check(twin)
    run.qemu_img(twin.ours)("map", "--output=json", "a.qcow2").ok()


@pytest.mark.parametrize("mode", ("falloc", "full"))
def test_preallocation_of_raw_files_takes_the_space(twin, mode):
    twin.write("create", "-f", "raw", "-o", f"preallocation={mode}", "a.raw", "3M").ok()
    mine, oracle = ((d / "a.raw").stat() for d in (twin.ours, twin.theirs))
    assert (mine.st_size, mine.st_blocks) == (oracle.st_size, oracle.st_blocks)


def test_large_preallocated_image_counts_its_own_tables(twin):
    create(twin, "-o", "preallocation=metadata,cluster_size=512", "a.qcow2", "64M").ok()
    check(twin)


@pytest.mark.parametrize("options", ("compat=1.1", "compat=0.10", "cluster_size=4k",
                                     "extended_l2=on", "cluster_size=512"))
def test_overlay_takes_size_and_records_format(twin, options):
    images.make(twin, "compat=1.1", "base.qcow2")
    create(twin, "-o", options, "-b", "base.qcow2", "-F", "qcow2", "a.qcow2").ok()
    check(twin)
    create(twin, "-o", options, "-b", "base.qcow2", "-F", "qcow2", "a.qcow2", "20M").ok()
    check(twin)
    create(twin, "-o", f"{options},backing_file=base.qcow2,backing_fmt=qcow2", "a.qcow2").ok()
    check(twin)


def test_overlay_of_a_chain_and_of_raw(twin):
    top = images.chain(twin, 5)
    create(twin, "-b", top, "-F", "qcow2", "a.qcow2").ok()
    check(twin)
    create(twin, "-b", "c0.raw", "-F", "raw", "a.qcow2").ok()
    check(twin)


def test_guest_can_write_into_what_we_made(twin):
    """QEMU allocates in our image as in its own: the tables are all in place."""
    for layout in ("v3", "c512", "ext", "r1", "data", "data-raw", "zstd"):
        name = f"{layout}.qcow2"
        create(twin, "-o", images.LAYOUTS[layout].replace("data.bin", layout), name,
               images.SIZE).ok()
        writes = [part for command in images.WRITES for part in ("-c", command)]
        run.qemu_io(twin.ours)("-f", "qcow2", *writes, name).ok()
        run.qemu_io(twin.theirs)("-f", "qcow2", *writes, name).ok()
        check(twin, name)


def test_large_refcount_tables(twin):
    """More than one refcount block, and an L1 table of several clusters."""
    create(twin, "-o", "cluster_size=512", "a.qcow2", "8G").ok()
    check(twin)
    create(twin, "-o", "cluster_size=2M", "a.qcow2", "1P").ok()
    run.qemu_img(twin.ours)("check", "a.qcow2").ok()


REFUSED = (
    ("a.qcow2",), ("a.qcow2", "1Q"), ("a.qcow2", ""), ("a.qcow2", "1e3"),
    ("a.qcow2", "--", "-1"), ("a.qcow2", "9E"), ("a.qcow2", "8E"), ("a.qcow2", "1M", "2M"),
    ("-o", "cluster_size=100", "a.qcow2", "1M"), ("-o", "cluster_size=256", "a.qcow2", "1M"),
    ("-o", "refcount_bits=128", "a.qcow2", "1M"), ("-o", "refcount_bits=0", "a.qcow2", "1M"),
    ("-o", "compat=0.10,lazy_refcounts=on", "a.qcow2", "1M"),
    ("-o", "compat=0.10,extended_l2=on", "a.qcow2", "1M"),
    ("-o", "compat=0.10,compression_type=zstd", "a.qcow2", "1M"),
    ("-o", "compat=0.10,data_file=d", "a.qcow2", "1M"),
    ("-o", "nosuch=1", "a.qcow2", "1M"), ("-o", "cluster_size=x", "a.qcow2", "1M"),
    ("-o", "lazy_refcounts=maybe", "a.qcow2", "1M"), ("-o", "", "a.qcow2", "1M"),
    ("-o", ",cluster_size=4k", "a.qcow2", "1M"), ("-o", "cluster_size=4k,", "a.qcow2", "1M"),
    ("-o", "size=2M", "a.qcow2", "1M"), ("-o", "cluster_size=512", "a.qcow2", "1P"),
    ("-o", "data_file_raw=on", "a.qcow2", "1M"), ("-o", "compression_type=lz4", "a.qcow2", "1M"),
    ("-b", "nox", "-F", "qcow2", "a.qcow2"), ("-b", "nox", "-F", "qcow2", "a.qcow2", "1M"),
    ("-b", "base", "a.qcow2"), ("-b", "base", "-F", "raw", "-o", "preallocation=full", "a.qcow2"),
    ("-b", "base", "-F", "nosuch", "a.qcow2"), ("-b", "a.qcow2", "-F", "qcow2", "a.qcow2"),
    ("-b", "", "a.qcow2", "1M"), ("-u", "-b", "nox", "-F", "qcow2", "a.qcow2"),
    ("-F", "qcow2", "a.qcow2", "1M"), ("nodir/a.qcow2", "1M"), (".", "1M"),
    ("-b", "x" * 1024, "-F", "raw", "-u", "a.qcow2", "1M"),
    ("-b", "base", "-F", "raw", "-o", "data_file=d,data_file_raw=on", "a.qcow2"),
    ("-o", "preallocation=nosuch", "a.qcow2", "1M"),
    ("-o", "x,,", "a.qcow2", "1M"), ("-o", "lazy_refcounts,,", "a.qcow2", "1M"),
    ("-o", "lazy_refcounts,,x=1", "a.qcow2", "1M"), ("json:x", "1M"),
    ("-b", "base", "-F", "raw", 'json:{"driver":"file","filename":"a.qcow2"}'),
)


@pytest.mark.parametrize("args", REFUSED, ids=lambda args: " ".join(args)[:60])
def test_refused_with_qemus_words_and_nothing_left(twin, args):
    twin.img("create", "-q", "-f", "raw", "base", "1M")
    create(twin, *args)
    assert sorted(p.name for p in twin.ours.iterdir()) == \
        sorted(p.name for p in twin.theirs.iterdir())


ACCEPTED = (
    ("-o", "size=2M", "a.qcow2"),
    ("-o", "cluster_size=4k", "-o", "refcount_bits=8", "a.qcow2", "1M"),
    ("-o", "compat=v2", "a.qcow2", "1M"), ("-o", "compat=v3,lazy_refcounts", "a.qcow2", "1M"),
    ("-o", "nolazy_refcounts", "a.qcow2", "1M"), ("a,b.qcow2", "1M"), ("-q", "a.qcow2", "1M"),
    ("-o", "nocow=on", "a.qcow2", "1M"), ("a.qcow2", "0x100000"), ("a.qcow2", "+1M"),
    ("a.qcow2", "1.k"), ("a.qcow2", "08k"),
    ("-u", "-b", "nox,y", "-F", "qcow2", "a.qcow2", "1M"),
    ("-u", "-b", "x" * 1023, "-F", "raw", "a.qcow2", "1M"),
    ("-u", "-b", "json:{'driver':'raw','file':{'driver':'file','filename':'nox'}}", "-F", "raw",
     "a.qcow2", "1M"),
)


@pytest.mark.parametrize("args", ACCEPTED, ids=lambda args: " ".join(args)[:60])
def test_accepted_with_qemus_words(twin, args):
    create(twin, *args).ok()


def test_create_over_an_existing_file_keeps_its_inode(twin):
    twin.img("create", "-q", "-f", "raw", "a.qcow2", "5M")
    twin.fork()
    before = (twin.ours / "a.qcow2").stat().st_ino
    create(twin, "a.qcow2", "1M").ok()
    assert (twin.ours / "a.qcow2").stat().st_ino == before
    check(twin)


def test_long_backing_names_in_small_clusters(twin):
    for length in (100, 200, 300, 400, 500):
        create(twin, "-u", "-o", "cluster_size=512", "-b", "n" * length, "-F", "raw",
               f"a{length}.qcow2", "1M")
