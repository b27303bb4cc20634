# SPDX-License-Identifier: Apache-2.0
"""Chains: deep, odd, long names, block devices; the bytes are QEMU's."""
import pytest

from pylib import images, run


def same_reading(twin, top, *options):
    here = twin.theirs
    run.as_qemu_img(here)("convert", *options, "-O", "raw", top, "mine.raw").ok()
    run.qemu_img(here)("convert", *options, "-O", "raw", top, "oracle.raw").ok()
    assert (here / "mine.raw").read_bytes() == (here / "oracle.raw").read_bytes()


@pytest.mark.parametrize("depth", range(1, 21))
def test_each_depth(twin, depth):
    options = list(images.LAYOUTS.values())[depth % 20]
    top = images.chain(twin, depth, options, base="raw" if depth % 2 else "qcow2")
    same_reading(twin, top)
    twin.read("map", "--output=json", top)


def test_300_images_with_64_open_files(twin):
    top = images.chain(twin, 300)
    few = run.as_qemu_img(twin.theirs).under("--nofile", "64")
    few("convert", "-O", "raw", top, "mine.raw").ok()
    run.qemu_img(twin.theirs)("convert", "-O", "raw", top, "oracle.raw").ok()
    assert (twin.theirs / "mine.raw").read_bytes() == (twin.theirs / "oracle.raw").read_bytes()
    mine = few("map", "--output=json", top).ok().out
    oracle = run.qemu_img(twin.theirs)("map", "--output=json", top).ok().out
    assert mine.replace(', "compressed": false', "") == oracle
    few("info", "--backing-chain", "--output=json", top).ok()
    few("compare", top, "oracle.raw").ok()


def test_a_mix_of_every_layout(twin):
    """Each layer another layout: sizes of clusters, widths and versions meet in one map."""
    below = ()
    for number, (layout, options) in enumerate(images.LAYOUTS.items()):
        if "raw=on" in options:
            continue
        name = f"{layout}.qcow2"
        options = options.replace("data.bin", f"{layout}.bin")
        twin.img("create", "-q", "-f", "qcow2", "-o", options, *below, name, images.SIZE)
        at = number * 250 * 1024
        twin.io(name, f"write -q -P {number + 1} {at} 300k", f"write -q -z {at + 7000} 9000",
                f"write -q -P {number + 100} {at // 2 + 513} 1000", options=("-f", "qcow2"))
        below = ("-b", name, "-F", "qcow2")
    same_reading(twin, name)
    twin.read("map", "--output=json", name)


def test_long_backing_names(twin):
    folder = "d" * 200
    path = twin.theirs
    for _ in range(4):
        path = path / folder
    path.mkdir(parents=True)
    relative = "/".join([folder] * 4) + "/" + "b" * (1023 - 4 * 201)
    assert len(relative) == 1023
    twin.img("create", "-q", "-f", "raw", relative, "1M")
    twin.img("create", "-q", "-f", "qcow2", "-b", relative, "-F", "raw", "top")
    same_reading(twin, "top")
    twin.read("info", "top")


def test_relative_names_follow_the_overlay_as_it_is_spelled(twin):
    (twin.theirs / "sub").mkdir()
    twin.img("create", "-q", "-f", "raw", "base", "1M")
    twin.io("base", "write -q -P 1 0 1M", options=("-f", "raw"))
    twin.img("create", "-q", "-f", "raw", "sub/base", "1M")
    twin.img("create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw", "top")
    (twin.theirs / "sub/link").symlink_to("../top")
    same_reading(twin, "top")
    same_reading(twin, "sub/link")
    twin.read("info", "--backing-chain", "sub/link")


def test_data_files_are_found_from_the_current_directory(twin):
    (twin.theirs / "sub").mkdir()
    twin.img("create", "-q", "-f", "qcow2", "-o", "data_file=d.bin", "sub/a", "1M")
    twin.io("sub/a", "write -q -P 5 100k 100k")
    same_reading(twin, "sub/a")
    twin.read("map", "--output=json", "sub/a")


def test_block_devices(twin, loop_device):
    top = images.chain(twin, 3)
    device = loop_device(top)
    twin.read("info", device)
    twin.read("info", "--output=json", device)
    twin.img("create", "-q", "-f", "raw", "disk", "4M")
    target = loop_device("disk")
    run.as_qemu_img(twin.theirs)("convert", "-n", "-O", "raw", top, target).ok()
    run.qemu_img(twin.theirs)("compare", "-F", "raw", top, target).ok()
    twin.read("map", "--output=json", "-f", "raw", target)
    twin.read("compare", "-F", "raw", top, target)
