# SPDX-License-Identifier: Apache-2.0
"""`stream`: what lies between an image and a base, or all below it, comes into the image. QEMU does
so for running guests only; its offline `rebase` onto the same base must read the same."""
import json

import pytest

from pylib import run, verbs
from pylib.paths import LONG

MIB = 1 << 20
TOP = MIB + 3 * 512


def chain(twin, options="compat=1.1", where=""):
    """top -> c -> b -> a (raw): each writes at its own place and over its neighbour's; c is shorter
    than what lies around it."""
    twin.img("create", "-q", "-f", "raw", f"{where}a", 2 * MIB)
    twin.io(f"{where}a", "write -q -P 1 0 2M", options=("-f", "raw"))
    below, fmt = "a", "raw"
    for name, size, writes in (
            ("b", 2 * MIB, ("write -q -P 2 64k 300k", "write -q -z 500k 100k")),
            ("c", 800 * 1024, ("write -q -P 3 128k 130k", "write -q -z 256k 64k",
                               "write -q -P 0 384k 64k")),
            ("top", TOP, ("write -q -P 4 100k 70k", "write -q -z 600k 20k"))):
        place = name if name == "top" else where + name
        twin.img("create", "-q", "-f", "qcow2", "-o", options, "-b",
                 where + below if name == "top" else below, "-F", fmt, place, size)
        twin.io(place, *writes, options=("-f", "qcow2"))
        below, fmt = name, "qcow2"


def described(directory, name="top"):
    return json.loads(run.qemu_img(directory)("info", "--output=json", name).ok().out)


def backing(directory, name="top"):
    info = described(directory, name)
    return info.get("backing-filename"), info.get("backing-filename-format")


def read(directory, name="top"):
    run.qemu_img(directory)("convert", "-O", "raw", name, "flat").ok()
    return (directory / "flat").read_bytes()


LAYOUTS = ("compat=1.1", "cluster_size=512", "extended_l2=on", "compat=0.10,cluster_size=4k")


@pytest.mark.parametrize("options", LAYOUTS)
@pytest.mark.parametrize("base", ("c", "b", "a", None))
def test_every_base(twin, base, options):
    if not LONG and options != LAYOUTS[0] and base not in ("b", None):
        pytest.skip("long")
    chain(twin, options)
    twin.fork()
    before = read(twin.ours)
    others = {name: (twin.ours / name).read_bytes() for name in "abc"}
    onto = ("-b", base) if base else ()
    run.ours(twin.ours)("stream", *onto, "top").ok()
    assert read(twin.ours) == before
    verbs.assert_clean(twin.ours, "top")
    assert backing(twin.ours) == {None: (None, None), "a": ("a", "raw")}.get(base, (base, "qcow2"))
    assert all((twin.ours / name).read_bytes() == data for name, data in others.items())
    # What stays below is not copied.
    run.qemu_img(twin.theirs)("rebase", "-b", base or "", *(("-F", backing(twin.ours)[1])
                                                            if base else ()), "top").ok()
    verbs.same_content(twin, "top")
    # And what was between is not needed any more.
    for name in "abc"[("abc".index(base) if base else -1) + 1:]:
        (twin.ours / name).unlink()
    assert read(twin.ours) == before


def test_what_stays_below_is_not_copied(twin):
    chain(twin)
    qimg = run.ours(twin.theirs)
    plan = json.loads(qimg("stream", "--plan", "--output=json", "-b", "a", "top").ok().out)
    assert plan["backing-filename"] == "a" and plan["backing-filename-format"] == "raw"
    assert plan["read-new"] == 0
    length = (twin.theirs / "top").stat().st_size
    assert plan["file-length"] == length
    qimg("stream", "-b", "a", "top").ok()
    assert length < (twin.theirs / "top").stat().st_size <= plan["file-length-at-most"]
    entries = json.loads(qimg("map", "--output=json", "top").ok().out)
    below = sum(e["length"] for e in entries if e["depth"] == 1)
    assert below == plan["proved-equal"] > 100 * 1024


def test_once_more_has_nothing_to_do(twin):
    chain(twin)
    qimg = run.ours(twin.theirs)
    for onto in (("-b", "c"), ("-b", "b"), ("-b", "b"), (), ()):
        qimg("stream", *onto, "top").ok()
        image = (twin.theirs / "top").read_bytes()
        qimg("stream", *onto, "top").ok()
        assert (twin.theirs / "top").read_bytes() == image


def test_names_from_another_directory_stay_right(twin):
    """c and b lie in sub/, and name what is below them from there."""
    (twin.theirs / "sub").mkdir()
    chain(twin, where="sub/")
    before = read(twin.theirs)
    twin.fork()
    # As the image above it says, or as the caller would.
    for name, directory in (("b", twin.theirs), ("sub/b", twin.ours)):
        run.ours(directory)("stream", "-b", name, "top").ok()
        assert backing(directory) == (str(directory / "sub/b"), "qcow2")
        assert read(directory) == before


def test_compress_packs_what_is_copied(twin):
    chain(twin)
    before = read(twin.theirs)
    run.ours(twin.theirs)("stream", "-c", "top").ok()
    assert read(twin.theirs) == before
    checked = json.loads(run.qemu_img(twin.theirs)("check", "--output=json", "top").ok().out)
    assert checked["compressed-clusters"] >= 5


def test_refused(twin):
    chain(twin)
    image = (twin.theirs / "top").read_bytes()
    qimg = run.ours(twin.theirs)
    qimg("stream", "-b", "top", "top").failed("Did not find 'top' in the backing chain of 'top'")
    qimg("stream", "-b", "nox", "top").failed("Did not find 'nox' in the backing chain of 'top'")
    qimg("stream", "nox").failed("Could not open 'nox'")
    qimg("stream").failed("Expecting one image file name")
    qimg("stream", "-t", "foo", "top").failed("Invalid cache option: foo")
    (twin.theirs / "b").rename(twin.theirs / "moved")
    qimg("stream", "top").failed("Could not open 'b': No such file or directory")
    assert (twin.theirs / "top").read_bytes() == image


def test_an_image_without_backing_file_is_left_alone(twin):
    twin.img("create", "-q", "-f", "qcow2", "alone", "1M")
    twin.img("create", "-q", "-f", "raw", "raw", "1M")
    for name in ("alone", "raw"):
        image = (twin.theirs / name).read_bytes()
        run.ours(twin.theirs)("stream", "-f", "qcow2" if name == "alone" else "raw", name).ok()
        assert (twin.theirs / name).read_bytes() == image


def test_progress_and_rate(twin):
    chain(twin)
    qimg = run.as_qemu_img(twin.theirs)
    said = qimg("stream", "-p", "-r", "8M", "top").ok().out
    assert said.startswith("    (0.00/100%)\r") and said.endswith("    (100.00/100%)\r\n")
