# SPDX-License-Identifier: Apache-2.0
"""Internal snapshots: the same commands on qimg and qemu-img, over every layout."""
import pytest

from pylib import images, run, verbs
from pylib.qcow2_break import set_bit

A = "a.qcow2"
# With snapshots of one state and then writes, counts go to 3 and more; widths 1 and 2 are too
# narrow for some of it.
PLAIN = {name: options for name, options in images.LAYOUTS.items() if "data_file" not in options}
WIDE = {name: options for name, options in PLAIN.items() if name not in ("r1", "r2", "r8-c512")}


def by_name(layouts):
    return [pytest.param(options, id=name) for name, options in layouts.items()]


@pytest.mark.parametrize("options", by_name(WIDE))
def test_making_going_back_and_deleting(twin, options):
    images.make(twin, options)
    twin.fork()
    twin.write("snapshot", "-c", "one", A).ok()
    verbs.assert_same(twin)
    verbs.io(twin, A, "write -q -P 77 64k 100k", "write -q -z 1M 64k", "discard -q 0 64k")
    twin.write("snapshot", "-c", "two", A).ok()
    verbs.io(twin, A, "write -q -P 78 128k 10k", "write -q -P 79 6M 64k")
    verbs.assert_same(twin)
    twin.write("snapshot", "-a", "one", A).ok()
    verbs.assert_same(twin)
    verbs.io(twin, A, "write -q -P 80 64k 10k")
    twin.write("snapshot", "-a", "2", A).ok()
    twin.write("snapshot", "-d", "one", A).ok()
    verbs.assert_same(twin)
    verbs.io(twin, A, "write -q -P 81 96k 10k")
    twin.write("snapshot", "-d", "two", A).ok()
    verbs.assert_same(twin)


@pytest.mark.parametrize("options", by_name({n: o for n, o in PLAIN.items() if n in ("r1", "r2")}))
def test_narrow_refcounts(twin, options):
    twin.img("create", "-q", "-f", "qcow2", "-o", options, A, "8M")
    twin.io(A, "write -q -P 1 0 256k", options=("-f", "qcow2"))
    twin.fork()
    for name in ("one", "two", "three", "four"):
        twin.write("snapshot", "-c", name, A)
    verbs.assert_same(twin)


@pytest.mark.parametrize("options", ("compat=1.1", "cluster_size=4k", "extended_l2=on"))
def test_snapshots_keep_their_size_and_bring_it_back(twin, options):
    twin.img("create", "-q", "-f", "qcow2", "-o", options, A, "4M")
    twin.io(A, "write -q -P 1 3M 1M", options=("-f", "qcow2"))
    twin.img("snapshot", "-c", "four", A)
    twin.img("resize", "-q", A, "70M")
    twin.io(A, "write -q -P 2 65M 1M", options=("-f", "qcow2"))
    twin.img("snapshot", "-c", "seventy", A)
    twin.img("resize", "-q", "--shrink", A, "1M")
    twin.fork()
    for name in ("four", "seventy", "four"):
        twin.write("snapshot", "-a", name, A).ok()
        verbs.assert_same(twin)


def test_what_fits_its_refcount_in_the_end_fits_on_the_way(twin, as_qemu_img):
    """QEMU counts the new state before it drops the old one, and gives up at 255."""
    images.make(twin, "refcount_bits=8,cluster_size=512")
    twin.fork()
    mine = as_qemu_img.at(twin.ours)
    for action, name in (("-c", "one"), ("-c", "two"), ("-a", "one"), ("-a", "two")):
        mine("snapshot", action, name, A).ok()
        verbs.assert_clean(twin.ours, A)
    twin.same_guest(A)


def test_many_snapshots_of_one_name_and_their_order(twin):
    images.make(twin, "cluster_size=4k")
    twin.fork()
    for number in range(12):
        twin.write("snapshot", "-c", "same" if number % 3 else f"s{number}", A).ok()
        verbs.io(twin, A, f"write -q -P {number + 1} {number * 8}k 12k")
    for name in ("same", "s6", "same", "s0", "nox", "7"):
        twin.write("snapshot", "-d", name, A)
    verbs.assert_same(twin)
    twin.write("snapshot", "-c", "last", A).ok()
    verbs.assert_same(twin)


def test_over_a_backing_file(twin):
    images.make(twin, "compat=1.1", "base.qcow2")
    twin.img("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", A)
    twin.io(A, "write -q -P 9 32k 64k", options=("-f", "qcow2"))
    twin.fork()
    twin.write("snapshot", "-c", "one", A).ok()
    verbs.io(twin, A, "write -q -P 10 40k 64k")
    verbs.assert_same(twin)
    twin.write("snapshot", "-a", "one", A).ok()
    twin.write("snapshot", "-d", "one", A).ok()
    verbs.assert_same(twin)


