# SPDX-License-Identifier: Apache-2.0
"""Other sizes: the same commands on qimg and qemu-img, over every layout."""
import json

import pytest

from pylib import images, run, verbs

A = "a.qcow2"
LAYOUTS = [pytest.param(options, id=name) for name, options in images.LAYOUTS.items()]


@pytest.mark.parametrize("options", LAYOUTS)
def test_growing_and_shrinking_at_cluster_bounds(twin, options):
    twin.img("create", "-q", "-f", "qcow2", "-o", options, A, "8M")
    twin.io(A, *images.WRITES[:7], "write -q -P 9 7M 1M", options=("-f", "qcow2"))
    twin.fork()
    small = images.cluster_size(options) == 512  # QEMU takes long to shrink much of these
    for size in ("+8M", "20M" if small else "300M", "8M", "4M", "-2M"):
        shrink = ("--shrink",) if size in ("8M", "4M", "-2M") else ()
        twin.write("resize", *shrink, A, size).ok()
        verbs.assert_same(twin)
    verbs.io(twin, A, "write -q -P 3 0 512k")
    verbs.assert_same(twin)


@pytest.mark.parametrize("options", LAYOUTS)
def test_what_was_cut_off_never_comes_back(twin, as_qemu_img, options):
    """QEMU brings back what stands behind the end in the last cluster."""
    images.make(twin, options)
    twin.fork()
    mine = as_qemu_img.at(twin.ours)
    mine("resize", "--shrink", A, "100k").ok()
    mine("resize", A, "4M").ok()
    verbs.assert_clean(twin.ours, A)
    said = run.qemu_io(twin.ours)("-f", "qcow2", "-c", f"read -P 0 100k {4096 - 100}k",
                                  "-c", "read -P 1 0 100k", A).ok()
    assert "verification failed" not in said.out
    # QEMU, too, finds nothing when it grows what we shrank.
    mine("resize", "--shrink", A, "90k").ok()
    run.qemu_img(twin.ours)("resize", "-q", A, "4M").ok()
    said = run.qemu_io(twin.ours)("-f", "qcow2", "-c", f"read -P 0 90k {4096 - 90}k", A).ok()
    assert "verification failed" not in said.out


@pytest.mark.parametrize("mode", ("off", "metadata", "falloc", "full"))
@pytest.mark.parametrize("options", LAYOUTS)
def test_preallocation(twin, options, mode):
    twin.img("create", "-q", "-f", "qcow2", "-o", options, A, "1M")
    twin.io(A, "write -q -P 1 0 1M", options=("-f", "qcow2"))
    twin.fork()
    twin.write("resize", f"--preallocation={mode}", A, "4M").ok()
    verbs.assert_same(twin, mapped=False)
    if mode in ("falloc", "full"):
        stored = sum(f.stat().st_blocks * 512 for f in twin.ours.iterdir())
        assert stored >= 4 << 20
    verbs.io(twin, A, "write -q -P 2 3M 512k")
    verbs.assert_same(twin, mapped=False)


@pytest.mark.parametrize("mode", ("metadata", "falloc", "full"))
@pytest.mark.parametrize("options", ("compat=1.1", "extended_l2=on"))
def test_the_cluster_in_which_the_disk_ended_is_preallocated_too(twin, options, mode):
    twin.img("create", "-q", "-f", "qcow2", "-o", options, A, "1000k")
    twin.fork()
    twin.write("resize", f"--preallocation={mode}", A, "2M").ok()
    verbs.assert_same(twin, mapped=False)
    checks = [run.qemu_img(place)("check", "--output=json", A).ok().out
              for place in (twin.ours, twin.theirs)]
    counts = [json.loads(check)["allocated-clusters"] for check in checks]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("options", ("compat=1.1", "cluster_size=4k", "extended_l2=on"))
@pytest.mark.parametrize("old,new", ((1024, 2048), (1024, 8192), (1000, 1020), (1000, 4096),
                                     (100, 101), (1000.5, 6000.5)))
def test_growing_hides_a_longer_backing_file(twin, options, old, new):
    twin.img("create", "-q", "-f", "raw", "base.raw", "4M")
    twin.io("base.raw", "write -q -P 186 0 4M", options=("-f", "raw"))
    twin.img("create", "-q", "-f", "qcow2", "-o", options, "-b", "base.raw", "-F", "raw", A,
             str(int(old * 1024)))
    twin.io(A, "write -q -P 3 8k 4k", options=("-f", "qcow2"))
    twin.fork()
    twin.write("resize", A, str(int(new * 1024))).ok()
    verbs.assert_same(twin, mapped=False)


