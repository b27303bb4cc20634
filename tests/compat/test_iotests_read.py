# SPDX-License-Identifier: Apache-2.0
"""Rules that QEMU's own test suite holds its tools to, on the reading side.

Found by running that suite twice, once with qimg in the place of the tools; each test states one
rule in which the two had differed.
"""
import subprocess

import pytest

from pylib import run

OUT_OF_RANGE = "Must be between 0 and 9223372036854775807."


def patch(path, *changes):
    with open(path, "r+b") as file:
        for offset, data in changes:
            file.seek(offset)
            file.write(data)


def word(value):
    return value.to_bytes(8, "big")


# --- create ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size, why", (
    ("-1024", OUT_OF_RANGE), ("-0", OUT_OF_RANGE), ("9E", OUT_OF_RANGE), ("-1k", "'-1k'"),
    ("-1.5", "'-1.5'"), ("99999999999999999999k", "'99999999999999999999k'"),
    ("1kilobyte", "'1kilobyte'")))
def test_sizes_beyond_all_bounds(as_qemu_img, size, why):
    mine = as_qemu_img("create", "-f", "qcow2", "a", "--", size).failed(why)
    assert mine.err.startswith("qemu-img: Invalid image size specified")
    option = as_qemu_img("create", "-f", "qcow2", "-o", f"size={size}", "a").failed()
    if why == OUT_OF_RANGE and size != "9E":
        assert option.err == f"qemu-img: a: Value '{size}' is out of range for parameter 'size'\n"


@pytest.mark.parametrize("options", ("compat=0.42", "preallocation=much", "cluster_size=4M",
                                     "compat=0.10,lazy_refcounts=on", "refcount_bits=7"))
def test_the_announcement_comes_before_the_complaint(scratch, options):
    for program in (run.as_qemu_img(scratch), run.qemu_img(scratch)):
        with open(scratch / "both", "w+b") as both:
            subprocess.run([program.name, "create", "-f", "qcow2", "-o", options, "a", "1M"],
                           executable=str(program.path), stdout=both, stderr=both, cwd=scratch,
                           check=False)
        lines = (scratch / "both").read_text().splitlines()
        assert lines[0].startswith("Formatting 'a', ") and lines[1].startswith("qemu-img: a: ")


def test_file_is_a_format_like_raw(twin):
    twin.img("create", "-q", "-f", "qcow2", "a", "1M")
    twin.write("create", "-f", "file", "b", "3k")
    twin.write("create", "-f", "file", "-o", "preallocation=full", "c", "1M")
    twin.write("create", "-f", "file", "-b", "a", "d")
    twin.write("convert", "-O", "file", "a", "e")
    for name in ("b", "c", "e"):
        twin.same_file(name)


@pytest.mark.parametrize("name", ("bochs", "cloop", "dmg", "blkdebug"))
def test_formats_without_images_to_make(twin, name):
    twin.img("create", "-q", "-f", "qcow2", "a", "1M")
    twin.write("create", "-f", name, "b", "1M")
    twin.write("create", "-f", name, "-o", "help")
    twin.write("convert", "-O", name, "a", "b")


def test_an_unknown_format_of_a_target_that_exists(twin):
    twin.img("create", "-q", "-f", "qcow2", "a", "1M")
    twin.img("create", "-q", "-f", "raw", "b", "1M")
    twin.write("convert", "-n", "-O", "nosuch", "a", "b")


@pytest.mark.parametrize("size", ("0", "512", "3k", "4k", "5k", "1M"))
def test_a_new_raw_file_has_one_block(twin, size):
    twin.img("create", "-q", "-f", "raw", "elsewhere", "1k")
    twin.write("create", "-f", "raw", "a", size)
    twin.write("create", "-f", "qcow2", "-o", "data_file=d", "b", size)
    for name in ("a", "d"):
        blocks = [(side / name).stat().st_blocks for side in (twin.ours, twin.theirs)]
        assert blocks[0] == blocks[1], name


# --- names and formats ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ("host_device", "nbd", "vmdk", "blkdebug", "nosuch", ""))
def test_any_name_that_qemu_knows_is_recorded(twin, name):
    twin.img("create", "-q", "-f", "qcow2", "a", "1M")
    twin.write("rebase", "-u", "-b", "b", "-F", name, "a")
    twin.read("info", "a")
    twin.write("create", "-u", "-f", "qcow2", "-b", "b", "-F", name or "raw", "c", "1M")


def test_a_device_is_asked_for(twin):
    twin.img("create", "-q", "-f", "qcow2", "a", "1M")
    for command in (("info",), ("map",), ("compare", "a"), ("info", "--backing-chain")):
        twin.read(*command, "-f", "host_device", "a")
    twin.write("create", "-f", "qcow2", "-b", "a", "-F", "host_device", "b")


@pytest.mark.parametrize("kind", ("socket", "directory"))
def test_what_cannot_be_opened_for_writing(twin, kind):
    if kind == "socket":
        run.socket_at(twin.theirs / "thing")
    else:
        (twin.theirs / "thing").mkdir()
    twin.read("rebase", "-u", "-b", "b", "-F", "raw", "thing")
    twin.read("create", "-f", "raw", "thing", "1M")
    twin.read("create", "-f", "qcow2", "thing", "1M")
    twin.read("-c", "length", "thing", program="qemu-io")


def test_a_colon_behind_the_protocol(twin):
    twin.img("create", "-q", "-f", "raw", "base", "1M")
    twin.img("create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw", "file:one:two")
    for name in ("file:one:two", "./one:two", "file:one:three", "one:two"):
        for command in ("info", "map"):
            twin.read(command, name)
    twin.read("info", "--output=json", "--backing-chain", "file:one:two")


# --- options of nodes -------------------------------------------------------------------------


