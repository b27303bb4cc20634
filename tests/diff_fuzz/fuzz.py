#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Random operations on twin images: one by qimg, one by QEMU's tools, and a third one by turns.

    fuzz.py [--seed N] [--seeds COUNT] [--hours H] [--keep]

After each sequence all three images have the same content, both checks of each are clean, and
each operation had the same fate with both programs. The sequence of a failing seed is cut down
operation by operation, and the shortest that still fails is printed.
"""
import argparse
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from pylib.paths import QEMU_IMG, QEMU_IO, QIMG  # noqa: E402

KIB = 1024
STEPS = 14


class Differs(Exception):
    pass


# --- programs -----------------------------------------------------------------------------------

def call(program, args, cwd):
    """Runs "qemu-img ..." or "qemu-io ..." with qimg ("ours") or QEMU's ("theirs")."""
    executable = QIMG if program == "ours" else QEMU_IMG if args[0] == "qemu-img" else QEMU_IO
    done = subprocess.run(args, executable=str(executable), cwd=cwd, capture_output=True,
                          text=True, timeout=120, errors="replace", stdin=subprocess.DEVNULL)
    if done.returncode < 0 or done.returncode > 3:
        raise Differs(f"{program}: {shlex.join(args)} died: {done.returncode}\n{done.stderr}")
    return done


def succeeded(done):
    """qemu-io says what failed on stdout and may exit with 0 all the same."""
    return done.returncode == 0 and "failed:" not in done.stdout + done.stderr


# --- one sequence -------------------------------------------------------------------------------

