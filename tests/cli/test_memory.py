# SPDX-License-Identifier: Apache-2.0
"""Address space that runs out: whatever the limit, a command does its work, or says what is missing
and leaves an image that is sound. Never a signal. And what hostile images, or any command, need.
"""
import resource
import shutil
import struct
import subprocess

import pytest

from pylib import run
from pylib.paths import EMULATED, LONG, QIMG, ROOT, SANITIZED

KIB, MIB = 1 << 10, 1 << 20
MOST = 96 * MIB
STEP = 96 * KIB if LONG else 320 * KIB

COMMANDS = {
    "open": ("info", "a"),
    "read": ("io", "-r", "-c", "read -P 7 0 1M", "a"),
    "map": ("map", "--output=json", "a"),
    "write": ("io", "-c", "write -P 9 1M 1M", "-c", "write -z 0 64k", "-c", "discard 64k 64k", "a"),
    "packed": ("io", "-c", "write -c -P 9 4M 64k", "a"),
    "check": ("check", "a"),
    "repair": ("check", "-r", "all", "a"),
    "snapshot": ("snapshot", "-c", "s", "a"),
    "resize": ("resize", "-q", "a", "64M"),
    "bitmap": ("bitmap", "--add", "a", "b"),
    "amend": ("amend", "-o", "refcount_bits=64", "a"),
    "convert": ("convert", "-O", "qcow2", "a", "new"),
    "pack": ("convert", "-c", "-O", "qcow2", "a", "new"),
    "compare": ("compare", "a", "a"),
    "measure": ("measure", "-O", "qcow2", "a"),
    "audit": ("chain", "audit", "--policy=import", "a"),
    "verify": ("chain", "verify", "o"),
    "seal": ("chain", "seal", "o"),
    "rebase": ("rebase", "-b", "", "o"),
    "stream": ("stream", "-q", "o"),
    "commit": ("commit", "-q", "o"),
}
FAILURES = {"compare": (2, 3, 4)}
COARSE = ("convert", "pack", "compare", "measure", "audit", "verify", "seal", "rebase", "stream",
          "commit")


def under(limit, cwd, *args):
    return subprocess.run(["qimg", *args], executable=QIMG, cwd=cwd, capture_output=True, text=True,
                          timeout=60, stdin=subprocess.DEVNULL, preexec_fn=lambda:
                          resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))


def least(cwd):
    """The least at which the loader gets as far as main()."""
    limit = 2 * MIB
    while under(limit, cwd, "--version").returncode != 0:
        limit += 256 * KIB
        assert limit < 32 * MIB
    return limit


@pytest.mark.skipif(SANITIZED or EMULATED, reason="they take address space of their own")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_under_a_limit_succeeds_or_says_why(scratch, name):
    run.qemu_img(scratch)("create", "-q", "-f", "qcow2", "kept", "32M").ok()
    run.qemu_io(scratch)("-c", "write -q -P 7 0 3M", "-c", "discard 2M 64k", "kept").ok()
    shutil.copyfile(scratch / "kept", scratch / "a")
    run.qemu_img(scratch)("create", "-q", "-f", "qcow2", "-b", "a", "-F", "qcow2", "over").ok()
    run.qemu_io(scratch)("-c", "write -q -P 6 1M 3M", "over").ok()
    limit, refused, done = least(scratch), 0, 0
    step = STEP * 4 if name in COARSE else STEP
    while done < 2 and limit < MOST:  # twice, so that luck is not taken for enough
        shutil.copyfile(scratch / "kept", scratch / "a")
        (scratch / "o").unlink(missing_ok=True)
        shutil.copyfile(scratch / "over", scratch / "o")
        result = under(limit, scratch, *COMMANDS[name])
        said = result.stdout + result.stderr
        assert result.returncode in (0, *FAILURES.get(name, (1,))), f"{limit}: {result} {said}"
        assert result.returncode == 0 or said.strip(), f"{limit}: silence"
        for image in ("a", "o"):
            assert run.qemu_img(scratch)("check", "-q", image).code in (0, 3), f"{limit}: {said}"
        done = done + 1 if result.returncode == 0 and "failed" not in said else 0
        refused += result.returncode != 0
        limit += step
    assert done == 2, f"{limit} bytes are not enough"
    print(f"{name}: refused {refused} times, done at {limit - 2 * step} bytes")


# --- hostile images -----------------------------------------------------------------------------

def patch(path, *places):
    """Writes (offset, struct format, value), then makes the file as long as a liar could wish."""
    with open(path, "r+b") as image:
        for at, form, value in places:
            image.seek(at)
            image.write(struct.pack(form, value))
        image.truncate(1 << 40)


def header(path, at, form):
    with open(path, "rb") as image:
        image.seek(at)
        return struct.unpack(form, image.read(struct.calcsize(form)))[0]


