#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Speed and memory of qimg, side by side with qemu-img in one run.

    bench/run.py [--build DIR] [--work DIR] [--rounds N] [--quick] [--assert] [--only NAME,...]

Prints one JSON document: machine, kernel, commit, and for each question what was measured, the
ratio, and the goal. --assert: exit 1 where a goal is missed. --quick: few rounds, and nothing of
qemu-img's that takes minutes. Images are crafted (make_image), the same on every machine.

Each number is the median over rounds in which ours and theirs take turns, so that what else the
machine does hits both alike.
"""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DEPTHS = (1, 64, 512)
GUEST_MIB = 2048
CLUSTERS = 8192  # 512 MiB of guest data


class Bench:
    """Where things are, and the results so far."""

    def __init__(self, args):
        self.args = args
        self.build = os.path.abspath(args.build)
        self.work = tempfile.mkdtemp(prefix='qimg-bench-', dir=args.work)
        self.qimg = os.path.join(self.build, 'qimg')
        self.results = []

    def path(self, name):
        return os.path.join(self.work, name)

    def program(self, name):
        return os.path.join(self.build, 'bench', name)

    def add(self, name, goal, value, ok, **details):
        """One question's answer. ok None: no goal, for information."""
        result = {'name': name, 'goal': goal, 'value': round(value, 4), 'ok': ok, **details}
        self.results.append(result)
        mark = {True: 'ok  ', False: 'MISS', None: '    '}[ok]
        print(f'{mark} {name}: {value:.3f} ({goal}) {json.dumps(details)}', file=sys.stderr)

    def chain(self, depth):
        """The top image of the chain with 512 MiB of data in @depth layers."""
        prefix = self.path(f'chain{depth}-')
        top = f'{prefix}{depth - 1}.qcow2'
        if not os.path.exists(top):
            run([self.program('make_image'), prefix, depth, GUEST_MIB, CLUSTERS])
        return top


def run(command, stdin=None, check=True):
    """Runs to the end; returns (seconds, peak KiB, stdout)."""
    command = [str(c) for c in command]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdin=stdin or subprocess.DEVNULL, stdout=out, stderr=err)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if check and child.returncode != 0:
            err.seek(0)
            sys.exit(f'{" ".join(command)}: {err.read().decode()}')
        out.seek(0)
        return seconds, usage.ru_maxrss, out.read()


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
        sys.exit(f'{" ".join(command)}: status {status}')
    return seconds


def medians(rounds, **actions):
    """Runs the actions in turns; the median of what each returns."""
    values = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            values[name].append(action())
    return {name: statistics.median(v) for name, v in values.items()}


def fresh(path):
    if os.path.exists(path):
        os.unlink(path)
    return path


QEMU_IMG = shutil.which('qemu-img') or sys.exit('qemu-img is needed for comparison')
QEMU_IO = shutil.which('qemu-io') or sys.exit('qemu-io is needed for comparison')


# --- small commands -------------------------------------------------------------------------------

def small_commands(b):
    """info and create of a small image, the whole process."""
    rounds = 15 if b.args.quick else 41
    image = b.path('small.qcow2')
    spawn([QEMU_IMG, 'create', '-f', 'qcow2', image, '1G'])
    for name, tail in (('info', [image]),
                       ('create', ['-f', 'qcow2', b.path('new.qcow2'), '1G'])):
        m = medians(rounds, ours=lambda: spawn([b.qimg, name, *tail]),
                    theirs=lambda: spawn([QEMU_IMG, name, *tail]))
        ratio = m['ours'] / m['theirs']
        b.add(f'{name} of a small image', "at most 0.2 of qemu-img's time", ratio, ratio <= 0.2,
              ours_ms=m['ours'] * 1e3, theirs_ms=m['theirs'] * 1e3)


