# SPDX-License-Identifier: Apache-2.0
"""Replays golden/*.json: commands with the exact output of QEMU 10.2.50, under its name.

The setup of a case is done by the installed qemu-img and qemu-io. In the case itself `qemu-img`
is a dispatcher: subcommands that qimg has run in qimg, those of LATER in the installed one, so
that the part of a mixed case that is ours is tested already. A case without any part of ours
waits; LATER counts them, and an issue that brings a subcommand removes its row.
"""
import json
import re
import subprocess
from pathlib import Path

import pytest

from compat.normalise import mask
from pylib import run
from pylib.paths import QEMU_IMG, QIMG

GOLDEN = Path(__file__).parent / "golden"

LATER = {  # pattern of what qimg does not do yet: (why, cases without any part of ours)
    r"qemu-img rebase -b (?:base\.qcow2 -F|\"\" | top|nox)": ("copies clusters", 1),
    r"qemu-img convert (?=.*-O qcow2)(?!-C|-O qcow2 -B base.qcow2 top)": ("writes qcow2", 1),
}

DISPATCH = """#!/bin/bash
line="qemu-img $*"
if grep -qP -- '{later}' <<< "$line"; then
    exec -a qemu-img {oracle} "$@"
fi
exec -a qemu-img {ours} "$@"
"""


def is_later(command):
    return any(re.search(pattern, command) for pattern in LATER)


def commands_of(case):
    """The single qemu-img commands of a case's shell line."""
    return re.findall(r"qemu-img(?: [^;&|]+)?", case["run"])


def cases():
    for path in sorted(GOLDEN.glob("*.json")):
        golden = json.loads(path.read_text())
        for case in golden["cases"]:
            yield path.stem, golden["setup"], case


def waits(case):
    return all(is_later(command) for command in commands_of(case))


def without_length(text):
    text = re.sub(r"file length: .*", "file length: <LENGTH>", text)
    return re.sub(r'(            )    "virtual-size": \d+', r'\1    "virtual-size": <LENGTH>', text)


TODAY = [pytest.param(setup, case, id=f"{stem}: {case['run'][:70]}")
         for stem, setup, case in cases() if not waits(case)]


@pytest.mark.parametrize("setup,case", TODAY)
def test_prints_what_qemu_10_2_prints(scratch, setup, case):
    run.as_qemu_img()
    for command in setup:
        subprocess.run(command, shell=True, cwd=scratch, check=True)
    bin_dir = scratch / ".bin"
    bin_dir.mkdir()
    shim = bin_dir / "qemu-img"
    later = "|".join(LATER)
    shim.write_text(DISPATCH.format(later=later, oracle=QEMU_IMG, ours=QIMG))
    shim.chmod(0o755)
    # The tests run as whoever; the dispatcher needs no more than a shell and grep.
    done = subprocess.run(["bash", "-c", case["run"]], cwd=scratch, capture_output=True, timeout=60,
                          env={"PATH": f"{bin_dir}:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"})
    got = (mask(done.stdout.decode()), mask(done.stderr.decode()), done.returncode)
    want = (case["stdout"], case["stderr"], case["exit"])
    if any(is_later(command) for command in commands_of(case)):
        # The installed QEMU wrote the file: its length is not 10.2's.
        got, want = ((without_length(out), err, code) for out, err, code in (got, want))
    assert got == want


def test_the_table_of_what_waits_counts_exactly():
    counted = {pattern: 0 for pattern in LATER}
    for _, _, case in cases():
        if waits(case):
            first = commands_of(case)[0]
            counted[next(p for p in LATER if re.search(p, first))] += 1
    assert counted == {pattern: count for pattern, (_, count) in LATER.items()}


def test_all_148_cases_are_here():
    assert sum(1 for _ in cases()) == 148
