# SPDX-License-Identifier: Apache-2.0
"""Commands whose work is in the metadata: check, snapshots, resize, bitmaps."""
from table.harness import QEMU_IMG, fresh, run

TIB = 1 << 20  # in MiB


def checks(b):
    """All tables of an image of 1 TiB, and those of 64 GiB whose clusters lie in no order."""
    whole = b.path('whole.qcow2')
    run([QEMU_IMG, 'create', '-q', '-f', 'qcow2', '-o', 'preallocation=metadata', whole, '1T'])
    b.make_image('scattered', 1, 65536, 1 << 20, 'sparse')
    for name, image in (('1 TiB with preallocated metadata', whole),
                        ('64 GiB, fragmented', b.path('scattered0.qcow2'))):
        b.versus(f'`check` of {name}', 3, [b.qimg, 'check', image], [QEMU_IMG, 'check', image],
                 rounds=5)
    fresh(whole)
    fresh(b.path('scattered0.qcow2'))


class Kept:
    """An image that each turn gets as a new copy, holes kept. Only the metadata is on the disk."""

    def __init__(self, b, name):
        self.kept, self.image = b.path(name), b.path('turn.qcow2')

    def copy(self, to=None):
        run(['cp', '--sparse=always', self.kept, fresh(to or self.image)])


def snapshots(b):
    """1 TiB, of which 64 GiB are mapped."""
    b.make_image('mapped', 1, TIB, 1 << 20, 'sparse')
    bare = Kept(b, 'mapped0.qcow2')
    snapped = Kept(b, 'snapped.qcow2')
    bare.copy(snapped.kept)
    run([b.qimg, 'snapshot', '-c', 's', snapped.kept])
    for flag, subject in (('-c', bare), ('-a', snapped), ('-d', snapped)):
        command = ['snapshot', flag, 's', subject.image]
        b.versus(f'`snapshot {flag}`, 1 TiB, 64 GiB mapped', 2, [b.qimg, *command],
                 [QEMU_IMG, *command], before=subject.copy, rounds=5)
    fresh(snapped.kept)


def resizes(b):
    """Growing, shrinking past what is mapped, and a bitmap, on the same image."""
    b.make_image('mapped', 1, TIB, 1 << 20, 'sparse')
    subject = Kept(b, 'mapped0.qcow2')
    for name, command in (
            ('`resize` to 2 TiB', ('resize', '-q', subject.image, '2T')),
            ('`resize --shrink` to 512 GiB', ('resize', '-q', '--shrink', subject.image, '512G')),
            ('`bitmap --add`', ('bitmap', '--add', subject.image, 'b'))):
        b.versus(f'{name}, 1 TiB, 64 GiB mapped', 2, [b.qimg, *command], [QEMU_IMG, *command],
                 before=subject.copy, rounds=5)
    fresh(subject.kept)
