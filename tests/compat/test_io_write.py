# SPDX-License-Identifier: Apache-2.0
"""The writing half of qemu-io's commands: the same script by both programs on twin images must say
the same, leave the same guest bytes and the same map, and images that qemu-img
check finds clean."""
import json
import re

import pytest

from pylib import images, run

BASE = ("write -P 1 0 192k", "write -P 2 300k 5k", "write -z 512k 64k", "write -c -P 4 1M 64k")


def timeless(text):
    """Without times (QEMU's of aio_write -z is since the machine began), and without what usage
    lines say behind the arguments."""
    text = re.sub(r"; [\d:.]+( sec)? \(.*\)", "; TIME", text)
    text = re.sub(r"(?m)^(\d+),1,[\d:.,]+$", r"\1,1,TIME", text)
    return re.sub(r"(?m)^(\w+ .*\]?.*) -- .*$", r"\1", text)


def scripted(twin, *args, name="a.qcow2", input=None):
    """Ours in its copy, QEMU's in the original: the same words and the same exit code."""
    if not twin.ours.exists():
        twin.fork()
    mine = run.as_qemu_io(twin.ours)(*args, name, input=input)
    oracle = run.qemu_io(twin.theirs)(*args, name, input=input)
    assert (mine.code, timeless(mine.out), mine.err) == \
        (oracle.code, timeless(oracle.out), oracle.err), str(mine)
    return mine


def commands(*lines):
    return [part for line in lines for part in ("-c", line)]


def guest_map(directory, name):
    """(start, kind) of each stretch, wherever it lies. Whether map looks for holes inside data is
    a guess from the file's size and storage; those are not compared."""
    stretches = []
    for e in json.loads(run.qemu_img(directory)("map", "--output=json", name).ok().out):
        kind = (e["depth"], e["present"], e["data"], e["zero"] and not e["data"])
        if not stretches or stretches[-1][1] != kind:
            stretches.append((e["start"], kind))
    return stretches


def same_result(twin, name="a.qcow2", maps=True):
    run.qemu_img(twin.ours)("check", name).ok()
    twin.same_guest(name)
    if maps:
        assert guest_map(twin.ours, name) == guest_map(twin.theirs, name)


ONE_COMMAND = (
    "write 0 4k", "write -P 300 0 1", "write -q 0 1", "write 1 1", "write 8M 1536", "write 8M 1537",
    "write 20M 1", "write -z 0 4k", "write -z -u 0 64k", "write -z -n 64k 64k", "write -u 0 1",
    "write -n 0 1", "write -z -P 1 0 1", "write -c 2M 64k", "write -c 1M 64k", "write -c 0 4k",
    "write -c 4M 128k", "write -c 2M 96k", "write -c 512 64k", "write -c 1 64k", "write -c 0 1",
    "write -p 0 512", "write -f 0 512", "write -b -z 0 512", "write -c -f 0 64k", "write -f -b 0 1",
    "write -s nofile 0 1", "write -s pattern 0 5", "write -s pattern -P 1 0 1",
    "write -s empty 0 1",
    "write -s . 0 1", "write -i 0 1", "write -C 0 512", "write 0", "write", "write x 1",
    "write 0 x",
    "write 0 3G", "write -z 0 3G", "write -Z 0 1", "write -c -z 0 64k", "write 0 0", "write -z 0 0",
    "write -c 0 0", "write 0x10 0x20", "write -- 0 1", "write -c -n 0 1", "write -n -u 0 1",
    "write -z -n 3M 3G", "write -b 1 512", "writev 0 512 1024", "writev -P 3 0 4k",
    "writev -f 0 4k",
    "writev -q 0 1", "writev 0", "writev 0 3G", "writev 0 1G 1G 1G", "writev -C 0 1 1",
    "writev 20M 1", "writev x 1", "aio_write 0 4k", "aio_write -z 0 4k", "aio_write -u 0 1",
    "aio_write -i 0 1", "aio_write -f 0 1", "aio_write -q 0 1", "aio_write 0 1 2",
    "aio_write -z 0 1 2", "aio_write -C 0 1", "aio_write 20M 1", "aio_write -z -u 20M 1",
    "aio_write 0", "aio_write -u 0", "aio_write -P 300 0 1", "aio_write -b 0 1", "aio_read -i 0 1",
    "discard 0 64k", "discard 100 300k", "discard -C 0 1", "discard -q 0 1", "discard 0",
    "discard 20M 1", "discard 1 3G", "discard -Z 0 1", "discard x 1", "flush", "flush 1",
    "sigraise 0", "sigraise x", "sigraise", "reopen -r", "reopen", "reopen -w", "reopen -c none",
    "reopen -c foo", "reopen -o lazy-refcounts=on", "reopen -o foo=1", "reopen x", "reopen -w -r",
    "truncate", "truncate x",
)


@pytest.fixture(scope="module")
def module_twin(tmp_path_factory):
    from pylib.twin import Twin
    twin = Twin(tmp_path_factory.mktemp("io_write"))
    images.make(twin, "compat=1.1")
    (twin.theirs / "pattern").write_bytes(b"abc")
    (twin.theirs / "empty").write_bytes(b"")
    return twin


