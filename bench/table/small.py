# SPDX-License-Identifier: Apache-2.0
"""Commands that read and write a few KiB: the whole process is what counts."""
import statistics

from table.harness import QEMU_IMG, fresh, medians, run, spawn


def small_commands(b):
    """info and create of a small image."""
    rounds = b.rounds(41, 15)
    image, new = b.path('small.qcow2'), b.path('new.qcow2')
    spawn([QEMU_IMG, 'create', '-f', 'qcow2', image, '1G'])

    def timed(program, name):
        if name == 'info':
            return spawn([program, 'info', image])
        return spawn([program, 'create', '-f', 'qcow2', fresh(new), '1G'])

    for name in ('info', 'create'):
        m = medians(rounds, ours=lambda: timed(b.qimg, name), theirs=lambda: timed(QEMU_IMG, name))
        ratio = m['ours'] / m['theirs']
        b.add(f'`{name}` of a small image', "at most 0.2 of qemu-img's time", ratio, ratio <= 0.2,
              ours=m['ours'] * 1e3, theirs=m['theirs'] * 1e3, unit='ms')


def deep_commands(b):
    """create -b, rebase -u and info on a chain of 512 cost what they cost on a chain of 1."""
    rounds = b.rounds(41, 15)
    tops = {depth: b.chain(depth) for depth in (1, 512)}

    def overlay(depth):
        return [b.qimg, 'create', '-f', 'qcow2', '-F', 'qcow2', '-b', tops[depth],
                fresh(b.path(f'overlay{depth}.qcow2'))]

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
        b.add(f'`{name}` on a chain of 512, against a chain of 1', 'within 1.2', ratio,
              ratio <= 1.2, ours=m['d512'] * 1e3, theirs=theirs * 1e3, unit='ms',
              ours_at_1=m['d1'] * 1e3)


def map_of_fragments(b):
    """map --output=json of a fragmented image of 1 TiB."""
    b.make_image('fragments', 1, 1 << 20, 1 << 18, 'sparse')
    image = b.path('fragments0.qcow2')
    run([b.qimg, 'map', '--output=json', image])
    b.versus('`map --output=json`, 262,144 extents in 1 TiB', 5,
             [b.qimg, 'map', '--output=json', image], [QEMU_IMG, 'map', '--output=json', image],
             rounds=5)
