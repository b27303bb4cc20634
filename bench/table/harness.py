# SPDX-License-Identifier: Apache-2.0
"""Running programs in turns, and keeping what was measured.

A question is a function that takes a Bench and adds rows. A row has a value, a goal, whether the
goal was met (None: for information), what ours and theirs took, and further details.
"""
import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

QEMU_IMG = shutil.which('qemu-img')
QEMU_IO = shutil.which('qemu-io')


class Failed(Exception):
    """A command ended badly: the question it belongs to has no answer."""


@dataclasses.dataclass
class Run:
    seconds: float
    peak_kib: int
    out: bytes
    err: bytes


class Runner:
    """Runs commands under bench/timed, which knows what they took."""

    timed = None  # its path; set by Bench

    def __call__(self, command, stdin=None):
        command = [str(c) for c in command]
        with tempfile.NamedTemporaryFile('r', encoding='ascii') as report:
            done = subprocess.run([self.timed, report.name, *command], check=False,
                                  stdin=stdin or subprocess.DEVNULL, capture_output=True)
            said = report.read().split()
        if done.returncode != 0:
            raise Failed(f'{" ".join(command)}: exit {done.returncode}: {done.stderr.decode()}')
        return Run(float(said[0]), int(said[1]), done.stdout, done.stderr)


run = Runner()


def spawn(command):
    """Seconds of a small process, with as little of Python around it as can be."""
    null = os.open(os.devnull, os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)]
    command = [str(c) for c in command]
    start = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
    status = os.waitpid(pid, 0)[1]
    seconds = time.perf_counter() - start
    os.close(null)
    if status:
        raise Failed(f'{" ".join(command)}: status {status}')
    return seconds


def medians(rounds, **actions):
    """Runs the actions in turns; the median of what each returns. Another one is the first in each
    round, since who comes after whom can matter to caches and disks."""
    values = {name: [] for name in actions}
    names = list(actions)
    for _ in range(rounds):
        for name in names:
            values[name].append(actions[name]())
        names = names[1:] + names[:1]
    return {name: statistics.median(v) for name, v in values.items()}


def fresh(path):
    if os.path.exists(path):
        os.unlink(path)
    return path


def settle():
    """Nothing waits to be written any more, so that each turn pays for its own writes alone."""
    os.sync()


def data_of(fd):
    """(offset, end) of a file's stretches that are no holes."""
    at, size = 0, os.fstat(fd).st_size
    while at < size:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # a hole up to the end
            return
        end = os.lseek(fd, at, os.SEEK_HOLE)
        yield at, end
        at = end


def warm(*paths):
    """Has the page cache hold these files, whatever it has dropped since they were last read."""
    room = bytearray(1 << 20)
    for path in paths:
        with open(path, 'rb', buffering=0) as file:
            for at, end in data_of(file.fileno()):
                while at < end:
                    at += os.preadv(file.fileno(), [memoryview(room)[:end - at]], at)


class Bench:
    """Where things are, and the results so far."""

    def __init__(self, build, work, quick):
        self.quick = quick
        self.build = os.path.abspath(build)
        self.work = tempfile.mkdtemp(prefix='qimg-bench-', dir=work)
        self.qimg = os.path.join(self.build, 'qimg')
        Runner.timed = self.program('timed')
        self.group = None
        self.results = []

    def path(self, name):
        return os.path.join(self.work, name)

    def program(self, name):
        return os.path.join(self.build, 'bench', name)

    def rounds(self, whole, quick=1):
        return quick if self.quick else whole

    def add(self, name, goal, value, ok, **details):
        """One row. @details: ours, theirs and their unit, if that is what was measured; peak
        memory as ours_mib, theirs_mib; others as they are."""
        details = {k: round(v, 4) if isinstance(v, float) else v for k, v in details.items()}
        result = {'group': self.group, 'name': name, 'goal': goal, 'value': round(value, 4),
                  'ok': ok, **details}
        self.results.append(result)
        mark = {True: 'ok  ', False: 'MISS', None: '    '}[ok]
        print(f'{mark} {name}: {value:.3f} ({goal}) {json.dumps(details)}', file=sys.stderr)

    def failed(self, name, reason):
        """A question without an answer misses its goal."""
        self.results.append({'group': self.group, 'name': name, 'goal': 'runs', 'value': None,
                             'ok': False, 'error': str(reason)})
        print(f'FAIL {name}: {reason}', file=sys.stderr)

    # --- the usual question: how many times as fast? ----------------------------------------------

    def versus(self, name, goal, ours, theirs, before=None, rounds=3, cached=(), **details):
        """Both commands in turns; @before runs, untimed, ahead of each, and the files @cached are
        in the page cache then. @goal times as fast; None: no goal. Adds a row, and one for the
        memory. Returns the medians."""
        peaks = {'ours': 0, 'theirs': 0}

        def timed(who, command):
            if before:
                before()
            settle()
            warm(*cached)
            done = run(command)
            peaks[who] = max(peaks[who], done.peak_kib)
            return done.seconds

        m = medians(self.rounds(rounds), ours=lambda: timed('ours', ours),
                    theirs=lambda: timed('theirs', theirs))
        ratio = m['theirs'] / m['ours']
        self.add(name, f'at least {goal}x as fast' if goal else 'for information', ratio,
                 ratio >= goal if goal else None, ours=m['ours'], theirs=m['theirs'], unit='s',
                 ours_mib=peaks['ours'] / 1024, theirs_mib=peaks['theirs'] / 1024, **details)
        return m

    def within(self, name, most, ours, reference, before=None, rounds=3, **details):
        """Our command against another program that does the like: at most @most times as long."""
        def timed(command):
            if before:
                before()
            settle()
            return run(command).seconds

        m = medians(self.rounds(rounds), ours=lambda: timed(ours), other=lambda: timed(reference))
        ratio = m['ours'] / m['other']
        self.add(name, f'within {most}', ratio, ratio <= most, ours=m['ours'], other=m['other'],
                 unit='s', **details)

    # --- images that several questions share ------------------------------------------------------

    def make_image(self, prefix, depth, mib, clusters, *more):
        run([self.program('make_image'), self.path(prefix), depth, mib, clusters, *more])

    def chain(self, depth, mib=2048, clusters=8192):
        """The top image of the chain with 512 MiB of data, of 2 GiB, in @depth layers."""
        prefix = f'chain{depth}-'
        top = self.path(f'{prefix}{depth - 1}.qcow2')
        if not os.path.exists(top):
            self.make_image(prefix, depth, mib, clusters)
        return top
