# SPDX-License-Identifier: Apache-2.0
"""Chains: 512 MiB of guest data, 64 KiB clusters scattered over 2 GiB and dealt evenly to the
layers, page cache warm."""
import json

from table.harness import QEMU_IMG, fresh, medians, run

CLUSTERS = 8192
GOALS = {1: 1.5, 64: 6, 512: 150}
PLOTTED = (1, 4, 16, 64, 256, 512)


def convert(b, program, depth):
    """Seconds and peak KiB."""
    done = run([program, 'convert', '-O', 'raw', b.chain(depth), fresh(b.path('out.raw'))])
    return done.seconds, done.peak_kib


def rounds_at(b, depth):
    """So many turns of both; theirs takes minutes at depth 512."""
    if depth == 512:
        return 0 if b.quick else 1
    return b.rounds(7 if depth in GOALS else 3, 2)


def convert_chains(b):
    """convert -O raw at growing depth. The rows with the figures of a plot have `points`."""
    points = {'qimg': {}, 'qemu-img': {}}
    peaks = {}
    for depth in PLOTTED:
        seconds = {'qimg': [], 'qemu-img': []}
        convert(b, b.qimg, depth)  # warms the cache
        for _ in range(rounds_at(b, depth) if depth != 256 else 0):
            for who, program in (('qimg', b.qimg), ('qemu-img', QEMU_IMG)):
                took, peak = convert(b, program, depth)
                seconds[who].append(took)
                peaks[who, depth] = max(peak, peaks.get((who, depth), 0))
        convert(b, b.qimg, depth)  # theirs takes so long that the machine takes its cache back
        while len(seconds['qimg']) < 5:
            took, peak = convert(b, b.qimg, depth)
            seconds['qimg'].append(took)
            peaks['qimg', depth] = max(peak, peaks.get(('qimg', depth), 0))
        for who, values in seconds.items():
            if values:
                points[who][depth] = sorted(values)[len(values) // 2]
        if depth in GOALS and seconds['qemu-img']:
            report(b, depth, points, peaks)
    against_depth_1(b, points)


def report(b, depth, points, peaks):
    ours, theirs = points['qimg'][depth], points['qemu-img'][depth]
    ratio = theirs / ours
    b.add(f'`convert -O raw`, depth {depth}', f'at least {GOALS[depth]}x as fast', ratio,
          ratio >= GOALS[depth], ours=ours, theirs=theirs, unit='s',
          ours_mib=peaks['qimg', depth] / 1024, theirs_mib=peaks['qemu-img', depth] / 1024)
    if depth == 512:
        ratio = peaks['qimg', depth] / peaks['qemu-img', depth]
        b.add('peak memory at depth 512', "at most 0.25 of qemu-img's", ratio, ratio <= 0.25,
              ours=peaks['qimg', depth] / 1024, theirs=peaks['qemu-img', depth] / 1024,
              unit='MiB')


def against_depth_1(b, points):
    m = medians(b.rounds(9, 3), d1=lambda: convert(b, b.qimg, 1)[0],
                d512=lambda: convert(b, b.qimg, 512)[0])
    ratio = m['d512'] / m['d1']
    b.add('`convert`, depth 512 against depth 1', 'within 1.35', ratio, ratio <= 1.35,
          ours=m['d512'], unit='s', ours_at_1=m['d1'], points=points)


def batches(b):
    """Requests go to the kernel in batches: counted by the context, not by the clock."""
    done = run([b.program('bench_convert'), b.chain(64), fresh(b.path('out.raw')),
                'engine=io_uring'])
    s = json.loads(done.out)
    per_mib = s['submits'] / (CLUSTERS / 16)
    b.add('`io_uring_enter` calls per MiB of `convert`', 'at most 2', per_mib, per_mib <= 2)
    b.add('greatest number of requests in flight', 'at least 32', s['max_in_flight'],
          s['max_in_flight'] >= 32)