def test_vm_state_stays_with_its_snapshot(twin):
    """A state that a virtual machine saved lies behind the disk's end."""
    twin.img("create", "-q", "-f", "qcow2", A, "1M")
    twin.io(A, "write -q -P 5 0 64k", "write -q -b -P 99 0 256k", options=("-f", "qcow2"))
    twin.img("snapshot", "-c", "vm", A)
    twin.fork()
    verbs.io(twin, A, "write -q -P 6 0 64k")
    twin.write("snapshot", "-a", "vm", A).ok()
    verbs.assert_same(twin)
    for directory in (twin.ours, twin.theirs):
        said = run.qemu_io(directory)("-f", "qcow2", "-c", "read -b -P 99 0 256k", A).ok()
        assert "verification failed" not in said.out


REFUSED = (
    ("-a", "nox", A), ("-d", "nox", A), ("-a", "x", "-d", "y", A), ("-c", "s", "nox.qcow2"),
    ("-c",), ("-x", A), ("-a", "nox", "d.qcow2"), ("-d", "nox", "d.qcow2"),
    ("-l", "d.qcow2"), ("-l", A), ("-l", "nox"), ("-U", "-c", "s", A), ("-d", "nox", "a.raw"),
)


@pytest.mark.parametrize("args", REFUSED, ids=" ".join)
def test_refused_in_qemus_words_and_untouched(twin, args):
    images.make(twin, "compat=1.1")
    twin.img("create", "-q", "-f", "qcow2", "-o", "data_file=d.bin", "d.qcow2", "1M")
    twin.img("create", "-q", "-f", "raw", "a.raw", "1M")
    twin.fork()
    before = (twin.ours / A).read_bytes()
    twin.write("snapshot", *args)
    assert (twin.ours / A).read_bytes() == before


def test_bitmaps_keep_an_image_from_going_back(twin):
    images.make(twin, "compat=1.1")
    twin.img("bitmap", "--add", A, "b0")
    twin.fork()
    twin.write("snapshot", "-c", "one", A).ok()
    twin.write("snapshot", "-a", "one", A).failed("Device has active dirty bitmaps")
    twin.write("snapshot", "-d", "one", A).ok()
    verbs.assert_same(twin)


def test_what_data_files_and_raw_images_do_not_have(twin, as_qemu_img):
    twin.img("create", "-q", "-f", "qcow2", "-o", "data_file=d.bin", "d.qcow2", "1M")
    twin.fork()
    mine = as_qemu_img.at(twin.ours)
    mine("snapshot", "-c", "s", "d.qcow2").failed(
        "Could not create snapshot 's': Operation not supported")
    run.qemu_img(twin.ours)("create", "-q", "-f", "raw", "a.raw", "1M").ok()
    mine("snapshot", "-f", "raw", "-a", "s", "a.raw").failed(
        "Could not apply snapshot 's': Block driver does not support internal snapshots")


def test_an_l1_entry_that_is_copied_and_nothing_does_no_harm(twin, as_qemu_img):
    """QEMU 7.2 aborts on it."""
    twin.img("create", "-q", "-f", "qcow2", A, "1M")
    twin.fork()
    with open(twin.ours / A, "r+b") as image:
        image.seek(0x30000)
        image.write(b"\x80" + bytes(7))
    as_qemu_img.at(twin.ours)("snapshot", "-c", "s", A).ok()
    assert run.qemu_img(twin.ours)("check", A).code == 0


def test_an_image_does_not_grow_with_every_snapshot(twin, as_qemu_img):
    images.make(twin, "compat=1.1")
    twin.fork()
    mine, size = as_qemu_img.at(twin.ours), (twin.ours / A).stat().st_size
    for _ in range(10):
        mine("snapshot", "-c", "s", A).ok()
        mine("snapshot", "-a", "s", A).ok()
        mine("snapshot", "-d", "s", A).ok()
    assert (twin.ours / A).stat().st_size <= size + 65536


@pytest.mark.parametrize("verb", ("-c new", "-a one", "-d one"))
def test_of_a_dirty_image_that_is_repaired_first(twin, verb):
    twin.img("create", "-q", "-f", "qcow2", "a", "1M")
    twin.io("a", "write -q -P 7 0 1M", options=("-f", "qcow2"))
    twin.img("snapshot", "-c", "one", "a")
    twin.io("a", "write -q -P 8 0 100k", options=("-f", "qcow2"))
    set_bit(twin.theirs / "a", 0)
    twin.write("snapshot", *verb.split(), "a").ok()
    twin.same_guest("a")
    twin.read("check", "a").ok()
