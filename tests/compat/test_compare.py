# SPDX-License-Identifier: Apache-2.0
"""`compare`: verdicts, words and exit codes."""
import re
import subprocess

import pytest

from pylib import images, run


@pytest.mark.parametrize("layout", images.LAYOUTS)
def test_identical_and_different(twin, layout):
    name = images.make(twin, images.LAYOUTS[layout])
    twin.img("convert", "-O", "raw", name, "a.raw")
    twin.img("convert", "-O", "qcow2", name, "b.qcow2")
    assert twin.read("compare", name, "a.raw").code == 0
    assert twin.read("compare", "-f", "qcow2", "-F", "qcow2", name, "b.qcow2").code == 0
    twin.read("compare", "-s", name, "b.qcow2")
    twin.io("b.qcow2", "write -q -P 77 1500k 512", options=("-f", "qcow2"))
    assert twin.read("compare", name, "b.qcow2").code == 1
    assert twin.read("compare", "a.raw", "b.qcow2").code == 1


def test_strict_tells_data_in_holes_from_data(twin):
    """The same bytes, whose clusters have no storage in one file."""
    twin.img("create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", "a.qcow2", "4M")
    twin.io("a.qcow2", "write -q -P 5 1M 64k", options=("-f", "qcow2"))
    images.settle(twin.theirs / "a.qcow2")
    for name, sparse in (("full.qcow2", "never"), ("same.qcow2", "auto")):
        subprocess.run(["cp", f"--sparse={sparse}", "a.qcow2", name], cwd=twin.theirs, check=True)
        images.settle(twin.theirs / name)
        assert twin.read("compare", "a.qcow2", name).code == 0
        assert twin.read("compare", "-s", "a.qcow2", name).code == (sparse == "never")


@pytest.mark.parametrize("offset", (0, 511, 512, 65535, 65536, 2 << 20, (4 << 20) - 1))
def test_the_offset_of_the_first_difference(twin, offset):
    twin.img("create", "-q", "-f", "raw", "a", "4M")
    twin.img("create", "-q", "-f", "raw", "b", "4M")
    with open(twin.theirs / "b", "r+b") as raw:
        raw.seek(offset)
        raw.write(b"x")
    assert twin.read("compare", "-f", "raw", "-F", "raw", "a", "b").code == 1
    twin.img("convert", "-O", "qcow2", "b", "b.qcow2")
    assert twin.read("compare", "-f", "raw", "a", "b.qcow2").code == 1


@pytest.mark.parametrize("tail", ("nothing", "zeros", "data"))
@pytest.mark.parametrize("strict", ((), ("-s",), ("-q",)))
def test_different_sizes(twin, tail, strict):
    twin.img("create", "-q", "-f", "qcow2", "a", "1M")
    twin.img("create", "-q", "-f", "qcow2", "b", "2M")
    twin.io("a", "write -q -P 1 0 100k")
    twin.io("b", "write -q -P 1 0 100k")
    if tail != "nothing":
        twin.io("b", "write -q -P %d 1500k 64k" % (0 if tail == "zeros" else 3))
    twin.read("compare", *strict, "a", "b")
    twin.read("compare", *strict, "b", "a")


@pytest.mark.parametrize("program", ("ours", "theirs"))
def test_progress_goes_from_0_to_100(twin, program):
    """How fine the steps are depends on how the work is cut; QEMU cuts it otherwise."""
    top = images.chain(twin, 3)
    tool = (run.as_qemu_img if program == "ours" else run.qemu_img)(twin.theirs)
    for args in (("compare", "-p", top, top), ("convert", "-p", "-O", "raw", top, "out.raw")):
        out = tool(*args).ok().out
        steps = [float(step) for step in re.findall(r" {4}\((\d+\.\d\d)/100%\)\r", out)]
        assert steps[0] == 0 and steps[-1] == 100 and steps == sorted(steps)
        assert re.sub(r" {4}\([\d.]+/100%\)\r", "", out).startswith("\n") or "\n" in out


