# SPDX-License-Identifier: Apache-2.0
"""Every command that changes files, each once, on a small chain: for tests that break them off,
have calls fail, fill the disk. Whatever happens to a command, the chain stays sound, and a new file
is whole or not there."""
import dataclasses
import json
import os
import random
import shutil
import struct
import subprocess

from pylib import run
from pylib.paths import BUILD, QIMG

MIB = 1 << 20
CLUSTER = 65536
NEW_BYTES = b"\x09"


@dataclasses.dataclass(frozen=True)
class Change:
    args: tuple
    image: str = "top"  # whose guest bytes must stay
    output: str = ""    # what it makes; "" = nothing, it works in place
    writes: bool = False  # the guest's bytes change, sector by sector
    applies: bool = False  # they become those of the snapshot
    durable: bool = True  # it waits for the disk before it ends
    shows: str = ""  # what info says of the image when it is done; "!...": does not say any more
    tidies: bool = False  # when all is done and durable, it moves tables together if there is room


CHANGES = {
    "create": Change(("create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", "--sync",
                      "out", "64M"), output="out"),
    "convert": Change(("convert", "-t", "writeback", "-O", "qcow2", "top", "out"), output="out"),
    "convert-raw": Change(("convert", "-t", "writeback", "-O", "raw", "top", "out"), output="out"),
    "convert-packed": Change(("convert", "-c", "-t", "writeback", "-O", "qcow2", "top", "out"),
                             output="out"),
    "dd": Change(("dd", "-O", "raw", "bs=64k", "if=top", "of=out"), output="out", durable=False),
    "rebase": Change(("rebase", "-b", "new", "-F", "qcow2", "top"), shows="backing file: new"),
    "rebase-u": Change(("rebase", "-u", "-b", "./old", "-F", "qcow2", "top"),
                       shows="backing file: ./old"),
    "commit": Change(("commit", "-q", "top"), tidies=True),
    "stream": Change(("stream", "top"), shows="!backing file:"),
    "grow": Change(("resize", "-q", "top", "3M"), shows="3 MiB", tidies=True),
    "snapshot-c": Change(("snapshot", "-c", "s1", "top"), shows=" s1 ", tidies=True),
    "snapshot-a": Change(("snapshot", "-a", "s0", "plain"), image="plain", applies=True,
                         tidies=True),
    "snapshot-d": Change(("snapshot", "-d", "s0", "top"), shows="! s0 ", tidies=True),
    "amend": Change(("amend", "-f", "qcow2", "-o", "refcount_bits=32", "top"),
                    shows="refcount bits: 32", tidies=True),
    "bitmap": Change(("bitmap", "--add", "top", "b1"), shows="name: b1"),
    "check-r": Change(("check", "-q", "-r", "all", "leaky"), image="leaky"),
    "seal": Change(("chain", "seal", "-q", "top")),
    "fix": Change(("chain", "fix", "--absolute", "--apply", "top")),
    "mv": Change(("chain", "mv", "-q", "--dependants-in=.", "old", "dst")),
    "write": Change(("io", "-f", "qcow2", "-c", "write -q -P 9 100k 300k", "-c", "flush", "top"),
                    writes=True),
    "fixture": Change(("fixture", "build", "-q", "-o", "out", "spec.json"), output="out/a.qcow2"),
}
IN_PLACE = [name for name, change in CHANGES.items() if not change.output]

SPEC = {"fixture": 1, "name": "one", "purpose": "a file to be made", "images": [
    {"file": "a.qcow2", "size": "4M",
     "content": [{"at": 0, "length": "1M", "pattern": "random", "seed": 7}]}]}


