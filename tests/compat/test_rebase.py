# SPDX-License-Identifier: Apache-2.0
"""`rebase -u`: the header changes, nothing else does."""
import hashlib

import pytest

from compat.normalise import mask
from pylib import images, run


@pytest.fixture
def overlay(twin):
    images.make(twin, "compat=1.1", "base.qcow2")
    twin.img("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2")
    twin.io("top.qcow2", "write -q -P 9 32k 64k", options=("-f", "qcow2"))
    return twin


def same_description(twin, name="top.qcow2"):
    mine, oracle = (mask(run.qemu_img(d)("info", "-U", name).out)
                    for d in (twin.ours, twin.theirs))
    assert mine == oracle
    alone = '{"driver":"qcow2","file":{"driver":"file","filename":"%s"},"backing":null}' % name
    run.qemu_img(twin.ours)("check", f"json:{alone}").ok()


def beyond_first_cluster(path, cluster=65536):
    return hashlib.sha256(path.read_bytes()[cluster:]).hexdigest()


NEW = (
    ("-b", "other.qcow2", "-F", "qcow2"), ("-b", "/abs/other.raw", "-F", "raw"),
    ("-b", "gone", "-F", "vmdk"), ("-b", "", ), (), ("-b", "n" * 1023, "-F", "raw"),
    ("-b", "base.qcow2", "-F", "qcow2"), ("-b", "json:{'driver':'null-co'}", "-F", "raw"),
    ("-b", "a" * 15, "-B", "raw"),
)


@pytest.mark.parametrize("new", NEW, ids=lambda new: " ".join(new)[:40] or "none")
@pytest.mark.parametrize("options", ("compat=1.1", "compat=0.10", "cluster_size=4k"))
def test_new_backing_name(twin, new, options):
    twin.img("create", "-q", "-f", "raw", "base", "1M")
    twin.img("create", "-q", "-f", "qcow2", "-o", options, "-b", "base", "-F", "raw", "top.qcow2")
    twin.io("top.qcow2", "write -q -P 9 0 1M", options=("-f", "qcow2"))
    if "-B" in new:
        new = tuple("-F" if part == "-B" else part for part in new)
    twin.fork()
    cluster = 4096 if "4k" in options else 65536
    before = beyond_first_cluster(twin.ours / "top.qcow2", cluster)
    twin.write("rebase", "-u", *new, "top.qcow2")
    same_description(twin)
    assert beyond_first_cluster(twin.ours / "top.qcow2", cluster) == before


def test_rebase_when_the_old_backing_file_is_gone(overlay):
    (overlay.theirs / "base.qcow2").rename(overlay.theirs / "moved.qcow2")
    overlay.fork()
    overlay.write("rebase", "-u", "-b", "moved.qcow2", "-F", "qcow2", "top.qcow2").ok()
    same_description(overlay)
    overlay.same_guest("top.qcow2")


REFUSED = (
    ("-u", "-b", "base.qcow2", "top.qcow2"), ("-u", "-b", "x", "-F", "nosuch", "top.qcow2"),
    ("top.qcow2",), ("-u", "-b", "n" * 1024, "-F", "raw", "top.qcow2"),
    ("-u", "-b", "x", "-F", "raw", "nox"), ("-u", "-f", "raw", "-b", "x", "-F", "raw", "top.qcow2"),
    ("-u",), ("-u", "-b", "x", "-F", "raw", "top.qcow2", "base.qcow2"),
    ("-u", "-t", "foo", "-b", "x", "-F", "raw", "top.qcow2"),
)


@pytest.mark.parametrize("args", REFUSED, ids=lambda args: " ".join(args)[:60])
def test_refused_with_qemus_words_and_untouched(overlay, args):
    overlay.fork()
    before = (overlay.ours / "top.qcow2").read_bytes()
    overlay.write("rebase", *args)
    assert (overlay.ours / "top.qcow2").read_bytes() == before


def test_unknown_extensions_and_features_survive(twin):
    """What the header holds beyond our knowledge is kept."""
    twin.img("create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw", "-u", "top.qcow2", "1M")
    images.forget_format(twin.theirs / "top.qcow2")
    twin.fork()
    twin.write("rebase", "-u", "-b", "other", "-F", "raw", "top.qcow2").ok()
    same_description(twin)
    head = (twin.ours / "top.qcow2").read_bytes()[:65536]
    assert b"\x11\x22\x33\x44\x00\x00\x00\x03raw" in head


def test_bitmaps_and_snapshots_survive(overlay):
    overlay.img("snapshot", "-c", "s1", "top.qcow2")
    overlay.img("bitmap", "--add", "top.qcow2", "b0")
    overlay.fork()
    overlay.write("rebase", "-u", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2").ok()
    same_description(overlay)
