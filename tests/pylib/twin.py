# SPDX-License-Identifier: Apache-2.0
"""The same command on qimg and on QEMU's own tools, and what must come out the same.

A twin has two directories. `theirs` is where QEMU's tools make images; reading commands run there
in turn on the very same files. For a command that writes, `ours` gets a copy first and each
program works in its own directory, under the same relative names.
"""
import difflib
import shutil
import subprocess

from compat import normalise
from pylib import run
from pylib.extents import extents


class Twin:
    def __init__(self, scratch):
        self.theirs, self.ours = scratch / "theirs", scratch / "ours"
        self.theirs.mkdir()
        self.scratch = scratch

    # --- images, made by QEMU ---------------------------------------------------------------

    def img(self, *args):
        return run.qemu_img(self.theirs)(*args).ok()

    def io(self, name, *commands, options=()):
        args = [part for command in commands for part in ("-c", command)]
        result = run.qemu_io(self.theirs)(*options, *args, name).ok()
        assert "failed" not in result.out + result.err, f"{result}{result.out}{result.err}"

    # --- the comparison -----------------------------------------------------------------------

    def read(self, *args, program="qemu-img"):
        """Runs a reading command on the same files with both; returns ours."""
        mine, oracle = self._programs(program)
        while True:
            before = self._storage()
            try:
                return self._agree(mine.at(self.theirs)(*args), oracle.at(self.theirs)(*args))
            except AssertionError:
                if self._storage() == before:
                    raise

    def _storage(self):
        """Blocks in use and holes, which `map` goes by, and which may change between two looks at
        them: written data waits for its place, and a hole that was reserved is data for as long
        as the page cache has zeros for it."""
        return [(path.stat().st_blocks, extents(path))
                for path in sorted(self.theirs.rglob("*")) if path.is_file()]

    def fork(self):
        """Copies what QEMU made, so that a writing command finds the same files twice."""
        shutil.rmtree(self.ours, ignore_errors=True)
        subprocess.run(["cp", "-a", self.theirs, self.ours], check=True)
        return self

    def write(self, *args, program="qemu-img"):
        """Runs a writing command in both directories; returns ours."""
        if not self.ours.exists():
            self.fork()
        mine, oracle = self._programs(program)
        return self._agree(mine.at(self.ours)(*args), oracle.at(self.theirs)(*args))

    def _programs(self, program):
        if program == "qemu-img":
            return run.as_qemu_img(), run.qemu_img()
        return run.as_qemu_io(), run.qemu_io()

    def _agree(self, mine, oracle):
        got, want = normalise.ours(mine), normalise.theirs(oracle)
        if got != want:
            raise AssertionError(f"{mine}" + "\n".join(
                line for a, b, part in zip(got, want, ("exit code", "stdout", "stderr"))
                for line in difflib.unified_diff(str(b).splitlines(), str(a).splitlines(),
                                                 f"{part} of QEMU", f"{part} of qimg", n=1,
                                                 lineterm="")))
        return mine

    # --- guest bytes --------------------------------------------------------------------------

    def same_guest(self, name):
        """What a guest sees in both, as QEMU reads it; never in memory, images may be large."""
        for directory in (self.ours, self.theirs):
            run.qemu_img(directory)("convert", "-O", "qcow2", name,
                                    self.scratch / f"guest-{directory.name}").ok()
        run.qemu_img(self.scratch)("compare", "guest-ours", "guest-theirs").ok()

    def same_file(self, name):
        assert (self.ours / name).read_bytes() == (self.theirs / name).read_bytes(), name
