# SPDX-License-Identifier: Apache-2.0
"""`commit` beside qemu-img: what the base and the overlay hold afterwards, over pairs of layouts,
chains, sizes and options. Both end with the same contents; how zeros are told may differ."""
import json
import subprocess

import pytest

from pylib import images, run
from pylib.paths import LONG

PAIRS = [(base, top) for base in images.LAYOUTS for top in images.LAYOUTS
         if not (base.startswith("data") or top == "data-raw")]
SHORT = [pair for n, pair in enumerate(PAIRS) if n % 71 == 0]
SIZES = {"equal": (4, 4), "larger overlay": (3, 5), "smaller overlay": (5, 3)}

BASE = ("write -q -P 1 0 1M", "write -q -z 512k 64k", "write -q -P 2 2M 200k",
        "write -q -P 3 2900k 20k")
TOP = ("write -q -P 11 100k 64k", "write -q -P 12 300k 1k", "write -q -z 400k 300k",
       "write -q -P 13 1500k 600k", "write -q -z 2000k 3k", "write -q -P 0 2M 64k",
       "discard -q 1600k 128k", "write -q -P 14 2950k 10k")


def make(twin, name, options, size, writes, backing=None):
    fmt = "raw" if options == "raw" else "qcow2"
    extra = ("-b", backing[0], "-F", backing[1]) if backing else ()
    opts = () if fmt == "raw" else ("-o", options.replace("data.bin", name + ".data"))
    twin.img("create", "-q", "-f", fmt, *opts, *extra, name, f"{size}M")
    twin.io(name, *writes, options=("-f", fmt))
    return name, fmt


def overlay(twin, base_options, top_options, base_size=4, top_size=4):
    base = make(twin, "base", base_options, base_size, BASE)
    make(twin, "top", top_options, top_size, TOP, base)


def raw_of(directory, name, fmt="qcow2"):
    run.qemu_img(directory)("convert", "-f", fmt, "-O", "raw", name, name + ".flat").ok()
    data = (directory / (name + ".flat")).read_bytes()
    (directory / (name + ".flat")).unlink()
    return data


def sound(directory, name):
    checked = run.qemu_img(directory)("check", "-f", "qcow2", name)
    assert checked.code == 0, checked.out + checked.err
    run.ours(directory)("check", "-f", "qcow2", name).ok()


def same_after(twin, *names, formats=()):
    for name in names:
        fmt = dict(formats).get(name, "qcow2")
        assert raw_of(twin.ours, name, fmt) == raw_of(twin.theirs, name, fmt), name
        if fmt == "qcow2":
            sound(twin.ours, name)


@pytest.mark.parametrize("base,top", PAIRS if LONG else SHORT)
def test_layouts(twin, base, top):
    overlay(twin, images.LAYOUTS[base], images.LAYOUTS[top])
    twin.write("commit", "top")
    same_after(twin, "base", "top")


@pytest.mark.parametrize("base,sizes", (
    *(("raw", sizes) for sizes in SIZES), *(("compat=1.1", sizes) for sizes in SIZES),
    ("compat=0.10", "larger overlay"), ("extended_l2=on", "larger overlay"),
))
def test_sizes(twin, base, sizes):
    overlay(twin, base, "compat=1.1", *SIZES[sizes])
    twin.write("commit", "top")
    same_after(twin, "base", "top", formats=[("base", "raw" if base == "raw" else "qcow2")])
    assert (twin.ours / "top").stat().st_size == (twin.theirs / "top").stat().st_size


def three(twin, sizes=(4, 4, 4)):
    base = make(twin, "base", "compat=1.1", sizes[0], BASE)
    mid = make(twin, "mid", "cluster_size=4k", sizes[1], ("write -q -P 21 0 64k",
               "write -q -P 22 1M 1M", "write -q -z 2100k 64k"), base)
    make(twin, "top", "cluster_size=16k", sizes[2], TOP, mid)


THREE = [(args, sizes) for args in ((), ("-d",), ("-b", "base"), ("-b", "mid"))
         for sizes in ((4, 4, 4), (6, 3, 5), (3, 4, 5), (3, 5, 4), (6, 5, 3))]


@pytest.mark.parametrize("args,sizes", THREE if LONG else THREE[::4] + THREE[12:13])
def test_chains(twin, args, sizes):
    three(twin, sizes)
    twin.write("commit", *args, "top")
    same_after(twin, "base", "mid", "top")
    assert (twin.ours / "top").stat().st_size == (twin.theirs / "top").stat().st_size


def test_base_by_names_from_each_directory(twin):
    """A relative -b counts from the directory of each overlay, as its own backing name does."""
    (twin.theirs / "sub").mkdir()
    base = make(twin, "base", "compat=1.1", 4, BASE)
    make(twin, "sub/mid", "compat=1.1", 4, TOP, ("../base", "qcow2"))
    make(twin, "sub/top", "compat=1.1", 4, TOP[:2], ("mid", "qcow2"))
    (twin.theirs / "link").symlink_to(base[0])
    for name in ("base", "sub/mid", "sub/../base", "mid/../../base", str(twin.theirs / "base"),
                 "nox", "link", "sub/top", "top"):
        twin.fork()
        twin.read("commit", "-d", "-b", name, "sub/top")


def test_deep_chain(twin):
    top = images.chain(twin, 7)
    before = raw_of(twin.theirs, top)
    twin.write("commit", "-b", "c3.qcow2", top)
    same_after(twin, "c3.qcow2")
    assert raw_of(twin.ours, "c3.qcow2") == before