def deep_commands(b):
    """create -b, rebase -u and info on a chain of 512 cost what they cost on a chain of 1."""
    rounds = 15 if b.args.quick else 41
    tops = {depth: b.chain(depth) for depth in (1, 512)}

    def overlay(depth):
        return [b.qimg, 'create', '-f', 'qcow2', '-F', 'qcow2', '-b', tops[depth],
                b.path(f'overlay{depth}.qcow2')]

    def rebase(depth):
        return [b.qimg, 'rebase', '-u', '-F', 'qcow2', '-b', tops[depth],
                b.path(f'overlay{depth}.qcow2')]

    def info(depth):
        return [b.qimg, 'info', tops[depth]]

    for name, command in (('create -b', overlay), ('rebase -u', rebase), ('info', info)):
        m = medians(rounds, d1=lambda: spawn(command(1)), d512=lambda: spawn(command(512)))
        theirs = statistics.median(
            spawn([QEMU_IMG, *command(512)[1:]]) for _ in range(1 if name != 'info' else 5))
        ratio = m['d512'] / m['d1']
        b.add(f'{name} on a chain of 512', 'within 1.2 of a chain of 1', ratio, ratio <= 1.2,
              ours_ms=m['d512'] * 1e3, ours_at_1_ms=m['d1'] * 1e3, theirs_ms=theirs * 1e3)


# --- convert --------------------------------------------------------------------------------------

def convert_seconds(b, program, source, extra=()):
    target = fresh(b.path('out.raw'))
    seconds, peak, _ = run([program, 'convert', '-O', 'raw', *extra, source, target])
    b.peak = peak
    return seconds


def convert(b):
    """512 MiB of guest data, 64 KiB clusters scattered over 2 GiB, page cache warm."""
    goals = {1: 1.5, 64: 6, 512: 150}
    ours = {}
    for depth in DEPTHS:
        top = b.chain(depth)
        run([b.qimg, 'convert', '-O', 'raw', top, fresh(b.path('out.raw'))])  # warms the cache
        peaks = {}

        def timed(program, who):
            seconds = convert_seconds(b, program, top)
            peaks[who] = max(peaks.get(who, 0), b.peak)
            return seconds

        rounds = (2 if b.args.quick else 7) if depth < 512 else 0
        m = medians(max(rounds, 3), ours=lambda: timed(b.qimg, 'ours'))
        if rounds:
            m = medians(rounds, ours=lambda: timed(b.qimg, 'ours'),
                        theirs=lambda: timed(QEMU_IMG, 'theirs'))
        elif not b.args.quick:
            m['theirs'] = timed(QEMU_IMG, 'theirs')
        ours[depth] = m['ours']
        if 'theirs' in m:
            ratio = m['theirs'] / m['ours']
            b.add(f'convert at depth {depth}', f'at least {goals[depth]}x as fast', ratio,
                  ratio >= goals[depth], ours_s=m['ours'], theirs_s=m['theirs'])
        if depth == 512:
            theirs = peaks.get('theirs', 244 * 1024)
            ratio = peaks['ours'] / theirs
            b.add('peak memory of convert at depth 512', "at most 0.25 of qemu-img's", ratio,
                  ratio <= 0.25, ours_mib=peaks['ours'] / 1024, theirs_mib=theirs / 1024)

    def at(depth):
        return lambda: convert_seconds(b, b.qimg, b.chain(depth))

    m = medians(3 if b.args.quick else 9, d1=at(1), d512=at(512))
    ratio = m['d512'] / m['d1']
    b.add('convert at depth 512 against depth 1', 'within 1.35', ratio, ratio <= 1.35,
          d1_s=m['d1'], d512_s=m['d512'])


def convert_compressed(b):
    """Compressed clusters of text-like bytes."""
    raw, packed = b.path('text.raw'), b.path('packed.qcow2')
    mib = 64 if b.args.quick else 256
    with open(raw, 'wb') as f:
        state = 12345
        words = [b'alpha ', b'beta ', b'gamma ', b'delta ', b'epsilon ', b'zeta ', b'eta ', b'\n']
        for _ in range(mib):
            piece = bytearray()
            while len(piece) < 65536:
                state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
                piece += words[state >> 61]
            f.write(bytes(piece[:65536]) * 16)
    run([QEMU_IMG, 'convert', '-c', '-O', 'qcow2', raw, packed])
    os.unlink(raw)
    m = medians(2 if b.args.quick else 7, ours=lambda: convert_seconds(b, b.qimg, packed),
                theirs=lambda: convert_seconds(b, QEMU_IMG, packed))
    ratio = m['theirs'] / m['ours']
    b.add('convert of compressed clusters', 'at least 2x as fast', ratio, ratio >= 2,
          ours_s=m['ours'], theirs_s=m['theirs'], guest_mib=mib)


