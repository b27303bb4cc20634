# SPDX-License-Identifier: Apache-2.0
"""Valgrind's memcheck over the command line: no byte is used that was not set, none that was freed,
and nothing is lost at the end, in success and in failure. The sanitizers see more of our own code;
this sees the very binary that is installed, with the libraries that are in it."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pylib import images
from pylib.paths import BUILD, EMULATED, QIMG, ROOT, SANITIZED
from pylib.twin import Twin

pytestmark = pytest.mark.skipif(SANITIZED or EMULATED, reason="one instrument at a time")

FOUND = 99
MEMCHECK = ("valgrind", "--quiet", f"--error-exitcode={FOUND}", "--leak-check=full",
            "--show-leak-kinds=all", "--errors-for-leak-kinds=all",
            f"--suppressions={Path(__file__).with_name('memcheck.supp')}")

# Tells memcheck what the kernel does with the buffers of a ring.
URING_MEMCHECK = BUILD / "tests/uring_memcheck.so"
FIXTURE = ROOT / "share/fixtures/chain-basic.json"

# What is run, and how it ends. Each is a run of some 0.7 s: those that share no code with others.
COMMANDS = {
    "info": (0, "info", "--backing-chain", "top"),
    "check": (0, "check", "--output=json", "top"),
    "repair": (0, "check", "-q", "-r", "all", "broken"),
    "map": (0, "map", "--output=json", "top"),
    "compare": (1, "compare", "top", "base"),
    "pack": (0, "convert", "-c", "-O", "qcow2", "top", "new"),
    "pack half a sector with zstd": (0, "convert", "-c", "-f", "raw", "-O", "qcow2", "-o",
                                     "compression_type=zstd", "noise", "new"),
    "unpack": (0, "convert", "-O", "raw", "packed", "new"),
    "write": (0, "io", "-c", "write -P 9 1M 100k", "-c", "discard 0 64k", "-c", "write -c 2M 64k",
              "-c", "aio_read 0 1M", "top"),
    "snapshot": (0, "snapshot", "-a", "old", "top"),
    "shrink": (0, "resize", "-q", "--shrink", "other", "2M"),
    "amend": (0, "amend", "-o", "compat=0.10", "other"),
    "bitmap": (0, "bitmap", "--add", "top", "b"),
    "rebase": (0, "rebase", "-b", "other", "-F", "qcow2", "top"),
    "commit": (0, "commit", "top"),
    "chain show": (0, "chain", "show", "--output=json", "top"),
    "chain audit": (0, "chain", "audit", "base"),
    "no such file": (1, "info", "nowhere"),
    "no image": (1, "info", "-f", "qcow2", "noise"),
    "no base": (1, "convert", "-O", "raw", "orphan", "new"),
    "wrong option": (1, "create", "-f", "qcow2", "-o", "cluster_size=3", "new", "1M"),
}
# Those that go through a ring; without being told so, cached files go through threads.
THROUGH_A_RING = ("repair", "map", "unpack", "pack half a sector with zstd", "write", "rebase",
                  "commit")
LONG = {
    "direct": (0, "convert", "-t", "none", "-O", "qcow2", "top", "new"),
    "measure": (0, "measure", "-O", "qcow2", "top"),
    "list": (0, "snapshot", "-l", "top"),
    "create": (0, "create", "-q", "-f", "qcow2", "-b", "top", "-F", "qcow2", "new"),
    "stream": (0, "stream", "top"),
    "dd": (0, "dd", "if=top", "of=new", "bs=1M", "count=3"),
    "verify": (0, "chain", "verify", "top"),
    "graph": (2, "chain", "graph", "."),
    "seal": (0, "chain", "seal", "top"),
    "fixture": (0, "fixture", "build", "-o", "built", FIXTURE),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    twin = Twin(tmp_path_factory.mktemp("made"))
    images.small_chain(twin)
    twin.img("create", "-q", "-u", "-f", "qcow2", "-b", "gone", "-F", "qcow2", "orphan", "8M")
    twin.img("convert", "-c", "-O", "qcow2", "top", "packed")
    (twin.theirs / "noise").write_bytes(bytes(range(256)) * 17)
    return twin.theirs


def memcheck(made, scratch, engine, want, *args):
    files = shutil.copytree(made, scratch / "files")
    environment = {**os.environ, "LD_PRELOAD": URING_MEMCHECK, "QIMG_ENGINE": engine}
    done = subprocess.run([*MEMCHECK, QIMG, *args], cwd=files, env=environment,
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
    assert done.returncode == want, f"{args}: {done.returncode}\n{done.stderr}"


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(made, scratch, command):
    engine = "io_uring" if command in THROUGH_A_RING else "auto"
    memcheck(made, scratch, engine, *COMMANDS[command])


@pytest.mark.long
@pytest.mark.parametrize("engine", ("auto", "io_uring"))
@pytest.mark.parametrize("command", {**COMMANDS, **LONG})
def test_each_command_through_each_engine(made, scratch, command, engine):
    memcheck(made, scratch, engine, *{**COMMANDS, **LONG}[command])