def test_the_user_names_another_data_file(twin):
    twin.img("create", "-q", "-f", "qcow2", "-o", "data_file=d", "a", "1M")
    twin.io("a", "write -q -P 7 64k 128k", options=("-f", "qcow2"))
    (twin.theirs / "d").rename(twin.theirs / "moved")
    twin.img("create", "-q", "-f", "qcow2", "plain", "1M")
    read = ("-r", "-c", "read -P 7 64k 128k")
    twin.read(*read, "a", program="qemu-io")
    for options in ("driver=qcow2,data-file.filename=moved,file.filename=a",
                    "data-file.driver=file,data-file.filename=moved,file.filename=a",
                    "data-file.driver=raw,data-file.file.filename=moved,file.filename=a",
                    "driver=qcow2,data-file.filename=nox,file.filename=a",
                    "driver=qcow2,data-file=node,file.filename=a"):
        twin.read("map", "--image-opts", options)
        if "nox" not in options and "node" not in options:
            twin.read("compare", "--image-opts", options, options)
    twin.read("map", "--image-opts", "driver=qcow2,data-file.filename=moved,file.filename=plain")
    twin.read("map", 'json:{"driver":"qcow2","data-file":{"driver":"file","filename":"moved"},'
                     '"file":{"driver":"file","filename":"a"}}')
    # 9.1: info opens no data file, so that it needs none, and says what is recorded.
    told = run.as_qemu_img(twin.theirs)("info", "--image-opts",
                                        "data-file.filename=nox,file.filename=a").ok()
    assert "data file: d\n" in told.out and told.out.startswith("image: a\n")


def test_a_key_is_named_for_an_encrypted_image(twin):
    secret = ("--object", "secret,id=s0,data=abc")
    twin.img("create", "-q", *secret, "-f", "qcow2", "-o",
             "encrypt.format=aes,encrypt.key-secret=s0", "a", "1M")
    keyed = "driver=qcow2,file.filename=a,encrypt.key-secret=s0"
    twin.read("info", *secret, "--image-opts", keyed)
    twin.read("map", "a")
    refused = run.as_qemu_img(twin.theirs)("map", *secret, "--image-opts", keyed)
    refused.failed("no cipher is built in")


# --- maps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", (1, 511, 1000, 65537, 66048))
def test_a_raw_image_ends_inside_a_sector(twin, size):
    (twin.theirs / "a").write_bytes(bytes([5]) * size)
    twin.img("create", "-q", "-f", "qcow2", "-b", "a", "-F", "raw", "b")
    for name in ("a", "b"):
        twin.read("map", "--output=json", name)
        twin.read("map", name)
        for start in (size - 1, size, size + 7):
            twin.read("map", "--output=json", "-s", start, "-l", "12", name)
    twin.read("map", "--output=json", "--image-opts", "driver=raw,file.filename=a")
    twin.read("map", "--output=json", "--image-opts",
              "driver=raw,file.driver=file,file.filename=a,cache.direct=on")
    twin.read("compare", "-s", "a", "b")
    twin.write("convert", "-O", "raw", "a", "c")
    twin.same_file("c")


# --- corrupt tables -----------------------------------------------------------------------------

L1, L2 = 0x30000, 0x40000
CORRUPT = {
    "cluster": ("compat=1.1", (L2, word(1 << 63 | 0x52a00))),
    "table": ("compat=1.1", (L1, word(1 << 63 | 0x42a00))),
    "zero cluster": ("compat=1.1", (L2, word(1 << 63 | 0x52a00 | 1))),
    "zero in version 2": ("compat=0.10", (L2, word(1 << 63 | 0x60000 | 1))),
    "both bits": ("extended_l2=on", (L2 + 8, word(1 | 1 << 32))),
    "bits without a cluster": ("extended_l2=on", (L2, word(0) + word(1))),
}


@pytest.mark.parametrize("what", CORRUPT)
def test_the_first_wrong_entry_is_told_once(twin, what):
    options, change = CORRUPT[what]
    twin.img("create", "-q", "-f", "qcow2", "-o", options, "a", "1M")
    twin.io("a", "write -q 0 512k", options=("-f", "qcow2"))
    twin.img("create", "-q", "-f", "qcow2", "zeros", "1M")
    patch(twin.theirs / "a", change)
    twin.read("map", "a")
    twin.read("compare", "a", "zeros")
    twin.read("convert", "-O", "raw", "a", "out")
    twin.read("-r", "-c", "read 0 512k", "-c", "read 0 512k", "a", program="qemu-io")
    told = run.as_qemu_img(twin.theirs)("map", "a")
    assert told.err.count("qcow2: Image is corrupt: ") == 1


@pytest.mark.parametrize("extra", (1025, 1 << 31))
def test_how_to_mend_a_snapshot_table(twin, extra):
    twin.img("create", "-q", "-f", "qcow2", "a", "1M")
    twin.img("snapshot", "-c", "one", "a")
    header = (twin.theirs / "a").read_bytes()[:72]
    table = int.from_bytes(header[64:72], "big")
    patch(twin.theirs / "a", (table + 36, extra.to_bytes(4, "big")))
    twin.read("info", "a")


# --- progress -------------------------------------------------------------------------------------


def test_progress_steps(twin):
    twin.img("create", "-q", "-f", "qcow2", "a", "128M")
    twin.io("a", *(f"write -q {at}M 1M" for at in (0, 32, 64, 96)), options=("-f", "qcow2"))
    twin.img("create", "-q", "-f", "qcow2", "b", "64M")
    twin.io("b", "write -q 0 5M", "write -q 16M 3M", options=("-f", "qcow2"))
    for name in ("a", "b"):
        twin.write("convert", "-p", "-m", "1", "-O", "raw", name, "out")