def batches(b):
    """Requests go to the kernel in batches: counted by the context, not by the clock."""
    _, _, out = run([b.program('bench_convert'), b.chain(64), fresh(b.path('out.raw')),
                     'engine=io_uring'])
    s = json.loads(out)
    per_mib = s['submits'] / (CLUSTERS / 16)
    b.add('io_uring_enter calls per MiB of convert', 'at most 2', per_mib, per_mib <= 2, **s)
    b.add('greatest number of requests in flight', 'at least 32', s['max_in_flight'],
          s['max_in_flight'] >= 32)


# --- reads ----------------------------------------------------------------------------------------

def read_program(b, image, count, pattern, *options):
    _, _, out = run([b.program('bench_read'), image, count, pattern, *options])
    return json.loads(out)


def random_script(b, count):
    """An aio_read script over the same guest; qemu-io keeps them all in flight."""
    path = b.path('random.qio')
    state = 88172645463325252
    with open(path, 'w') as f:
        for i in range(count):
            state ^= state << 13 & (2**64 - 1)
            state ^= state >> 7
            state ^= state << 17 & (2**64 - 1)
            f.write(f'aio_read -q {state % (GUEST_MIB << 8) << 12} 4k\n')
            if i % 32 == 31:
                f.write('aio_flush\n')
        f.write('quit\n')
    return path


def reads(b):
    """20,000 random and strided 4 KiB reads at queue depth 32."""
    count = 4000 if b.args.quick else 20000
    step = 65536 * 13
    best = {}
    touch = {}
    for pattern in ('random', 'stride'):
        tops = {d: b.chain(d) for d in DEPTHS}

        def ours(depth):
            r = read_program(b, tops[depth], count, pattern, f'step={step}')
            touch.setdefault(depth, []).append(r['touch_ms'] + r['open_ms'])
            return r['read_ms']

        for depth in DEPTHS:
            ours(depth)  # warms
        touch.clear()
        m = medians(5 if b.args.quick else 11, **{f'd{d}': (lambda d=d: ours(d)) for d in DEPTHS})
        for depth in (64, 512):
            ratio = m[f'd{depth}'] / m['d1']
            b.add(f'{pattern} reads at depth {depth}', 'within 1.1 of depth 1', ratio,
                  ratio <= 1.1, ms=m[f'd{depth}'], ms_at_1=m['d1'])
        best[pattern] = m
        if pattern == 'random':
            more = statistics.median(touch[512]) - statistics.median(touch[1])
            b.add('first touch of 2 GiB at depth 512', 'at most 60 ms more than at 1', more,
                  more <= 60, ms=statistics.median(touch[512]), ms_at_1=statistics.median(touch[1]))
    for depth in (1, 64) if b.args.quick else DEPTHS:
        few = count if depth < 512 else 200  # theirs takes minutes there
        top = b.chain(depth)
        seconds = run([QEMU_IMG, 'bench', '-f', 'qcow2', '-c', few, '-d', 32, '-s', 4096,
                       '-S', step % (GUEST_MIB << 20), top])[0]
        theirs = seconds / few
        ours_each = best['stride'][f'd{depth}'] / 1e3 / count
        b.add(f"strided reads at depth {depth} against qemu-img bench", 'for information',
              theirs / ours_each, None, theirs_us=theirs * 1e6, ours_us=ours_each * 1e6)
        with open(random_script(b, few), 'rb') as script:
            seconds = run([QEMU_IO, '-f', 'qcow2', '-r', top], stdin=script)[0]
        theirs = seconds / few
        ours_each = best['random'][f'd{depth}'] / 1e3 / count
        b.add(f'random reads at depth {depth} against qemu-io aio_read', 'for information',
              theirs / ours_each, None, theirs_us=theirs * 1e6, ours_us=ours_each * 1e6)


