# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of backing files: QEMU keeps them, and changes of the backing file are noticed."""
import os
import struct

import pytest

TYPE = 0x51494d46


def record(path):
    """The bytes of our header extension; None = there is none."""
    head = path.read_bytes()[:65536]
    version, end = struct.unpack(">I", head[4:8])[0], struct.unpack(">Q", head[8:16])[0]
    at = struct.unpack(">I", head[100:104])[0] if version > 2 else 72
    while not end or at < end:
        kind, length = struct.unpack(">II", head[at:at + 8])
        if kind == 0:
            return None
        if kind == TYPE:
            return head[at + 8:at + 8 + length]
        at += 8 + (length + 7) // 8 * 8
    return None


@pytest.fixture
def sealed(scratch, qimg, qemu_img, qemu_io):
    """base.qcow2 <- top.qcow2, which keeps a fingerprint and has data of its own."""
    return make(scratch, qimg, qemu_img, qemu_io)


def make(scratch, qimg, qemu_img, qemu_io, *options, layout="compat=1.1"):
    qemu_img("create", "-q", "-f", "qcow2", "base.qcow2", "8M").ok()
    qemu_io("-c", "write -q -P 5 0 1M", "base.qcow2").ok()
    qimg("create", "-q", "-f", "qcow2", "-o", layout, "-b", "base.qcow2", "-F", "qcow2",
         *(options or ("--fingerprint",)), "top.qcow2").ok()
    qemu_io("-c", "write -q -P 6 2M 64k", "top.qcow2").ok()
    return scratch / "top.qcow2"


