# SPDX-License-Identifier: Apache-2.0
"""Every changing command, killed: before each of its calls that change the disk, and at random
moments with io_uring. Nothing is lost, and the same command does it afterwards."""
import random
import time

import pytest

from pylib import run
from pylib.changes import CHANGES, Bench
from pylib.paths import LONG, SANITIZED

RANDOM = 200 if LONG else 2
STEPS = 1 if LONG else 5


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("killed"))


def check(bench, name, code, what):
    assert code in (0, -9), what
    bench.judge(name, code, what)
    if code == 0 or CHANGES[name].output:
        return
    again = run.ours(bench.work)(*CHANGES[name].args)
    ready = again.code == 1 and (name in ("bitmap", "snapshot-d", "mv"))  # it had been done
    assert again.code == 0 or ready, f"{what}: again: {again.err}"
    bench.judge(name, 0, f"{what}: again", leaks=True)


@pytest.mark.skipif(SANITIZED, reason="the sanitizer wants to be loaded first")
@pytest.mark.parametrize("name", CHANGES)
def test_before_each_call(bench, name):
    for at in range(1, 2000, STEPS):
        bench.put_back()
        code, said = bench.run(name, preload="kill_at", KILL_AT=at)
        check(bench, name, code, f"{name}, call {at}: {said}")
        if code == 0:
            break
    assert code == 0 and at > 1


@pytest.mark.parametrize("name", CHANGES)
def test_at_random_moments(bench, name):
    chance = random.Random(name)
    bench.put_back()
    began = time.monotonic()
    bench.run(name, engine="auto")
    took = time.monotonic() - began
    for number in range(RANDOM):
        bench.put_back()
        process = bench.start(name, engine="auto")
        time.sleep(chance.random() * took)
        process.kill()
        said = "".join(process.communicate())
        check(bench, name, process.returncode, f"{name}, kill {number}: {said}")
