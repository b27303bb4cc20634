# SPDX-License-Identifier: Apache-2.0
"""What cannot be opened: QEMU's sentence, QEMU's exit code."""
import os

import pytest

from pylib import images
from pylib.run import socket_at

COMMANDS = (("info",), ("info", "--backing-chain"), ("map",), ("convert", "-O", "raw"),
            ("compare",))


def all_commands(twin, *names):
    for command in COMMANDS:
        operands = (*names, "out.raw") if command[0] == "convert" else \
            (names[-1], *names) if command[0] == "compare" else names
        twin.read(*command, *operands)


@pytest.mark.parametrize("name", ("nox", "nodir/nox", ".", "", "nosuch:x", "nbd://nowhere/x",
                                  "json:{", "json:{}", 'json:{"driver":"nosuch"}',
                                  'json:{"driver":"qcow2"}', 'json:{"driver":"qcow2","file":7}',
                                  'json:{"driver":"qcow2","file":true}', 'json:{"driver":7}',
                                  'json:{"driver":"raw","file":{"driver":"file"}}',
                                  'json:{"driver":"raw","file":{"driver":"file","filename":7}}',
                                  'json:{"driver":"qcow2","file.filename":"nox"}',
                                  "json:['a']", "x" * 300))
def test_names(twin, name):
    if name.startswith("nbd:"):
        pytest.skip("the oracle has network drivers, qimg has none")
    all_commands(twin, name)


@pytest.mark.parametrize("kind", ("fifo", "socket", "directory"))
def test_other_things_than_files(twin, kind):
    path = twin.theirs / "thing"
    if kind == "fifo":
        pytest.skip("QEMU waits for a writer for ever; tests/cli has ours")
    if kind == "socket":
        socket_at(path)
    else:
        path.mkdir()
    all_commands(twin, "thing")


def test_no_permission(twin):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    images.make(twin, "compat=1.1", "a")
    os.chmod(twin.theirs / "a", 0)
    all_commands(twin, "a")


@pytest.mark.parametrize("args", (
    ("info",), ("info", "a", "a"), ("info", "--nosuch", "a"), ("info", "-f"),
    ("info", "--output=xml", "a"), ("info", "-f", "nosuch", "a"), ("info", "-f", "qcow2", "r"),
    ("map",), ("map", "a", "a"), ("map", "-s", "x", "a"), ("map", "-l", "-1", "a"),
    ("map", "-f", "qcow2", "r"), ("map", "--output=xml", "a"), ("map", "-s"),
    ("nosuch",), (), ("--nosuch",), ("info", "--image-opts", "-f", "raw", "driver=raw"),
    ("map", "--image-opts", "-f", "raw", "driver=raw"), ("info", "-T", "x", "a"),
), ids=lambda args: " ".join(args) or "nothing")
def test_usage(twin, args):
    images.make(twin, "compat=1.1", "a", 1 << 20)
    twin.img("create", "-q", "-f", "raw", "r", "1M")
    twin.read(*args)


def test_a_chain_with_a_missing_image(twin):
    top = images.chain(twin, 4)
    (twin.theirs / "c1.qcow2").unlink()
    all_commands(twin, top)


def test_a_chain_with_a_damaged_image(twin):
    top = images.chain(twin, 4)
    with open(twin.theirs / "c1.qcow2", "r+b") as image:
        image.seek(4)
        image.write(b"\0\0\0\x09")
    all_commands(twin, top)


def test_a_wrong_recorded_format(twin):
    twin.img("create", "-q", "-f", "raw", "base", "1M")
    twin.img("create", "-q", "-u", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top", "1M")
    all_commands(twin, "top")


def test_encrypted_data_is_refused(twin):
    twin.img("create", "-q", "-f", "qcow2", "--object", "secret,id=s,data=abc", "-o",
             "encrypt.format=aes,encrypt.key-secret=s", "a", "1M")
    for command in (("map", "a"), ("convert", "-O", "raw", "a", "out.raw")):
        assert twin.read(*command).code == 1


def test_a_missing_data_file(twin):
    twin.img("create", "-q", "-f", "qcow2", "-o", "data_file=d.bin", "a", "1M")
    (twin.theirs / "d.bin").unlink()
    # 9.1: info does not open the data file; 7.2 does and fails. The others agree.
    for command in (("map", "a"), ("convert", "-O", "raw", "a", "out.raw")):
        twin.read(*command)