def largest_l1(tool, path):
    """32 MiB of L1 table, of which the file has all."""
    tool("create", "-q", "-f", "qcow2", "-o", "cluster_size=512", path, "1M").ok()
    patch(path, (24, ">Q", 127 << 30), (36, ">I", (127 << 30) // 32768))


def largest_reftable(tool, path):
    tool("create", "-q", "-f", "qcow2", path, "1M").ok()
    patch(path, (56, ">I", 128))


def endless_snapshot_table(tool, path):
    """As many snapshots as there may be, whose names are as long as they can be said to be."""
    tool("create", "-q", "-f", "qcow2", path, "1M").ok()
    patch(path, (60, ">I", 65536), (64, ">Q", 1 << 20),
          *((((1 << 20) + i * 65592 + 14), ">H", 65535) for i in range(1000)))


def endless_snapshot_l1(tool, path):
    tool("create", "-q", "-f", "qcow2", path, "1M").ok()
    tool("snapshot", "-c", "s", path).ok()
    patch(path, (header(path, 64, ">Q") + 8, ">I", 0x7fffffff))


def endless_bitmap(tool, path):
    tool("create", "-q", "-f", "qcow2", path, "1M").ok()
    tool("bitmap", "--add", path, "b").ok()
    extension = path.read_bytes()[:4096].index(bytes.fromhex("23852875")) + 8
    patch(path, (header(path, extension + 16, ">Q") + 8, ">I", 0x7ffffff))


def endless_names(tool, path):
    tool("create", "-q", "-f", "qcow2", path, "1M").ok()
    patch(path, (8, ">Q", 1 << 20), (16, ">I", 0x7fffffff))


HOSTILE = (largest_l1, largest_reftable, endless_snapshot_table, endless_snapshot_l1,
           endless_bitmap, endless_names)
LOOKING = (("info",), ("info", "--output=json"), ("check",), ("map",), ("chain", "audit"),
           ("chain", "show"), ("snapshot", "-l"), ("measure", "-O", "raw"))


@pytest.mark.skipif(SANITIZED or EMULATED, reason="they take memory of their own")
@pytest.mark.parametrize("liar", HOSTILE, ids=lambda liar: liar.__name__)
def test_what_an_image_claims_costs_no_memory(scratch, liar):
    liar(run.qemu_img(scratch), scratch / "a")
    for command in LOOKING:
        result = run.ours(scratch)(*command, "a", measure=True)
        most = 64 + 32 * (command[0] == "check")  # it reads the L1 table once more
        assert result.peak_kib < most * 1024, f"{result}{result.peak_kib} KiB"
        limited = run.ours(scratch)("--memory-limit=256M", *command, "a")
        assert (limited.code, limited.out) == (result.code, result.out), f"{limited}{limited.err}"


@pytest.mark.skipif(SANITIZED, reason="sanitizers take memory of their own")
def test_a_look_ahead_over_nothing_meets_few_tables_at_once(scratch):
    """Half of the largest L1 table is empty, the rest names a table each 32 KiB of the disk."""
    image, entries = scratch / "a", 1 << 22
    run.qemu_img(scratch)("create", "-q", "-f", "qcow2", "-o", "cluster_size=512", image, "1M").ok()
    table, l2 = 1 << 16, (1 << 16) + entries * 8
    with open(image, "r+b") as file:
        for at, form, value in ((24, ">Q", entries << 15), (36, ">I", entries), (40, ">Q", table)):
            file.seek(at)
            file.write(struct.pack(form, value))
        file.seek(table + entries * 4)
        file.write(struct.pack(">Q", l2) * (entries // 2) + bytes(512))
    result = run.ours(scratch)("io", "-r", "-f", "qcow2", "-c", "read -P 0 0 4k", image,
                               measure=True)
    assert "failed" not in result.ok().out and result.peak_kib < 64 * 1024, result.peak_kib


def place(path, at, data):
    with open(path, "r+b") as image:
        image.seek(at)
        image.write(data)


def full_block_for_all(tool, path):
    """A refcount table of 8 MiB that names one block, which has no free cluster."""
    tool("create", "-q", "-f", "qcow2", path, "1M").ok()
    place(path, 15 * MIB, b"\xff" * 65536)
    place(path, 16 * MIB, struct.pack(">Q", 15 * MIB) * MIB)
    place(path, 48, struct.pack(">QI", 16 * MIB, 128))


def blocks_in_holes(tool, path):
    """The same, but all blocks behind the first one lie in a hole of 64 GiB."""
    tool("create", "-q", "-f", "qcow2", path, "1M").ok()
    first = header(path, header(path, 48, ">Q"), ">Q")
    blocks = range(64 * MIB, 64 * MIB + (MIB - 1) * 65536, 65536)
    place(path, 16 * MIB, struct.pack(f">{MIB}Q", first, *blocks))
    place(path, 48, struct.pack(">QI", 16 * MIB, 128))
    place(path, 65 * 1024 * MIB, b"\0")


def one_table_for_all(tool, path):
    """An L1 table of 8 MiB that names one L2 table, which has one entry; all of it counted."""
    tool("create", "-q", "-f", "qcow2", "-o", "refcount_bits=64", path, "1M").ok()
    block = header(path, header(path, 48, ">Q"), ">Q")
    place(path, 12 * MIB + 65528, struct.pack(">Q", 12 * MIB + 65536))
    place(path, 16 * MIB, struct.pack(">Q", 12 * MIB) * MIB)
    place(path, block + 192 * 8, struct.pack(">QQ", MIB, MIB))
    place(path, block + 256 * 8, struct.pack(">128Q", *(1,) * 128))
    for at, form, value in ((24, ">Q", MIB << 29), (36, ">I", MIB), (40, ">Q", 16 * MIB)):
        place(path, at, struct.pack(form, value))


CHANGING = (("snapshot", "-c", "s"), ("snapshot", "-a", "s"), ("snapshot", "-d", "s"),
            ("bitmap", "--add", "-g", "1G", "a", "b"), ("resize", "--shrink", "a", "64k"))


@pytest.mark.skipif(SANITIZED or EMULATED, reason="they are slower, and take memory of their own")
@pytest.mark.parametrize("liar", (full_block_for_all, blocks_in_holes, one_table_for_all),
                         ids=lambda liar: liar.__name__)
def test_what_is_named_again_and_again_costs_once(scratch, liar):
    liar(run.qemu_img(scratch), scratch / "a")
    for command in CHANGING:
        command = command if "a" in command else (*command, "a")
        result = run.ours(scratch)(*command, measure=True)
        assert result.cpu_seconds < 3 and result.peak_kib < 64 * 1024, f"{result}{result.peak_kib}"
        assert result.code == 0 or liar is not one_table_for_all, f"{result}{result.err}"


# --- every command in 256 MiB --------------------------------------------------------------------

EVERYTHING = (
    ("amend", "-o", "compat=1.1", "top"), ("bench", "-c", "64", "top"),
    ("bitmap", "--add", "top", "b"),
    ("chain", "show", "top"), ("chain", "verify", "top"), ("chain", "graph", "."),
    ("chain", "graph", "--output=svg", "."), ("chain", "seal", "--content", "top"),
    ("chain", "audit", "--policy=host", "top"), ("chain", "fix", "top"),
    ("chain", "mv", "top", "moved"), ("check", "-r", "all", "top"), ("commit", "top"),
    ("compare", "top", "base"), ("convert", "-c", "-O", "qcow2", "top", "x"),
    ("convert", "-W", "-m", "16", "-O", "raw", "-t", "none", "-T", "none", "top", "x"),
    ("create", "-f", "qcow2", "-b", "top", "-F", "qcow2", "x"), ("dd", "if=top", "of=x"),
    ("fixture", "chain", "--depth", "3", "made"), ("fixture", "describe", "top"),
    ("info", "--backing-chain", "top"), ("io", "-c", "write 0 8M", "top"), ("map", "top"),
    ("measure", "-O", "qcow2", "top"), ("rebase", "-b", "", "top"), ("resize", "top", "+64M"),
    ("snapshot", "-c", "s", "top"), ("stream", "top"),
)


@pytest.mark.skipif(SANITIZED or EMULATED, reason="they take address space of their own")
def test_every_command_runs_in_256_mib(scratch):
    tool, here = run.qemu_img(scratch), scratch / "kept"
    here.mkdir()
    tool.at(here)("create", "-q", "-f", "qcow2", "base", "64M").ok()
    run.qemu_io(here)("-c", "write -q -P 7 0 24M", "base").ok()
    tool.at(here)("create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top").ok()
    run.qemu_io(here)("-c", "write -q -P 8 16M 16M", "top").ok()
    lines = (ROOT / "tools/commands.def").read_text().splitlines()
    names = {line[8:line.index(",")] for line in lines if line.startswith("COMMAND(")}
    assert names == {command[0] for command in EVERYTHING}
    for command in EVERYTHING:
        shutil.rmtree(scratch / "now", ignore_errors=True)
        shutil.copytree(here, scratch / "now")
        done = under(256 * MIB, scratch / "now", *command)
        fine = {"compare": (1,), "chain": (0, 2, 3)}.get(command[0], (0,))
        assert done.returncode in fine, f"{command}: {done.stdout}{done.stderr}"
        assert "memory" not in done.stderr, f"{command}{done.stderr}"


@pytest.mark.skipif(SANITIZED or EMULATED, reason="they take address space of their own")
def test_a_limit_that_is_reached_is_told(scratch):
    largest_l1(run.qemu_img(scratch), scratch / "a")
    tool = run.ours(scratch)
    tool("map", "--memory-limit=24M", "a").failed("Could not allocate L1 table",
                                                  "The limit is --memory-limit=25165824")
    tool("map", "--memory-limit=128M", "a").ok()
    tool("map", "--memory-limit=1M", "a").failed("Invalid memory limit specified. Must be between")
