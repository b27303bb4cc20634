# SPDX-License-Identifier: Apache-2.0
"""Reads by programs on libqimg: random and strided 4 KiB at queue depth 32."""
import json
import shutil
import statistics

from table.harness import QEMU_IMG, QEMU_IO, Failed, fresh, medians, run

DEPTHS = (1, 64, 512)
GUEST_MIB = 2048
STEP = 65536 * 13


def read_program(b, image, count, pattern, *options):
    return json.loads(run([b.program('bench_read'), image, count, pattern, *options]).out)


def random_script(b, count):
    """An aio_read script over the same guest; qemu-io keeps them all in flight."""
    path = b.path('random.qio')
    state = 88172645463325252
    with open(path, 'w', encoding='ascii') as f:
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
    """20,000 reads at each depth."""
    count = 4000 if b.quick else 20000
    best = {pattern: at_depths(b, pattern, count) for pattern in ('random', 'stride')}
    for depth in (1, 64) if b.quick else DEPTHS:
        beside_qemu(b, depth, count, best)


def at_depths(b, pattern, count):
    touch = {}

    def ours(depth):
        r = read_program(b, b.chain(depth), count, pattern, f'step={STEP}')
        touch.setdefault(depth, []).append(r['touch_ms'] + r['open_ms'])
        return r['read_ms']

    for depth in DEPTHS:
        ours(depth)  # warms
    touch.clear()
    m = medians(b.rounds(11, 5), **{f'd{d}': (lambda d=d: ours(d)) for d in DEPTHS})
    for depth in (64, 512):
        ratio = m[f'd{depth}'] / m['d1']
        b.add(f'{pattern} 4 KiB reads, depth {depth} against 1', 'within 1.1', ratio, ratio <= 1.1,
              ours=m[f'd{depth}'] / count * 1e3, unit='us', ours_at_1=m['d1'] / count * 1e3)
    if pattern == 'random':
        more = statistics.median(touch[512]) - statistics.median(touch[1])
        b.add('first touch of 2 GiB at depth 512, beyond depth 1', 'at most 60 ms', more,
              more <= 60, ours=statistics.median(touch[512]), unit='ms',
              ours_at_1=statistics.median(touch[1]))
    return m


def beside_qemu(b, depth, count, best):
    few = count if depth < 512 else 200  # theirs takes minutes there
    top = b.chain(depth)
    stride = run([QEMU_IMG, 'bench', '-f', 'qcow2', '-c', few, '-d', 32, '-s', 4096, '-S',
                  STEP % (GUEST_MIB << 20), top]).seconds
    with open(random_script(b, few), 'rb') as script:
        random = run([QEMU_IO, '-f', 'qcow2', '-r', top], stdin=script).seconds
    for name, seconds, pattern in (('strided reads, beside `qemu-img bench`', stride, 'stride'),
                                   ('random reads, beside qemu-io `aio_read`', random, 'random')):
        ours, theirs = best[pattern][f'd{depth}'] / count * 1e3, seconds / few * 1e6
        b.add(f'{name}, depth {depth}', 'for information', theirs / ours, None, ours=ours,
              theirs=theirs, unit='us')


def direct_reads(b):
    """-t none against fio's io_uring engine on a raw file of the same size."""
    if not shutil.which('fio'):
        raise Failed('fio is not installed')
    raw = b.path('direct.raw')
    run([b.qimg, 'convert', '-O', 'raw', '-S', '0', '-t', 'writeback', b.chain(1), fresh(raw)])
    count = 4000 if b.quick else 20000

    def fio():
        done = run(['fio', '--name=r', f'--filename={raw}', '--rw=randread', '--bs=4k',
                    '--iodepth=32', '--direct=1', '--ioengine=io_uring', '--norandommap',
                    f'--number_ios={count}', '--readonly', '--output-format=json'])
        return json.loads(done.out)['jobs'][0]['read']['iops']

    def ours(image):
        return read_program(b, image, count, 'random', 'cache=none')['iops']

    m = medians(b.rounds(9, 3), fio=fio, ours=lambda: ours(raw),
                chain=lambda: ours(b.chain(512)))
    ratio = m['ours'] / m['fio']
    b.add("random 4 KiB reads of a raw file, `-t none`, against fio's io_uring", 'at least 0.95',
          ratio, ratio >= 0.95, ours=m['ours'], other=m['fio'], unit='/s', chain_of_512=m['chain'])


def huge_chain(b):
    """Time to the first byte of a chain of 64 images of 1 TiB under a map budget of 1 MiB."""
    b.make_image('huge', 64, 1 << 20, 6400, 'sparse')
    answers = [read_program(b, b.path('huge63.qcow2'), 1, 'random', 'cold', f'budget={1 << 20}')
               for _ in range(b.rounds(21, 5))]
    ms = statistics.median(a['open_ms'] + a['read_ms'] for a in answers)
    peak = max(a['peak_kib'] for a in answers) / 1024
    b.add('first byte of 64 images of 1 TiB, map budget 1 MiB', 'under 10 ms', ms, ms < 10,
          ours=ms, unit='ms')
    b.add('peak memory of that', 'under 32 MiB', peak, peak < 32, ours=peak, unit='MiB')
