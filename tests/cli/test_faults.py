# SPDX-License-Identifier: Apache-2.0
"""Files that fail under a command: each call of each kind in turn, as the kernel would fail it.
A failure is told and is exit 1; nothing is lost; what came of it is cleaned up or can be mended.
(Calls that do a part, that are interrupted, that give no storage: crash_commands.)"""
import errno
import os

import pytest

from pylib.changes import CHANGES, Bench
from pylib.paths import LONG, SANITIZED

pytestmark = pytest.mark.skipif(SANITIZED, reason="the sanitizer wants to be loaded first")

MOST = 400  # calls of one kind that a command makes on so small a chain


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("faults"))


def fails(bench, name, call, at, **how):
    """One run in which the @at-th @call fails; (exit code, words), or None where it has fewer."""
    bench.put_back()
    mark = bench.work.parent / "mark"
    mark.unlink(missing_ok=True)
    code, said = bench.run(name, preload="fail_at", FAIL_CALL=call, FAIL_AT=at, FAIL_MARK=mark,
                           **how)
    if not mark.exists():
        assert code == 0, f"{name}: {said}"
        return None
    return code, said


def places(step):
    """All, in the long tier; else the first ones, then each @step-th."""
    return range(1, MOST) if LONG else [*range(1, 4), *range(4, MOST, step)]


@pytest.mark.parametrize("name", CHANGES)
def test_a_failed_sync_is_final(bench, name):
    """Of whatever file, at whatever time: exit 1, and no success is told."""
    seen = 0
    for at in range(1, MOST):
        done = fails(bench, name, "sync", at, FAIL_ERRNO=errno.EIO)
        if not done:
            break
        seen += 1
        code, said = done
        what = f"{name}: sync {at}: {said}"
        assert code == 1 and "Input/output error" in said, what
        bench.judge(name, code, what)
    assert seen >= (1 if CHANGES[name].durable else 0)


@pytest.mark.parametrize("name", CHANGES)
def test_no_room_at_any_write(bench, name):
    seen = 0
    for at in places(7):
        done = fails(bench, name, "write", at, FAIL_ERRNO=errno.ENOSPC, FAIL_ALWAYS=1)
        if not done:
            break
        seen += 1
        code, said = done
        what = f"{name}: write {at}: {said}"
        if code or not CHANGES[name].tidies:
            assert code == 1 and "No space left on device" in said, what
        bench.judge(name, code, what)
    assert seen > 0


# What may be said of it: a table that could not be read is EIO to whoever needs it.
GONE = (os.strerror(errno.ENXIO), os.strerror(errno.EIO), "error while reading from")


@pytest.mark.parametrize("name", CHANGES)
def test_a_device_that_is_gone(bench, name):
    """From some call on, everything fails."""
    for at in places(15):
        done = fails(bench, name, "any", at, FAIL_ERRNO=errno.ENXIO, FAIL_ALWAYS=1)
        if not done:
            break
        code, said = done
        what = f"{name}: call {at}: {said}"
        assert code == 1 or (code == 2 and name == "fix"), what  # 2: it is broken
        assert any(words in said for words in GONE), what
        bench.judge(name, code if not CHANGES[name].output else -1, what)
