# SPDX-License-Identifier: Apache-2.0
"""No image can crash, hang, inflate or mislead qimg, and it agrees with QEMU where QEMU is sane."""
import hashlib
import importlib.util
import re
from pathlib import Path

import pytest

from pylib import run
from pylib.paths import SANITIZED

SPEC = importlib.util.spec_from_file_location("corpus_make", Path(__file__).parent / "make.py")
make = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(make)

SECONDS = 5 if SANITIZED else 1
MEMORY_KIB = 64 * 1024

# Images that can be looked at, though their data cannot be read (or not without the gate's or the
# operator's help). Everything else that is bad or unsupported is refused by every command.
INFO_ONLY = {
    "bad-backing-directory", "bad-backing-escapes", "bad-backing-fifo", "bad-backing-itself",
    "bad-backing-format-unknown", "bad-backing-json-cut", "bad-backing-json-deep",
    "bad-backing-loop-a", "bad-backing-loop-b", "bad-backing-name-1023", "bad-backing-newline",
    "bad-backing-not-utf8", "bad-backing-nul", "bad-compressed-cut", "bad-compressed-empty",
    "bad-compressed-garbage", "bad-compressed-past-end", "bad-compressed-too-short",
    "bad-compressed-zlib-header", "bad-crypto-without-extension", "bad-data-file-fifo",
    "bad-data-file-json", "bad-data-file-missing", "bad-data-file-moved-cluster",
    "bad-data-file-without-name", "bad-data-unaligned", "bad-extended-allocated-at-0",
    "bad-extended-both-bits", "bad-l2-past-end", "bad-l2-unaligned", "bad-v2-zero-flag",
    "unsupported-crypt-aes",
}
# Bad in what no reading command needs, or bad only in what it claims: readable, at small cost.
READABLE = {"bad-l1-32m-in-400k", "bad-snapshot-cut", "bad-snapshots-65536-in-44k"}

# Where QEMU 7.2 says otherwise, and why we do not follow. Exit codes (info, convert) of QEMU.
QEMU_DIFFERS = {
    "bad-header-only": ((0, 0), "tables past the end of the file read as a disk of zeros"),
    "bad-l1-past-end": ((0, 0), "tables past the end of the file read as a disk of zeros"),
    "bad-l2-past-end": ((0, 0), "tables past the end of the file read as a disk of zeros"),
    "bad-snapshots-past-end": ((0, 0), "tables past the end of the file read as zeros"),
    "bad-crypto-without-extension": ((-11, 1), "SIGSEGV; mended in 10.0"),
}
# Where asking QEMU would hang or take too long.
QEMU_HANGS = {"bad-backing-itself", "bad-backing-loop-a", "bad-backing-loop-b", "bad-backing-fifo",
              "bad-data-file-fifo", "good-260000-extensions", "bad-snapshots-65536-in-44k"}

NAMES = [name[:-len(".qcow2")] for name, _ in make.images()] + \
    ["good-260000-extensions", "bad-l1-32m-in-400k"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    make.make(directory)
    return directory


def verdict(name):
    """(may info exit 0, may data be read)"""
    if name.startswith("good-") or name in READABLE:
        return True, True
    return name in INFO_ONLY, False


def digest(directory):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest()
            for p in directory.iterdir() if p.is_file()}


def judge(result, fine):
    assert result.code == (0 if fine else 1), f"{result} exit {result.code}: {result.err}"
    if not fine:
        assert result.err, "a refusal says why"
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", result.out + result.err), "raw control byte"
    # Promised as time; measured as work, because the machine may be busy with other tests.
    assert result.cpu_seconds < SECONDS, f"{result} took {result.cpu_seconds:.1f} s"
    assert result.seconds < 5 * SECONDS, f"{result} took {result.seconds:.1f} s"
    if not SANITIZED:
        assert result.peak_kib < MEMORY_KIB, f"{result} took {result.peak_kib} KiB"




