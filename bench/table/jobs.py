# SPDX-License-Identifier: Apache-2.0
"""commit, stream and compare."""
import os

from table.copies import dense
from table.harness import QEMU_IMG, fresh, run
from table.rebases import base_of_20_gib


def create(name, *options, mib=None):
    """An empty image; without @mib as large as its backing file."""
    run([QEMU_IMG, 'create', '-q', '-f', 'qcow2', *options, fresh(name),
         *([f'{mib}M'] if mib else [])])


def mib_of(b):
    return 1024 if b.quick else 4096


def commit(b):
    """All of an overlay into an empty base. With -d the overlay keeps its content, so that it
    serves for each turn."""
    mib = mib_of(b)
    base = b.path('commit-base.qcow2')
    b.make_image('commit', 1, mib, mib * 16, 'backing=commit-base.qcow2')
    overlay = b.path('commit0.qcow2')
    b.versus(f'`commit` of {mib >> 10} GiB', 1.5, [b.qimg, 'commit', '-d', overlay],
             [QEMU_IMG, 'commit', '-d', overlay],
             before=lambda: create(base, mib=mib), rounds=5, cached=[overlay])
    fresh(base)
    fresh(overlay)


def stream(b):
    """All of a base into an empty overlay. qemu-img's way to do that is a rebase to nothing."""
    mib = mib_of(b)
    base, _ = dense(b)
    overlay = b.path('stream.qcow2')
    b.versus(f'`stream` of {mib >> 10} GiB, beside `rebase -b ""`', 1.5,
             [b.qimg, 'stream', overlay], [QEMU_IMG, 'rebase', '-f', 'qcow2', '-b', '', overlay],
             before=lambda: create(overlay, '-b', base, '-F', 'qcow2'), rounds=5, cached=[base])
    fresh(overlay)


def compare(b):
    """Equal images of two formats; an overlay with what it lies on."""
    image, raw = dense(b)
    command = ['compare', '-f', 'raw', '-F', 'qcow2', raw, image]
    b.versus(f'`compare` of equal {os.path.getsize(raw) >> 30} GiB images', 2, [b.qimg, *command],
             [QEMU_IMG, *command], rounds=5, cached=[raw, image])
    base_of_20_gib(b)
    overlay = b.path('own.qcow2')
    create(overlay, '-b', b.path('base0.qcow2'), '-F', 'qcow2')
    command = ['compare', overlay, b.path('base0.qcow2')]
    b.versus('`compare` of an overlay with its own base', 50, [b.qimg, *command],
             [QEMU_IMG, *command])
