# SPDX-License-Identifier: Apache-2.0
"""qimg and QEMU exclude each other and share exactly as two QEMU tools would."""
import pytest

from pylib import images, run

READERS = (("info", "a"), ("info", "--backing-chain", "a"), ("map", "--output=json", "a"),
           ("convert", "-O", "raw", "a", "out.raw"), ("compare", "a", "a"))
WRITERS = (("rebase", "-u", "-b", "base", "-F", "qcow2", "a"),
           ("create", "-f", "qcow2", "a", "1M"), ("create", "-f", "raw", "a", "1M"),
           ("convert", "-O", "raw", "other", "a"))


@pytest.fixture
def overlay(twin):
    images.make(twin, "compat=1.1", "base")
    twin.img("create", "-q", "-f", "raw", "other", "1M")
    twin.img("create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "a")
    return twin


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_readers_meet_a_writer(overlay, command):
    with run.holding(overlay.theirs, "-f", "qcow2", "a"):
        assert overlay.read(*command).code != 0
        assert overlay.read(command[0], "-U", *command[1:]).code == 0


@pytest.mark.parametrize("command", WRITERS, ids=" ".join)
def test_writers_meet_a_writer(overlay, command):
    before = (overlay.theirs / "a").read_bytes()
    with run.holding(overlay.theirs, "-f", "qcow2", "a"):
        assert overlay.read(*command).code == 1
    assert (overlay.theirs / "a").read_bytes() == before


@pytest.mark.parametrize("command", WRITERS, ids=" ".join)
def test_writers_meet_a_reader(overlay, command):
    before = (overlay.theirs / "a").read_bytes()
    with run.holding(overlay.theirs, "-r", "-f", "qcow2", "a"):
        assert overlay.read(*command).code == 1
    assert (overlay.theirs / "a").read_bytes() == before


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_readers_meet_a_reader(overlay, command):
    with run.holding(overlay.theirs, "-r", "-f", "qcow2", "a"):
        assert overlay.read(*command).code == 0


def test_the_base_of_a_held_overlay(overlay):
    with run.holding(overlay.theirs, "-f", "qcow2", "a"):
        assert overlay.read("info", "base").code == 0
        assert overlay.read("map", "--output=json", "base").code == 0
        assert overlay.read("convert", "-O", "raw", "base", "out.raw").code == 0
        assert overlay.read("rebase", "-u", "-b", "x", "-F", "raw", "base").code == 1
        assert overlay.read("create", "-f", "qcow2", "base", "1M").code == 1


def test_raw_files_are_shared_as_qemu_shares_them(overlay):
    with run.holding(overlay.theirs, "-f", "raw", "other"):
        overlay.read("info", "-f", "raw", "other")
        overlay.read("map", "-f", "raw", "other")
        overlay.read("compare", "-f", "raw", "-F", "raw", "other", "other")
        overlay.read("convert", "-f", "raw", "-O", "raw", "other", "out.raw")


def test_qemu_meets_ours(overlay):
    """The other direction: our io command holds the image, QEMU's tools come second."""
    process = run.as_qemu_io(overlay.theirs).start("-r", "-f", "qcow2", "a")
    try:
        run.until_prompt(process)
        oracle = run.qemu_img(overlay.theirs)
        oracle("info", "a").ok()
        oracle("convert", "-O", "raw", "a", "out.raw").ok()
        for command in (("rebase", "-u", "-b", "base", "-F", "qcow2", "a"),
                        ("resize", "a", "+1M"), ("create", "-f", "qcow2", "a", "1M"),
                        ("resize", "base", "+1M")):
            oracle(*command).failed('Failed to get', 'lock')
    finally:
        process.kill()
        process.communicate()