@pytest.mark.parametrize("tail", (b"", bytes(10), bytes(24), b"x" * 10))
@pytest.mark.parametrize("strict", ((), ("-s",)))
def test_files_that_end_inside_a_sector(twin, tail, strict):
    (twin.theirs / "a").write_bytes(b"a" * 1000)
    (twin.theirs / "b").write_bytes(b"a" * 1000 + tail)
    for names in (("a", "b"), ("b", "a")):
        twin.read("compare", *strict, "-f", "raw", "-F", "raw", *names)


def test_chains(twin):
    top = images.chain(twin, 6)
    twin.img("convert", "-O", "raw", top, "flat")
    assert twin.read("compare", top, "flat").code == 0
    twin.read("compare", top, "c0.raw")
    twin.read("compare", "-s", top, "c3.qcow2")


@pytest.mark.parametrize("args", (
    ("a", "nox"), ("nox", "a"), ("-f", "qcow2", "a", "a"), ("-T", "foo", "a", "a"), ("a",),
    ("a", "a", "a"), ("-F", "nosuch", "a", "a"), (), ("--nosuch", "a", "a"),
))
def test_errors(twin, args):
    twin.img("create", "-q", "-f", "raw", "a", "1M")
    twin.read("compare", *args)


def break_image(path, what):
    """Makes the second L2 entry point past the end, or its packed bytes be none."""
    image = bytearray(path.read_bytes())
    l1 = int.from_bytes(image[40:48], "big")
    at = (int.from_bytes(image[l1:l1 + 8], "big") & 0x00fffffffffffe00) + 8
    if what == "table":
        image[at:at + 8] = ((1 << 63) | 0x50200).to_bytes(8, "big")
    else:
        packed = int.from_bytes(image[at:at + 8], "big") & ((1 << 54) - 1)
        image[packed:packed + 16] = b"\xff" * 16
    path.write_bytes(image)


@pytest.mark.parametrize("what, code", (("table", 3), ("packed", 4)))
@pytest.mark.parametrize("options", ((), ("-s",), ("-q",)))
def test_what_cannot_be_mapped_or_read(twin, what, code, options):
    for name in ("good", "bad"):
        twin.img("create", "-q", "-f", "qcow2", name, "1M")
        twin.io(name, "write -q -P 1 0 64k", "write -q -c -P 2 64k 64k", options=("-f", "qcow2"))
    break_image(twin.theirs / "bad", what)
    assert twin.read("compare", *options, "good", "bad").code == code
    assert twin.read("compare", *options, "bad", "good").code == code


@pytest.mark.parametrize("fmt", ("raw", "qcow2"))
def test_iotest_048(twin, fmt):
    """Identical, of other size, of other content, and an offset inside a cluster."""
    def both():
        return [twin.read("compare", *args, "-f", fmt, "-F", fmt, "a", "b").code
                for args in ((), ("-q",), ("-s",))]

    def copy():
        (twin.theirs / "b").write_bytes((twin.theirs / "a").read_bytes())

    def write(*commands):
        twin.io("a", *commands, options=("-f", fmt))

    twin.img("create", "-q", "-f", fmt, "a", "16M")
    write(*(f"write -q -P {45 + i} {524288 + i * 4096} 4096" for i in range(4)))
    copy()
    assert both() == [0, 0, 0] or fmt == "raw"  # holes of a copied raw file may be others
    twin.img("resize", "-q", "-f", fmt, "a", "+4M")
    write("write -q -z 16M 4M")
    assert both() == [0, 0, 1]
    write("write -q -P 67 1228800 4096")
    assert both() == [1, 1, 1]
    write("write -q -P 123 0 4096")
    assert both() == [1, 1, 1]
    twin.img("create", "-q", "-f", fmt, "a", "16M")
    write("write -q -P 100 0 512")
    copy()
    write("write -q -P 101 512 512")
    assert "offset 512!" in twin.read("compare", "-f", fmt, "-F", fmt, "a", "b").out


@pytest.mark.parametrize("cache", ("none", "writeback", "directsync", "unsafe", "writethrough"))
def test_cache_modes(twin, cache):
    name = images.make(twin, "compat=1.1")
    twin.img("convert", "-O", "raw", name, "a.raw")
    assert twin.read("compare", "-T", cache, name, "a.raw").code == 0
