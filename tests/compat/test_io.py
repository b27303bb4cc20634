# SPDX-License-Identifier: Apache-2.0
"""The reading half of qemu-io's commands, run under its name."""
import re

import pytest

from pylib import images, run


def timeless(text):
    """Throughput lines carry times; operation counts stay."""
    text = re.sub(r"; [\d:.]+ sec \(.*\)", "; TIME", text)
    return re.sub(r"^(\d+,\d+),[\d:.]+,[\d.]+,[\d.]+$", r"\1,TIME", text, flags=re.M)


def same(twin, *args, input=None):
    mine = run.as_qemu_io(twin.theirs)(*args, input=input)
    oracle = run.qemu_io(twin.theirs)(*args, input=input)
    if " -- reads a number of bytes" in oracle.out or oracle.out.startswith("Usage:"):
        assert mine.code == oracle.code  # usage: our own words
        return mine
    assert (mine.code, timeless(mine.out), mine.err) == \
        (oracle.code, timeless(oracle.out), oracle.err), str(mine)
    return mine


COMMANDS = (
    "read 0 4k", "read -P 1 0 192k", "read -P 2 0 4k", "read -v 300k 64", "read -q 0 1M",
    "read -C 0 64k", "read -P 4 -s 100 -l 1000 1M 64k", "read -s 10 -P 4 1M 4k",
    "read -l 10 -P 4 1M 4k", "read 1 1", "read 511 2", "read 8M 1536", "read 8M 1537",
    "read 20M 1", "read 0", "read", "read x 1", "read 0 x", "read -Z 0 1", "read -p 0 512",
    "read -s 1 0 512", "read -l 1 0 512", "read -P 256 0 1", "read -v 0x100 0x20",
    "readv 0 512 1024", "readv -P 1 0 64k 64k", "readv -v 0 16 16", "readv -C 0 512 512",
    "readv 0", "readv", "readv -q 0 512", "length", "map", "alloc 0", "alloc 0 1M",
    "alloc 300k 16", "alloc 700k 1M", "info", "nosuch", "aio_read 0 64k", "aio_read -P 1 0 64k",
    "aio_flush", "help nosuch", "read 0 9E", "read -- 0 1",
)


@pytest.fixture(scope="module")
def module_twin(tmp_path_factory):
    from pylib.twin import Twin
    twin = Twin(tmp_path_factory.mktemp("io"))
    images.make(twin, "compat=1.1")
    return twin


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command(module_twin, command):
    same(module_twin, "-r", "-f", "qcow2", "-c", command, "a.qcow2")


def test_several_commands_and_the_exit_code(module_twin):
    same(module_twin, "-r", "-c", "read 0 4k", "-c", "read -P 2 0 4k", "-c", "length", "a.qcow2")
    same(module_twin, "-r", "-c", "read -P 2 0 4k", "-c", "read -P 1 0 4k", "a.qcow2")


def test_commands_from_standard_input(module_twin):
    for script in ("length\nquit\n", "read 0 512\n\nlength\n", "read -P 9 0 1\nlength\nq\n", "",
                   "close\nlength\nopen -r a.qcow2\nlength\n"):
        mine = run.as_qemu_io(module_twin.theirs)("-r", "a.qcow2", input=script)
        oracle = run.qemu_io(module_twin.theirs)("-r", "a.qcow2", input=script)
        assert (mine.code, timeless(mine.out), mine.err) == \
            (oracle.code, timeless(oracle.out), oracle.err), script


def test_open_and_close(module_twin):
    for commands in (("open -r a.qcow2", "length", "close", "length"), ("length",),
                     ("open nox", "length"), ("close",), ("open -r a.qcow2", "open -r a.qcow2"),
                     ("open -o driver=qcow2,file.filename=a.qcow2 -r", "length")):
        same(module_twin, *(part for c in commands for part in ("-c", c)))


@pytest.mark.parametrize("args", (("nox",), ("-f", "nosuch", "a.qcow2"), ("-f", "raw", "a.qcow2"),
                                  ("--image-opts", "driver=qcow2,file.filename=a.qcow2"),
                                  ("-t", "none", "a.qcow2"), ("-t", "foo", "a.qcow2"),
                                  ("-n", "a.qcow2"), ("-U", "a.qcow2"), ("-d", "unmap", "a.qcow2"),
                                  ("a.qcow2", "a.qcow2"), ("--nosuch",)))
def test_ways_to_open(module_twin, args):
    same(module_twin, "-r", "-c", "length", *args)


@pytest.mark.parametrize("layout", images.LAYOUTS)
def test_every_byte_of_each_layout(twin, layout):
    name = images.make(twin, images.LAYOUTS[layout])
    same(twin, "-r", "-c", "read -P 1 0 192k", "-c", "read -P 2 300k 5k", "-c",
         "read -P 0 512k 64k",
         "-c", "read -P 4 1M 64k", "-c", "read -P 5 3145216 4096", "-c", "read -v 6M 32",
         "-c", "map", "-c", f"read -P 6 {images.SIZE - 1024} 1024", name)
