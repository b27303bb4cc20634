# SPDX-License-Identifier: Apache-2.0
"""Refcount blocks are built anew beside the old ones: more of them than memory is given, and blocks
that count each other, so that one that moves has all of them move."""
import struct

import pytest

from pylib import run

A = "a.qcow2"
CLUSTER = 512
IN_BLOCK = CLUSTER * 8 // 64  # counts of 64 bits
NARROW = f"cluster_size={CLUSTER},refcount_bits=64"


def assert_sound(folder):
    assert "No errors were found" in run.qemu_img(folder)("check", A).ok().out


def test_more_blocks_than_memory_is_given(tmp_path, as_qemu_img):
    qimg = as_qemu_img.at(tmp_path)
    qimg("create", "-q", "-f", "qcow2", "-o", NARROW + ",preallocation=metadata", A, "1300M").ok()
    for verb in (["snapshot", "-c", "one", A], ["snapshot", "-d", "one", A],
                 ["resize", "-q", "--shrink", A, "1200M"], ["amend", "-o", "refcount_bits=32", A]):
        qimg(*verb).ok()
        qimg("check", "-q", A).ok()  # qemu-img takes seconds for it


REGIONS = 2 * CLUSTER // 8  # as many blocks as a table of two clusters has entries


def place_of(block):
    """Each block stands among the clusters that the one before it counts; the last two elsewhere,
    so that the last but one can move alone."""
    if block in (0, REGIONS - 2):
        return 8 + (block != 0)
    if block == REGIONS - 1:
        return (block - 2) * IN_BLOCK + 2
    return (block - 1) * IN_BLOCK + (10 if block == 1 else 1)


def write_linked_blocks(path, clusters):
    table, l1 = 1, 3
    places = [place_of(block) for block in range(REGIONS)]
    image = bytearray(clusters * CLUSTER)
    struct.pack_into(">4sIQIIQIIQQIIQQQQII", image, 0, b"QFI\xfb", 3, 0, 0, 9, CLUSTER, 0, 1,
                     l1 * CLUSTER, table * CLUSTER, 2, 0, 0, 0, 0, 0, 6, 104)
    struct.pack_into(f">{REGIONS}Q", image, table * CLUSTER, *(p * CLUSTER for p in places))
    for used in (0, table, table + 1, l1, *places):
        block, index = divmod(used, IN_BLOCK)
        struct.pack_into(">Q", image, places[block] * CLUSTER + 8 * index, 1)
    path.write_bytes(image)


@pytest.mark.parametrize("free", range(2, 10))
def test_one_block_that_moves_moves_all(tmp_path, as_qemu_img, free):
    # The new refcount table is the first to lie among the clusters that the last block counts.
    write_linked_blocks(tmp_path / A, (REGIONS - 1) * IN_BLOCK - free)
    assert_sound(tmp_path)
    as_qemu_img.at(tmp_path)("snapshot", "-c", "one", A).ok()
    assert_sound(tmp_path)


def test_nothing_is_put_where_no_offset_leads(tmp_path, as_qemu_img):
    """Behind the last count lies 2^64, where offsets begin with 0 again: the header, for one."""
    size, table, l1 = 2 << 20, 1, 7
    counts, last = table + 4, table + 5
    head = struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, 21, size, 0, 1, l1 * size,
                       table * size, 4, 0, 0, 0, 0, 0, 1, 104)
    parts = {0: head, (table + 4) * size - 8: struct.pack(">Q", last * size),
             table * size: struct.pack(">Q", counts * size), counts * size: b"\x55\x55\x01",
             l1 * size: struct.pack(">Q", 1 << 63 | (l1 + 1) * size),
             (last + 1) * size - 1: b"\x40"}
    with open(tmp_path / A, "wb") as image:
        image.truncate((l1 + 2) * size)
        for offset, part in parts.items():
            image.seek(offset)
            image.write(part)
    before = (tmp_path / A).read_bytes()
    refused = as_qemu_img.at(tmp_path)("snapshot", "-c", "one", A)
    assert refused.code == 1 and "File too large" in refused.err
    assert (tmp_path / A).read_bytes() == before
