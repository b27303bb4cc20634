# SPDX-License-Identifier: Apache-2.0
"""Safe rebase of a small overlay: bases that differ in 64 MiB."""
import os
import shutil

from table.harness import QEMU_IMG, fresh, medians, run

CLUSTERS = 1024  # 64 MiB


def rebase(program, overlay, base):
    return [program, 'rebase', '-f', 'qcow2', '-F', 'qcow2', '-b', base, overlay]


class Subject:
    """An overlay that is put back before each turn."""

    def __init__(self, b, prefix, mib, backing, seed):
        b.make_image(prefix, 1, mib, CLUSTERS, f'seed={seed}', f'backing={backing}')
        self.kept, self.name = b.path(f'{prefix}0.qcow2'), b.path(f'{prefix}.run')

    def put_back(self):
        shutil.copyfile(self.kept, fresh(self.name))


def base_of_20_gib(b):
    """2 GiB of data in 20, and two overlays on it of 64 MiB each."""
    mib = 20480
    if not os.path.exists(b.path('base0.qcow2')):
        b.make_image('base', 1, mib, 8192 if b.quick else 32768)
        for name, seed in (('left', 1), ('right', 2)):
            b.make_image(name, 1, mib, CLUSTERS, f'seed={seed}', 'backing=base0.qcow2')
    return mib


def safe_rebase(b):
    """In one chain, between siblings, and between strangers."""
    mib = base_of_20_gib(b)
    run([QEMU_IMG, 'convert', '-O', 'qcow2', b.path('right0.qcow2'), b.path('copy.qcow2')])
    for name, goal, old, new in (('bases in one chain', 2, 'left0.qcow2', 'base0.qcow2'),
                                 ('sibling bases', 20, 'left0.qcow2', 'right0.qcow2'),
                                 ('unrelated full copies', 2, 'base0.qcow2', 'copy.qcow2')):
        subject = Subject(b, 'rebased', mib, old, 5)
        b.versus(f'safe `rebase` of a 20 GiB overlay, {name}', goal,
                 rebase(b.qimg, subject.name, new), rebase(QEMU_IMG, subject.name, new),
                 before=subject.put_back)
    for name in ('copy.qcow2', 'rebased.run'):
        fresh(b.path(name))


def deep_subject(b, depth):
    """An overlay on a chain of @depth, and a flat base that differs in 64 MiB."""
    raw, flat = b.path('flat.raw'), b.path(f'flat{depth}.qcow2')
    top = b.chain(depth)
    run([b.qimg, 'convert', '-O', 'raw', top, fresh(raw)])
    run([QEMU_IMG, 'convert', '-O', 'qcow2', raw, flat])
    fresh(raw)
    b.make_image(f'new{depth}-', 1, 2048, CLUSTERS, 'seed=2', f'backing={os.path.basename(flat)}')
    return Subject(b, f'deep{depth}-', 2048, os.path.basename(top), 5), f'new{depth}-0.qcow2'


def deep_rebase(b):
    """The same work at depth 1, 64 and 256: 512 MiB of data compared, 64 copied."""
    subjects = {depth: deep_subject(b, depth) for depth in (1, 64, 256)}

    def turn(program, depth):
        subject, new = subjects[depth]
        subject.put_back()
        return run(rebase(program, subject.name, new)).seconds

    m = medians(b.rounds(5, 2), **{f'd{d}': (lambda d=d: turn(b.qimg, d)) for d in subjects})
    for depth in (64, 256):
        theirs = {} if depth == 256 else {'theirs': turn(QEMU_IMG, depth)}
        ratio = m[f'd{depth}'] / m['d1']
        b.add(f'safe `rebase` from a chain of {depth}, against a chain of 1', 'within 1.2', ratio,
              ratio <= 1.2, ours=m[f'd{depth}'], unit='s', ours_at_1=m['d1'], **theirs)