def test_version_2_cannot_hide_it(twin):
    twin.img("create", "-q", "-f", "raw", "base.raw", "4M")
    twin.img("create", "-q", "-f", "qcow2", "-o", "compat=0.10", "-b", "base.raw", "-F", "raw", A,
             "1M")
    twin.fork()
    before = (twin.ours / A).read_bytes()
    twin.write("resize", A, "2M").failed("Failed to zero out new clusters")
    assert (twin.ours / A).read_bytes() == before


@pytest.mark.parametrize("options", ("compat=1.1", "cluster_size=4k", "extended_l2=on",
                                     "refcount_bits=8"))
def test_snapshots_are_not_touched(twin, options):
    images.make(twin, options)
    twin.img("snapshot", "-c", "one", A)
    twin.fork()
    for size in ("1M", "20M", "64k", "8M"):
        twin.write("resize", "--shrink", A, size).ok()
        verbs.assert_same(twin)


@pytest.mark.parametrize("granularity", ("512", "64k"))
def test_bitmaps_follow(twin, granularity):
    twin.img("create", "-q", "-f", "qcow2", A, "64M")
    twin.img("bitmap", "--add", "-g", granularity, A, "b0")
    twin.img("bitmap", "--add", "--disable", A, "b1")
    twin.io(A, "write -q -P 1 1M 1M", "write -q -P 1 60M 64k", options=("-f", "qcow2"))
    twin.fork()
    for size in ("300M", "1G", "30M", "3G"):
        twin.write("resize", "--shrink", A, size).ok()
        verbs.assert_same(twin, mapped=False)
        for bitmap in ("b0", "b1"):
            dirty = [run.qemu_img(d)("bitmap", "--merge", bitmap, "-b", A, "-F", "qcow2", "--add",
                                     "-f", "qcow2", A, f"copy-{bitmap}-{size}").code
                     for d in (twin.ours, twin.theirs)]
            assert dirty == [0, 0] or dirty[0] == dirty[1]


REFUSED = (
    (A,), (A, "0"), (A, "512k"), ("--preallocation=foo", A, "20M"), (A, "4P"), (A, "-1G"),
    ("--preallocation=full", "--shrink", A, "64k"), (A, "x"), (A, "+"), (A, "8E"),
    (A, "+-1M"), (A, "+++1M"), (A, "+ +-1M"),
    (A, "9223372036854775807"), (A, "20M", "21M"), ("nox", "1M"), (A, "10000000"),
    ("v2.qcow2", "20M"), ("--preallocation=metadata", "-f", "raw", "a.raw", "3M"), (),
    ("--image-opts", "driver=raw,file.filename=a.raw,size=512", "4M"),
)


@pytest.mark.parametrize("args", REFUSED, ids=" ".join)
def test_refused_in_qemus_words_and_untouched(twin, args):
    images.make(twin, "compat=1.1")
    twin.img("create", "-q", "-f", "qcow2", "-o", "compat=0.10", "v2.qcow2", "1M")
    twin.img("snapshot", "-c", "s", "v2.qcow2")
    twin.img("create", "-q", "-f", "raw", "a.raw", "1M")
    twin.fork()
    before = [(twin.ours / name).read_bytes() for name in (A, "v2.qcow2", "a.raw")]
    assert twin.write("resize", *args).code == 1
    assert before == [(twin.ours / name).read_bytes() for name in (A, "v2.qcow2", "a.raw")]


@pytest.mark.parametrize("args", (("3M",), ("--preallocation=full", "2M"), ("+1k",), ("1000000",),
                                  ("--preallocation=falloc", "+1M"), ("--shrink", "1000"),
                                  ("--shrink", "-100k"), ("++1k",), ("+ 1k",)), ids=" ".join)
def test_raw_images(twin, args):
    twin.img("create", "-q", "-f", "raw", "a.raw", "1M")
    twin.io("a.raw", "write -q -P 1 0 1M", options=("-f", "raw"))
    twin.fork()
    twin.write("resize", "-f", "raw", *args[:-1], "a.raw", args[-1])
    twin.same_file("a.raw")


def test_a_fresh_grown_image_keeps_its_file(twin, as_qemu_img):
    """Growing within the L1 table is one header sector."""
    images.make(twin, "compat=1.1")
    twin.fork()
    before = (twin.ours / A).read_bytes()
    as_qemu_img.at(twin.ours)("resize", "-q", A, "400M").ok()
    after = (twin.ours / A).read_bytes()
    assert before[512:] == after[512:] and before[:24] == after[:24] and before[32:] == after[32:]