def test_snapshots_and_bitmaps_of_the_overlay_stay(twin):
    overlay(twin, "compat=1.1", "compat=1.1")
    twin.img("snapshot", "-c", "one", "top")
    twin.io("top", "write -q -P 99 0 64k", "write -q -P 98 3M 128k")
    twin.img("bitmap", "--add", "top", "b")
    twin.io("top", "write -q -P 97 3500k 64k")
    twin.write("commit", "top")
    same_after(twin, "base", "top")
    for directory in (twin.ours, twin.theirs):
        run.qemu_img(directory)("snapshot", "-a", "one", "top").failed("active dirty bitmaps")
        run.qemu_img(directory)("bitmap", "--remove", "top", "b").ok()
        run.qemu_img(directory)("snapshot", "-a", "one", "top").ok()
    same_after(twin, "top")


def test_bitmaps_of_the_base_record_what_is_committed(twin):
    overlay(twin, "compat=1.1", "cluster_size=4k")
    twin.img("bitmap", "--add", "base", "on")
    twin.img("bitmap", "--add", "--disable", "base", "off")
    before = raw_of(twin.theirs, "base")
    twin.fork()
    run.ours(twin.ours)("commit", "top").ok()
    dirty = dirty_of(twin.ours, "base", "on")
    after = raw_of(twin.ours, "base")
    for at in range(0, len(after), 65536):
        if before[at:at + 65536] != after[at:at + 65536]:
            assert dirty[at // 65536], at
    assert not all(dirty), "and what stayed is not dirty"
    assert not any(dirty_of(twin.ours, "base", "off"))


def dirty_of(directory, image, bitmap):
    """The bits, one for 64 KiB, as QEMU's own server tells them."""
    socket = directory / "nbd"
    with subprocess.Popen(["qemu-nbd", "-r", "-k", str(socket), "-B", bitmap, "--image-opts",
                           f"driver=qcow2,file.filename={image}"], cwd=directory) as server:
        try:
            return bits_over_nbd(directory, socket, bitmap)
        finally:
            server.terminate()


def bits_over_nbd(directory, socket, bitmap):
    for _ in range(200):
        if socket.exists():
            break
        subprocess.run(["sleep", "0.02"], check=True)
    spec = ("json:{\"driver\":\"nbd\",\"server\":{\"type\":\"unix\",\"path\":\"%s\"},"
            "\"x-dirty-bitmap\":\"qemu:dirty-bitmap:%s\"}" % (socket, bitmap))
    out = run.qemu_img(directory)("map", "--output=json", spec).ok().out
    bits = []
    for entry in json.loads(out):  # "data: false" is what is dirty
        bits += [not entry["data"]] * (entry["length"] // 65536)
    return bits


WRONG = (
    ("base",), ("nox",), (), ("a", "b"), ("-b", "nox", "top"), ("-b", "", "top"),
    ("-b", "top", "top"), ("-t", "foo", "top"), ("-r", "x", "top"), ("-f", "raw", "top"),
    ("-f", "nosuch", "top"), ("--image-opts", "-f", "qcow2", "driver=qcow2,file.filename=top"),
)


def test_errors(twin):
    overlay(twin, "compat=1.1", "compat=1.1")
    for args in WRONG:
        twin.write("commit", *args).failed()


@pytest.mark.parametrize("args", (
    ("-q", "top"), ("-r", "1G", "top"), ("-r", "0", "top"), ("-f", "qcow2", "top"),
    ("--image-opts", "driver=qcow2,file.filename=top"), ("-q", "-p", "top"),
    *(("-t", cache, "top") for cache in ("none", "unsafe")),
))
def test_options(twin, args):
    overlay(twin, "compat=1.1", "compat=1.1")
    twin.write("commit", *args)
    same_after(twin, "base", "top")


def test_progress_ends_at_100_and_the_message_follows(twin):
    overlay(twin, "raw", "compat=1.1")
    said = run.as_qemu_img(twin.theirs)("commit", "-p", "top").ok().out
    assert said.startswith("    (0.00/100%)\r")
    assert said.endswith("    (100.00/100%)\r\nImage committed.\n")


def test_rate_limit_is_kept(twin):
    make(twin, "base", "compat=1.1", 4, ())
    make(twin, "top", "compat=1.1", 4, ("write -q -P 1 0 3M",), ("base", "qcow2"))
    assert run.ours(twin.theirs)("commit", "-r", "8M", "top").ok().seconds > 0.1


@pytest.mark.parametrize("held", ("base", "top"))
@pytest.mark.parametrize("how", ((), ("-r",)))
def test_locks(twin, held, how):
    overlay(twin, "compat=1.1", "compat=1.1")
    with run.holding(twin.theirs, *how, "-f", "qcow2", held):
        twin.read("commit", "top").failed("lock")


def test_a_device_or_window_that_cannot_grow_is_told(twin):
    make(twin, "base", "raw", 1, ())
    make(twin, "top", "compat=1.1", 2, TOP[:2], ("base", "raw"))
    spec = ("json:{\"driver\":\"qcow2\",\"file.filename\":\"top\",\"backing\":"
            "{\"driver\":\"raw\",\"size\":1048576,\"file.filename\":\"base\"}}")
    result = run.as_qemu_img(twin.theirs)("commit", spec)
    assert result.code == 1 and (twin.theirs / "base").stat().st_size == 1 << 20
