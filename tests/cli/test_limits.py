# SPDX-License-Identifier: Apache-2.0
"""Memory and time that are promised, and measured from outside."""
import os
import struct

import pytest

from pylib import images, run
from pylib.paths import SANITIZED

MIB = 1024  # KiB
TIB = 1 << 40


@pytest.fixture
def terabytes(scratch):
    """64 images of 1 TiB over each other; each has a cluster of its own, and the last L1 entry."""
    below, cluster = None, 65536
    for number in range(64):
        name = f"t{number}.qcow2"
        back = ("-b", below, "-F", "qcow2", "-u") if below else ()
        run.qemu_img(scratch)("create", "-q", "-f", "qcow2", *back, name, TIB).ok()
        with open(scratch / name, "r+b") as image:
            end = (os.fstat(image.fileno()).st_size + cluster - 1) // cluster * cluster
            image.seek(40)
            l1_off = struct.unpack(">Q", image.read(8))[0]
            for place in (number, 2047):
                l2_off, data_off = end, end + cluster
                end += 2 * cluster
                image.seek(l1_off + 8 * place)
                image.write(struct.pack(">Q", l2_off | 1 << 63))
                image.seek(l2_off + 8 * number)
                image.write(struct.pack(">Q", data_off | 1 << 63))
                image.seek(data_off)
                image.write(bytes([number + 1]) * cluster)
        below = name
    return below


@pytest.mark.skipif(SANITIZED, reason="sanitizers take memory and time of their own")
def test_one_read_of_64_terabyte_images_under_a_small_budget(scratch, terabytes):
    tool = run.ours(scratch)
    # Guest offset of L1 entry 17, L2 entry 17: a cluster that layer 17 has.
    offset = 17 * (512 << 20) + 17 * 65536
    seconds = []
    for _ in range(5):
        result = tool("--map-budget=1M", "io", "-r", "-f", "qcow2", "-c", f"read -P 18 {offset} 4k",
                      terabytes, measure=True).ok()
        assert "Pattern verification failed" not in result.out
        assert result.peak_kib < 32 * MIB, f"{result.peak_kib} KiB"
        seconds.append(result.seconds)
    # 10 ms are promised; the machine that runs this may be busy with other tests.
    assert sorted(seconds)[2] < 0.05, seconds


@pytest.mark.skipif(SANITIZED, reason="sanitizers take memory of their own")
def test_small_commands_stay_small(twin):
    top = images.chain(twin, 20)
    tool = run.ours(twin.theirs)
    for args in (("info", top), ("map", top), ("info", "--backing-chain", top),
                 ("create", "-q", "-f", "qcow2", "-b", top, "-F", "qcow2", "new")):
        assert tool(*args, measure=True).ok().peak_kib < 24 * MIB, args


@pytest.mark.skipif(SANITIZED, reason="sanitizers take memory of their own")
def test_convert_does_not_grow_with_the_image(scratch):
    run.qemu_img(scratch)("create", "-q", "-f", "qcow2", "a", "256M").ok()
    run.qemu_io(scratch)("-c", "write -q -P 3 0 200M", "a").ok()
    result = run.ours(scratch)("convert", "-O", "raw", "a", "out.raw", measure=True).ok()
    assert result.peak_kib < 64 * MIB
