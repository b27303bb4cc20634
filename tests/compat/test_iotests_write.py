# SPDX-License-Identifier: Apache-2.0
"""Rules that QEMU's own test suite holds its tools to, on the writing side.

Found by running that suite twice, once with qimg in the place of the tools; each test states one
rule in which the two had differed.
"""
import json

import pytest

from pylib import run

FEATURE_NAMES = 0x6803F857


def extensions(path):
    """(type, length) of each extension of the header."""
    head = path.read_bytes()[:65536]
    at = int.from_bytes(head[100:104], "big") if head[7] >= 3 else 72
    found = []
    while (kind := int.from_bytes(head[at:at + 4], "big")) != 0:
        length = int.from_bytes(head[at + 4:at + 8], "big")
        found.append((kind, length))
        at += 8 + (length + 7) // 8 * 8
    return found


def patch(path, offset, value):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(value.to_bytes(8, "big"))


# --- amend ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backing", ((), ("-b", "base", "-F", "raw")))
def test_names_of_features_come_and_go_with_the_version(twin, backing):
    twin.img("create", "-q", "-f", "raw", "base", "1M")
    twin.img("create", "-q", "-f", "qcow2", *backing, "a", "1M")
    twin.write("amend", "-o", "compat=0.10", "a")
    assert extensions(twin.ours / "a") == extensions(twin.theirs / "a")
    twin.write("amend", "-o", "compat=1.1", "a")
    kinds = [kind for kind, _ in extensions(twin.ours / "a")]
    assert kinds == [kind for kind, _ in extensions(twin.theirs / "a")]
    assert FEATURE_NAMES in kinds
    run.qemu_img(twin.ours)("check", "a").ok()


@pytest.mark.parametrize("before, after", (("64M", "32M"), ("64M", "64M"), ("16M", "32M")))
def test_snapshots_must_fit_the_size_that_version_2_will_have(twin, before, after):
    twin.img("create", "-q", "-f", "qcow2", "a", "32M")
    twin.io("a", "write 24M 64k")
    twin.img("snapshot", "-c", "s", "a")
    twin.img("resize", "-q", "--shrink", "a", before)
    twin.write("amend", "-o", f"compat=0.10,size={after}", "a")
    run.qemu_img(twin.ours)("check", "a").ok()
    twin.same_guest("a")


# --- bitmap ---------------------------------------------------------------------------------


def test_bitmaps_go_from_an_overlay_into_its_backing_file(twin):
    twin.img("create", "-q", "-f", "qcow2", "base", "1M")
    twin.img("create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top")
    twin.img("bitmap", "--add", "top", "changes")
    twin.write("bitmap", "--add", "--merge", "changes", "-b", "top", "-F", "qcow2", "base", "kept")


def test_bitmaps_of_an_image_whose_backing_file_is_gone(twin):
    twin.img("create", "-q", "-f", "qcow2", "base", "1M")
    twin.img("create", "-q", "-f", "qcow2", "alone", "1M")
    twin.img("create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top")
    twin.img("bitmap", "--add", "top", "changes")
    (twin.theirs / "base").unlink()
    twin.write("bitmap", "--add", "top", "more")
    twin.write("bitmap", "--add", "--merge", "changes", "-b", "top", "-F", "qcow2", "alone", "kept")


# --- how long the file becomes ----------------------------------------------------------------


@pytest.mark.parametrize("options, command", (
    ("cluster_size=64k", "write 0 512"),
    ("cluster_size=64k", "write 0 100k"),
    ("cluster_size=64k", "write 60k 4k"),
    ("cluster_size=64k", "write -z 0 64k"),
    ("cluster_size=2M", "write 0 64k"),
    ("cluster_size=512", "write 0 700"),
    ("cluster_size=64k,data_file=data", "write 0 64k")))
