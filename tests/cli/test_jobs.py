# SPDX-License-Identifier: Apache-2.0
"""Long jobs: how far they are, and what signals do to them."""
import json
import os
import pty
import re
import signal
import subprocess
import time

import pytest

from pylib import run

MIB = 1 << 20
SLOW = ("-r", "8M")  # with 4 MiB of data: half a second


def source(directory, name="a.raw"):
    with open(directory / name, "wb") as raw:
        raw.write(os.urandom(4 * MIB))
    return name


def start(qimg, *args, **more):
    """The process, with its output in pipes."""
    return subprocess.Popen(
        [qimg.name, *args], executable=str(qimg.path), cwd=qimg.cwd, text=True,
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
           **more})


def under_way(process):
    """Waits for a --progress=json object that says that something was done."""
    while (line := process.stderr.readline()):
        if json.loads(line)["done"] > 0:
            return
    pytest.fail("the job ended before it was seen under way")


@pytest.fixture
def qimg_at(qimg, tmp_path):
    return qimg.at(tmp_path)


# --- objects for machines -------------------------------------------------------------------------


def test_json_tells_of_the_work_and_of_its_end(qimg_at, tmp_path):
    source(tmp_path)
    done = qimg_at("convert", "--progress=json", *SLOW, "-O", "raw", "a.raw", "out").ok()
    assert done.out == ""
    objects = [json.loads(line) for line in done.err.splitlines()]
    *steps, last = objects
    assert steps and all(o["job"] == "convert" and o["unit"] == "bytes" for o in objects)
    assert [o["done"] for o in objects] == sorted(o["done"] for o in objects)
    assert all(o["total"] == 4 * MIB for o in objects)
    assert all(0 <= o["per-second"] for o in steps)
    assert any(0 <= o.get("seconds-left", -1) < 60 for o in steps)
    assert last["result"] == "done" and last["exit-code"] == 0 and last["done"] == 4 * MIB
    assert 0.3 < last["seconds"] < 20 and "error" not in last


def test_json_tells_of_a_failure(qimg_at, tmp_path):
    source(tmp_path)
    failed = qimg_at("convert", "--progress=json", "-n", "-O", "raw", "a.raw", "nowhere").failed()
    last = json.loads(failed.err.splitlines()[-1])
    assert last["result"] == "failed" and last["exit-code"] == 1
    assert f"qimg: {last['error']}" == failed.err.splitlines()[0]


def test_json_of_a_difference_is_no_failure(qimg_at, tmp_path):
    source(tmp_path)
    source(tmp_path, "b.raw")
    command = ("compare", "--progress=json", "-f", "raw", "-F", "raw", "a.raw", "b.raw")
    for quiet in ((), ("-q",)):
        differ = qimg_at(*command, *quiet)
        last = json.loads(differ.err.splitlines()[-1])
        assert differ.code == 1 and last["result"] == "done" and last["exit-code"] == 1


def test_no_other_style_is_known(qimg_at):
    qimg_at("convert", "--progress=xml", "a", "b").failed("expects 'json' or nothing, not 'xml'")


# --- signals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
def test_a_signal_ends_the_job_and_the_program(qimg_at, tmp_path, number):
    source(tmp_path)
    process = start(qimg_at, "convert", "--progress=json", *SLOW, "-O", "raw", "a.raw", "out")
    under_way(process)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == -number
    assert "qimg: interrupted; no 'out' is left behind\n" in err
    last = json.loads(err.splitlines()[-1])
    assert last["result"] == "cancelled" and last["exit-code"] == 128 + number
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kept, options", (("is empty", ()), ("holds a part", ("-n",))))
def test_what_was_kept_is_said(qimg_at, tmp_path, kept, options):
    source(tmp_path)
    (tmp_path / "out").write_bytes(bytes(4 * MIB))
    process = start(qimg_at, "convert", "--progress=json", *SLOW, *options, "-O", "raw", "a.raw",
                    "out")
    under_way(process)
    process.terminate()
    _, err = process.communicate(timeout=20)
    assert f"qimg: interrupted; 'out' {kept}" in err
    assert (tmp_path / "out").stat().st_size == (4 * MIB if options else 0)


def test_a_rate_limit_does_not_delay_the_end(qimg_at, tmp_path):
    source(tmp_path)
    process = start(qimg_at, "convert", "-r", "512", "-O", "raw", "a.raw", "out")
    deadline = time.monotonic() + 20
    while not (tmp_path / "out").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)  # the first slot alone would take a quarter of an hour
    assert process.returncode == -signal.SIGINT and "interrupted" in err


