# SPDX-License-Identifier: Apache-2.0
"""Features changed in place: the same commands on qimg and qemu-img, over every layout."""
import pytest

from pylib import images, run, verbs

A = "a.qcow2"
LAYOUTS = [pytest.param(options, id=name) for name, options in images.LAYOUTS.items()]


@pytest.mark.parametrize("options", LAYOUTS)
def test_down_to_version_2_and_up_again(twin, options):
    images.make(twin, options)
    twin.fork()
    for level in ("0.10", "1.1", "v2", "v3"):
        twin.write("amend", "-o", f"compat={level}", A)
        verbs.assert_same(twin, mapped=False)


@pytest.mark.parametrize("options", [pytest.param(options, id=name) for name, options
                                     in images.LAYOUTS.items()
                                     if "2M" not in name and name not in ("r1", "r2")])
def test_refcount_widths(twin, options):
    """QEMU looks at each count that a block could hold: narrow ones take it long."""
    images.make(twin, options)
    twin.fork()
    narrow = (1, 2, 4) if images.cluster_size(options) <= 4096 else ()
    for bits in (64, 8, *narrow, 32, 16):
        twin.write("amend", "-o", f"refcount_bits={bits}", A)
        verbs.assert_clean(twin.ours, A)
    verbs.assert_same(twin)
    verbs.io(twin, A, "write -q -P 55 2M 300k")
    verbs.assert_same(twin)


@pytest.mark.parametrize("options", ("compat=1.1", "cluster_size=4k"))
def test_zero_clusters_over_a_backing_file_become_data(twin, options):
    twin.img("create", "-q", "-f", "raw", "base.raw", "4M")
    twin.io("base.raw", "write -q -P 186 0 4M", options=("-f", "raw"))
    twin.img("create", "-q", "-f", "qcow2", "-o", options, "-b", "base.raw", "-F", "raw", A)
    twin.io(A, "write -q -P 3 0 256k", "write -q -z 64k 128k", "write -q -z -u 1M 512k",
            options=("-f", "qcow2"))
    twin.img("snapshot", "-c", "one", A)
    twin.io(A, "write -q -P 4 1M 64k", "write -q -z 2M 64k", options=("-f", "qcow2"))
    twin.fork()
    twin.write("amend", "-o", "compat=0.10", A).ok()
    verbs.assert_same(twin, mapped=False)
    verbs.io(twin, A, "write -q -P 5 1100k 64k")
    twin.write("snapshot", "-a", "one", A).ok()
    twin.write("snapshot", "-d", "one", A).ok()
    verbs.assert_same(twin, mapped=False)


def test_a_snapshots_data_under_a_zero_cluster_stays(twin, as_qemu_img):
    """QEMU zeroes the cluster that the zero cluster keeps reserved, and the snapshot's data is
    in it."""
    twin.img("create", "-q", "-f", "qcow2", A, "1M")
    twin.io(A, "write -q -P 3 0 64k", options=("-f", "qcow2"))
    twin.img("snapshot", "-c", "one", A)
    twin.io(A, "write -q -z 0 64k", options=("-f", "qcow2"))
    twin.fork()
    as_qemu_img.at(twin.ours)("amend", "-o", "compat=0.10", A).ok()
    verbs.assert_clean(twin.ours, A)
    as_qemu_img.at(twin.ours)("snapshot", "-a", "one", A).ok()
    said = run.qemu_io(twin.ours)("-f", "qcow2", "-c", "read -P 3 0 64k", A).ok()
    assert "verification failed" not in said.out


def test_counts_of_snapshots_may_be_too_great(twin):
    twin.img("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", A, "1M")
    twin.io(A, "write -q -P 1 0 64k", options=("-f", "qcow2"))
    for name in ("one", "two", "three"):
        twin.img("snapshot", "-c", name, A)
    twin.fork()
    for bits in (1, 2, 64, 2, 8):
        twin.write("amend", "-o", f"refcount_bits={bits}", A)
        verbs.assert_same(twin)


@pytest.mark.parametrize("options", (
    "lazy_refcounts=on", "lazy_refcounts=off", "size=20M", "size=1M", "size=0",
    "compat=v2,refcount_bits=16", "compat=v3,lazy_refcounts=on,refcount_bits=32,size=30M",
    "refcount_bits=64,size=2M"))
def test_features_of_the_header(twin, options):
    images.make(twin, "compat=1.1")
    twin.fork()
    twin.write("amend", "-o", options, A).ok()
    verbs.assert_same(twin)


