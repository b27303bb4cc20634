# SPDX-License-Identifier: Apache-2.0
"""`map` over the matrix, in both outputs, whole and in windows."""
import os

import pytest

from pylib import images

WINDOWS = ((), ("-s", "64k"), ("-l", "1M"), ("-s", "300k", "-l", "5k"), ("-s", "100", "-l", "1"),
           ("--start-offset=704k", "--max-length=20M"), ("-s", "8M"), ("-s", "20M"), ("-l", "0"))


def both_outputs(twin, *args):
    twin.read("map", "--output=json", *args)
    twin.read("map", *args)


@pytest.mark.parametrize("layout", images.LAYOUTS)
def test_map_of_each_layout(twin, layout):
    name = images.make(twin, images.LAYOUTS[layout])
    for window in WINDOWS:
        both_outputs(twin, *window, name)


@pytest.mark.parametrize("layout", ("v2", "v3", "c512", "c4k", "ext", "zstd-c2M"))
def test_map_of_an_overlay_of_each_layout(twin, layout):
    images.make(twin, images.LAYOUTS[layout], "base.qcow2")
    options = images.LAYOUTS[layout]
    twin.img("create", "-q", "-f", "qcow2", "-o", options, "-b", "base.qcow2", "-F", "qcow2",
             "top.qcow2")
    twin.io("top.qcow2", "write -q -P 9 32k 64k", "write -q -z 128k 64k", "write -q -P 1 2M 1k",
            "discard -q 4M 2M", options=("-f", "qcow2"))
    for window in WINDOWS:
        both_outputs(twin, *window, "top.qcow2")


def test_places_of_unallocated_subclusters(twin):
    """They show where nothing below has a say: in the last image, or past a shorter one's end."""
    options = "extended_l2=on,cluster_size=16k"
    twin.img("create", "-q", "-f", "qcow2", "-o", options, "base.qcow2", "1M")
    twin.io("base.qcow2", "write -q -P 1 3k 1k", "write -q -P 1 1023k 512", "write -q -P 2 512k 1k",
            "discard -q 512k 1k")
    twin.img("create", "-q", "-f", "qcow2", "-o", options, "-b", "base.qcow2", "-F", "qcow2",
             "top.qcow2", "2M")
    for at in (4, 515, 1000, 1023, 1030, 1500):
        twin.io("top.qcow2", f"write -q -P 3 {at}k 1k")
    twin.img("create", "-q", "-f", "qcow2", "-o", f"preallocation=metadata,{options}", "p", "1M")
    for name in ("base.qcow2", "top.qcow2", "p"):
        both_outputs(twin, name)
        twin.read("compare", "-s", name, name)


@pytest.mark.parametrize("extended", ("on", "off"))
def test_zeros_at_the_start_of_a_data_file(twin, extended):
    twin.img("create", "-q", "-f", "qcow2", "-o", f"data_file=d,extended_l2={extended}", "a", "1M")
    for at in (0, 64):
        twin.io("a", f"write -q {at}k 64k", f"write -q -z {at}k 64k")
    both_outputs(twin, "a")


def test_the_file_is_named_that_holds_the_bytes(twin):
    """Not the options by which it was opened: offsets are those of the file."""
    top = images.chain(twin, 2)
    both_outputs(twin, 'json:{"driver": "raw", "offset": 65536, "size": 32768, '
                       '"file": {"driver": "file", "filename": "c0.raw"}}')
    both_outputs(twin, 'json:{"driver": "qcow2", "backing": null, '
                       f'"file": {{"driver": "file", "filename": "{top}"}}}}')


@pytest.mark.parametrize("depth", (1, 2, 3, 8, 20))
def test_map_of_chains(twin, depth):
    both_outputs(twin, images.chain(twin, depth))


@pytest.mark.parametrize("sizes", ((1 << 20, 4 << 20), (8 << 20, 4 << 20),
                                   (300 * 1024 + 512, 2 << 20), (4 << 20, 1 << 20, 3 << 20),
                                   (1 << 20, 4 << 20, 2 << 20)))
@pytest.mark.parametrize("base", ("raw", "qcow2"))
def test_map_over_shorter_and_longer_backing_files(twin, sizes, base):
    both_outputs(twin, images.chain(twin, len(sizes), sizes=sizes, base=base))


@pytest.mark.parametrize("mode", ("off", "metadata", "falloc", "full"))
def test_map_of_preallocated_images(twin, mode):
    twin.img("create", "-q", "-f", "qcow2", "-o", f"preallocation={mode}", "a", "3M")
    both_outputs(twin, "a")
    twin.io("a", "write -q -P 1 1M 100k")
    both_outputs(twin, "a")


def test_map_of_a_small_sparse_image_asks_the_file_for_holes(twin):
    """QEMU takes an image that claims far more clusters than blocks for a preallocated one."""
    twin.img("create", "-q", "-f", "qcow2", "a", "64M")
    twin.io("a", "write -q -P 1 0 1M", "write -q -P 1 8M 1M")
    with open(twin.theirs / "a", "r+b") as image:
        for start in range(0x60000, 0x160000, 0x20000):
            os.posix_fallocate(image.fileno(), start, 1)
    twin.img("convert", "-O", "qcow2", "-S", "0", "a", "b")
    for name in ("a", "b"):
        both_outputs(twin, name)


@pytest.mark.parametrize("size", (0, 1, 512, 1000, 65536, 3 << 20))
def test_map_of_raw_files(twin, size):
    with open(twin.theirs / "a", "wb") as raw:
        raw.truncate(size)
        if size >= 65536:
            raw.seek(4096)
            raw.write(b"x" * 5000)
            raw.seek(size - 10)
            raw.write(b"end")
    both_outputs(twin, "-f", "raw", "a")
    both_outputs(twin, "a")


def test_map_of_compressed_images(twin):
    images.real_data(twin.theirs / "real", 1)
    for kind in ("zlib", "zstd"):
        twin.img("convert", "-c", "-O", "qcow2", "-o", f"compression_type={kind}", "real", kind)
        both_outputs(twin, kind)


def test_map_of_raw_windows_through_json(twin):
    images.real_data(twin.theirs / "real", 1)
    both_outputs(twin, 'json:{"driver":"raw","offset":131072,"size":262144,'
                       '"file":{"driver":"file","filename":"real"}}')


@pytest.mark.parametrize("window", ((0, 65536), (4096, 65536), (65536, 1 << 20), (1536, 3 << 19),
                                    (1 << 20, 1 << 20), (0, 2 << 20)))
def test_map_of_raw_windows_with_holes(twin, window):
    with open(twin.theirs / "sparse", "wb") as raw:
        raw.truncate(2 << 20)
        for start in (0, 68 << 10, 300 << 10, 1500 << 10):
            raw.seek(start)
            raw.write(b"x" * 5000)
    name = ('json:{"driver":"raw","offset":%d,"size":%d,'
            '"file":{"driver":"file","filename":"sparse"}}' % window)
    both_outputs(twin, name)
    twin.img("convert", "-O", "raw", name, "want.raw")
    assert twin.read("compare", name, "want.raw").code == 0
