# SPDX-License-Identifier: Apache-2.0
"""`dd` beside qemu-img: which bytes, into which format, how many, and what is said."""
import pytest

from pylib import images, run
from pylib.paths import LONG

WINDOWS = (
    (), ("bs=1M",), ("count=1",), ("bs=64k", "count=3"), ("bs=64k", "skip=3"),
    ("bs=64k", "skip=2", "count=3"), ("bs=64k", "skip=3", "count=2"), ("bs=1000", "count=7"),
    ("bs=1000", "skip=7"), ("bs=333", "skip=1000", "count=5000"), ("bs=3M", "skip=1"),
    ("bs=1M", "skip=100"), ("count=0",), ("bs=1", "count=513"), ("bs=256M",),
    ("bs=256M", "skip=1"), ("count=9223372036854775807",),
    ("skip=9223372036854775807", "bs=512"), ("bs=1M", "skip=8", "count=9"),
)


def content(directory, name, fmt):
    if fmt == "raw":
        return (directory / name).read_bytes()
    run.qemu_img(directory)("check", "-f", fmt, name).ok()
    run.qemu_img(directory)("convert", "-f", fmt, "-O", "raw", name, name + ".flat").ok()
    return (directory / (name + ".flat")).read_bytes()


def both(twin, *args, fmt="raw", name="out"):
    twin.fork()
    result = twin.write("dd", "-O", fmt, *args, f"of={name}")
    assert content(twin.ours, name, fmt) == content(twin.theirs, name, fmt)
    (twin.theirs / name).unlink()
    return result


EVERY = [(fmt, window) for fmt in ("raw", "qcow2") for window in WINDOWS]
CHOSEN = [case for n, case in enumerate(EVERY) if LONG or n % 3 == 0]


@pytest.mark.parametrize("fmt,window", CHOSEN)
def test_windows(twin, fmt, window):
    both(twin, "if=" + images.make(twin, "cluster_size=4k"), *window, fmt=fmt)


@pytest.mark.parametrize("layout", images.LAYOUTS if LONG else ("c512", "ext", "data"))
def test_layouts_of_the_input(twin, layout):
    both(twin, "if=" + images.make(twin, images.LAYOUTS[layout]), "bs=5000", "skip=20")


def test_a_chain_reads_as_a_whole(twin):
    both(twin, "if=" + images.chain(twin, 4), "bs=70k", "skip=3", "count=40", fmt="qcow2")


def test_raw_inputs_of_odd_length(twin):
    (twin.theirs / "a").write_bytes(bytes(range(1, 251)) * 281)
    for window in ((), ("bs=100", "skip=3"), ("bs=100", "count=701"), ("bs=70250",)):
        both(twin, "-f", "raw", "if=a", *window)


@pytest.mark.parametrize("fmt", ("raw", "qcow2"))
def test_everything_is_written(twin, fmt):
    """Zeros too: the output has space for all, as qemu-img's has."""
    twin.img("create", "-q", "-f", "qcow2", "a", "1M")
    twin.fork()
    twin.write("dd", "-O", fmt, "if=a", "of=out")
    mine, theirs = ((path / "out").stat() for path in (twin.ours, twin.theirs))
    assert mine.st_size == theirs.st_size and mine.st_blocks * 512 >= 1 << 20
    maps = [run.qemu_img(path)("map", "--output=json", "-f", fmt, "out").ok().out
            for path in (twin.ours, twin.theirs)]
    assert maps[0] == maps[1]


def test_an_older_file_is_overwritten_and_keeps_its_inode(twin):
    twin.img("create", "-q", "-f", "qcow2", "a", "1M")
    (twin.theirs / "out").write_bytes(b"x" * (3 << 20))
    twin.fork()
    before = (twin.ours / "out").stat().st_ino
    twin.write("dd", "if=a", "of=out")
    assert (twin.ours / "out").stat().st_ino == before
    assert (twin.ours / "out").read_bytes() == bytes(1 << 20)


ARGUMENTS = (
    (), ("if=a",), ("of=o",), ("if=a", "of=o", "foo"), ("if=a", "of=o", "foo=1"),
    ("if=a", "of=o", "=1"), ("if=a", "of=o", "bs=0"), ("if=a", "of=o", "bs=-1"),
    ("if=a", "of=o", "bs=3G"), ("if=a", "of=o", "count=x"), ("if=a", "of=o", "skip=-1"),
    ("if=a", "of=o", "bs="), ("-O", "bochs", "if=a", "of=o"), ("-O", "nosuch", "if=a", "of=o"),
    ("if=nox", "of=o"),
    ("if=a", "of=nodir/o"), ("if=a", "of=."), ("-f", "nosuch", "if=a", "of=o"),
    ("-f", "qcow2", "if=r", "of=o"), ("if=a", "of=a"), ("if=a", "of=./a"),
    ("--image-opts", "if=driver=qcow2,file.filename=a", "of=o"),
    ("--image-opts", "-f", "qcow2", "if=driver=qcow2,file.filename=a", "of=o"),
    ("if=a", "if=r", "of=o"), ("-U", "if=a", "of=o"),
)


def test_arguments(twin):
    twin.img("create", "-q", "-f", "qcow2", "a", "1M")
    (twin.theirs / "r").write_bytes(b"r" * 4096)
    for args in ARGUMENTS:
        twin.write("dd", *args)
        made = [(path / "o").exists() for path in (twin.ours, twin.theirs)]
        assert made[0] == made[1], args
        for path in (twin.ours, twin.theirs):
            (path / "o").unlink(missing_ok=True)


def test_a_raw_input_is_not_its_own_output(twin, qimg):
    """QEMU empties it first, and copies nothing."""
    (twin.theirs / "a").write_bytes(b"precious" * 1000)
    qimg.at(twin.theirs)("dd", "-f", "raw", "if=a", "of=a").failed("lock")
    assert (twin.theirs / "a").read_bytes() == b"precious" * 1000


def test_locks(twin):
    twin.img("create", "-q", "-f", "qcow2", "a", "1M")
    with run.holding(twin.theirs, "-f", "qcow2", "a"):
        twin.read("dd", "if=a", "of=o").failed("lock")
        twin.read("dd", "-U", "if=a", "of=o").ok()
