# SPDX-License-Identifier: Apache-2.0
"""convert, stopped or killed: a new target never looks like a whole image before it is one; a
target that was there, written in place, is a sound image at any moment."""
import random
import signal
import subprocess
import time

import pytest

from pylib import run
from pylib.paths import LONG, QIMG

MIB = 1 << 20
SIZE = 12 * MIB
TRIES = 200 if LONG else 3

NEW = {
    "raw": ("-O", "raw"),
    "raw-durable": ("-O", "raw", "-t", "writeback"),
    "raw-falloc": ("-O", "raw", "-o", "preallocation=falloc"),
    "raw-full": ("-O", "raw", "-S", "0"),
    "qcow2": ("-O", "qcow2"),
    "qcow2-metadata": ("-O", "qcow2", "-o", "preallocation=metadata"),
    "qcow2-small": ("-O", "qcow2", "-o", "cluster_size=4k,extended_l2=off"),
    "packed": ("-c", "--compression-level", "1", "-O", "qcow2"),
}
STOPS = (signal.SIGKILL, signal.SIGINT)


@pytest.fixture
def source(scratch):
    """Data, holes and zeros to the very end, so that a short file cannot read right by chance."""
    noise = random.Random(11).randbytes(MIB)
    with open(scratch / "a.raw", "wb") as raw:
        for n in range(SIZE // MIB):
            if n % 6 == 4:
                raw.seek(MIB, 1)
            else:
                raw.write(bytes([n]) + noise[1:])
    return scratch


def break_off(scratch, number, after, *args):
    """Runs qimg with @args and sends it the signal. Did it come to its end?"""
    process = subprocess.Popen(["qimg", *args], executable=QIMG, cwd=scratch, text=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    time.sleep(after)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (0, -number), f"{args}: {process.returncode}\n{err}"
    return process.returncode == 0


def moments(scratch, *args):
    """Times at which to break off, from the start to a bit behind the end, at random."""
    began = time.monotonic()
    run.ours(scratch)(*args).ok()
    took = time.monotonic() - began
    chance = random.Random(repr(args))
    return [chance.random() * took * 1.1 for _ in range(TRIES)]


def reads_as_source(scratch, name, fmt):
    return run.qemu_img(scratch)("compare", "-f", "raw", "-F", fmt, "a.raw", name).code == 0


@pytest.mark.parametrize("number", STOPS, ids=lambda n: n.name)
@pytest.mark.parametrize("kind", NEW)
def test_a_new_target_looks_whole_only_when_it_is(source, kind, number):
    fmt = "raw" if kind.startswith("raw") else "qcow2"
    command = ("convert", "-f", "raw", *NEW[kind], "a.raw", "out")
    for after in moments(source, *command):
        (source / "out").unlink(missing_ok=True)
        whole = break_off(source, number, after, *command)
        if not (source / "out").exists():
            assert not whole
            continue
        assert whole or number == signal.SIGKILL, "what was stopped is taken away"
        if whole:
            assert reads_as_source(source, "out", fmt)
        elif fmt == "raw":
            short = (source / "out").stat().st_size < SIZE
            assert short or reads_as_source(source, "out", fmt)
        elif run.qemu_img(source)("info", "-f", "qcow2", "out").code == 0:
            assert reads_as_source(source, "out", fmt)
            assert run.qemu_img(source)("check", "out").code in (0, 3)


@pytest.mark.parametrize("number", STOPS, ids=lambda n: n.name)
def test_an_image_that_was_there_is_sound_at_any_moment(source, number):
    """-n: half of it is written over. Each cluster reads as before or as the source does."""
    run.qemu_img(source)("create", "-q", "-f", "qcow2", "kept", SIZE).ok()
    run.qemu_io(source)("-f", "qcow2", "-c", "write -q -P 7 0 6M", "kept").ok()
    run.qemu_img(source)("snapshot", "-c", "before", "kept").ok()
    before = (source / "kept").read_bytes()
    command = ("convert", "-n", "-t", "writeback", "-f", "raw", "-O", "qcow2", "a.raw", "out")
    (source / "out").write_bytes(before)
    for after in moments(source, *command):
        (source / "out").write_bytes(before)
        whole = break_off(source, number, after, *command)
        checked = run.ours(source)("check", "out").code
        assert checked == 0 or (checked == 3 and number == signal.SIGKILL)
        if whole:
            assert reads_as_source(source, "out", "qcow2")
        run.qemu_img(source)("convert", "-O", "raw", "out", "now").ok()
        now, new = (source / "now").read_bytes(), (source / "a.raw").read_bytes()
        for at in range(0, SIZE, 65536):
            old = (b"\7" if at < 6 * MIB else b"\0") * 65536
            assert now[at:at + 65536] in (old, new[at:at + 65536]), hex(at)
        run.qemu_img(source)("snapshot", "-a", "before", "out").ok()
        run.qemu_img(source)("convert", "-O", "raw", "out", "now").ok()
        assert (source / "now").read_bytes() == b"\7" * (6 * MIB) + bytes(6 * MIB)