@pytest.mark.parametrize("name", NAMES)
def test_every_command_answers_as_the_table_says(corpus, scratch, name):
    info_fine, data_fine = verdict(name)
    image = corpus / f"{name}.qcow2"
    before = digest(corpus)
    tool = run.ours(corpus)
    mapping_fails_late = name.startswith("bad-compressed")
    for arguments, reads in ((("info",), False), (("info", "--output=json"), False),
                             (("map", "--output=json"), "map"), (("convert", "-O", "raw"), True),
                             (("compare",), True)):
        operands = [image]
        if arguments[0] == "convert":
            operands.append(scratch / "out.raw")
        if arguments[0] == "compare":
            operands.append(corpus / "good-plain.qcow2")
        result = tool(arguments[0], *(["-f", "qcow2"]), *arguments[1:], *operands, measure=True)
        if arguments[0] == "compare":
            assert result.code in ((0, 1) if data_fine else (1, 2, 3, 4)), f"{result}{result.err}"
            result.code = 0 if data_fine else 1
        if reads == "map" and mapping_fails_late:
            assert result.code in (0, 1)
            result.code = 1
            result.err = result.err or "-"
        if name == "unsupported-crypt-aes" and reads == "map":
            assert result.code in (0, 1)
            result.code, result.err = 1, result.err or "-"
        judge(result, data_fine if reads else info_fine)
    if not data_fine:
        assert not (scratch / "out.raw").exists() or (scratch / "out.raw").stat().st_size == 0
    assert digest(corpus) == before, "something was written"


@pytest.mark.parametrize("name", NAMES)
def test_reading_through_io(corpus, name):
    """qemu-io's exit code: 1 when the image does not open or a read fails."""
    result = run.ours(corpus)("io", "-r", "-f", "qcow2", "-c", "read 0 1M", f"{name}.qcow2",
                              measure=True)
    if verdict(name)[1]:
        want = 1 if name == "good-size-0" else 0
        assert result.code == want, f"{result}{result.out}{result.err}"
    else:
        assert result.code == 1, f"{result}{result.out}{result.err}"
    assert result.cpu_seconds < SECONDS and result.seconds < 5 * SECONDS


@pytest.mark.parametrize("name", [n for n in NAMES if n not in QEMU_HANGS])
def test_same_verdict_as_qemu(corpus, scratch, name):
    mine, oracle = run.as_qemu_img(corpus), run.qemu_img(corpus)
    codes = []
    for program, out in ((mine, "mine"), (oracle, "oracle")):
        codes.append((program("info", "-f", "qcow2", f"{name}.qcow2").code,
                      program("convert", "-f", "qcow2", "-O", "raw", f"{name}.qcow2",
                              scratch / out).code))
    if name in QEMU_DIFFERS:
        assert codes[1] == QEMU_DIFFERS[name][0], "the table is out of date"
        return
    if name.startswith("bad-data-file"):
        codes = [(0, code[1]) for code in codes]  # 9.1: info does not open data files
    assert codes[0] == codes[1]
    if codes[0][1] == 0:
        sizes = {(scratch / out).stat().st_size for out in ("mine", "oracle")}
        assert len(sizes) == 1
        with open(scratch / "mine", "rb") as mine, open(scratch / "oracle", "rb") as oracle:
            assert mine.read(4 << 20) == oracle.read(4 << 20)


@pytest.mark.parametrize("name", [n for n in NAMES if "escapes" in n or "newline" in n])
def test_names_are_escaped_in_every_output(corpus, name):
    for args in (("info",), ("info", "--output=json"), ("map",)):
        result = run.ours(corpus)(*args, f"{name}.qcow2")
        assert "\x1b" not in result.out + result.err
        assert "\n" + "qemu-img: done" not in result.out + result.err


def test_an_empty_file_is_raw_and_empty(corpus):
    tool = run.ours(corpus)
    assert "virtual size: 0 B" in tool("info", "good-empty.raw").ok().out
    tool("info", "-f", "qcow2", "good-empty.raw").failed("Image is not in qcow2 format")


def test_the_opened_image_may_not_be_a_fifo(corpus):
    for command in (("info",), ("map",), ("convert", "-O", "raw")):
        operands = ("fifo", "out.raw") if command[0] == "convert" else ("fifo",)
        result = run.ours(corpus)(*command, *operands)
        assert result.code == 1 and result.seconds < SECONDS


def test_every_image_is_explained():
    text = (Path(__file__).parent / "README.md").read_text()
    missing = [name for name in NAMES if f"`{name}`" not in text]
    assert not missing


def test_the_corpus_comes_out_the_same_twice(corpus, tmp_path):
    make.make(tmp_path / "again")
    assert digest(tmp_path / "again") == {
        name: value for name, value in digest(corpus).items() if name != "out.raw"}
