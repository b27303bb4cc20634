# SPDX-License-Identifier: Apache-2.0
"""`rebase` that compares and copies: the guest reads what it read before, over another chain."""
import json
import os
import struct

import pytest

from pylib import images, run, verbs
from pylib.paths import LONG

MIB = 1 << 20
EVEN = 1 * MIB


def raw(twin, name, size, *writes):
    twin.img("create", "-q", "-f", "raw", name, size)
    if writes:
        twin.io(name, *writes, options=("-f", "raw"))


def qcow2(twin, name, size, *writes, options="compat=1.1", backing=()):
    twin.img("create", "-q", "-f", "qcow2", "-o", options, *backing, name, size)
    if writes:
        twin.io(name, *writes, options=("-f", "qcow2"))


def over(name, fmt="qcow2"):
    return ("-b", name, "-F", fmt)


# --- what may lie below: each makes old and new (or none) for a top of 1 MiB + 3 sectors ----------

TOP = EVEN + 3 * 512


def one_chain_down(twin, options):
    """The new base is further down in the old chain."""
    raw(twin, "new", TOP, "write -q -P 1 0 800k")
    qcow2(twin, "mid", TOP, "write -q -P 2 100k 70k", "write -q -z 300k 64k", "discard -q 0 128k",
          options=options, backing=over("new", "raw"))
    qcow2(twin, "old", TOP, "write -q -P 3 140k 7k", options=options, backing=over("mid"))
    return over("old"), over("new", "raw")


def siblings(twin, options):
    """Both stand on one ancestor."""
    raw(twin, "root", TOP, "write -q -P 1 0 1M")
    qcow2(twin, "old", TOP, "write -q -P 2 128k 100k", "write -q -z 512k 128k",
          "write -q -P 5 700k 3k", options=options, backing=over("root", "raw"))
    qcow2(twin, "new", TOP, "write -q -P 2 128k 64k", "write -q -P 3 300k 5k",
          "write -q -P 0 512k 64k", options=options, backing=over("root", "raw"))
    return over("old"), over("new")


def strangers(twin, _options):
    raw(twin, "old", TOP, "write -q -P 1 0 300k", "write -q -P 2 500k 100k")
    raw(twin, "new", TOP, "write -q -P 1 0 200k", "write -q -P 3 400k 200k")
    return over("old", "raw"), over("new", "raw")


def short_old(twin, options):
    """What lies past the end of the old base are zeros, whatever the new one has there."""
    qcow2(twin, "old", 300 * 1024 + 512, "write -q -P 1 0 300k", options=options)
    raw(twin, "new", 2 * MIB, "write -q -P 1 0 280k", "write -q -P 4 280k 1500k")
    return over("old"), over("new", "raw")


def short_new(twin, options):
    raw(twin, "old", 2 * MIB, "write -q -P 1 0 900k")
    qcow2(twin, "new", 300 * 1024 + 512, "write -q -P 1 0 300k", options=options)
    return over("old", "raw"), over("new")


def to_none(twin, options):
    qcow2(twin, "old", 700 * 1024, "write -q -P 1 10k 500k", "write -q -z 200k 64k",
          options=options)
    return over("old"), ("-b", "")


def from_none(twin, _options):
    raw(twin, "new", TOP, "write -q -P 1 100k 500k")
    return (), over("new", "raw")


BELOW = (one_chain_down, siblings, strangers, short_old, short_new, to_none, from_none)

OWN = ("write -q -P 7 90k 20k", "write -q -z 400k 70k", f"write -q -P 8 {TOP - 512} 512",
       "discard -q 96k 4k")

LAYOUTS = ("compat=1.1", "cluster_size=512", "cluster_size=2M", "extended_l2=on",
           "compat=0.10,cluster_size=4k", "data_file=data.bin")


def top_over(twin, below, options, *extra):
    old, new = below(twin, "compat=1.1" if "data_file" in options else options)
    qcow2(twin, "top", TOP, *OWN, *extra, options=options, backing=old)
    twin.fork()
    return new


