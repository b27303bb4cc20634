# SPDX-License-Identifier: Apache-2.0
"""`check` and its repairs on sound and broken images: the same findings, numbers and exit codes as
QEMU's; and where qimg repairs, it leaves what QEMU finds clean and the guest sees unchanged."""
import re
import shutil
import struct

import pytest

from compat import normalise
from pylib import images, run
from pylib.paths import LONG
from pylib.qcow2_break import break_one, set_bit

SEEDS = 400 if LONG else 8
BROKEN = ("v2", "v3", "c512", "c4k", "c2M", "r1", "r2", "r8-c512", "r64-c4k", "ext", "ext-c16k",
          "zstd-c4k", "data")


def make(twin, layout):
    """An image of the layout, with a snapshot where it may have one and something over it."""
    name = images.make(twin, images.LAYOUTS[layout])
    if "data" not in layout and layout != "r1":
        twin.img("snapshot", "-c", "s1", name)
        twin.io(name, "write -q -P 9 64k 130k", "discard -q 1M 64k", options=("-f", "qcow2"))
    return name


def say(result):
    return f"exit {result.code}\n{result.out}{result.err}"


@pytest.mark.parametrize("layout", images.LAYOUTS)
def test_sound_images(twin, layout):
    name = make(twin, layout)
    twin.read("check", name)
    twin.read("check", "--output=json", name)
    twin.read("check", "-q", name)
    twin.write("check", "-r", "all", name)
    twin.same_file(name)


@pytest.mark.parametrize("layout", ("v2", "v3", "c4k", "ext"))
def test_images_with_bitmaps_and_backing_files(twin, layout):
    images.make(twin, images.LAYOUTS[layout], "base.qcow2")
    twin.img("create", "-q", "-f", "qcow2", "-o", images.LAYOUTS[layout], "-b", "base.qcow2", "-F",
             "qcow2", "top.qcow2")
    twin.io("top.qcow2", "write -q -P 9 32k 64k", options=("-f", "qcow2"))
    if layout != "v2":
        twin.img("bitmap", "--add", "top.qcow2", "b0")
        twin.img("bitmap", "--add", "-g", "512", "top.qcow2", "b1")
    twin.read("check", "top.qcow2")


def repaired(directory, name, how, program, whose):
    """A copy, repaired; returns the copy's name and what was said."""
    copy = f"{whose}-{how}-{name}"
    shutil.copy(directory / name, directory / copy)
    result = program.at(directory)("check", "-r", how, copy)
    result.out = result.out.replace(copy, name)
    result.err = result.err.replace(copy, name)
    return copy, result


def summary(result):
    """stdout. A snapshot table that is written anew has another place in each program. Of an entry
    that is replaced for another reason QEMU does not count the reserved bits as mended."""
    moved = "snapshot table" in result.err
    bits = len(re.findall(r"^Repairing found l[12] entry", result.err, re.M | re.I))
    out = re.sub(r"^(    )(\d+)( corruptions)$", lambda m: f"{m[1]}{int(m[2]) - bits}{m[3]}",
                 result.out, flags=re.M)
    return [line for line in out.splitlines() if not (moved and "end offset" in line)]


def gave_up(theirs):
    """QEMU stops at what it cannot read or write; qimg goes on, and says what else there is."""
    return theirs.code == 1


def check_repair(directory, name, how, what):
    mine, ours = repaired(directory, name, how, run.as_qemu_img(), "ours")
    other, theirs = repaired(directory, name, how, run.qemu_img(), "theirs")
    compare = run.qemu_img(directory)
    # QEMU writes tables that lie upon the guest's data; qimg leaves these.
    harmless = compare("compare", name, other).code == 0
    # And it does not make the file as long as a block far behind its end says.
    if theirs.code == 0 and harmless and "could not resize image: File too large" not in ours.err:
        assert (ours.code, summary(ours)) == (0, summary(theirs)), \
            f"{what} -r {how}\n{say(ours)}{say(theirs)}"
    if harmless:
        allowed = (0, 1, 2) if gave_up(theirs) else (0, theirs.code)
        assert ours.code in allowed, f"{what} -r {how}\n{say(ours)}{say(theirs)}"
    again = run.as_qemu_img().at(directory)("check", "-r", how, mine)
    if ours.code == 0:
        assert again.code == 0 and "Repairing" not in again.err, f"{what}: twice\n{say(again)}"
        verdict = run.qemu_img(directory)("check", mine)
        assert verdict.code == 0, f"{what} -r {how}\n{say(ours)}{say(verdict)}"
    readable = run.qemu_img(directory)("compare", name, name)
    if readable.code == 0:
        same = run.qemu_img(directory)("compare", name, mine)
        assert same.code == 0, f"{what} -r {how}: the guest sees something else\n{say(ours)}"


@pytest.mark.parametrize("layout", BROKEN)
def test_one_broken_field(twin, layout):
    name = make(twin, layout)
    whole = twin.theirs / name
    for seed in range(SEEDS):
        shutil.copy(whole, twin.theirs / "broken.qcow2")
        what = f"{layout}, seed {seed}: " + break_one(twin.theirs / "broken.qcow2", seed)
        for args in (("check",), ("check", "--output=json")):
            mine = run.as_qemu_img().at(twin.theirs)(*args, "broken.qcow2")
            oracle = run.qemu_img().at(twin.theirs)(*args, "broken.qcow2")
            assert normalise.ours(mine) == normalise.theirs(oracle), \
                f"{what}\n{say(mine)}---\n{say(oracle)}"
        for how in ("leaks", "all"):
            check_repair(twin.theirs, "broken.qcow2", how, what)