class Sequence:
    def __init__(self, seed):
        rng = self.rng = random.Random(seed)
        self.seed = seed
        self.size = rng.choice([64, 200, 777, 1024, 3000]) * KIB
        self.data = None  # or "data", an external data file, or "raw", one with data_file_raw
        self.options = self._options()
        self.backing = rng.random() < 0.4 and self.data != "raw"
        self.turns = [rng.choice(["ours", "theirs"]) for _ in range(STEPS)]
        self.steps = [(turn, self._step()) for turn in self.turns]

    def _options(self):
        rng = self.rng
        self.cluster = rng.choice([512, 1024, 4096, 16384, 65536, 65536, 262144])
        options = [f"cluster_size={self.cluster}"]
        self.version = 2 if rng.random() < 0.2 else 3
        self.extended = self.version == 3 and self.cluster >= 16384 and rng.random() < 0.4
        if self.version == 2:
            return options + ["compat=0.10"]
        options.append(f"refcount_bits={rng.choice([1, 2, 8, 16, 16, 16, 32, 64])}")
        if self.extended:
            options.append("extended_l2=on")
        if rng.random() < 0.2:
            options.append("lazy_refcounts=on")
        if rng.random() < 0.3:
            options.append("compression_type=zstd")
        if rng.random() < 0.25:
            self.data = rng.choice(["data", "raw"])
            options.append("data_file=data")
        if self.data == "raw":
            options.append("data_file_raw=on")
        return options

    def _range(self, unit):
        units = max(1, self.size // unit)
        first = self.rng.randrange(units)
        count = self.rng.randint(1, self.rng.choice([1, 4, 40]))
        return first * unit, min(count, units - first) * unit

    def _write(self):
        rng = self.rng
        kind = rng.choice(["write", "write", "write", "write -c", "write -z", "write -z -u",
                           "discard"])
        if kind == "write -c":
            off, _ = self._range(self.cluster)
            length = min(self.cluster, self.size - off)
            return ["qemu-io", f"write -c -P {rng.randrange(1, 255)} {off} {length}"]
        off, length = self._range(rng.choice([512, 4096, self.cluster]))
        pattern = f"-P {rng.randrange(1, 255)} " if kind == "write" else ""
        return ["qemu-io", f"{kind} {pattern}{off} {length}"]

    def _snapshot(self):
        verb = self.rng.choice(["-c", "-c", "-a", "-d"])
        return ["qemu-img", "snapshot", verb, self.rng.choice(["one", "two"]), "disk"]

    def _resize(self):
        """Down to whole clusters only: of the last one's tail QEMU shows old bytes when the disk
        grows again, if it was packed; qimg zeros them."""
        if self.rng.random() < 0.6:
            return ["qemu-img", "resize", "-f", "qcow2", "disk",
                    self.rng.choice(["+64K", "+1M", "+512"])]
        size = self.rng.randint(1, max(1, self.size // self.cluster)) * self.cluster
        return ["qemu-img", "resize", "-f", "qcow2", "--shrink", "disk", str(size)]

    def _bitmap(self):
        verb = self.rng.choice([["--add"], ["--add", "--disable"], ["--remove"], ["--clear"],
                                ["--enable"], ["--disable"], ["--merge", "b"]])
        return ["qemu-img", "bitmap", *verb, "-f", "qcow2", "disk", self.rng.choice(["a", "b"])]

    def _step(self):
        make = self.rng.choices([self._write, self._snapshot, self._resize, self._bitmap],
                                [10, 3, 1, 2])[0]
        return make()

    # --- running ----------------------------------------------------------------------------

    def create_args(self):
        args = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", ",".join(self.options)]
        if self.backing:
            args += ["-b", "base", "-F", "raw"]
        return args + ["disk", str(self.size)]

    def play(self, folder, steps):
        """Raises Differs where the programs part."""
        for twin in ("ours", "theirs", "mixed"):
            cwd = folder / twin
            cwd.mkdir()
            (cwd / "base").write_bytes(bytes(0xb0 + n // 512 % 13 for n in range(300 * KIB)))
            maker = "theirs" if twin == "mixed" else twin
            done = call(maker, self.create_args(), cwd)
            if done.returncode != 0:
                raise Differs(f"{twin}: {shlex.join(self.create_args())}: {done.stderr}")
        for turn, step in steps:
            args = step if step[0] == "qemu-img" else \
                ["qemu-io", "-f", "qcow2", "-d", "unmap", "-c", step[1], "disk"]
            ours = call("ours", args, folder / "ours")
            theirs = call("theirs", args, folder / "theirs")
            call(turn, args, folder / "mixed")
            if succeeded(ours) and self._is_too_narrow(args, theirs):
                return self._check(folder, "ours")  # twins no longer
            if succeeded(ours) != succeeded(theirs):
                raise Differs(f"{shlex.join(args)}\nqimg: {ours.returncode} {ours.stdout}"
                              f"{ours.stderr}\nQEMU: {theirs.returncode} {theirs.stdout}"
                              f"{theirs.stderr}")
        return self._judge(folder)

    def _is_too_narrow(self, args, theirs):
        """QEMU makes an L2 table for what it discards or cuts off, which a snapshot shares, and
        counts a snapshot that is applied up before it counts the old state down."""
        return (args[:2] == ["qemu-img", "snapshot"] and "Invalid argument" in theirs.stderr
                and {"refcount_bits=1", "refcount_bits=2"} & set(self.options))

    def _check(self, folder, twin):
        for program in ("theirs", "ours"):
            done = call(program, ["qemu-img", "check", "-f", "qcow2", "disk"], folder / twin)
            leaks = done.returncode == 3  # QEMU's own failures leave some
            if done.returncode != 0 and not (leaks and twin != "ours"):
                raise Differs(f"{twin}'s image, checked by {program}: {done.returncode}\n"
                              f"{done.stdout}{done.stderr}")

    def _judge(self, folder):
        for twin in ("ours", "mixed", "theirs"):
            self._check(folder, twin)
        for twin in ("ours", "mixed"):
            self._same(folder, twin)
        if self.data == "raw":
            for twin in ("ours", "mixed"):
                self._agree(folder, "raw", f"{twin}/data", "qcow2", f"{twin}/disk")

    def _same(self, folder, twin):
        self._agree(folder, "qcow2", "theirs/disk", "qcow2", f"{twin}/disk")

    def _agree(self, folder, *images):
        """QEMU looks for a data file in its own directory: each image is seen from there."""
        raws = []
        for format, path in zip(images[::2], images[1::2]):
            twin, name = path.split("/")
            raws.append(f"guest-{twin}-{name}")
            done = call("theirs", ["qemu-img", "convert", "-f", format, "-O", "raw", name,
                                   f"../{raws[-1]}"], folder / twin)
            if done.returncode != 0:
                raise Differs(f"{path} cannot be read: {done.stderr}")
        done = call("theirs", ["qemu-img", "compare", "-f", "raw", "-F", "raw", *raws], folder)
        if done.returncode != 0:
            raise Differs(f"{' and '.join(images[1::2])}: {done.stdout}{done.stderr}")


def attempt(sequence, steps, keep=None):
    """What went wrong, or None."""
    folder = Path(tempfile.mkdtemp(prefix="qimg-diff-fuzz-"))
    try:
        sequence.play(folder, steps)
        return None
    except (Differs, subprocess.TimeoutExpired) as failure:
        if keep:
            print(f"kept: {folder}")
        return str(failure)
    finally:
        if not keep:
            shutil.rmtree(folder)


def shortest(sequence):
    """The steps left when none can be taken away any more."""
    steps = list(sequence.steps)
    size = len(steps) // 2
    while size > 0:
        at = 0
        while at < len(steps):
            fewer = steps[:at] + steps[at + size:]
            if attempt(sequence, fewer):
                steps = fewer
            else:
                at += size
        size //= 2
    return steps


def tell(sequence, keep):
    steps = shortest(sequence)
    print(f"seed {sequence.seed}: {len(steps)} of {len(sequence.steps)} steps still fail")
    print("  " + shlex.join(sequence.create_args()))
    for turn, step in steps:
        print(f"  {shlex.join(step)}    (third image: {turn})")
    print(attempt(sequence, steps, keep))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="the first")
    parser.add_argument("--seeds", type=int, default=12, help="how many")
    parser.add_argument("--hours", type=float, help="until then, instead of --seeds")
    parser.add_argument("--keep", action="store_true", help="leaves the images of a failure")
    options = parser.parse_args()
    end = time.monotonic() + options.hours * 3600 if options.hours else None
    seed, failed, done = options.seed, 0, 0
    while time.monotonic() < end if end else done < options.seeds:
        sequence = Sequence(seed)
        if attempt(sequence, sequence.steps):
            tell(sequence, options.keep)
            failed += 1
        seed, done = seed + 1, done + 1
    print(f"{done} sequences, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
