# SPDX-License-Identifier: Apache-2.0
"""qemu-img check on crash states: a sample of them, or with QIMG_LONG=1 all."""
import concurrent.futures
import os
import re
import subprocess

from pylib.paths import BUILD, LONG, QEMU_IMG

SHARES = 8  # of the work, two at a time
EVERY = 1 if LONG else 100
FLOOR = 200_000 if LONG else 250


def look(folder, share):
    """What one share of crash_states says, and how many states qemu-img saw."""
    done = subprocess.run([BUILD / "tests/crash_states", str(share), str(SHARES)], cwd=folder,
                          env={**os.environ, "QIMG_CRASH_DUMP": str(folder),
                               "QIMG_CRASH_EVERY": str(EVERY),
                               "QIMG_CRASH_QEMU_IMG": str(QEMU_IMG)},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return int(re.search(r"(\d+) sampled, 0 condemned", done.stdout).group(1))


def test_qemu_img_finds_no_corruption(tmp_path):
    (tmp_path / "base").write_bytes(bytes(2 << 20))
    for name in ("data", "another", "another-base-with-a-longer-name"):
        (tmp_path / name).write_bytes(bytes(2 << 20))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        checked = sum(pool.map(lambda share: look(tmp_path, share), range(SHARES)))
    print(f"{checked} states checked by qemu-img")
    assert not list(tmp_path.glob("*.qcow2"))
    assert checked >= FLOOR
