# SPDX-License-Identifier: Apache-2.0
"""Two commands that want to change one image at once: one of them does, the other says that it is
taken and by whom, and the image is sound. Forced: the first is held up in the middle of its work;
and by chance: both begin together."""
import re
import subprocess
import time

import pytest

from pylib import holders, run
from pylib.changes import CHANGES, IN_PLACE, Bench
from pylib.paths import EMULATED, LONG, QIMG, SANITIZED

ROUNDS = 40 if LONG else 3
TAKEN = ('lock', "Is another process using the image [")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("races"))


def gone(path, process):
    """Waits until the file is there, or the process is not."""
    while not path.exists() and process.poll() is None:
        time.sleep(0.002)
    return path.exists()


@pytest.mark.skipif(SANITIZED, reason="the sanitizer wants to be loaded first")
@pytest.mark.parametrize("name", [n for n in IN_PLACE if n != "mv"])
def test_the_second_is_refused_while_the_first_is_under_way(bench, name):
    bench.put_back()
    pause = bench.work.parent / "pause"
    first = bench.start(name, preload="fail_at", FAIL_CALL="sync", FAIL_AT=1, FAIL_PAUSE=pause)
    assert gone(pause, first), first.communicate()
    try:
        code, said = bench.run(name)
    finally:
        pause.unlink()
        mine = first.communicate(timeout=30)
    assert code == 1 and all(word in said for word in TAKEN), said
    holder = "qemu-.*" if EMULATED else "qimg"
    assert re.search(rf"It is held by {holder} \(process {first.pid}\)", said), said
    assert first.returncode == 0, mine
    bench.judge(name, 0, f"{name}: the first one")


# What two of them at once must have done to "top": as much as told of success.
EFFECTS = {
    "resize": (("resize", "-q", "top", "+1M"),
               lambda info, done: f"virtual size: {2 + done} MiB" in info),
    "snapshot": (("snapshot", "-c", "again", "top"),
                 lambda info, done: info.count(" again ") == done),
    "commit": (("commit", "-q", "top"), lambda info, done: True),
    "rebase": (("rebase", "-b", "new", "-F", "qcow2", "top"),
               lambda info, done: "backing file: new" in info),
    "bitmap": (("bitmap", "--add", "top", "b1"), lambda info, done: info.count("name: b1") == 1),
    "amend": (("amend", "-f", "qcow2", "-o", "refcount_bits=32", "top"),
              lambda info, done: "refcount bits: 32" in info),
}


@pytest.mark.parametrize("name", EFFECTS)
def test_both_begin_together(bench, name):
    args, fits = EFFECTS[name]
    for number in range(ROUNDS):
        bench.put_back()
        racers = [subprocess.Popen(["qimg", *args], executable=QIMG, cwd=bench.work, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                  for _ in range(3)]
        said = [racer.communicate(timeout=60)[1] for racer in racers]
        codes = [racer.returncode for racer in racers]
        what = f"{name}, round {number}: {codes}\n" + "".join(said)
        assert set(codes) <= {0, 1} and 0 in codes, what
        for code, words in zip(codes, said):
            assert code == 0 or "lock" in words or "already exists" in words, what
        run.ours(bench.work)("check", "top").ok()
        assert fits(run.qemu_img(bench.work)("info", "top").ok().out, codes.count(0)), what


@pytest.mark.parametrize("role", ("writer", "reader"))
@pytest.mark.parametrize("held", ("top", "old"))
def test_a_chain_is_not_mended_under_its_user(bench, held, role):
    """mv changes what `top` records of `old`, fix what `top` records: refused, and nothing has
    changed, while somebody has the image to be written open."""
    bench.put_back()
    with holders.holding("qemu-io", bench.work, role, "qcow2", held) as pid:
        before = {n: (bench.work / n).read_bytes() for n in ("top", "old")}
        for name in ("mv", "fix", "seal"):
            code, said = bench.run(name)
            if held == "old" and name != "mv":
                continue  # only read
            assert code == 1 and f"(process {pid})" in said, f"{name}: {code} {said}"
            assert before == {n: (bench.work / n).read_bytes() for n in before}, name
            assert not list((bench.work / "dst").iterdir()), name