def own_of(directory, name):
    """What an image has itself, as [start, end) pairs."""
    entries = json.loads(run.qemu_img(directory)("map", "--output=json", name).ok().out)
    found = []
    for entry in entries:
        if entry["depth"] > 0 or not entry["present"]:
            continue
        if found and found[-1][1] == entry["start"]:
            found[-1][1] += entry["length"]
        else:
            found.append([entry["start"], entry["start"] + entry["length"]])
    return found


def file_length(path):
    return path.stat().st_size


def same_as_qemus(twin, cluster=65536):
    verbs.assert_same(twin, "top", mapped=False)
    assert own(twin.ours) == own(twin.theirs)
    mine, oracle = ((d / "top").stat().st_size for d in (twin.ours, twin.theirs))
    assert mine <= -(-oracle // cluster) * cluster


def own(directory):
    return own_of(directory, "top")


class Before:
    """What the guest read in the beginning."""

    def __init__(self, twin):
        self.twin, self.raw = twin, twin.scratch / "before"
        run.qemu_img(twin.theirs)("convert", "-O", "raw", "top", self.raw).ok()

    def is_what_is_read(self):
        after = self.twin.scratch / "after"
        run.qemu_img(self.twin.ours)("convert", "-O", "raw", "top", after).ok()
        assert after.read_bytes() == self.raw.read_bytes()
        verbs.assert_clean(self.twin.ours, "top")


# Each chain and each layout more than once; all of them in the long tier.
PAIRS = [(below, options) for i, below in enumerate(BELOW) for k, options in enumerate(LAYOUTS)
         if LONG or (i + k) % 3 == 0]


@pytest.mark.parametrize("below,options", PAIRS,
                         ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_every_pair_of_chains(twin, below, options):
    cluster = images.cluster_size(options)
    new = top_over(twin, below, options)
    before = Before(twin)
    twin.write("rebase", *new, "top").ok()
    before.is_what_is_read()
    # QEMU loses zeros where an image of version 2 had no backing file.
    if not (below is from_none and "compat=0.10" in options):
        same_as_qemus(twin, cluster)
    # What differed is there now: the same again changes the header's cluster at most.
    copied = (twin.ours / "top").read_bytes()[cluster:]
    run.ours(twin.ours)("rebase", *new, "top").ok()
    assert (twin.ours / "top").read_bytes()[cluster:] == copied


def zeros_of(directory):
    """What the top has itself and is marked as zeros, without a place, as [start, end) pairs."""
    entries = json.loads(run.qemu_img(directory)("map", "--output=json", "top").ok().out)
    return [[e["start"], e["start"] + e["length"]] for e in entries
            if e["depth"] == 0 and e["present"] and not e["data"]]


@pytest.mark.parametrize("options", ("compat=1.1", "extended_l2=on", "cluster_size=4k"))
def test_zeros_that_the_old_base_has(twin, options):
    """QEMU marks those that lie behind its end, and writes the others: `map` shows it. Under our
    own name all are marked. The plan knows of both."""
    raw(twin, "old", 1100 * 1024, "write -q -P 1 0 300k", "write -q -P 4 512k 100k")
    raw(twin, "new", 3 * MIB, "write -q -P 4 0 3M")
    qcow2(twin, "top", 3 * MIB, "write -q -P 7 200k 50k", "write -q -P 7 2000k 50k",
          options=options, backing=over("old", "raw"))
    run.qemu_img(twin.theirs)("convert", "-O", "raw", "top", twin.scratch / "before").ok()
    twin.fork()
    to_new = ("-b", "new", "-F", "raw")
    (twin.ours / "native").write_bytes((twin.ours / "top").read_bytes())
    planned = json.loads(run.as_qemu_img(twin.ours)(
        "rebase", "--plan", "--output=json", *to_new, "top").ok().out)
    twin.write("rebase", *to_new, "top").ok()
    verbs.assert_same(twin, "top", mapped=False)
    assert zeros_of(twin.ours) == zeros_of(twin.theirs)
    assert zeros_of(twin.ours)[0][0] >= 1100 * 1024
    assert sum(b - a for a, b in zeros_of(twin.ours)) <= planned["zero-at-most"]
    assert planned["copy-at-most"] <= 1100 * 1024 + images.cluster_size(options)
    run.ours(twin.ours)("rebase", *to_new, "native").ok()
    os.replace(twin.ours / "native", twin.ours / "top")
    assert zeros_of(twin.ours)[0][0] < 512 * 1024
    run.qemu_img(twin.ours)("compare", "-F", "raw", "top", twin.scratch / "before").ok()


@pytest.mark.parametrize("options", LAYOUTS)
def test_zeros_up_to_an_end_inside_a_cluster(twin, options):
    """Neither the top nor an old base has anything there; the new base is longer, and has."""
    raw(twin, "new", 2 * MIB, "write -q -P 1 0 2M")
    qcow2(twin, "top", 200 * 1024 + 512, options=options)
    twin.fork()
    before = Before(twin)
    run.as_qemu_img(twin.ours)("rebase", "-b", "new", "-F", "raw", "top").ok()
    before.is_what_is_read()


@pytest.mark.parametrize("old,new,top", ((512, "2M", "64k"), ("2M", 512, "64k"), (512, "64k", "2M"),
                                         ("64k", 512, 512)))
def test_cluster_sizes_that_differ(twin, old, new, top):
    """Runs of the chains begin and end inside clusters of the top, which are copied whole."""
    writes = [f"write -q -P {n} {n * 37 * 1024 + 512 * n} {5 + n * 3}k" for n in range(1, 25)]
    raw(twin, "root", MIB, "write -q -P 99 0 1M")
    root = over("root", "raw")
    qcow2(twin, "old", MIB, *writes[::2], options=f"cluster_size={old}", backing=root)
    qcow2(twin, "new", MIB, *writes[1::3], "write -q -z 512k 3k", options=f"cluster_size={new}",
          backing=root)
    qcow2(twin, "top", MIB, options=f"cluster_size={top}", backing=over("old"))
    twin.fork()
    before = Before(twin)
    twin.write("rebase", *over("new"), "top").ok()
    before.is_what_is_read()
    same_as_qemus(twin)


@pytest.mark.parametrize("options", ("compat=1.1", "extended_l2=on", "compression_type=zstd"))
def test_compress(twin, options):
    """-c packs whole clusters; of one that the top has a part of, the rest is copied plainly."""
    raw(twin, "old", 2 * MIB, *(f"write -q -P {n + 1} {n * 64}k 64k" for n in range(32)))
    qcow2(twin, "top", 2 * MIB, "write -q -P 77 132k 2k", "write -q -z 256k 2k", options=options,
          backing=over("old", "raw"))
    twin.fork()
    before = Before(twin)
    run.as_qemu_img(twin.ours)("rebase", "-c", "-b", "", "top").ok()
    before.is_what_is_read()
    checked = json.loads(run.qemu_img(twin.ours)("check", "--output=json", "top").ok().out)
    assert checked["compressed-clusters"] == 30 # all but those that the top has a part of
    assert (twin.ours / "top").stat().st_size < MIB


def test_compress_into_clusters_that_have_places(twin):
    """Preallocated clusters with nothing in them are filled as they are; QEMU gives up."""
    raw(twin, "old", MIB, "write -q -P 1 0 1M")
    qcow2(twin, "top", MIB, options="extended_l2=on,preallocation=metadata",
          backing=over("old", "raw"))
    twin.fork()
    before = Before(twin)
    run.as_qemu_img(twin.ours)("rebase", "-c", "-b", "", "top").ok()
    before.is_what_is_read()


def test_compressed_bases(twin):
    """Packed clusters below: proved equal where both chains take the same, unpacked otherwise."""
    raw(twin, "root", TOP, "write -q -P 1 0 1M")
    run.qemu_img(twin.theirs)("convert", "-c", "-O", "qcow2", "root", "packed").ok()
    for name, at in (("old", "70k"), ("new", "300k")):
        qcow2(twin, name, TOP, f"write -q -P 5 {at} 10k", backing=over("packed"))
    qcow2(twin, "top", TOP, *OWN, options="cluster_size=4k", backing=over("old"))
    twin.fork()
    before = Before(twin)
    twin.write("rebase", *over("new"), "top").ok()
    before.is_what_is_read()
    same_as_qemus(twin)


# --- QEMU's own tests, as facts ------------------------------------------------------------------


def test_iotest_024_every_combination_of_three(twin):
    """Each cluster of old base, new base and top: there or not; and two of equal content."""
    for name, letter in (("old", 0), ("new", 1), ("top", 2)):
        there = [n for n in range(9) if (n // (1, 3, 9)[letter]) % 3 or letter == 2 and n % 4 == 0]
        fill = {"old": 0x11, "new": 0x22, "top": 0x33}[name]
        writes = [f"write -q -P {0x11 if n == 8 else fill} {n * 64}k 64k" for n in there]
        qcow2(twin, name, "640k", *writes, backing=over("old") if name == "top" else ())
    twin.fork()
    before = Before(twin)
    twin.write("rebase", *over("new"), "top").ok()
    before.is_what_is_read()
    same_as_qemus(twin)


def test_iotest_252_zeros_past_the_old_end_stay_zeros(twin):
    """One chain: the base is larger than what stood on it, and the top larger than both."""
    qcow2(twin, "new", "5M", "write -q -P 0x42 0 5M")
    qcow2(twin, "old", "3M", backing=over("new"))
    qcow2(twin, "top", "8M", "write -q -P 0x23 1M 64k", backing=over("old"))
    twin.fork()
    before = Before(twin)
    twin.write("rebase", *over("new"), "top").ok()
    before.is_what_is_read()
    same_as_qemus(twin)
    assert own(twin.ours) == [[MIB, MIB + 65536], [3 * MIB, 5 * MIB]]


def test_subclusters_are_copied_one_by_one(twin):
    """Of a cluster that differs in one subcluster, that one alone is copied."""
    raw(twin, "new", MIB, "write -q -P 1 0 1M")
    qcow2(twin, "old", MIB, "write -q -P 2 66k 1k", "write -q -P 1 200k 3k",
          options="extended_l2=on", backing=over("new", "raw"))
    qcow2(twin, "top", MIB, "write -q -P 3 70k 2k", options="extended_l2=on", backing=over("old"))
    twin.fork()
    twin.write("rebase", *over("new", "raw"), "top").ok()
    same_as_qemus(twin)
    assert own(twin.ours) == [[66 << 10, 68 << 10], [70 << 10, 72 << 10]]


def test_long_chains_on_both_sides(twin):
    """Two chains of some depth on one ancestor."""
    depth = 60 if LONG else 6
    raw(twin, "root", MIB, "write -q -P 1 0 1M")
    for side in ("a", "b"):
        below = over("root", "raw")
        for n in range(depth):
            at = (n * 37 + (side == "b") * 11) % 240 * 4
            qcow2(twin, f"{side}{n}", MIB, f"write -q -P {n + 2} {at}k 4k",
                  options="cluster_size=4k", backing=below)
            below = over(f"{side}{n}")
    qcow2(twin, "top", MIB, "write -q -P 200 17k 40k", options="cluster_size=4k",
          backing=over(f"a{depth - 1}"))
    twin.fork()
    before = Before(twin)
    twin.write("rebase", *over(f"b{depth - 1}"), "top").ok()
    before.is_what_is_read()
    same_as_qemus(twin)


# --- what QEMU does not have ---------------------------------------------------------------------


@pytest.mark.parametrize("options", ("compat=1.1", "cluster_size=512", "extended_l2=on",
                                     "cluster_size=512,refcount_bits=64", "compat=0.10"))
def test_the_plan_is_kept_to(twin, options):
    raw(twin, "old", 8 * MIB, "write -q -P 1 0 3M", "write -q -P 2 5M 1M")
    qcow2(twin, "top", "9M", "write -q -P 3 1M 100k", options=options, backing=over("old", "raw"))
    if "0.10" not in options:
        twin.img("bitmap", "--add", "top", "b0")
    qimg = run.ours(twin.theirs)
    plan = json.loads(qimg("rebase", "--plan", "--output=json", "-b", "", "top").ok().out)
    text = qimg("rebase", "--plan", "-b", "", "top").ok().out
    assert f"({plan['proved-equal']} bytes), not read" in text
    assert plan["own"] + plan["proved-equal"] + plan["compare"] == 9 * MIB
    assert plan["read-new"] == 0 and plan["zero-at-most"] == 0
    assert plan["read-old"] <= plan["copy-at-most"] <= plan["compare"]
    assert plan["file-length"] == (twin.theirs / "top").stat().st_size
    qimg("rebase", "-b", "", "top").ok()
    verbs.assert_clean(twin.theirs, "top")
    length = (twin.theirs / "top").stat().st_size
    assert length <= plan["file-length-at-most"] <= length * 5 // 4


@pytest.mark.parametrize("alias", (os.symlink, os.link), ids=("symlink", "link"))
def test_the_image_itself_is_known_by_any_name(twin, alias):
    raw(twin, "base", MIB)
    qcow2(twin, "top", MIB, backing=over("base", "raw"))
    alias("top" if alias is os.symlink else twin.theirs / "top", twin.theirs / "alias")
    qcow2(twin, "child", MIB, backing=("-u", *over("alias")))
    for onto in ("top", "alias", "child", "./top", twin.theirs / "top"):
        run.ours(twin.theirs)("rebase", *over(onto), "top").failed(
            f"Could not open new backing file '{onto}': ", "which cannot lie below itself")


def test_names_are_joined_with_the_directory_of_the_image(twin):
    (twin.theirs / "sub").mkdir()
    raw(twin, "old", MIB, "write -q -P 1 0 64k")
    raw(twin, "sub/new", MIB, "write -q -P 2 64k 64k")
    twin.img("create", "-q", "-f", "qcow2", "-b", "../old", "-F", "raw", "sub/top")
    run.ours(twin.theirs)("rebase", "-b", "new", "-F", "raw", "sub/top").ok()
    assert own_of(twin.theirs, "sub/top") == [[0, 128 << 10]]


def test_snapshots_are_spoken_of(twin):
    raw(twin, "old", MIB, "write -q -P 1 0 64k")
    qcow2(twin, "top", MIB, backing=over("old", "raw"))
    twin.img("snapshot", "-c", "s", "top")
    qimg = run.ours(twin.theirs)
    for command in (("rebase", "--plan", "-b", ""), ("rebase", "-b", "")):
        said = qimg(*command, "top").ok().err
        assert "warning: the 1 internal snapshots of 'top' are not looked at" in said
    assert run.as_qemu_img(twin.theirs)("rebase", *over("old", "raw"), "top").ok().err == ""


@pytest.mark.parametrize("engine", ("io_uring", "threads"))
@pytest.mark.parametrize("cache", ("none", "directsync", "unsafe"))
def test_cache_modes_and_engines(twin, cache, engine):
    new = top_over(twin, siblings, "cluster_size=4k")
    before = Before(twin)
    run.ours(twin.ours)("--engine", engine, "rebase", "-t", cache, "-T", cache, *new, "top").ok()
    before.is_what_is_read()


# --- words ---------------------------------------------------------------------------------------

REFUSED = (
    ("-b", "nox", "-F", "raw", "top"), ("-b", "new", "-F", "nosuch", "top"), ("-b", "new", "top"),
    ("-b", "new", "-F", "qcow2", "top"), ("-t", "foo", "-b", "new", "-F", "raw", "top"),
    ("-T", "foo", "-b", "new", "-F", "raw", "top"), ("-b", "new", "-F", "raw", "nox"),
    ("-b", "top", "-F", "qcow2", "new"), ("-f", "raw", "-b", "new", "-F", "raw", "top"),
    ("-b", "n" * 1024, "-F", "raw", "top"), ("-b", "new", "-F", "raw"), ("-b", "broken", "-F",
    "qcow2", "top"), ("-b", "new", "-F", "raw", "broken"),
)


@pytest.mark.parametrize("args", REFUSED, ids=lambda args: " ".join(args)[:60])
def test_refused_with_qemus_words_and_untouched(twin, args):
    raw(twin, "new", MIB, "write -q -P 1 0 1M")
    qcow2(twin, "top", MIB)
    twin.img("create", "-q", "-f", "qcow2", "-u", "-b", "gone", "-F", "raw", "broken", "1M")
    twin.fork()
    before = (twin.ours / "top").read_bytes()
    twin.write("rebase", *args)
    assert (twin.ours / "top").read_bytes() == before


def test_progress_and_quiet(twin):
    raw(twin, "new", 4 * MIB, "write -q -P 1 0 4M")
    qcow2(twin, "top", 4 * MIB)
    twin.fork()
    said = run.as_qemu_img(twin.ours)("rebase", "-p", "-b", "new", "-F", "raw", "top").ok().out
    assert said.startswith("    (0.00/100%)\r") and said.endswith("    (100.00/100%)\r\n")
    said = run.as_qemu_img(twin.ours)("rebase", "-p", "-q", "-b", "", "top").ok()
    assert said.out + said.err == ""


# --- images that are wrong -----------------------------------------------------------------------


def spoil(path, index, word):
    """Makes @word the L2 entry of guest cluster @index."""
    with open(path, "r+b") as image:
        image.seek(40)
        image.seek(struct.unpack(">Q", image.read(8))[0])
        table = struct.unpack(">Q", image.read(8))[0] & 0x00fffffffffffe00
        image.seek(table + 8 * index)
        image.write(struct.pack(">Q", word))


SPOILED = {"unaligned": 1 << 63 | 0x50200, "packed-junk": 1 << 62 | 0x50000}


ONTO = (over("new", "raw"), over("root", "raw"), ("-b", ""))
# The top's own data is not read.
WRONG = [(name, kind, onto) for i, onto in enumerate(ONTO) for k, kind in enumerate(SPOILED)
         for n, name in enumerate(("old", "root2", "top"))
         if (name, kind) != ("top", "packed-junk") and (LONG or (i + k + n) % 3 == 0)]


@pytest.mark.parametrize("name,kind,onto", WRONG)
def test_wrong_tables_are_met_where_qemu_meets_them(twin, name, kind, onto):
    """root <- root2 <- old <- top, and new."""
    for plain in ("root", "new"):
        raw(twin, plain, MIB, f"write -q -P {ord(plain[0])} 0 1M")
    qcow2(twin, "root2", MIB, "write -q -P 5 256k 64k", backing=over("root", "raw"))
    qcow2(twin, "old", MIB, "write -q -P 3 64k 64k", backing=over("root2"))
    qcow2(twin, "top", MIB, "write -q -P 4 512k 64k", backing=over("old"))
    spoil(twin.theirs / name, {"old": 1, "root2": 4, "top": 8}[name], SPOILED[kind])
    twin.fork()
    result = run.as_qemu_img(twin.ours)("rebase", *onto, "top")
    oracle = run.qemu_img(twin.theirs)("rebase", *onto, "top")
    assert result.code == oracle.code == 1
    assert result.err.splitlines()[-1] == oracle.err.splitlines()[-1]
    assert verbs.described(twin.ours, "top")["backing-filename"] == "old"


def test_wrong_tables_that_stay_below_do_not_matter(twin):
    raw(twin, "root", MIB, "write -q -P 1 0 1M")
    qcow2(twin, "new", MIB, "write -q -P 5 256k 64k", backing=over("root", "raw"))
    qcow2(twin, "old", MIB, "write -q -P 3 64k 64k", backing=over("new"))
    qcow2(twin, "top", MIB, backing=over("old"))
    spoil(twin.theirs / "new", 4, SPOILED["unaligned"])
    twin.fork()
    twin.write("rebase", *over("new"), "top").ok()
    assert verbs.described(twin.ours, "top")["backing-filename"] == "new"