@pytest.mark.parametrize("command", ONE_COMMAND)
def test_each_command(module_twin, command):
    scripted(module_twin, "-f", "qcow2", *commands(command))


def test_all_commands_together_leave_the_same(module_twin):
    """After test_each_command: everything above has been done to both."""
    same_result(module_twin)


@pytest.mark.parametrize("command", ("write 0", "write x y", "write 0 4k", "writev 0 1",
                                     "aio_write 0 1", "discard 0 64k", "flush", "aio_flush",
                                     "write -z 0 4k"))
def test_reading_only(module_twin, command):
    scripted(module_twin, "-r", "-f", "qcow2", *commands(command))


def test_a_script_goes_on_after_a_failure(module_twin):
    scripted(module_twin, *commands("write 20M 1", "bogus", "write -P 7 0 512", "read -P 7 0 512",
                                    "read -P 8 0 512"))


def test_the_mode_changes_with_reopen(module_twin):
    scripted(module_twin, *commands("write -P 3 0 1k", "reopen -r", "write 0 1", "read -P 3 0 1k",
                                    "reopen -w", "write -P 4 0 1k", "read -P 4 0 1k"))
    scripted(module_twin, "-r", *commands("reopen -w", "write -P 5 0 1k"))


def test_close_and_open(module_twin):
    scripted(module_twin, *commands("write -P 9 1k 1k", "close", "write 0 1", "open a.qcow2",
                                    "read -P 9 1k 1k", "write -P 8 1k 1k", "close",
                                    "open -r a.qcow2", "read -P 8 1k 1k"))


@pytest.mark.parametrize("options", (("-n",), ("-t", "none"), ("-t", "writethrough"),
                                     ("-t", "directsync"), ("-t", "unsafe"), ("-d", "ignore"),
                                     ("-d", "unmap"), ("-d", "foo"), ("-m",), ("-n", "-m"), ("-k",),
                                     ("-i", "native"), ("-k", "-n"), ("-i", "io_uring"), ("-U",)))
def test_ways_to_open(twin, options):
    images.make(twin, "compat=1.1")
    scripted(twin, *options, "-f", "qcow2",
             *commands("write -P 0x11 100 5000", "write -z -u 64k 64k", "discard 128k 64k",
                       "read -P 0x11 100 5000", "read -P 0 64k 64k", "flush"))
    same_result(twin)


def test_changes_of_a_snapshot_are_not_kept(twin):
    name = images.make(twin, "compat=1.1")
    twin.fork()
    before = (twin.ours / name).read_bytes()
    scripted(twin, "-s", *commands("write -P 0x77 0 1M", "read -P 0x77 0 1M"))
    assert (twin.ours / name).read_bytes() == before


OVERLAYS = ("", "compat=0.10", "cluster_size=4k", "cluster_size=512", "extended_l2=on",
            "extended_l2=on,cluster_size=16k", "refcount_bits=1", "lazy_refcounts=on",
            "data_file=DATA,data_file_raw=off", "compression_type=zstd")

SCRIPT = (
    "write -P 1 0 4k", "write -P 2 70k 130k", "write -P 3 1M 512", "write -z 64k 4k",
    "write -z 2M 256k", "write -z -u 2200k 300k", "discard 96k 200k", "discard 0 64k",
    "write -P 4 3M 1M", "discard 3M 256k", "write -P 5 3100k 3k", "write -z 3500k 1k",
    "write -P 6 5M 100", "write -z 5M 64k", "write -P 7 5100k 1k", "aio_write -P 8 6M 64k",
    "aio_flush", "write -z 6200k 7k", "write -P 9 6200k 3k", "write -q -z -u 0 128k",
    "read -P 9 6200k 3k", "read -P 4 3328k 100k", "writev -P 10 7M 512 1k 64k",
    "write -z 7501k 102k",
)


def overlay(twin, options, backing):
    """8 MiB above a shorter base."""
    twin.img("create", "-q", "-f", "qcow2", "base", "5000k")
    twin.io("base", "write -P 0xb1 0 300k", "write -P 0xb2 1M 100k", "write -z 2M 1M",
            "write -P 0xb3 4M 900k")
    arguments = ["-o", options] if options else []
    if backing:
        arguments += ["-b", "base", "-F", "qcow2"]
    if "DATA" in options:
        arguments = [a.replace("DATA", "data") for a in arguments]
    twin.img("create", "-q", "-f", "qcow2", *arguments, "a.qcow2", "8M")
    return twin.fork()


@pytest.mark.parametrize("backing", (True, False), ids=("overlay", "alone"))
@pytest.mark.parametrize("options", OVERLAYS)
def test_a_long_script(twin, options, backing):
    overlay(twin, options, backing)
    scripted(twin, *commands(*SCRIPT))
    same_result(twin, maps="data_file" not in options)


