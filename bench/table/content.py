# SPDX-License-Identifier: Apache-2.0
"""Bytes that look like what disks hold, the same on every machine, and disks full of them."""
import os
import random
import shutil

from table.harness import Failed, run

MIB = 1 << 20
WORDS = 'the of and to in is for that with as on by from are this be or it at an not can will ' \
        'use file data disk image block read write size offset table cluster error return struct'


def text(chance, length):
    """Sentences of few words, most of them common: packs to a third or so."""
    letters = 'abcdefghijklmnopqrstuvwxyz'
    words = WORDS.split() + [''.join(chance.choices(letters, k=chance.randrange(4, 11)))
                             for _ in range(2000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    return ' '.join(chance.choices(words, weights, k=length // 4)).encode()[:length]


def records(chance, length):
    """Small numbers at fixed places, as programs and tables have: packs well."""
    out = bytearray()
    while len(out) < length:
        out += chance.randrange(1 << 20).to_bytes(8, 'little') + bytes(4)
        out += chance.randrange(256).to_bytes(2, 'little') + chance.randbytes(2)
    return bytes(out[:length])


class Pool:
    """Fixed-seed content to cut pieces from."""

    def __init__(self, seed=1):
        self.chance = random.Random(seed)
        self.kinds = [text(self.chance, 4 * MIB), records(self.chance, 4 * MIB),
                      self.chance.randbytes(4 * MIB)]

    def piece(self, length):
        source = self.chance.choices(self.kinds, (5, 3, 2))[0]
        at = self.chance.randrange(len(source) - min(length, len(source)) + 1)
        return (source[at:] + source * (length // len(source) + 1))[:length]


def raw_content(path, mib):
    """@mib MiB in pieces of 64 KiB to 1 MiB, one in ten of zeros."""
    pool = Pool(2)
    with open(path, 'wb') as f:
        while f.tell() < mib * MIB:
            length = min(pool.chance.randrange(1, 17) << 16, mib * MIB - f.tell())
            f.write(bytes(length) if pool.chance.random() < 0.1 else pool.piece(length))
    return path


def file_system(b, name='fs.raw', data_mib=1536, size='16G'):
    """A raw image of @size with an ext4 file system of files, as a guest would have; sparse."""
    path = b.path(name)
    if os.path.exists(path):
        return path
    mke2fs = shutil.which('mke2fs') or shutil.which('mke2fs', path='/sbin:/usr/sbin')
    if not mke2fs:
        raise Failed('mke2fs (e2fsprogs) is needed to make a file system')
    tree, pool, done = b.path('tree'), Pool(3), 0
    os.makedirs(tree)
    while done < data_mib * MIB:
        length = int(pool.chance.paretovariate(0.6) * 3000) % (24 * MIB) + 1
        directory = os.path.join(tree, f'd{pool.chance.randrange(200)}')
        os.makedirs(directory, exist_ok=True)
        with open(os.path.join(directory, f'f{done}'), 'wb') as f:
            f.write(pool.piece(length))
        done += length
    run([mke2fs, '-q', '-F', '-t', 'ext4', '-E', 'lazy_itable_init=1,hash_seed=' + UUID,
         '-U', UUID, '-d', tree, path, size])
    shutil.rmtree(tree)
    return path


UUID = '6f1d2f1e-9f0b-4c0e-8f55-6f0e8f1d2c3b'
