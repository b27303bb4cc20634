# SPDX-License-Identifier: Apache-2.0
"""qemu-img check on crash states: a sample of them, or with QIMG_LONG=1 all."""
import concurrent.futures
import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from pylib.paths import BUILD, LONG, QEMU_IMG

SHARES = 8  # of the work
JOBS = int(os.environ.get("QIMG_CRASH_JOBS", 2))  # so many at a time
EVERY = 1 if LONG else 100
FLOOR = 200_000 if LONG else 250


def look(folder, share):
    """How many states of one share of crash_states qemu-img has judged, and from how many looks."""
    done = subprocess.run([BUILD / "tests/crash_states", str(share), str(SHARES)], cwd=folder,
                          env={**os.environ, "QIMG_CRASH_DUMP": str(folder),
                               "QIMG_CRASH_EVERY": str(EVERY),
                               "QIMG_CRASH_QEMU_IMG": str(QEMU_IMG)},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return [int(n) for n in re.search(r"(\d+) sampled, (\d+) shown, 0 condemned",
                                      done.stdout).groups()]


@pytest.fixture(name="folder")
def folder_in_memory(tmp_path):
    """Where images live so briefly that no disk should hear of them."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(prefix="qimg-crash-", dir=place) as folder:
        yield Path(folder)


def test_qemu_img_finds_no_corruption(folder):
    for name in ("base", "data", "another", "another-base-with-a-longer-name"):
        (folder / name).write_bytes(bytes(2 << 20))
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        answers = list(pool.map(lambda share: look(folder, share), range(SHARES)))
    judged, looks = (sum(column) for column in zip(*answers))
    print(f"{judged} states judged by qemu-img, which looked at {looks}")
    assert not list(folder.glob("*.qcow2"))
    assert judged >= FLOOR