def test_the_file_reaches_to_the_end_of_what_was_allocated(twin, options, command):
    twin.img("create", "-q", "-f", "qcow2", "-o", options, "a", "64M")
    twin.fork()
    for program in (run.as_qemu_io(twin.ours), run.qemu_io(twin.theirs)):
        program("-c", command, "a").ok()
    assert (twin.ours / "a").stat().st_size == (twin.theirs / "a").stat().st_size


def test_packed_clusters_end_with_their_last_sector(twin):
    twin.img("create", "-q", "-f", "qcow2", "a", "64M")
    twin.fork()
    for program in (run.as_qemu_io(twin.ours), run.qemu_io(twin.theirs)):
        program("-c", "write -c 0 64k", "-c", "write -c 64k 64k", "a").ok()
    theirs = (twin.theirs / "a").stat().st_size
    assert (twin.ours / "a").stat().st_size == (theirs + 511) // 512 * 512
    run.qemu_img(twin.ours)("check", "a").ok()


# --- io -------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", (
    ("-c", "open -o driver=qcow2,overlap-check=all nosuch"),
    ("-c", "open -o driver=qcow2,file.filename=nosuch"),
    ("--image-opts", "driver=qcow2,file.filename=nosuch"),
    ("-f", "qcow2", "nosuch")))
def test_a_failed_open_names_what_was_given_beside_the_options(scratch, args):
    mine, oracle = run.as_qemu_io(scratch)(*args), run.qemu_io(scratch)(*args)
    assert (mine.code, mine.err) == (oracle.code, oracle.err)


SIZES = ("cache-size=1.25M,l2-cache-size=1M,refcount-cache-size=0.25M",
         "cache-size=1M,l2-cache-size=2M", "cache-size=1M,refcount-cache-size=2M",
         "cache-size=0,l2-cache-size=0,refcount-cache-size=0", "l2-cache-entry-size=256",
         "l2-cache-entry-size=4242", "l2-cache-entry-size=128k", "l2-cache-entry-size=16k",
         "refcount-cache-size=256T", "cache-size=256T", "cache-size=foo", "cache-size=-1",
         "cache-size=2M,l2-cache-size=1M")
CHECKS = ("overlap-check=blubb", "overlap-check.template=blubb", "overlap-check=all",
          "overlap-check=constant,overlap-check.template=all", "overlap-check.main-header=x",
          "overlap-check.nonsense=on")
OTHERS = ("cache-clean-interval=-1", "cache-clean-interval=4294967296", "cache-clean-interval=x",
          "lazy-refcounts=42", "pass-discard-request=foo", "read-only=foo", "cache.direct=baz",
          "auto-read-only=qux", "detect-zeroes=x", "discard=foo", "nosuch=1")
NODES = ("node-name=foo", "file.node-name=foo", "backing.node-name=foo", "driver=raw",
         "file.driver=qcow2", "backing.driver=file", "driver=qcow2", "file.driver=file",
         "backing.driver=qcow2", "file.filename=base", "file.filename=a", "backing=base",
         "file.nosuch=1", "size=5")


