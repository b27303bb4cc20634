# SPDX-License-Identifier: Apache-2.0
"""rebase and stream, stopped or killed: the image reads as before over whatever it names, nothing
is corrupt, and the same command goes on to the end."""
import random
import resource
import signal
import subprocess
import time

import pytest

from pylib import run
from pylib.paths import LONG, QIMG

MIB = 1 << 20

JOBS = {
    "sibling": ("rebase", "-b", "new", "-F", "qcow2"),
    "nothing": ("rebase", "-b", ""),
    "compressed": ("rebase", "-c", "-b", ""),
    "stream": ("stream",),
    "stream-base": ("stream", "-b", "root"),
}


@pytest.fixture
def chain(scratch, qimg):
    """top -> old -> root, new -> root: 24 MiB that differ, all of it other bytes."""
    noise = random.Random(7).randbytes(MIB)
    (scratch / "root").write_bytes(noise * 24)
    for name, below, fmt in (("old", "root", "raw"), ("new", "root", "raw"),
                             ("top", "old", "qcow2")):
        qimg("create", "-q", "-f", "qcow2", "-b", below, "-F", fmt, name).ok()
    for name, fill in (("old", 3), ("new", 5)):
        commands = [c for n in range(0, 24, 2) for c in ("-c", f"write -q -P {fill + n} {n}M 1M")]
        qimg("io", "-f", "qcow2", *commands, name).ok()
    qimg("io", "-f", "qcow2", "-c", "write -q -P 9 100k 10k", "-c", "write -q -z 3M 100k",
         "top").ok()
    (scratch / "top.0").write_bytes((scratch / "top").read_bytes())
    return scratch


def flat(scratch):
    run.qemu_img(scratch)("convert", "-O", "raw", "top", "flat").ok()
    return (scratch / "flat").read_bytes()


def start(scratch, *args):
    return subprocess.Popen(["qimg", *args, "top"], executable=QIMG, cwd=scratch,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def check(scratch, before):
    assert run.ours(scratch)("check", "top").code in (0, 3)
    assert flat(scratch) == before


def names(scratch):
    return '"backing-filename"' in run.ours(scratch)("info", "--output=json", "top").ok().out


@pytest.mark.parametrize("job", JOBS)
def test_killed_at_any_moment(chain, job):
    before = flat(chain)
    began = time.monotonic()
    run.ours(chain)(*JOBS[job], "top").ok()
    took = time.monotonic() - began
    tries = 200 if LONG else 3
    for n in range(tries):
        (chain / "top").write_bytes((chain / "top.0").read_bytes())
        process = start(chain, *JOBS[job])
        time.sleep(took * (n + 0.5) / tries)
        process.kill()
        process.communicate()
        check(chain, before)
    run.ours(chain)(*JOBS[job], "top").ok()
    check(chain, before)


def test_stopped_it_says_what_is_kept_and_goes_on(chain):
    before = flat(chain)
    for number in (signal.SIGINT, signal.SIGTERM):
        process = start(chain, "stream", "-r", "20M")
        time.sleep(0.4)
        process.send_signal(number)
        said = process.communicate()[1]
        assert process.returncode == -number
        assert "'top' reads as before and still has its old backing file" in said
        assert names(chain)
        check(chain, before)
    assert (chain / "top").stat().st_size > 2 * MIB, "nothing was kept"
    run.ours(chain)("stream", "top").ok()
    assert not names(chain)
    check(chain, before)


def no_file_beyond_6_mib():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6 * MIB, 6 * MIB))


def test_where_there_is_no_more_room_the_old_name_stays(chain):
    before = flat(chain)
    done = subprocess.run(["qimg", "rebase", "-b", "", "top"], executable=QIMG, cwd=chain,
                          preexec_fn=no_file_beyond_6_mib, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "qimg: Error while writing to COW image: File too large\n"
    assert names(chain)
    check(chain, before)
    run.ours(chain)("rebase", "-b", "", "top").ok()
    check(chain, before)