def test_names_of_data_files(twin, as_qemu_img):
    images.make(twin, "data_file=data.bin,data_file_raw=on")
    (twin.theirs / "other.bin").write_bytes((twin.theirs / "data.bin").read_bytes())
    twin.fork()
    for options in ("data_file_raw=on", "data_file_raw=off", "data_file_raw=on",
                    "data_file=other.bin"):
        twin.write("amend", "-o", options, A)
        verbs.assert_same(twin)
    as_qemu_img.at(twin.ours)("amend", "-o", "data_file=", A).ok()
    assert "data-file" not in verbs.described(twin.ours, A)["format-specific"]["data"]


def test_bitmaps_go_with_version_3_and_leak_nothing(twin, as_qemu_img):
    """QEMU leaves their clusters behind."""
    images.make(twin, "compat=1.1")
    twin.img("bitmap", "--add", A, "b0")
    twin.fork()
    mine = as_qemu_img.at(twin.ours)
    mine("amend", "-o", "refcount_bits=64", A).ok()
    assert "bitmaps" in verbs.described(twin.ours, A)["format-specific"]["data"]
    mine("amend", "-o", "refcount_bits=16,compat=0.10", A).ok()
    verbs.assert_clean(twin.ours, A)
    mine("amend", "-o", "compat=1.1", A).ok()
    assert "bitmaps" not in verbs.described(twin.ours, A)["format-specific"]["data"]


def test_snapshots_of_version_2_get_what_version_3_asks_for(twin):
    images.make(twin, "compat=0.10")
    twin.img("snapshot", "-c", "one", A)
    twin.io(A, "write -q -P 44 0 64k", options=("-f", "qcow2"))
    twin.fork()
    twin.write("amend", "-o", "compat=1.1", A).ok()
    verbs.assert_same(twin)
    twin.write("resize", A, "20M").ok()
    twin.write("snapshot", "-a", "one", A).ok()
    verbs.assert_same(twin)


REFUSED = (
    (A,), ("-o", "cluster_size=4k", A), ("-o", "backing_file=x", A), ("-o", "foo=bar", A),
    ("-o", "compat=v9", A), ("-o", "refcount_bits=3", A), ("-o", "refcount_bits=0", A),
    ("-o", "refcount_bits=128", A), ("-o", "data_file=x", A), ("-o", "data_file_raw=on", A),
    ("-o", "encrypt.format=luks", A), ("-o", "extended_l2=on", A), ("-o", "nocow=on", A),
    ("-o", "compat=v2,refcount_bits=8", A), ("-o", "compat=v2,lazy_refcounts=on", A),
    ("-o", "size=x", A), ("-o", "lazy_refcounts=maybe", A), ("-o", "size=9E", A),
    ("-o", "size=7E", A), ("-o", "size=10000000", A), ("-f", "raw", "-o", "size=2M", "a.raw"),
    ("-o", "size=2M", "nox"), ("-o", ",size=2M", A), ("-t", "foo", "-o", "size=2M", A),
    ("-o", "encrypt.state=active", A), ("-o", "size=2M"), ("-o", "help"),
    ("-o", "help", "-f", "raw"),
    ("-o", "backing_fmt=raw", A), ("-o", "size=2M", A, A),
)


@pytest.mark.parametrize("args", REFUSED, ids=" ".join)
def test_refused_in_qemus_words_and_untouched(twin, args):
    images.make(twin, "compat=1.1")
    twin.img("create", "-q", "-f", "raw", "a.raw", "1M")
    twin.fork()
    before = (twin.ours / A).read_bytes()
    assert twin.write("amend", *args).code == 1
    assert (twin.ours / A).read_bytes() == before


def test_progress(twin):
    images.make(twin, "compat=1.1")
    twin.fork()
    mine = run.as_qemu_img(twin.ours)("amend", "-p", "-o", "refcount_bits=64", A).ok()
    assert mine.out.startswith("    (0.00/100%)\r") and mine.out.endswith("(100.00/100%)\r\n")
    assert run.as_qemu_img(twin.ours)("amend", "-p", "-q", "-o", "compat=1.1", A).ok().out == ""


def test_help_lists_what_can_be_changed(twin):
    images.make(twin, "compat=1.1")
    mine = run.as_qemu_img(twin.theirs)("amend", "-o", "help", A).ok().out
    theirs = run.qemu_img(twin.theirs)("amend", "-o", "help", A).ok().out
    encrypted = [line for line in theirs.splitlines() if "encrypt." in line]
    assert mine.splitlines() == [line for line in theirs.splitlines() if line not in encrypted]


def test_progress_of_a_downgrade_goes_once_through_all_snapshots(twin):
    twin.img("create", "-q", "-f", "qcow2", A, "4G")
    for name in ("one", "two"):
        twin.io(A, *(f"write -q -z {at}G 64k" for at in range(4)), options=("-f", "qcow2"))
        twin.img("snapshot", "-c", name, A)
    twin.write("amend", "-p", "-o", "compat=0.10", A)