def leak(path):
    """One cluster behind the end that is counted and not used."""
    data = path.read_bytes()
    table = struct.unpack_from(">Q", data, 48)[0]
    block = struct.unpack_from(">Q", data, table)[0]
    with open(path, "r+b") as image:
        image.seek(block + 2 * (-(-len(data) // CLUSTER)))
        image.write(b"\0\1")
        image.truncate(-(-len(data) // CLUSTER) * CLUSTER + CLUSTER)


def make(home):
    """root <- old <- top with a snapshot, a bitmap and data in all of them; new beside old."""
    qimg = run.ours(home)
    (home / "root").write_bytes(random.Random(1).randbytes(MIB) + bytes(MIB))
    for name, below, fmt in (("old", "root", "raw"), ("new", "root", "raw"),
                             ("top", "old", "qcow2")):
        qimg("create", "-q", "-f", "qcow2", "-b", below, "-F", fmt, name).ok()
    qimg("io", "-f", "qcow2", "-c", "write -q -P 3 100k 700k", "old").ok()
    qimg("io", "-f", "qcow2", "-c", "write -q -P 4 300k 700k", "new").ok()
    qimg("io", "-f", "qcow2", "-c", "write -q -P 5 64k 300k", "top").ok()
    qimg("snapshot", "-c", "s0", "top").ok()
    qimg("io", "-f", "qcow2", "-c", "write -q -P 6 128k 700k", "-c", "write -q -z 1M 100k",
         "top").ok()
    shutil.copy(home / "top", home / "plain")
    qimg("bitmap", "--add", "top", "b0").ok()
    shutil.copy(home / "top", home / "leaky")
    leak(home / "leaky")
    (home / "dst").mkdir()
    (home / "spec.json").write_text(json.dumps(SPEC))
    return home


def guest(work, name):
    """What a guest sees, as QEMU reads it."""
    run.qemu_img(work)("convert", "-f", "raw" if name == "root" else "qcow2", "-O", "raw", name,
                       "flat").ok()
    data = (work / "flat").read_bytes()
    (work / "flat").unlink()
    return data


class Bench:
    """A chain in a directory of its own that can be put back to what it was."""

    def __init__(self, scratch):
        self.work = scratch / "work"
        self.home = scratch / "home"
        self.work.mkdir()
        make(self.work)
        subprocess.run(["cp", "-a", self.work, self.home], check=True)
        self.before = {name: guest(self.work, name) for name in ("top", "leaky", "plain")}
        run.ours(self.work)("snapshot", "-a", "s0", "plain").ok()
        self.snapshot = guest(self.work, "plain")
        self.put_back()

    def put_back(self):
        shutil.rmtree(self.work)
        subprocess.run(["cp", "-a", self.home, self.work], check=True)

    def start(self, change, engine="threads", preload=None, **environment):
        """The command under way; its output in pipes."""
        env = {**os.environ, "LC_ALL": "C", "QIMG_ENGINE": engine,
               **{key: str(value) for key, value in environment.items()}}
        if preload:
            # It writes files of its own, which the sandbox would not let it.
            env |= {"LD_PRELOAD": str(BUILD / f"tests/{preload}.so"), "QIMG_SANDBOX": "off"}
        return subprocess.Popen(["qimg", *CHANGES[change].args], executable=QIMG, cwd=self.work,
                                env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def run(self, change, **how):
        """Its exit code (negative: the signal) and what it said."""
        process = self.start(change, **how)
        out, err = process.communicate(timeout=60)
        return process.returncode, out + err

    # --- what must hold ---------------------------------------------------------------------

    def judge(self, name, code, what, leaks=False):
        """@code 0: done and right; else the old state, or on the way to the new one. @leaks: an
        earlier run may have left some."""
        change = CHANGES[name]
        if change.output:
            self._judge_output(change, code, what)
        if name == "mv" and code != 0:
            done = run.ours(self.work)(*change.args)  # goes on, or says that there is nothing
            assert done.code in (0, 1), f"{what}\n{done.err}"
        checked = run.ours(self.work)("check", change.image)
        assert checked.code in (0, 3) and (code != 0 or leaks or checked.code == 0), \
            f"{what}: exit {code}\n{checked.out}{checked.err}"
        if code == 0 and change.shows:
            info = run.qemu_img(self.work)("info", change.image).ok().out
            wanted = not change.shows.startswith("!")
            assert (change.shows.lstrip("!") in info) == wanted, f"{what}\n{info}"
        now = guest(self.work, change.image)
        old = self.before[change.image]
        if change.writes:
            self._judge_sectors(now, old, code, what)
        elif change.applies:
            assert now == self.snapshot if code == 0 else now in (old, self.snapshot), what
        else:
            assert now[:len(old)] == old and not any(now[len(old):]), what

    def _judge_sectors(self, now, old, code, what):
        assert len(now) == len(old)
        for at in range(0, len(old), 512):
            new = NEW_BYTES * 512 if 100 << 10 <= at < 400 << 10 else old[at:at + 512]
            right = (new,) if code == 0 else (new, old[at:at + 512])
            assert now[at:at + 512] in right, f"{what}: {at:#x}"

    def _judge_output(self, change, code, what):
        """Killed, it may leave a part, but nothing that looks whole."""
        path = self.work / change.output
        if code > 0:
            assert not path.exists(), f"{what}: {path.name} is left behind"
        if not path.exists():
            assert code != 0, what
            return
        oracle = run.qemu_img(self.work)
        if "raw" in change.args:
            short = path.stat().st_size < len(self.before["top"])
            assert path.read_bytes() == self.before["top"] or (code != 0 and short), what
        elif code == 0 or oracle("info", "-f", "qcow2", path).code == 0:
            assert oracle("check", path).code in (0, 3), what
            if change.args[0] == "convert":
                oracle("compare", "top", path).ok()