def overlay(directory):
    run.qemu_img(directory)("create", "-q", "-f", "qcow2", "base", "64M").ok()
    run.qemu_img(directory)("create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "a").ok()


def same_words(directory, *commands):
    args = [part for command in commands for part in ("-c", command)]
    mine, oracle = (program(*args) for program in (run.as_qemu_io(directory),
                                                   run.qemu_io(directory)))
    assert (mine.code, mine.err) == (oracle.code, oracle.err), f"{mine}{mine.err}{oracle.err}"


@pytest.mark.parametrize("options", SIZES + CHECKS + OTHERS)
def test_options_that_tune_caches_and_checks(scratch, options):
    overlay(scratch)
    same_words(scratch, f"open -o {options} a", "read 0 512")


@pytest.mark.parametrize("options", SIZES + CHECKS + OTHERS + NODES)
def test_what_may_change_while_an_image_is_open(scratch, options):
    overlay(scratch)
    same_words(scratch, "open a", f"reopen -o {options}", "write 0 512")


@pytest.mark.parametrize("commands", (
    ("reopen -r -o read-only=on",), ("reopen -w -o read-only=on",), ("reopen -r -w",),
    ("reopen -c none -o cache.direct=on",), ("reopen -c directsync -o cache.no-flush=on",),
    ("reopen -o cache.direct=on", "write 0 4k"), ("reopen -x",), ("reopen a",),
    ("reopen -r", "write 0 512"), ("reopen -r", "reopen -o read-only=off", "write 0 512")))
def test_ways_to_reopen(scratch, commands):
    overlay(scratch)
    same_words(scratch, "open a", *commands)


@pytest.mark.parametrize("name", ("node-name", "backing.node-name"))
@pytest.mark.parametrize("again", ("foo", "bar"))
def test_a_name_may_be_repeated_but_not_changed(scratch, name, again):
    overlay(scratch)
    same_words(scratch, f"open -o {name}=foo a", f"reopen -o {name}={again}", "reopen")


@pytest.mark.parametrize("options", ("", "-o backing.driver=qcow2", "-o backing.driver=raw"))
def test_the_backing_files_format_may_be_named_at_opening(scratch, options):
    overlay(scratch)
    image = (scratch / "a").read_bytes()
    assert image.count(b"qcow2") == 1
    (scratch / "a").write_bytes(image.replace(b"qcow2", b"qcowX"))
    same_words(scratch, f"open {options} a", "read -P 0 0 512")


def meets_corruption(twin, command):
    """Both programs say the same, and both images are marked."""
    twin.fork()
    results = [program("-c", command, "a")
               for program in (run.as_qemu_io(twin.ours), run.qemu_io(twin.theirs))]
    assert results[0].code == results[1].code == 1
    assert results[0].err.startswith("qcow2: Marking image as corrupt: ")
    assert (results[0].out, results[0].err) == (results[1].out, results[1].err)
    for directory in (twin.ours, twin.theirs):
        assert (directory / "a").read_bytes()[79] & 2, directory


def test_corruption_met_by_a_write_is_told_without_a_program_name(twin):
    twin.img("create", "-q", "-f", "qcow2", "a", "64M")
    patch(twin.theirs / "a", 0x30000, 1 << 63 | 0x30000)  # the L2 table lies on the L1 table
    meets_corruption(twin, "write 0 512")


def test_an_unaligned_refcount_block_is_corruption_when_it_is_needed(twin):
    twin.img("create", "-q", "-f", "qcow2", "-o", "refcount_bits=64,cluster_size=1k", "a", "1M")
    twin.io("a", "write 0 124k")
    twin.io("a", "discard 121k 1k", "discard 123k 1k")
    table = int.from_bytes((twin.theirs / "a").read_bytes()[48:56], "big")
    patch(twin.theirs / "a", table + 8, 0x20600)
    meets_corruption(twin, "write 121k 3k")


WINDOWS = ('"offset": 512', '"offset": "512", "size": "2048"', '"offset": 10, "size": 2048')


@pytest.mark.parametrize("window", WINDOWS)
def test_a_part_of_a_raw_file_is_changed_in_its_place(twin, window):
    """Test 171, after which the whole file is compared."""
    twin.img("create", "-q", "-f", "raw", "a", "4k")
    twin.io("a", "write -P 10 0 4k", options=("-f", "raw"))
    twin.fork()
    name = f'json:{{"driver": "raw", {window}, "file": {{"driver": "file", "filename": "a"}}}}'
    for command in ("discard 0 512", "discard 1900 2", "discard 2047 2", "write -z 600 100",
                    "write -P 3 1000 24", "write -z 2047 2"):
        results = [program("-f", "raw", "-c", command, name)
                   for program in (run.as_qemu_io(twin.ours), run.qemu_io(twin.theirs))]
        assert results[0].code == results[1].code, str(results)
    twin.same_file("a")


@pytest.mark.parametrize("options", ("offset=1536,size=1024", "offset=1024", "size=512",
                                     "driver=raw,offset=5000", "offset=512,size=4096", "size=100",
                                     "offset=x", "cluster_size=1"))
def test_another_part_of_a_raw_file_is_opened_anew(twin, options):
    twin.img("create", "-q", "-f", "raw", "a", "4k")
    twin.fork()
    script = ["open -o driver=raw,offset=512,size=2048 a", "write -P 1 0 512",
              f"reopen -o {options}", "write -P 2 0 512", "length", "write -P 3 2048 512"]
    args = [part for command in script for part in ("-c", command)]
    results = [program(*args)
               for program in (run.as_qemu_io(twin.ours), run.qemu_io(twin.theirs))]
    assert results[0].err == results[1].err
    assert results[0].code == results[1].code, str(results)
    twin.same_file("a")


def test_a_comma_in_a_name_beside_options(scratch):
    run.qemu_img(scratch)("create", "-q", "-f", "qcow2", "a,b", "1M").ok()
    same_words(scratch, "open -o driver=qcow2 a,b", "read -P 0 0 512")


@pytest.mark.parametrize("driver", ("file", "host_device", "host_cdrom"))
@pytest.mark.parametrize("mode", ("", "-r "))
def test_a_directory_is_neither_a_file_nor_a_device(scratch, driver, mode):
    (scratch / "d").mkdir()
    (scratch / "f").touch()
    same_words(scratch, f"open {mode}-o driver={driver},filename=d")
    same_words(scratch, f"open {mode}-o driver={driver},filename=f")


def test_the_named_data_file_is_opened_before_the_image_is_asked_for_one(scratch):
    overlay(scratch)
    same_words(scratch, "open -odata-file.filename=nosuch a")
    same_words(scratch, "open -odata-file.filename=base a")


@pytest.mark.parametrize("arguments", ("read 0", "write -x 0 1", "discard -z 0 1", "reopen x",
                                       "aio_write 0", "readv 0", "writev -y 0 1", "truncate"))
def test_how_to_call_a_command(twin, arguments):
    twin.img("create", "-q", "-f", "qcow2", "a", "1M")
    twin.read("-c", arguments, "a", program="qemu-io")


# --- resize, snapshot -----------------------------------------------------------------------


@pytest.mark.parametrize("options", ((), ("-o", "extended_l2=on")))
@pytest.mark.parametrize("mode", ("metadata", "falloc", "full"))
def test_storage_that_hides_the_backing_file_is_data(twin, mode, options):
    """Test 274; where the clusters lie is each program's own business."""
    twin.img("create", "-q", "-f", "qcow2", "base", "10M")
    twin.io("base", "write -P 1 9M 64k")
    twin.img("create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", *options, "a", "5M")
    twin.write("resize", f"--preallocation={mode}", "a", "15M")
    maps = [json.loads(program("map", "--output=json", "a").ok().out)
            for program in (run.as_qemu_img(twin.ours), run.qemu_img(twin.theirs))]
    told = [[(e["start"], e["length"], e["depth"], e["zero"], e["data"]) for e in m] for m in maps]
    assert told[0] == told[1]
    twin.same_guest("a")
    run.qemu_img(twin.ours)("check", "a").ok()


@pytest.mark.parametrize("offset, value", ((0, 0x400200), (8, 0x10000000 << 32 | 0x00010004)))
def test_a_snapshot_whose_table_cannot_be_is_not_deleted(twin, offset, value):
    """The end of test 080."""
    twin.img("create", "-q", "-f", "qcow2", "a", "64M")
    twin.io("a", "write 0 512")
    twin.img("snapshot", "-c", "test", "a")
    where = int.from_bytes((twin.theirs / "a").read_bytes()[64:72], "big")
    patch(twin.theirs / "a", where + offset, value)
    twin.write("snapshot", "-d", "test", "a")
    twin.write("convert", "-l", "test", "a", "b")
