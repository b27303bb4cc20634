# SPDX-License-Identifier: Apache-2.0
"""What is left behind: after failures, on full disks, under kill."""
import os
import signal
import subprocess
import time

import pytest

from pylib import images, run


def test_a_failed_create_leaves_no_file(scratch, qimg):
    for args in (("-o", "cluster_size=7", "a", "1M"), ("-b", "nox", "-F", "raw", "a"),
                 ("-o", "cluster_size=512", "a", "1P"), ("-f", "nosuch", "a", "1M")):
        qimg("create", "-f", "qcow2", *args).failed()
        assert not (scratch / "a").exists(), args


@pytest.mark.parametrize("name", ("a", "./a", "hard", "soft"))
def test_no_image_is_its_own_data_file(twin, name):
    images.make(twin, "compat=1.1", "a", 1 << 20)
    os.link(twin.theirs / "a", twin.theirs / "hard")
    os.symlink("a", twin.theirs / "soft")
    before = (twin.theirs / "a").read_bytes()
    run.ours(twin.theirs)("create", "-f", "qcow2", "-o", f"data_file={name},data_file_raw=on", "a",
                          "8M").failed("lock")
    assert (twin.theirs / "a").read_bytes() == before


def test_an_image_is_not_emptied_when_its_data_file_is_in_use(twin):
    images.make(twin, "compat=1.1", "a", 1 << 20)
    images.make(twin, "compat=1.1", "b", 1 << 20)
    before = (twin.theirs / "a").read_bytes()
    with run.holding(twin.theirs, "-f", "qcow2", "b"):
        run.ours(twin.theirs)("create", "-f", "qcow2", "-o", "data_file=b", "a",
                              "8M").failed("lock")
    assert (twin.theirs / "a").read_bytes() == before


def damage(path, l2_index=48):
    """An L2 entry that points into the middle of a cluster: reading stops there, not before."""
    with open(path, "r+b") as image:
        image.seek(0x40000 + 8 * l2_index)
        image.write(b"\x80\0\0\0\0\x05\x02\0")


def test_a_failed_convert_leaves_no_file(twin):
    images.make(twin, "compat=1.1", "a.qcow2")
    damage(twin.theirs / "a.qcow2")
    run.ours(twin.theirs)("convert", "-O", "raw", "a.qcow2", "out.raw").failed()
    assert not (twin.theirs / "out.raw").exists()


def test_an_existing_target_ends_empty_when_convert_fails(twin):
    images.make(twin, "compat=1.1", "a.qcow2")
    damage(twin.theirs / "a.qcow2")
    (twin.theirs / "out.raw").write_bytes(b"x" * 1000000)
    inode = (twin.theirs / "out.raw").stat().st_ino
    run.ours(twin.theirs)("convert", "-O", "raw", "a.qcow2", "out.raw").failed()
    assert (twin.theirs / "out.raw").stat().st_ino == inode
    assert (twin.theirs / "out.raw").stat().st_size == 0


@pytest.mark.parametrize("free_kib", (0, 64, 1024))
def test_a_full_disk(twin, free_kib):
    images.real_data(twin.theirs / "real", 3)
    twin.img("convert", "-O", "qcow2", "real", "a.qcow2")
    small = twin.scratch / "small"
    small.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={max(free_kib, 4)}k", "none",
                            small],
                           capture_output=True, text=True)
    if mount.returncode != 0:
        pytest.skip("may not mount here")
    try:
        run.ours(twin.theirs)("convert", "-O", "raw", "a.qcow2", small / "out.raw").failed(
            "No space left on device")
        assert not (small / "out.raw").exists()
        if free_kib == 64:
            run.ours(twin.theirs)("create", "-f", "qcow2", small / "b.qcow2", "1G").failed()
            assert not (small / "b.qcow2").exists()
    finally:
        subprocess.run(["umount", small], check=False)


def test_sigpipe_does_not_kill(twin):
    top = images.chain(twin, 2)
    done = subprocess.run(f"{run.ours().path} map {top} | true", shell=True, cwd=twin.theirs,
                          capture_output=True)
    assert done.returncode == 0


@pytest.mark.parametrize("command", ("map --output=json {}", "create {}.new 1M"))
def test_output_to_a_full_device_is_an_error(twin, command):
    top = images.chain(twin, 2)
    with open("/dev/full", "w") as full:
        done = subprocess.run([run.ours().path, *command.format(top).split()], cwd=twin.theirs,
                              stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1


def test_what_is_said_to_closed_streams_goes_into_no_image(twin):
    images.make(twin, "compat=1.1", "a.qcow2")
    before = (twin.theirs / "a.qcow2").read_bytes()
    for closed in (">&- 2>&-", "<&- >&- 2>&-", "2>&-"):
        done = subprocess.run(f"{run.ours().path} resize a.qcow2 512k {closed}", shell=True,
                              cwd=twin.theirs)
        assert done.returncode == 1
        assert (twin.theirs / "a.qcow2").read_bytes() == before, closed


def test_a_file_that_may_not_grow_is_an_error(twin):
    done = subprocess.run(f"ulimit -f 1024; exec {run.ours().path} create out 8M", shell=True,
                          cwd=twin.theirs, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, "too large" in done.stderr) == (1, True), done
    assert not (twin.theirs / "out").exists()


@pytest.mark.parametrize("option", (["--help"], ["--version"], ["map", "--help"]))
def test_help_that_is_lost_says_so(qimg, option):
    with open("/dev/full", "w") as full:
        done = subprocess.run([qimg.path, *option], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "standard output: No space left on device" in done.stderr


def slow_convert(twin, *options, ignored=()):
    """A convert that takes seconds, once its target has been begun."""
    images.real_data(twin.theirs / "real", 8)

    def dispositions():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

    command = [run.ours().path, "convert", "-r", "2M", *options, "real", "out.raw"]
    process = subprocess.Popen(command, cwd=twin.theirs, preexec_fn=dispositions)
    until = time.monotonic() + 10
    out = twin.theirs / "out.raw"
    while not (out.exists() and out.stat().st_blocks) and time.monotonic() < until:
        time.sleep(0.01)
    return process


STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("number", STOPS, ids=lambda n: n.name)
def test_a_stopped_convert_removes_its_target(twin, number):
    process = slow_convert(twin)
    process.send_signal(number)
    assert process.wait(20) == -number
    assert not (twin.theirs / "out.raw").exists()


def test_a_stopped_convert_keeps_a_target_that_it_did_not_create(twin):
    (twin.theirs / "out.raw").write_bytes(b"")
    (twin.theirs / "out.raw").open("r+b").truncate(8 << 20)
    process = slow_convert(twin, "-n")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == -signal.SIGTERM
    assert (twin.theirs / "out.raw").stat().st_size == 8 << 20


def test_signals_that_were_ignored_stay_so(twin):
    """As under nohup, or in the background of a script."""
    process = slow_convert(twin, ignored=STOPS)
    for number in STOPS:
        process.send_signal(number)
    assert process.wait(20) == 0
    assert (twin.theirs / "out.raw").read_bytes() == (twin.theirs / "real").read_bytes()
