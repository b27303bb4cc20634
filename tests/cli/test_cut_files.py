# SPDX-License-Identifier: Apache-2.0
"""A file that gets shorter while it is read. The rule: what lies behind the end of a raw file, and
data of a qcow2 image behind the end of its file, reads as zeros; what cannot be (a table, packed
data) is an I/O error. Never a signal, never anything else's bytes."""
import os
import random

import pytest

from pylib import run
from pylib.paths import BUILD, SANITIZED

MIB = 1 << 20
SIZE = 3 * MIB
KEPT = {"raw": 2, "qcow2": 2, "packed": 8}  # which part of the file stays: one half, ...

pytestmark = pytest.mark.skipif(SANITIZED, reason="the sanitizer wants to be loaded first")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The same bytes as a raw file, as a qcow2 image, and packed; an overlay on each."""
    home = tmp_path_factory.mktemp("cut")
    qimg = run.ours(home)
    words = b"".join(b"%07d\n" % n for n in range(SIZE // 16))  # half of it packs well
    (home / "raw").write_bytes(words + random.Random(3).randbytes(SIZE - len(words)))
    qimg("convert", "-f", "raw", "-O", "qcow2", "raw", "qcow2").ok()
    qimg("convert", "-c", "-f", "raw", "-O", "qcow2", "raw", "packed").ok()
    for base in ("raw", "qcow2", "packed"):
        (home / f"{base}.whole").write_bytes((home / base).read_bytes())
        fmt = "raw" if base == "raw" else "qcow2"
        qimg("create", "-q", "-f", "qcow2", "-b", base, "-F", fmt, f"over-{base}").ok()
    return home


def cut_meanwhile(home, base, engine, at, *args):
    """Runs qimg; before its @at-th read of a file, @base loses its end."""
    (home / base).write_bytes((home / f"{base}.whole").read_bytes())
    pause = home / "pause"
    tool = run.ours(home).environ(
        QIMG_ENGINE=engine, LD_PRELOAD=BUILD / "tests/fail_at.so", FAIL_CALL="read",
        FAIL_AT=str(at), FAIL_PAUSE=pause)
    process = tool.start(*args)
    while not pause.exists() and process.poll() is None:
        pass
    os.truncate(home / base, (home / base).stat().st_size // KEPT[base])
    pause.unlink(missing_ok=True)
    out, err = process.communicate(timeout=60)
    assert process.returncode in range(5), f"{args}, read {at}: {process.returncode}\n{err}"
    return process.returncode, out, err


def old_or_zeros(now, old):
    """Byte by byte: the kernel may clear a page while another thread copies it."""
    return len(now) == len(old) and all(
        now[at:at + 512] == old[at:at + 512] or
        all(byte in (0, was) for byte, was in zip(now[at:at + 512], old[at:at + 512]))
        for at in range(0, len(old), 512))


@pytest.mark.parametrize("engine", ("threads", "auto"))
@pytest.mark.parametrize("base", ("raw", "qcow2", "packed"))
def test_convert(home, base, engine):
    old, seen = (home / "raw.whole").read_bytes(), set()
    for at in (1, 3, 5, 7, 9):
        (home / "out").unlink(missing_ok=True)
        code, _, err = cut_meanwhile(home, base, engine, at, "convert", "-O", "raw", f"over-{base}",
                                     "out")
        seen.add(code)
        if code == 0:
            assert old_or_zeros((home / "out").read_bytes(), old), f"{base}, read {at}"
        else:
            assert code == 1 and not (home / "out").exists(), f"{base}, read {at}: {err}"
            assert "qimg: " in err, err
    assert seen <= {0, 1} and (base != "packed" or 1 in seen)


@pytest.mark.parametrize("base", ("raw", "qcow2", "packed"))
def test_compare_and_map(home, base):
    for at in (1, 4, 6):
        code, out, err = cut_meanwhile(home, base, "threads", at, "compare", "-f", "qcow2", "-F",
                                       "raw", f"over-{base}", "raw.whole")
        assert code == 0 or "mismatch" in out or err, f"{base}, read {at}"
        cut_meanwhile(home, base, "threads", at, "map", "--output=json", f"over-{base}")
        cut_meanwhile(home, base, "threads", at, "check", f"over-{base}")


def test_what_is_copied_up_over_a_cut_base_is_told_or_zeros(home):
    """A rebase that reads the base has its error, or what a guest reads there now."""
    old = (home / "raw.whole").read_bytes()
    for at in (2, 6, 8):
        run.ours(home)("create", "-q", "-f", "qcow2", "-b", "qcow2", "-F", "qcow2", "top").ok()
        code, _, err = cut_meanwhile(home, "qcow2", "threads", at, "rebase", "-b", "", "top")
        assert code in (0, 1), err
        if code == 0:
            run.qemu_img(home)("convert", "-O", "raw", "top", "flat").ok()
            assert old_or_zeros((home / "flat").read_bytes(), old), f"read {at}"
        run.ours(home)("check", "top")
