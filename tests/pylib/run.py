# SPDX-License-Identifier: Apache-2.0
"""Runs programs with a time limit, and keeps what they said.

Every run is judged at once: a signal, a sanitizer's report or a time-out raises, because no test
ever wants one. Exit codes are for the tests to judge.
"""
import contextlib
import dataclasses
import os
import select
import socket
import subprocess
import tempfile
import time

import pytest

from pylib.paths import BUILD, EMULATED, PATIENCE, QEMU_IMG, QEMU_IO, QIMG, SANITIZED

CONFINE = BUILD / "tests/confine"
REPORTS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "Assertion `")
SANITIZER_EXIT = 99


@dataclasses.dataclass
class Result:
    args: tuple
    code: int
    out: str
    err: str
    seconds: float
    peak_kib: int = 0
    cpu_seconds: float = 0.0

    def ok(self):
        assert self.code == 0, f"{self} exit {self.code}\n{self.out}{self.err}"
        return self

    def failed(self, *parts):
        """Exit 1, and stderr holds each of @parts."""
        assert self.code == 1, f"{self} exit {self.code}\n{self.out}{self.err}"
        for part in parts:
            assert part in self.err, f"{self}: no {part!r} in\n{self.err}"
        return self

    def __str__(self):
        return "$ " + " ".join(map(str, self.args)) + "\n"


class Program:
    """A program under a name: Program(QIMG, "qemu-img") runs our binary as qemu-img."""

    def __init__(self, path, name, prefix=(), cwd=None, env=None):
        self.path, self.name, self.prefix = path, name, tuple(prefix)
        self.cwd, self.env = cwd, env or {}

    def at(self, cwd):
        return Program(self.path, self.name, self.prefix, cwd, self.env)

    def under(self, *options):
        """The same program with options of tests/support_bin/confine.c."""
        return Program(self.path, self.name, self.prefix + options, self.cwd, self.env)

    def environ(self, **variables):
        return Program(self.path, self.name, self.prefix, self.cwd, {**self.env, **variables})

    def _environment(self):
        return {**os.environ, "LC_ALL": "C", "TZ": "UTC", "ASAN_OPTIONS": "exitcode=99",
                "UBSAN_OPTIONS": "halt_on_error=1", **self.env}

    def __call__(self, *args, input=None, timeout=None, measure=False):
        args = [str(a) for a in args]
        timeout = (timeout or (60 if SANITIZED else 20)) * PATIENCE
        with tempfile.NamedTemporaryFile(prefix="qimg-report-") as report:
            options = list(self.prefix) + (["--report", report.name] if measure else [])
            command, executable = self._command(options, args)
            began = time.monotonic()
            # A helper that is asked for input with none to give must not wait for a terminal.
            done = subprocess.run(command, executable=executable, cwd=self.cwd,
                                  env=self._environment(), timeout=timeout, capture_output=True,
                                  **({"input": input.encode()} if input is not None
                                     else {"stdin": subprocess.DEVNULL}))
            result = Result((self.name, *args), done.returncode,
                            done.stdout.decode(errors="surrogateescape"),
                            done.stderr.decode(errors="surrogateescape"),
                            time.monotonic() - began)
            if measure:
                peak, cpu = report.read().split()
                result.peak_kib, result.cpu_seconds = int(peak), int(cpu) / 1e6
        self._judge(result)
        return result

    def _command(self, options, args):
        if EMULATED and (options or any("io_uring" in word for word in args) or
                         self.env.get("QIMG_ENGINE") == "io_uring"):
            pytest.skip("an emulator's memory and system calls are not the program's")
        if options:
            return [str(CONFINE), *options, "--", self.name, str(self.path), *args], None
        return [self.name, *args], str(self.path)

    def _judge(self, result):
        if self.path in (QEMU_IMG, QEMU_IO):
            return
        crashed = result.code < 0 or result.code > 128 or result.code == SANITIZER_EXIT
        reported = any(word in result.err for word in REPORTS)
        assert not crashed and not reported, f"{result} died: {result.code}\n{result.err}"

    def start(self, *args):
        """A process that stays and answers at its prompt: stdin and stdout are pipes. QEMU's
        does not flush its answers by itself."""
        command, executable = self._command([], [str(a) for a in args])
        if self.path == QEMU_IO:
            command, executable = ["stdbuf", "-oL", *command], None
        return subprocess.Popen(command, executable=executable, cwd=self.cwd,
                                env=self._environment(), text=True, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def until_prompt(process):
    """What qemu-io says up to its next prompt. It takes one line at a time: what is sent early
    stays in its stdio buffer, unseen."""
    said = b""
    while not said.endswith(b"qemu-io> "):
        ready, _, _ = select.select([process.stdout], [], [], 20)
        part = os.read(process.stdout.fileno(), 4096) if ready else b""
        assert part, f"qemu-io is silent or gone after {said!r}"
        said += part
    return said.decode()


@contextlib.contextmanager
def holding(directory, *args, first=()):
    """A qemu-io that has the image open, and has done the commands of @first, while the block
    runs. It is killed at the end, as a host that loses power would."""
    process = qemu_io(directory).start(*args)
    try:
        until_prompt(process)
        for command in (*first, "length"):
            process.stdin.write(command + "\n")
            process.stdin.flush()
            said = until_prompt(process)
        assert "iB" in said, f"qemu-io did not open the image: {said}"
        yield process
    finally:
        process.kill()
        process.communicate()


def socket_at(path):
    """A UNIX socket; bound through /proc because its own path may be too long for an address."""
    directory = os.open(path.parent, os.O_PATH)
    socket.socket(socket.AF_UNIX).bind(f"/proc/self/fd/{directory}/{path.name}")
    os.close(directory)


def _built(name, cwd):
    assert QIMG.exists() and CONFINE.exists(), f"no {QIMG}: build first, or set QIMG_BUILD"
    return Program(QIMG, name, cwd=cwd)


def ours(cwd=None):
    return _built("qimg", cwd)


def as_qemu_img(cwd=None):
    return _built("qemu-img", cwd)


def as_qemu_io(cwd=None):
    return _built("qemu-io", cwd)


def qemu_img(cwd=None):
    assert QEMU_IMG.exists(), "no qemu-img (package qemu-utils): the oracle is missing"
    return Program(QEMU_IMG, "qemu-img", cwd=cwd)


def qemu_io(cwd=None):
    assert QEMU_IO.exists(), "no qemu-io (package qemu-utils): the oracle is missing"
    return Program(QEMU_IO, "qemu-io", cwd=cwd)