@pytest.mark.parametrize("options", ("", ",extended_l2=on", ",cluster_size=4k"))
def test_a_raw_data_file(twin, options):
    """The tables say what QEMU's say (test 244), and the data file reads as the image does."""
    twin.img("create", "-q", "-f", "qcow2", "-o", "data_file=data,data_file_raw=on" + options,
             "a.qcow2", "40M")
    twin.fork()
    scripted(twin, *commands("write -P 0x11 1M 4M", "discard 2M 2M", "write -z 3M 3M",
                             "write -z -u 8M 20M", "write -P 6 100 1000", "write -P 7 9M 100k",
                             "write -z 9220k 3k", "write -P 8 3M 700", "discard 30M 10M"))
    same_result(twin)
    for place in (twin.ours, twin.theirs):
        run.qemu_img(place)("compare", "-f", "raw", "-F", "qcow2", "data", "a.qcow2").ok()


@pytest.mark.parametrize("compression", ("zlib", "zstd"))
def test_compressed_clusters_written_and_overwritten(twin, compression):
    overlay(twin, f"compression_type={compression}", True)
    scripted(twin, *commands("write -c -P 1 0 64k", "write -c -P 2 64k 256k", "write -P 3 66k 1k",
                             "write -z 128k 64k", "discard 192k 64k", "write -c -P 4 192k 64k",
                             "write -c -P 5 8128k 64k", "write -c -P 6 0 64k",
                             "read -P 3 66k 1k", "read -P 2 67k 61k"))
    same_result(twin)


def test_raw_images(twin):
    twin.img("create", "-q", "-f", "raw", "a", "4M")
    twin.fork()
    scripted(twin, "-f", "raw", *commands(
        "write -P 1 0 64k", "write -z 4k 4k", "write -z -u 8k 4k", "discard 16k 16k",
        "write -P 2 4000k 96k", "write 4M 1", "write -c 0 64k", "map", "length"), name="a")
    twin.same_file("a")


def test_a_guessed_raw_image_does_not_become_something_else(twin):
    twin.img("create", "-q", "-f", "raw", "a", "1M")
    twin.img("create", "-q", "-f", "qcow2", "other", "1M")
    twin.fork()
    scripted(twin, *commands("write -P 81 0 512", "write -s other 0 512", "write -s other 0 4",
                             "writev -P 1 100 1000", "aio_write 0 512"), name="a")
    scripted(twin, *commands("write -s other 0 5"), name="a")
    scripted(twin, "-f", "raw", *commands("write -s other 0 512"), name="a")
    twin.same_file("a")


def test_a_raw_file_with_a_partial_sector(twin):
    for name in ("a", "b"):
        (twin.theirs / name).write_bytes(b"x" * 1000)
    twin.fork()
    for name, command in (("a", "write -P 1 900 124"), ("b", "write -P 1 100 100")):
        scripted(twin, "-f", "raw", *commands("length", command, "length"), name=name)
        twin.same_file(name)


@pytest.mark.parametrize("script", (
    ("write -P 1 0 8M", "truncate 2M", "length", "truncate 12M", "read -P 0 2M 10M",
     "write 11M 4k"),
    ("truncate 1000", "truncate 1", "truncate -m foo 16M", "truncate -x 1", "length"),
    ("truncate -m metadata 16M", "length", "write -P 2 15M 4k"), ("truncate 0", "length"),
    ("write -P 3 4M 128k", "truncate 4160k", "truncate 8M", "read -P 3 4M 64k")))
def test_truncate(twin, script):
    twin.img("create", "-q", "-f", "qcow2", "a.qcow2", "8M")
    twin.fork()
    scripted(twin, "-f", "qcow2", *commands(*script))
    same_result(twin, maps=False)


def test_copy_on_read_takes_subclusters(twin):
    """As QEMU does since 8.2; before, it took the whole cluster, or came to an end by an assertion
    where some of its subclusters were there already. The first part of test 197."""
    twin.img("create", "-q", "-f", "raw", "base", "64k")
    run.qemu_io(twin.theirs)("-f", "raw", "-c", "write -P 0xaa 0 64k", "base").ok()
    twin.img("create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw", "-o", "extended_l2=on", "a")
    twin.io("a", "write -P 0xbb 28k 2k", "write -P 0xcc 34k 2k")
    twin.fork()
    io = run.as_qemu_io(twin.ours)
    io("-C", "-c", "read -P 0xaa 30k 4k", "a").ok()
    assert io("-c", "map", "a").ok().out.splitlines() == [
        "28 KiB (0x7000) bytes not allocated at offset 0 bytes (0x0)",
        "8 KiB (0x2000) bytes     allocated at offset 28 KiB (0x7000)",
        "28 KiB (0x7000) bytes not allocated at offset 36 KiB (0x9000)"]
    twin.same_guest("a")


@pytest.mark.parametrize("options", ("", "cluster_size=4k"))
def test_copy_on_read_keeps_what_was_below(twin, options):
    overlay(twin, options, True)
    scripted(twin, "-C", *commands("read -P 0xb1 1k 1k", "read 1M 300k", "read 2M 64k",
                                   "read 5M 10k", "map"))
    # The allocated stretches are the same, see map; QEMU copies some of the zeros as data.
    same_result(twin, maps=False)
