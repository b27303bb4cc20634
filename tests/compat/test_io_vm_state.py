# SPDX-License-Identifier: Apache-2.0
"""`write -b` and `read -b`: the VM state behind the disk, as QEMU's test 029 has it. What one
program wrote, the other finds, through snapshots too; the disk and its bitmaps are not touched."""
import struct

import pytest

from compat.test_io_write import commands, scripted
from pylib import images, run

LAYOUTS = ("v2", "v3", "c512", "c4k", "r8-c512", "ext", "ext-c16k", "c2M")
QCOW2 = ("-f", "qcow2")


def state(twin, *lines, name="a.qcow2"):
    return scripted(twin, *QCOW2, *commands(*lines), name=name)


def same(twin, name="a.qcow2"):
    run.qemu_img(twin.ours)("check", name).ok()
    twin.same_guest(name)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_finds_what_the_other_wrote(twin, layout):
    images.make(twin, images.LAYOUTS[layout])
    state(twin, "read -P 0 -b 0 1M", "write -b -P 7 64k 4k", "write -b -P 8 3M 512",
          "read -b -P 7 64k 4k", "write -P 9 100k 4k", "read -b -P 0 68k 100k",
          "read -P 9 100k 4k")
    same(twin)
    for reader, place in ((run.qemu_io, twin.ours), (run.as_qemu_io, twin.theirs)):
        said = reader(place)(*QCOW2, "-r", *commands(
            "read -b -P 7 64k 4k", "read -b -P 8 3M 512", "read -b -P 0 4k 60k"), "a.qcow2").ok()
        assert "failed" not in said.out + said.err


def set_vm_state_size(path, size):
    """Of the first snapshot, as a machine that saves its state does."""
    with open(path, "r+b") as image:
        image.seek(60)
        assert struct.unpack(">I", image.read(4))[0] >= 1
        table = struct.unpack(">Q", image.read(8))[0]
        image.seek(table + 32)
        image.write(struct.pack(">I", size))
        image.seek(table + 40)
        image.write(struct.pack(">Q", size))


@pytest.mark.parametrize("layout", ("v3", "c512", "ext"))
def test_a_snapshot_keeps_its_state_and_its_size(twin, layout):
    """As savevm: state, snapshot, its size. What others do to the image leaves both as they are."""
    name = images.make(twin, images.LAYOUTS[layout])
    state(twin, "write -b -P 7 0 300k")
    twin.write("snapshot", "-c", "vm", name)
    for place in (twin.ours, twin.theirs):
        set_vm_state_size(place / name, 300 << 10)
    state(twin, "write -b -P 8 0 700k", "write -P 9 0 64k")
    for args in (("-c", "more"), ("-d", "more")):
        twin.write("snapshot", *args, name)
    twin.write("resize", name, "64M")
    for place in (twin.ours, twin.theirs):
        listed = run.qemu_img(place)("snapshot", "-l", name).ok().out
        assert "vm" in listed and " 300 KiB " in listed, listed
    twin.write("snapshot", "-a", "vm", name)
    state(twin, "read -b -P 7 0 300k", "read -b -P 0 300k 400k", "read -P 1 0 64k")
    same(twin, name)


def test_a_state_that_is_far_away_and_one_that_cannot_be(twin):
    images.make(twin, "compat=1.1")
    state(twin, "write -b -P 0x11 1T 4k", "read -b -P 0x11 1T 4k", "read -b 100T 4k",
          "write -b 300P 4k", "write -b 1E 4k", "read -b 7E 4k", "write -b 9223372036854775296 512",
          "read -b 9223372036854775296 512", "write -b 0 0", "read -b 0 0", "write -b 1 512")
    same(twin)


def test_an_image_over_a_longer_one(twin):
    """The state area shows what the base has there, as QEMU's does, until it is written."""
    twin.img("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "base", "8M")
    twin.io("base", "write -q -P 5 0 8M", options=QCOW2)
    twin.img("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "-b", "base", "-F", "qcow2",
             "a.qcow2", "1M")
    state(twin, "read -b -v 0 512", "write -b -P 7 512 512", "read -b -v 0 2k")
    same(twin)


def test_bitmaps_hear_nothing_of_it(twin):
    images.make(twin, "compat=1.1")
    twin.img("bitmap", "--add", "-g", "512", "a.qcow2", "b0")
    state(twin, "write -b -P 7 0 3M", "write -P 7 64k 64k", "write -b -P 7 4M 1M")
    twin.write("bitmap", "--merge", "b0", "--add", "-g", "512", "a.qcow2", "copy")
    same(twin)


def test_images_that_have_none_and_images_that_are_read_only(twin):
    twin.img("create", "-q", "-f", "raw", "a.raw", "1M")
    scripted(twin, "-f", "raw", *commands("read -b 0 512", "write -b 0 512"), name="a.raw")
    images.make(twin, "compat=1.1")
    twin.fork()
    scripted(twin, "-r", *QCOW2, *commands("read -b 0 512", "write -b 0 512"))
