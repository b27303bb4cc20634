# SPDX-License-Identifier: Apache-2.0
"""Address space that runs out: whatever the limit, a command does its work, or says what is missing
and leaves an image that is sound. Never a signal.
"""
import resource
import shutil
import subprocess

import pytest

from pylib import run
from pylib.paths import LONG, QIMG, SANITIZED

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
}


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


@pytest.mark.skipif(SANITIZED, reason="sanitizers take address space of their own")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_under_a_limit_succeeds_or_says_why(scratch, name):
    run.qemu_img(scratch)("create", "-q", "-f", "qcow2", "kept", "32M").ok()
    run.qemu_io(scratch)("-c", "write -q -P 7 0 3M", "-c", "discard 2M 64k", "kept").ok()
    limit, refused, done = least(scratch), 0, 0
    while done < 2 and limit < MOST:  # twice, so that luck is not taken for enough
        shutil.copyfile(scratch / "kept", scratch / "a")
        result = under(limit, scratch, *COMMANDS[name])
        said = result.stdout + result.stderr
        assert result.returncode in (0, 1), f"{limit}: {result.returncode} {said}"
        assert result.returncode == 0 or said.strip(), f"{limit}: silence"
        assert run.qemu_img(scratch)("check", "-q", "a").code in (0, 3), f"{limit}: {said}"
        done = done + 1 if result.returncode == 0 and "failed" not in said else 0
        refused += result.returncode != 0
        limit += STEP
    assert done == 2, f"{limit} bytes are not enough"
    print(f"{name}: refused {refused} times, done at {limit - 2 * STEP} bytes")