def direct_reads(b):
    """-t none against fio's io_uring engine on a raw file of the same size."""
    if not shutil.which('fio'):
        print('     fio is not installed: direct reads are not compared', file=sys.stderr)
        return
    raw = b.path('direct.raw')
    run([b.qimg, 'convert', '-O', 'raw', '-S', '0', '-t', 'writeback', b.chain(1), fresh(raw)])
    count = 4000 if b.args.quick else 20000

    def fio():
        _, _, out = run(['fio', '--name=r', f'--filename={raw}', '--rw=randread', '--bs=4k',
                         '--iodepth=32', '--direct=1', '--ioengine=io_uring', '--norandommap',
                         f'--number_ios={count}', '--readonly', '--output-format=json'])
        return json.loads(out)['jobs'][0]['read']['iops']

    def ours(image):
        return read_program(b, image, count, 'random', 'cache=none')['iops']

    m = medians(3 if b.args.quick else 9, fio=fio, ours=lambda: ours(raw),
                chain=lambda: ours(b.chain(512)))
    ratio = m['ours'] / m['fio']
    b.add('random 4 KiB reads of a raw file, -t none', "at least 0.95 of fio's io_uring", ratio,
          ratio >= 0.95, ours_iops=m['ours'], fio_iops=m['fio'], chain_of_512_iops=m['chain'])


# --- large images ---------------------------------------------------------------------------------

def huge_chain(b):
    """Time to the first byte of a chain of 64 images of 1 TiB under a map budget of 1 MiB."""
    prefix = b.path('huge')
    run([b.program('make_image'), prefix, 64, 1 << 20, 6400, 'sparse'])
    answers = [read_program(b, f'{prefix}63.qcow2', 1, 'random', 'cold', f'budget={1 << 20}')
               for _ in range(5 if b.args.quick else 21)]
    ms = statistics.median(a['open_ms'] + a['read_ms'] for a in answers)
    peak = max(a['peak_kib'] for a in answers) / 1024
    b.add('first byte of 64 images of 1 TiB, map budget 1 MiB', 'under 10 ms', ms, ms < 10,
          open_ms=statistics.median(a['open_ms'] for a in answers))
    b.add('peak memory of that', 'under 32 MiB', peak, peak < 32)


def map_of_fragments(b):
    """map --output=json of a fragmented image of 1 TiB."""
    prefix = b.path('fragments')
    run([b.program('make_image'), prefix, 1, 1 << 20, 1 << 18, 'sparse'])
    image = f'{prefix}0.qcow2'
    run([b.qimg, 'map', '--output=json', image])
    m = medians(2 if b.args.quick else 5,
                ours=lambda: run([b.qimg, 'map', '--output=json', image])[0],
                theirs=lambda: run([QEMU_IMG, 'map', '--output=json', image])[0])
    ratio = m['theirs'] / m['ours']
    b.add('map --output=json of a fragmented 1 TiB image', 'at least 5x as fast', ratio, ratio >= 5,
          ours_s=m['ours'], theirs_s=m['theirs'])


QUESTIONS = {f.__name__: f for f in (small_commands, deep_commands, convert, convert_compressed,
                                     batches, reads, direct_reads, huge_chain, map_of_fragments)}


def machine():
    with open('/proc/cpuinfo', encoding='ascii', errors='replace') as f:
        model = next((line.split(':')[1].strip() for line in f if line.startswith('model name')),
                     platform.machine())
    commit = subprocess.run(['git', '-C', ROOT, 'rev-parse', '--short', 'HEAD'],
                            capture_output=True, text=True, check=False).stdout.strip()
    version = subprocess.run([QEMU_IMG, '--version'], capture_output=True, text=True, check=True)
    return {'cpu': model, 'processors': len(os.sched_getaffinity(0)),
            'kernel': platform.release(), 'commit': commit,
            'qemu_img': version.stdout.splitlines()[0], 'date': time.strftime('%Y-%m-%d')}


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--build', default=os.path.join(ROOT, 'build', 'release'))
    p.add_argument('--work', help='directory for images (2 GiB are needed)')
    p.add_argument('--quick', action='store_true')
    p.add_argument('--assert', dest='check', action='store_true')
    p.add_argument('--only', help='comma-separated: ' + ','.join(QUESTIONS))
    args = p.parse_args()
    chosen = args.only.split(',') if args.only else QUESTIONS
    bench = Bench(args)
    try:
        for name in chosen:
            QUESTIONS[name](bench)
    finally:
        shutil.rmtree(bench.work)
    print(json.dumps({'machine': machine(), 'results': bench.results}, indent=2))
    missed = [r['name'] for r in bench.results if r['ok'] is False]
    if missed:
        print('missed: ' + '; '.join(missed), file=sys.stderr)
    sys.exit(1 if args.check and missed else 0)


if __name__ == '__main__':
    main()