# An entry of the refcount table, what it says, and whether the cluster that it names is counted.
OUTSIDE = {
    "counted": (1, 1 << 20, True), "not counted": (1, 1 << 20, False),
    "signed overflow": (1, 0x7fffffffffff0000, False), "overflow": (1, 0xffffffffffff0000, False),
    "overflow, where counts are": (0, 0x8000000000020000, False),
}


@pytest.mark.parametrize("how", ("none", "leaks", "all"))
@pytest.mark.parametrize("case", OUTSIDE)
def test_a_refcount_block_behind_the_end_of_the_file(twin, case, how):
    """As in QEMU's own test 108: what is said, what is counted, and a second look that finds
    nothing."""
    index, entry, counted = OUTSIDE[case]
    twin.img("create", "-q", "-f", "qcow2", "a", "64M")
    twin.io("a", "write -q -P 7 0 100k", options=("-f", "qcow2"))
    with open(twin.theirs / "a", "r+b") as image:
        image.seek(0x10000 + 8 * index)
        image.write(entry.to_bytes(8, "big"))
        image.seek(0x20020)
        image.write(bytes([0, counted]))
    twin.read("map", "--output=json", "a")
    twin.write("check", *(() if how == "none" else ("-r", how)), "a")
    twin.same_guest("a")
    if how == "all":
        twin.read("check", "a")


@pytest.mark.parametrize("cluster", (1, 2))
def test_a_refcount_block_upon_what_one_bit_counts_already(twin, cluster):
    """The refcount table itself, and the block of the first entry. QEMU leaves it so; qimg does
    unless errors are to be mended too."""
    twin.img("create", "-q", "-f", "qcow2", "-o", "refcount_bits=1", "a", "1M")
    with open(twin.theirs / "a", "r+b") as image:
        image.seek(0x10010)
        image.write((cluster << 16).to_bytes(8, "big"))
    twin.read("check", "a")
    assert twin.write("check", "-r", "leaks", "a").code == 2
    twin.same_file("a")
    run.as_qemu_img()("check", "-r", "all", twin.ours / "a").ok()
    run.qemu_img()("check", twin.ours / "a").ok()


@pytest.mark.parametrize("bit", (0, 1))
def test_dirty_and_corrupt_images(twin, bit):
    name = make(twin, "v3")
    set_bit(twin.theirs / name, bit)
    twin.read("check", name)
    twin.write("check", "-r", "leaks", name)
    twin.same_file(name)


def test_a_truncated_image_is_mended_so_that_it_reads_the_same(twin):
    name = make(twin, "v3")
    broken = twin.theirs / "cut.qcow2"
    data = (twin.theirs / name).read_bytes()
    broken.write_bytes(data[:len(data) - 5 * 65536])
    check_repair(twin.theirs, "cut.qcow2", "all", "cut")
    after = run.qemu_img(twin.theirs)("check", "ours-all-cut.qcow2")
    assert after.code == 0, say(after)


def test_an_undone_repair_leaves_the_very_file(twin, qimg):
    name = make(twin, "v3")
    for seed in range(SEEDS):
        broken = qimg.cwd / "broken.qcow2"
        shutil.copy(twin.theirs / name, broken)
        what = break_one(broken, seed)
        before = broken.read_bytes()
        result = qimg("check", "-r", "all", "--undo", "undo", "broken.qcow2")
        if broken.read_bytes() == before:
            assert not (qimg.cwd / "undo").exists() or "repaired" in result.out
            (qimg.cwd / "undo").unlink(missing_ok=True)
            continue
        qimg("check", "--undo-apply", "undo", "broken.qcow2").ok()
        assert broken.read_bytes() == before, f"seed {seed}: {what}"
        (qimg.cwd / "undo").unlink()


def test_formats_without_a_check(twin):
    (twin.theirs / "a.raw").write_bytes(bytes(4096))
    twin.read("check", "-f", "raw", "a.raw")
    twin.read("check", "-f", "raw", "--output=json", "a.raw")


def test_wrong_usage(twin):
    make(twin, "v3")
    for args in (("nox",), (), ("a.qcow2", "b"), ("-f", "nosuch", "a.qcow2"),
                 ("-T", "foo", "a.qcow2"), ("-U", "-r", "all", "a.qcow2")):
        twin.read("check", *args)


def test_a_table_that_lies_where_the_counts_did(twin):
    """Once the counts are rebuilt elsewhere nothing keeps its flags from being mended."""
    twin.img("create", "-q", "-f", "qcow2", "-o", "cluster_size=512", "a", "1M")
    twin.io("a", "write -q -P 7 0 10k", options=("-f", "qcow2"))
    with open(twin.theirs / "a", "r+b") as image:
        image.seek(40)
        l1, counts = struct.unpack(">QQ", image.read(16))
        image.seek(l1 + 5 * 8)
        image.write(struct.pack(">Q", counts))
    said = twin.write("check", "-r", "all", "a")
    assert said.code == 0 and "Repairing OFLAG_COPIED data cluster" in said.err
    twin.read("check", "a").ok()
