# SPDX-License-Identifier: Apache-2.0
"""`bench` beside qemu-img: what is said, what is refused, and what the guest finds afterwards.

QEMU 10.1 changed where offsets start again; the oracle is older, so that what is compared with it
does not get there, and the new rule is tested on its own.
"""
import re
import shutil
import subprocess

import pytest

from pylib import images, run

TIME = re.compile(r"in \d+\.\d{3} seconds\.")


class Timed:
    """A program whose times are masked."""

    def __init__(self, program):
        self.program = program

    def at(self, cwd):
        return Timed(self.program.at(cwd))

    def __call__(self, *args):
        result = self.program(*args)
        result.out = TIME.sub("in <TIME> seconds.", result.out)
        return result


@pytest.fixture
def timed(twin):
    programs = tuple(Timed(program) for program in (run.as_qemu_img(), run.qemu_img()))
    twin._programs = lambda program: programs
    return twin


READS = (
    ("-c", "10"), ("-c", "1000", "-d", "1"), ("-c", "7", "-d", "64"), ("-c", "100", "-s", "64k"),
    ("-c", "50", "-s", "512", "-S", "1k"), ("-c", "30", "-s", "3000", "-S", "777", "-o", "5"),
    ("-c", "20", "-S", "0"), ("-c", "20", "-o", "1M"), ("-c", "20", "-t", "none"),
    ("-c", "20", "-t", "none", "-n"), ("-c", "20", "-t", "directsync", "-i", "native"),
    ("-c", "20", "-i", "threads"), ("-c", "20", "-U", "-q"), ("-c", "5", "--flush-interval", "0"),
    ("-c", "5", "--pattern", "7"), ("-c", "5", "--no-drain"),
)


def test_reads(timed):
    name = images.chain(timed, 3)
    for args in READS:
        timed.read("bench", *args, name).ok()


WRITES = (
    ("-c", "40"), ("-c", "100", "--pattern", "0x5a"), ("-c", "3", "-d", "64", "--pattern", "1"),
    ("-c", "30", "-s", "3000", "-S", "7777", "-o", "5", "--pattern", "2"),
    ("-c", "23", "-d", "4", "--flush-interval", "5", "--pattern", "3"),
    ("-c", "23", "-d", "4", "--flush-interval", "5", "--no-drain", "--pattern", "4"),
    ("-c", "23", "-d", "4", "--flush-interval", "4", "-t", "writethrough", "--pattern", "5"),
    ("-c", "16", "-s", "64k", "-d", "3", "-t", "none", "--pattern", "255"),
)


@pytest.mark.parametrize("fmt", ("raw", "qcow2"))
def test_writes_leave_the_same_guest(timed, fmt):
    timed.img("create", "-q", "-f", fmt, "a", "4M")
    timed.io("a", "write -P 9 100k 1M", options=("-f", fmt))
    timed.fork()
    for args in WRITES:
        timed.write("bench", "-f", fmt, "-w", *args, "a").ok()
        timed.same_guest("a")


REFUSED = (
    ("-c", "abc"), ("-d", "x"), ("-s", "1Q"), ("-S", "1Q"), ("-o", "x"), ("-w", "--pattern", "300"),
    ("-w", "--pattern", "x"), ("--flush-interval", "5"), ("-w", "--flush-interval", "5"),
    ("-w", "--flush-interval", "63", "--no-drain"), ("-i", "foo"), ("-t", "foo"), ("-n",),
    ("-i", "native"), ("-n", "-i", "threads"), ("-w", "-U"), ("-f", "qcow2"),
    ("-c", "1", "-o", "99000"), ("-c", "10", "-o", "200000"), ("-c", "10", "-s", "200k"), ("a",),
    ("--nosuch",),
)


def test_refusals(timed):
    timed.img("create", "-q", "-f", "raw", "a", "100k")
    for args in REFUSED:
        timed.read("bench", *args, "a").failed()


def test_bounds_of_numbers(scratch, as_qemu_img):
    """10.1: the bounds are told, and 0 is none of them; the oracle runs no request, or for ever."""
    (scratch / "a").write_bytes(bytes(4096))
    for what, least, most, *options in (
            ("request count", 1, 2147483647, "-c"), ("queue depth", 1, 2147483647, "-d"),
            ("buffer size", 1, 2147483647, "-s"), ("step size", 0, 2147483647, "-S"),
            ("offset", 0, 9223372036854775807, "-o"), ("pattern byte", 0, 255, "--pattern"),
            ("flush interval", 0, 2147483647, "--flush-interval")):
        for value in [most + 1] + [0] * least:
            result = as_qemu_img("bench", *options, value, "a")
            assert (result.code, result.out, result.err) == (
                1, "", f"qemu-img: Invalid {what} specified. "
                       f"Must be between {least} and {most}.\n")


def written(data, byte):
    return {off // 4096 for off in range(0, len(data), 4096) if data[off:off + 4096] == byte * 4096}


def test_offsets_start_again_where_no_whole_request_is_left(scratch, as_qemu_img):
    for step, count, want in ((4, 25, range(24)), (12, 24, range(0, 24, 3)), (40, 3, {0, 10, 20})):
        (scratch / "a").write_bytes(bytes(100 * 1024))
        as_qemu_img("bench", "-f", "raw", "-w", "--pattern", "1", "-c", count, "-S", f"{step}k",
                    "a").ok()
        assert written((scratch / "a").read_bytes(), b"\1") == set(want)


def test_a_disk_of_one_request_is_read_again_and_again(scratch, as_qemu_img):
    (scratch / "a").write_bytes(bytes(4096))
    as_qemu_img("bench", "-f", "raw", "-c", "100", "a").ok()
    (scratch / "a").write_bytes(b"")
    as_qemu_img("bench", "-f", "raw", "-c", "1", "a").failed("Failed request: Input/output error")


@pytest.mark.skipif(not shutil.which("strace"), reason="no strace")
@pytest.mark.parametrize("drain,flushes", (((), 4), (("--no-drain",), 7)))
def test_flushes(scratch, drain, flushes):
    """20 writes, 4 at a time, a flush after each 5. With --no-drain each write that ends when none
    is left to start is followed by one, as under QEMU."""
    (scratch / "a").write_bytes(bytes(1 << 20))
    done = subprocess.run(["strace", "-f", "-e", "trace=fdatasync", "-o", scratch / "trace",
                           run.ours().path, "--engine=threads", "bench", "-f", "raw", "-w", "-c",
                           "20", "-d", "4", "--flush-interval", "5", *drain, scratch / "a"],
                          capture_output=True, check=False)
    if b"Run completed" not in done.stdout:
        pytest.skip("strace cannot run here")
    begun = re.findall(r"fdatasync\(", (scratch / "trace").read_text())
    assert len(begun) == flushes + 1  # one at the end