REWRITES = {
    "rebase -u, same name": ["rebase", "-u", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2"],
    "rebase, same name": ["rebase", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2"],
    "amend lazy_refcounts": ["amend", "-o", "lazy_refcounts=on", "top.qcow2"],
    "amend to version 2": ["amend", "-o", "compat=0.10", "top.qcow2"],
    "resize": ["resize", "-q", "top.qcow2", "16M"],
    "snapshot -c": ["snapshot", "-c", "s", "top.qcow2"],
    "bitmap --add": ["bitmap", "--add", "top.qcow2", "b"],
    "check -r all": ["check", "-q", "-r", "all", "top.qcow2"],
}


@pytest.mark.parametrize("command", REWRITES.values(), ids=REWRITES)
def test_qemu_keeps_the_record_when_it_rewrites_the_header(sealed, qimg, qemu_img, command):
    before = record(sealed)
    assert before and b"qcow2base.qcow2" in before
    qemu_img(*command).ok()
    assert record(sealed) == before
    qimg("map", "--verify", "top.qcow2").ok()
    qemu_img("check", "-q", "top.qcow2").ok()


def test_a_version_2_image_is_amended_to_version_3_with_its_record(scratch, qimg, qemu_img,
                                                                  qemu_io):
    top = make(scratch, qimg, qemu_img, qemu_io, layout="compat=0.10")
    before = record(top)
    qemu_img("amend", "-o", "compat=1.1", "top.qcow2").ok()
    assert before and record(top) == before
    qimg("map", "--verify", "top.qcow2").ok()


OPENERS = {
    "map": ["map", "top.qcow2"], "convert": ["convert", "-O", "raw", "top.qcow2", "out.raw"],
    "compare": ["compare", "top.qcow2", "top.qcow2"],
    "info --backing-chain": ["info", "--backing-chain", "top.qcow2"],
    "io": ["io", "-c", "read -q 0 64k", "top.qcow2"],
}


@pytest.mark.parametrize("command", OPENERS.values(), ids=OPENERS)
def test_every_command_that_opens_chains_refuses_a_changed_base(sealed, qimg, qemu_io, command):
    qimg(*command[:1], "--verify", *command[1:]).ok()
    qemu_io("-c", "write -q -P 7 4M 64k", "base.qcow2").ok()
    refused = qimg(*command[:1], "--verify", *command[1:])
    assert refused.code in (1, 2)
    assert "backing file 'base.qcow2' of image 'top.qcow2' is not what its fingerprint " \
           "describes: its mapping is another one" in refused.err
    assert "qimg chain seal 'top.qcow2'" in refused.err
    qimg(*command).ok()


def test_a_raw_base_that_was_written_to_is_refused(scratch, qimg, qemu_img, qemu_io):
    qemu_img("create", "-q", "-f", "raw", "base.raw", "8M").ok()
    qimg("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "--fingerprint",
         "top.qcow2").ok()
    qimg("map", "--verify", "top.qcow2").ok()
    os.utime(scratch / "base.raw", (1, 1))
    qimg("map", "--verify", "top.qcow2").failed("it was last written to at ",
                                                "now at 1970-01-01 00:00:01 UTC")


def test_content_tells_a_copy_from_a_change(scratch, qimg, qemu_img, qemu_io):
    top = make(scratch, qimg, qemu_img, qemu_io, "--fingerprint-content")
    assert record(top)[1] == 1
    qemu_img("convert", "-O", "qcow2", "base.qcow2", "copy.qcow2").ok()
    (scratch / "copy.qcow2").rename(scratch / "base.qcow2")
    qimg("map", "--verify", "top.qcow2").ok()
    qemu_io("-c", "write -q -P 8 0 512", "base.qcow2").ok()
    qimg("map", "--verify", "top.qcow2").failed("its content is another one")


def test_a_stale_record_is_told_of_and_not_used(sealed, qimg, qemu_img):
    qemu_img("rebase", "-u", "-b", "./base.qcow2", "-F", "qcow2", "top.qcow2").ok()
    told = qimg("map", "--verify", "top.qcow2").ok()
    assert "the fingerprint in image 'top.qcow2' is not used: it describes 'base.qcow2' (qcow2)" \
        in told.err


def test_a_commit_by_qemu_leaves_a_stale_record_not_a_damaged_chain(sealed, qimg, qemu_img):
    qemu_img("commit", "-q", "top.qcow2").ok()
    told = qimg("map", "--verify", "top.qcow2").ok()
    assert "as by a commit" in told.err


def test_our_own_rebase_drops_a_record_that_would_be_stale(sealed, qimg):
    qimg("rebase", "-u", "-b", "./base.qcow2", "-F", "qcow2", "top.qcow2").ok()
    assert record(sealed) is None


def test_a_damaged_record_is_not_used(sealed, qimg):
    data = sealed.read_bytes()
    at = data.index(record(sealed))
    with open(sealed, "r+b") as image:
        image.seek(at)
        image.write(b"\2")
    assert "later version" in qimg("map", "--verify", "top.qcow2").ok().err


def test_no_room_in_the_header_makes_no_image(scratch, qimg, qemu_img):
    qemu_img("create", "-q", "-f", "raw", "base.raw", "1M").ok()
    qimg("create", "-q", "-f", "qcow2", "-o", "cluster_size=512", "-b", "base.raw", "-F", "raw",
         "--fingerprint", "top.qcow2").failed("the first cluster has no room for a fingerprint")
    assert not (scratch / "top.qcow2").exists()


@pytest.mark.parametrize("args, why", (
    (("-f", "raw", "a.raw", "1M"), "A fingerprint needs a backing file"),
    (("-f", "qcow2", "a.qcow2", "1M"), "A fingerprint needs a backing file"),
    (("-f", "qcow2", "-u", "-b", "gone", "-F", "raw", "a.qcow2", "1M"),
     "A fingerprint needs the backing file to be opened"),
))
def test_create_without_a_base_to_look_at_is_refused(scratch, qimg, args, why):
    qimg("create", "--fingerprint", *args).failed(why)
    assert not list(scratch.glob("a.*"))


@pytest.mark.parametrize("mode", (("-u",), ()), ids=("-u", "safe"))
@pytest.mark.parametrize("kind", ("--fingerprint", "--fingerprint-content"))
def test_rebase_records_the_new_base(scratch, qimg, qemu_img, qemu_io, mode, kind):
    top = make(scratch, qimg, qemu_img, qemu_io)
    qemu_img("create", "-q", "-f", "raw", "other.raw", "8M").ok()
    qimg("rebase", *mode, kind, "-b", "other.raw", "-F", "raw", "top.qcow2").ok()
    assert b"rawother.raw" in record(top)
    assert qimg("map", "--verify", "top.qcow2").ok().err == ""
    os.utime(scratch / "other.raw", (1, 1))
    if kind == "--fingerprint":
        qimg("map", "--verify", "top.qcow2").failed("last written to")
    else:
        qimg("map", "--verify", "top.qcow2").ok()


def test_rebase_without_room_for_the_record_changes_nothing(scratch, qimg, qemu_img):
    qemu_img("create", "-q", "-f", "raw", "b.raw", "1M").ok()
    qemu_img("create", "-q", "-f", "qcow2", "-o", "cluster_size=512", "top.qcow2", "1M").ok()
    before = (scratch / "top.qcow2").read_bytes()
    for mode in (("-u",), ()):
        qimg("rebase", *mode, "--fingerprint", "-b", "b.raw", "-F", "raw",
             "top.qcow2").failed("has no room for a fingerprint")
        assert (scratch / "top.qcow2").read_bytes() == before
    qimg("rebase", "-u", "--fingerprint", "top.qcow2").failed("A fingerprint needs a backing file")
