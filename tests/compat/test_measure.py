# SPDX-License-Identifier: Apache-2.0
"""`measure` beside qemu-img: every number, over sources of each layout and targets of many."""
import pytest

from pylib import images
from pylib.paths import LONG

TARGETS = ("compat=1.1", "compat=0.10", "cluster_size=512", "cluster_size=4k", "cluster_size=2M",
           "extended_l2=on", "extended_l2=on,cluster_size=16k,refcount_bits=1", "refcount_bits=64",
           "preallocation=metadata", "preallocation=falloc", "preallocation=full",
           "backing_file=x,backing_fmt=raw", "size=1G")
SIZES = ("0", "1", "511", "65536", "65537", "1M", "10G", "3T", "0x12345")


def both(twin, *args):
    twin.read("measure", "--output=json", *args)
    return twin.read("measure", *args)


@pytest.mark.parametrize("target", TARGETS)
def test_new_images(twin, target):
    for size in SIZES if LONG else SIZES[3:6]:
        twin.read("measure", "-O", "qcow2", "-o", target, "--size", size)


def test_new_images_in_both_outputs(twin):
    for fmt in ("raw", "qcow2"):
        both(twin, "-O", fmt, "--size", "5G")
    both(twin, "--size=100")


@pytest.mark.parametrize("layout", images.LAYOUTS)
def test_sources_of_each_layout(twin, layout):
    name = images.make(twin, images.LAYOUTS[layout])
    for target in TARGETS if LONG else TARGETS[2:4]:
        twin.read("measure", "-O", "qcow2", "-o", target, name)
    both(twin, name)
    both(twin, "-O", "qcow2", name)


def test_a_chain_counts_what_it_reads_as(twin):
    top = images.chain(twin, 5, sizes=[4 << 20, 3 << 20, 5 << 20, 2 << 20, 6 << 20])
    for target in TARGETS:
        twin.read("measure", "-O", "qcow2", "-o", target, top)
        twin.read("measure", "-O", "qcow2", "-o", target, "-f", "raw", "c0.raw")


def test_a_cluster_with_several_pieces_of_data_counts_once(twin):
    twin.img("create", "-q", "-f", "qcow2", "-o", "cluster_size=512", "a", "1M")
    twin.io("a", *(f"write -q {at} 512" for at in range(0, 128 << 10, 2048)))
    twin.io("a", "write -q 200000 1k", "write -q 1047000 500", "write -q -z 256k 64k")
    for cluster in ("512", "1k", "4k", "64k", "2M"):
        twin.read("measure", "-O", "qcow2", "-o", f"cluster_size={cluster}", "a")


def test_snapshots(twin):
    name = images.make(twin, "compat=1.1")
    twin.img("snapshot", "-c", "one", name)
    twin.io(name, "write -q 7M 512k", "write -q -z 0 192k")
    twin.img("snapshot", "-c", "1", name)
    for snapshot in ("one", "1", "2", "snapshot.name=one", "snapshot.id=2", "nox",
                     "snapshot.id=1,snapshot.name=one", "snapshot.id=2,snapshot.name=one",
                     "snapshot.foo=1"):
        both(twin, "-O", "qcow2", "-l", snapshot, name)


@pytest.mark.parametrize("target", ("compat=1.1", "compat=0.10", "cluster_size=512"))
def test_bitmaps_of_the_source(twin, target):
    twin.img("create", "-q", "-f", "qcow2", "a", "3G")
    for n, grain in enumerate(("512", "64k", "1M")):
        twin.img("bitmap", "--add", "-g", grain, "a", "b" * (n * 7 + 1))
    both(twin, "-O", "qcow2", "-o", target, "a")
    both(twin, "-O", "raw", "a")
    data = bytearray((twin.theirs / "a").read_bytes())
    at = data.index(b"\0\0\0\x02\x01\x10\0\x08")  # flags, type, 64 KiB, length of the name
    data[at + 3] |= 1
    (twin.theirs / "a").write_bytes(data)
    both(twin, "-O", "qcow2", "-o", target, "a")


def test_sources_of_odd_length(twin):
    (twin.theirs / "a").write_bytes(b"x" * 70001)
    for fmt in ("raw", "qcow2"):
        both(twin, "-f", "raw", "-O", fmt, "a")


WRONG_OR_ODD = (
    (), ("a", "b"), ("--size", "1M", "a"), ("-f", "raw", "--size", "1M"),
    ("-l", "x", "--size", "1"), ("--image-opts", "--size", "1M"), ("nox",), ("-f", "qcow2", "a"),
    ("--size", "1Q"),
    ("--size", "8E"), ("--size=-1",), ("--output", "xml", "a"),
    ("-O", "nosuch", "a"), ("-O", "bochs", "a"), ("-O", "vmdk", "a"), ("-O", "file", "a"),
    ("-O", "nosuch", "nox"), ("-O", "qcow2", "-o", "foo=1", "a"),
    ("-O", "qcow2", "-o", "help", "a"),
    ("-O", "raw", "-o", "cluster_size=1", "a"), ("-O", "qcow2", "-o", "size=x", "a"),
    ("-O", "qcow2", "-o", "cluster_size=1000", "a"), ("-O", "qcow2", "-o", "compat=9", "a"),
    ("-O", "qcow2", "-o", "refcount_bits=3", "a"), ("-O", "qcow2", "-o", ",", "a"),
    ("-O", "qcow2", "-o", "compat=0.10,refcount_bits=8", "a"),
    ("-O", "qcow2", "-o", "preallocation=bar", "a"), ("-O", "raw", "-o", "preallocation=bar", "a"),
    ("-O", "qcow2", "-o", "extended_l2=on,cluster_size=4k", "a"),
    ("-O", "qcow2", "-o", "extended_l2=on,compat=0.10", "a"),
    ("-O", "qcow2", "-o", "cluster_size=512,size=200G", "a"), ("-O", "qcow2", "--size", "7E"),
    ("-f", "raw", "--image-opts", "driver=raw,file.filename=a"),
    ("--image-opts", "-O", "qcow2", "driver=raw,file.filename=a"),
)


def test_errors_and_odd_arguments(twin):
    twin.img("create", "-q", "-f", "raw", "a", "1M")
    for args in WRONG_OR_ODD:
        twin.read("measure", *args)


def test_what_cannot_be_measured_is_refused(qimg, scratch):
    for args in (("-O", "luks"), ("-O", "qcow2", "-o", "encrypt.format=luks")):
        result = qimg.at(scratch)("measure", *args, "--size", "1M")
        result.failed("Measuring encrypted images is not supported")