def test_two_signals_at_once_are_one_wish(qimg_at, tmp_path):
    """timeout(1) sends its signal to the child and to its group."""
    source(tmp_path)
    process = start(qimg_at, "convert", "--progress=json", *SLOW, "-O", "raw", "a.raw", "out")
    under_way(process)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert "interrupted" in err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("shown", ((), ("-p",), ("--progress=json",)))
def test_sigusr1_asks_how_far(qimg_at, tmp_path, shown):
    source(tmp_path)
    process = start(qimg_at, "convert", *shown, *SLOW, "-O", "raw", "a.raw", "out")
    deadline = time.monotonic() + 20
    while not (tmp_path / "out").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGUSR1)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert len(re.findall(r"^    \(\d+\.\d\d/100%\)$", err, re.M)) == 1


# --- the bar --------------------------------------------------------------------------------------


def on_terminal(program, *args, **environment):
    """What a terminal is sent: both streams."""
    parent, child = pty.openpty()
    process = start(program, *args, stdout=child, stderr=child,
                    env={**os.environ, "TERM": "xterm", **environment})
    os.close(child)
    said = b""
    while True:
        try:
            part = os.read(parent, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        said += part
    os.close(parent)
    assert process.wait(20) == 0
    return said.decode()


def test_a_terminal_gets_a_bar(qimg_at, tmp_path):
    source(tmp_path)
    said = on_terminal(qimg_at, "convert", "-p", *SLOW, "-O", "raw", "a.raw", "out")
    bars = said.split("\r\x1b[K")[1:]
    look = r" +\d+% \[#* *\]  [\d.]+ (\wi)?B of 4 MiB(  [\d.]+ (\wi)?B/s  \d:\d\d( left)?)?\s*"
    assert all(re.fullmatch(look, bar) for bar in bars), bars
    assert any(b.endswith(" left") for b in bars[:-1])
    assert bars[-1].startswith(" 100% [####") and bars[-1].endswith("\r\n")
    assert max(map(len, bars)) <= 80 + len("\r\n")


@pytest.mark.parametrize("program, term", ((run.as_qemu_img, "xterm"), (run.ours, "dumb")))
def test_others_get_qemu_imgs_line(tmp_path, program, term):
    source(tmp_path)
    said = on_terminal(program(tmp_path), "convert", "-p", "-O", "raw", "a.raw", "out", TERM=term)
    assert said.startswith("    (0.00/100%)\r") and said.endswith("    (100.00/100%)\r\r\n")


def test_words_after_a_bar_begin_a_line(qimg_at, tmp_path):
    source(tmp_path)
    (tmp_path / "b.raw").write_bytes((tmp_path / "a.raw").read_bytes())
    said = on_terminal(qimg_at, "compare", "-p", "-f", "raw", "-F", "raw", "a.raw", "b.raw")
    assert said.endswith("\r\nImages are identical.\r\n") and " 100% [" in said


# --- jobs of other commands -----------------------------------------------------------------------


@pytest.mark.parametrize("command, unit", ((("check",), "steps"), (("check", "-r", "all"), "steps"),
                                           (("resize", "--preallocation=full"), "bytes"),
                                           (("amend", "-o", "refcount_bits=64"), "steps")))
def test_commands_that_may_take_long_tell_too(qimg_at, command, unit):
    qimg_at("create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", "a", "4M").ok()
    size = ("+8M",) if command[0] == "resize" else ()
    told = qimg_at(*command, "--progress=json", "a", *size).ok()
    objects = [json.loads(line) for line in told.err.splitlines() if line.startswith("{")]
    assert objects[-1]["result"] == "done" and objects[-1]["job"] == command[0]
    assert {o["unit"] for o in objects} == {unit}
    assert objects[-1]["done"] == objects[-1]["total"] > 0
    shown = qimg_at(*command, "-p", "a", *size).ok()
    assert shown.out.startswith("    (0.00/100%)\r") and "(100.00/100%)\r" in shown.out


def test_a_snapshot_is_taken_or_not(qimg_at, tmp_path):
    """There is no half, whenever a signal comes."""
    qimg_at("create", "-q", "-f", "qcow2", "-o", "preallocation=metadata,cluster_size=512", "a",
            "64M").ok()
    for number in range(6):
        process = start(qimg_at, "snapshot", "-c", f"s{number}", "a")
        time.sleep(0.004 * number)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        names = re.findall(r"\ss\d\s", qimg_at("snapshot", "-l", "a").ok().out)
        assert (f" s{number} " in "".join(names)) == (process.returncode == 0)
        qimg_at("check", "a").ok()
