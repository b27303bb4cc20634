# SPDX-License-Identifier: Apache-2.0
"""convert -c, and out of compressed images again; text, records, noise and zeros."""
import os

from table.content import raw_content
from table.harness import QEMU_IMG, fresh, medians, run

ZSTD = ('-o', 'compression_type=zstd')
FAST = ('--compression-level', '1')


class Pack:
    """One way to pack: times of all turns, and the size that came out."""

    def __init__(self, b, program, *options):
        self.b, self.program, self.options, self.size, self.peak_kib = b, program, options, 0, 0

    def __call__(self):
        out = fresh(self.b.path('packed'))
        done = run([self.program, 'convert', '-c', '-f', 'raw', '-O', 'qcow2', *self.options,
                    self.b.path('content.raw'), out])
        self.size = os.path.getsize(out)
        self.peak_kib = max(self.peak_kib, done.peak_kib)
        return done.seconds


def packing(b):
    """Each way in turn. Sizes are of whole files."""
    mib = 64 if b.quick else 256
    raw_content(b.path('content.raw'), mib)
    ways = {'theirs': Pack(b, QEMU_IMG), 'ours': Pack(b, b.qimg),
            'theirs16': Pack(b, QEMU_IMG, '-W', '-m', '16'), 'fast': Pack(b, b.qimg, *FAST),
            'theirs_zstd': Pack(b, QEMU_IMG, *ZSTD), 'zstd': Pack(b, b.qimg, *ZSTD)}
    m = medians(b.rounds(2), **ways)
    rows = (('deflate', 'ours', 'theirs', 1.3, 1.01),
            ('deflate, beside its `-W -m 16`', 'ours', 'theirs16', 1.0, None),
            ('fast deflate', 'fast', 'theirs', 6, 1.10),
            ('zstd', 'zstd', 'theirs_zstd', 1.5, 1.01))
    for name, ours, theirs, goal, size_goal in rows:
        ratio = m[theirs] / m[ours]
        b.add(f'`convert -c`, {name}, {mib} MiB', f'at least {goal}x as fast', ratio, ratio >= goal,
              ours=m[ours], theirs=m[theirs], unit='s', ours_mib=ways[ours].peak_kib / 1024,
              theirs_mib=ways[theirs].peak_kib / 1024)
        if size_goal:
            size = ways[ours].size / ways[theirs].size
            b.add(f'{name}: size of the image', f'within {size_goal}', size, size <= size_goal,
                  ours=ways[ours].size / 2**20, theirs=ways[theirs].size / 2**20, unit='MiB')


def unpacking(b):
    """Images that qemu-img packed, to raw."""
    mib = 64 if b.quick else 256
    raw = raw_content(b.path('content.raw'), mib)
    for name, options in (('deflate', ()), ('zstd', ZSTD)):
        packed, out = b.path(f'packed-{name}'), b.path('out.raw')
        run([QEMU_IMG, 'convert', '-c', '-f', 'raw', '-O', 'qcow2', *options, raw, packed])
        b.versus(f'`convert` of compressed clusters to raw, {name}, {mib} MiB', 2,
                 [b.qimg, 'convert', '-O', 'raw', packed, out],
                 [QEMU_IMG, 'convert', '-O', 'raw', packed, out], before=lambda: fresh(out),
                 rounds=7)
