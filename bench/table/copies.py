# SPDX-License-Identifier: Apache-2.0
"""convert between raw and qcow2: all of it data, and a file system of files in a sparse disk."""
import json
import os
import shutil

from table.content import file_system
from table.harness import QEMU_IMG, Failed, fresh, medians, run, settle, warm


def dense(b):
    """4 GiB of data that does not pack, as qcow2 and as raw."""
    mib = 1024 if b.quick else 4096
    image, raw = b.path('dense0.qcow2'), b.path('dense.raw')
    if not os.path.exists(raw):
        b.make_image('dense', 1, mib, mib * 16)
        run([QEMU_IMG, 'convert', '-O', 'raw', image, raw])
    return image, raw


def sparse(b):
    """16 GiB, of which 1.5 are files."""
    raw, image = file_system(b), b.path('fs.qcow2')
    if not os.path.exists(image):
        run([QEMU_IMG, 'convert', '-O', 'qcow2', raw, image])
    return image, raw


def copies(b):
    """Ours, theirs and cp in turns, from the page cache."""
    for what, make in (('dense', dense), ('sparse (file system)', sparse)):
        image, raw = make(b)
        size = os.path.getsize(raw) >> 30
        three_ways(b, f'raw to qcow2, {size} GiB {what}', raw, ['-f', 'raw', '-O', 'qcow2'], raw)
        three_ways(b, f'qcow2 to raw, {size} GiB {what}', image, ['-f', 'qcow2', '-O', 'raw'], raw)


def three_ways(b, name, source, options, raw):
    out, peaks = b.path('out'), {}

    def timed(who, command, reads):
        fresh(out)
        settle()
        warm(reads)
        done = run(command)
        peaks[who] = max(peaks.get(who, 0), done.peak_kib)
        return done.seconds

    convert = ['convert', *options, source, out]
    m = medians(b.rounds(7),
                ours=lambda: timed('ours', [b.qimg, *convert], source),
                theirs=lambda: timed('theirs', [QEMU_IMG, *convert], source),
                cp=lambda: timed('cp', ['cp', '--sparse=always', raw, out], raw))
    fresh(out)
    b.add(name, 'at least 1.5x as fast', m['theirs'] / m['ours'], m['theirs'] / m['ours'] >= 1.5,
          ours=m['ours'], theirs=m['theirs'], unit='s', ours_mib=peaks['ours'] / 1024,
          theirs_mib=peaks['theirs'] / 1024)
    b.add(f'{name}, against `cp --sparse=always`', 'within 1.25', m['ours'] / m['cp'],
          m['ours'] / m['cp'] <= 1.25, ours=m['ours'], other=m['cp'], unit='s')


# --- past the page cache --------------------------------------------------------------------------


def fio_copy(source, target, mib):
    """Seconds of fio's two streams, one that reads and one that writes, both at once."""
    stream = ['--bs=1M', '--iodepth=16', '--direct=1', '--ioengine=io_uring', f'--size={mib}M',
              '--fallocate=none', '--end_fsync=1']
    done = run(['fio', '--output-format=json', '--name=read', f'--filename={source}', '--rw=read',
                *stream, '--name=write', f'--filename={target}', '--rw=write', *stream])
    return max(job['job_runtime'] for job in json.loads(done.out)['jobs']) / 1e3


def direct_copy(b):
    """-t none -T none beside fio: the device is the limit."""
    if not shutil.which('fio'):
        raise Failed('fio is not installed')
    mib = 512 if b.quick else 1024
    b.make_image('direct', 1, mib, mib * 16)
    image, raw, out = b.path('direct0.qcow2'), b.path('direct.raw'), b.path('direct.out')
    run([QEMU_IMG, 'convert', '-O', 'raw', image, raw])
    os.sync()

    def from_rest(action):
        fresh(out)
        settle()
        return action()

    def convert(program, fmt, source):
        return lambda: from_rest(lambda: run([program, 'convert', '-t', 'none', '-T', 'none', '-O',
                                              fmt, source, out]).seconds)

    for name, fmt, source in (('raw to qcow2', 'qcow2', raw), ('qcow2 to raw', 'raw', image)):
        m = medians(b.rounds(7), ours=convert(b.qimg, fmt, source),
                    theirs=convert(QEMU_IMG, fmt, source),
                    fio=lambda: from_rest(lambda: fio_copy(raw, out, mib)))
        ratio = m['fio'] / m['ours']
        b.add(f"{name}, {mib} MiB, `-t none`, against fio's sequential rate", 'at least 0.95',
              ratio, ratio >= 0.95, ours=m['ours'], other=m['fio'], theirs=m['theirs'], unit='s')
    for name in (image, raw, out):
        fresh(name)
