# SPDX-License-Identifier: Apache-2.0
"""Processes that have an image open while a test runs: qemu-io and our own, and a daemon of QEMU's
that has given it to a guest."""
import contextlib
import os
import re
import shutil
import subprocess
import time

from pylib import run

# What each role asks of qemu-io; of the daemon, how it opens the file, and what the guest may do.
OPTIONS = {"reader": ("-r",), "writer": (), "forced reader": ("-r", "-U")}
NODES = {"reader": (",read-only=on", ""), "writer": ("", ",writable=on"),
         "forced reader": (",read-only=on,force-share=on", "")}


@contextlib.contextmanager
def tool(program, directory, role, fmt, name):
    """qemu-io, QEMU's or ours, at its prompt."""
    process = program.at(directory).start(*OPTIONS[role], "-f", fmt, name)
    try:
        run.until_prompt(process)
        process.stdin.write("length\n")
        process.stdin.flush()
        assert "iB" in run.until_prompt(process)
        yield process
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def daemon(directory, role, fmt, name):
    """qemu-storage-daemon with the image exported to a guest: what a running machine holds."""
    path = shutil.which("qemu-storage-daemon")
    assert path, "no qemu-storage-daemon (package qemu-system-common): the oracle is missing"
    how, use = NODES[role]
    ready = directory / "daemon.pid"
    process = subprocess.Popen(
        [path, "--blockdev", f"driver=file,node-name=f,filename={name}{how}",
         "--blockdev", f"driver={fmt},node-name=n,file=f{how}",
         "--nbd-server", "addr.type=unix,addr.path=daemon.sock",
         "--export", f"type=nbd,id=e,node-name=n{use}", "--pidfile", ready],
        cwd=directory, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        while not ready.exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.005)
        yield process
    finally:
        process.kill()
        process.communicate()
        for left in ("daemon.sock", "daemon.pid"):
            (directory / left).unlink(missing_ok=True)


@contextlib.contextmanager
def holding(who, directory, role, fmt, name):
    """Yields the process id of @who: "qemu-io", "qimg" or "qemu-storage-daemon"."""
    if who == "qemu-storage-daemon":
        held = daemon(directory, role, fmt, name)
    else:
        program = run.qemu_io() if who == "qemu-io" else run.as_qemu_io()
        held = tool(program, directory, role, fmt, name)
    with held as process:
        yield process.pid


def locked_bytes(path):
    """Bytes of the file that anybody has locked, as the kernel lists them."""
    inode = os.stat(path).st_ino
    found = set()
    with open("/proc/locks", encoding="ascii") as locks:
        for line in locks:
            lock = re.match(rf"\d+: OFDLCK +ADVISORY +READ .*:{inode} (\d+) (\d+)$", line)
            if lock:
                found.update(range(int(lock[1]), int(lock[2]) + 1))
    return found
