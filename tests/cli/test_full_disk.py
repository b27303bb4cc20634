# SPDX-License-Identifier: Apache-2.0
"""Every changing command on a real file system with little room: exit 1 and the kernel's words, new
files are gone, images are sound; with room the same command goes on."""
import shutil
import subprocess

import pytest

from pylib import run
from pylib.changes import CHANGES, Bench
from pylib.paths import LONG, QIMG

KIB = 1024
SPARE = [n * 4 * KIB for n in range(0, 512, 8)] if LONG else [0, 64 * KIB, 300 * KIB]

# They record where they are, and that is another place afterwards: test_faults.py has them.
ELSEWHERE = ("mv", "fix")

# Makes a small file system of its own that nobody else sees, runs the command there, and brings
# back what it left.
SCRIPT = """
mount -t tmpfs -o size="$SIZE" none "$PLACE" && cp -a "$HOME_OF/." "$PLACE" || exit 99
cd "$PLACE" || exit 99
"$QIMG" "$@"
code=$?
cd / && rm -rf "$WORK" && mkdir "$WORK" && cp -a "$PLACE/." "$WORK" || exit 98
exit $code
"""


def may_mount():
    return subprocess.run(["unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/mnt"],
                          capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(
    not may_mount(), reason="no file systems of one's own here: unshare -Urm mount is refused")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("full"))


def used(home):
    """Bytes that a copy takes, a page for each directory."""
    return sum((path.stat().st_blocks * 512 if path.is_file() else 4096) + 4096
               for path in home.rglob("*"))


def run_in(bench, name, spare):
    place = bench.work.parent / "place"
    place.mkdir(exist_ok=True)
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", SCRIPT, "sh", *CHANGES[name].args], capture_output=True,
        text=True, check=False, timeout=60,
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "QIMG": str(QIMG),
             "SIZE": str(used(bench.home) + spare), "PLACE": str(place), "WORK": str(bench.work),
             "HOME_OF": str(bench.home)})
    assert done.returncode not in (98, 99), done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", [n for n in CHANGES if n not in ELSEWHERE])
def test_little_room(bench, name):
    failed = 0
    for spare in SPARE:
        code, said = run_in(bench, name, spare)
        what = f"{name}, {spare} spare: {said}"
        assert code in (0, 1), what
        if code == 1:
            failed += 1
            assert "No space left on device" in said, what
        bench.judge(name, code, what)
        if code == 1 and not CHANGES[name].output:
            run.ours(bench.work)(*CHANGES[name].args).ok()
            bench.judge(name, 0, what + " then with room", leaks=True)
    small = name in ("rebase-u", "seal", "check-r", "grow", "snapshot-d", "bitmap")
    assert failed or small, "there was always room"
