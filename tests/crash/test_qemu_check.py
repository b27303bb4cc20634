# SPDX-License-Identifier: Apache-2.0
"""qemu-img check on crash states: a sample of them, or with QIMG_LONG=1 all."""
import concurrent.futures
import os
import subprocess

from pylib.paths import BUILD, LONG, QEMU_IMG

EVERY = 1 if LONG else 120
FLOOR = 150


def check(path):
    done = subprocess.run([QEMU_IMG, "check", "-q", "-f", "qcow2", path], capture_output=True,
                          text=True, cwd=path.parent)
    path.unlink()
    return None if done.returncode in (0, 3) else f"{path.name}: {done.returncode} {done.stdout}"


def test_qemu_img_finds_no_corruption(tmp_path):
    (tmp_path / "base").write_bytes(bytes(2 << 20))
    (tmp_path / "data").write_bytes(bytes(2 << 20))
    bad, checked = [], 0
    for share in range(64 if LONG else 1):  # a share at a time: the disk holds no more
        done = subprocess.run([BUILD / "tests/crash_states", str(share), "64" if LONG else "1"],
                              env={**os.environ, "QIMG_CRASH_DUMP": str(tmp_path),
                                   "QIMG_CRASH_EVERY": str(EVERY)},
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        states = list(tmp_path.glob("*.qcow2"))
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            bad += [text for text in pool.map(check, states) if text]
        checked += len(states)
    print(f"{checked} states checked by qemu-img")
    assert not bad, "\n".join(bad[:10])
    assert checked >= FLOOR
