# SPDX-License-Identifier: Apache-2.0
"""compare --all and --output=json: every range that differs, and where each side has it from."""
import json
import random

import pytest

from pylib import run

SECTOR = 512
CLUSTER = 65536
MIB = 1 << 20


def told(qimg, *args, code=1):
    """The JSON of compare, and the verdict of it without --all beside it."""
    result = qimg("compare", "--all", "--output=json", *args)
    assert result.code == code, result.err
    found = json.loads(result.out)
    plain = json.loads(qimg("compare", "--output=json", *args).out)
    assert {k: found.get(k) for k in ("identical", "verdict", "offset")} == \
        {k: plain.get(k) for k in ("identical", "verdict", "offset")}
    return found


def ranges(found, why):
    return [(d["start"], d["length"]) for d in found["differences"] if d["differs"] == why]


def sectors(found, why):
    return [s for start, length in ranges(found, why)
            for s in range(start // SECTOR, (start + length) // SECTOR)]


def content(qemu_img, name, size):
    """What QEMU says a guest sees, filled up to @size."""
    qemu_img("convert", "-O", "raw", name, "flat").ok()
    return (qemu_img.cwd / "flat").read_bytes().ljust(size, b"\0")


def write_all_over(qemu_io, name, chance, size):
    at = chance.randrange(size // CLUSTER) * CLUSTER  # first: QEMU packs no cluster that is there
    commands = ["-c", f"write -q -c -P 3 {at} {CLUSTER}"]
    for _ in range(12):
        at = chance.randrange(size // SECTOR) * SECTOR
        length = min(chance.choice((SECTOR, 4096, CLUSTER, 3 * CLUSTER)), size - at)
        kind = chance.choice(("-P 1", "-P 2", "-P 0", "-z"))
        commands += ["-c", f"write -q {kind} {at} {length}"]
    qemu_io("-f", "qcow2", *commands, name).ok()


@pytest.fixture
def pair(qemu_img, qemu_io):
    """Two chains on one base, written at random; the second is longer."""
    def make(seed):
        chance = random.Random(seed)
        below = ()
        for name, size in (("base", 2), ("mid", 2), ("a", 2), ("b", 3)):
            qemu_img("create", "-q", "-f", "qcow2", *below, name, size * MIB).ok()
            write_all_over(qemu_io, name, chance, size * MIB)
            if name in ("base", "mid"):
                below = ("-b", name, "-F", "qcow2")
        return "a", "b"
    return make


@pytest.mark.parametrize("seed", range(6))
def test_every_differing_sector_is_told_and_no_other(qimg, qemu_img, pair, seed):
    a, b = pair(seed)
    found = told(qimg, a, b)
    bytes_a, bytes_b = (content(qemu_img, name, 3 * MIB) for name in (a, b))
    want = [s for s in range(3 * MIB // SECTOR)
            if bytes_a[s * SECTOR:(s + 1) * SECTOR] != bytes_b[s * SECTOR:(s + 1) * SECTOR]]
    assert sectors(found, "content") == want
    assert found["different-bytes"] == SECTOR * len(want)
    assert ranges(found, "size") == [(2 * MIB, MIB)]
    assert sectors(told(qimg, b, a), "content") == want


@pytest.mark.parametrize("seed", range(3))
def test_each_side_names_its_layer_and_neighbours_are_merged(qimg, qemu_img, pair, seed):
    names = pair(seed)
    files = {"a": ["a", "mid", "base"], "b": ["b", "mid", "base"]}
    maps = {name: json.loads(run.qemu_img(qemu_img.cwd)("map", "--output=json", name).ok().out)
            for name in names}
    differences = told(qimg, *names)["differences"]
    for one, next_one in zip(differences, differences[1:]):
        alike = all(one[k] == next_one[k] for k in ("differs", "a", "b"))
        assert not (alike and one["start"] + one["length"] == next_one["start"]), (one, next_one)
    for d in (d for d in differences if d["differs"] == "content"):
        for name in names:
            side = d[name]
            entry = next((e for e in maps[name]
                          if e["start"] <= d["start"] < e["start"] + e["length"]), None)
            if entry is None or side["kind"] == "past-end":
                assert entry is None and side == {"kind": "past-end"}
            elif side["kind"] == "unallocated":
                assert not entry["present"]
            else:
                assert side["depth"] == entry["depth"] and entry["present"]
                assert side["filename"].endswith(files[name][side["depth"]])
                assert (side["kind"] in ("data", "compressed")) == entry["data"]


@pytest.mark.parametrize("strict", ((), ("-s",)))
def test_equal_images_differ_nowhere(qimg, qemu_img, pair, strict):
    a, _ = pair(0)
    found = told(qimg, *strict, a, a, code=0)
    assert found["identical"] and found["verdict"] == "identical" and found["differences"] == []
    assert found["compared-bytes"] == 0 and found["proved-bytes"] == 2 * MIB
    assert found["images"][0] == {"filename": a, "format": "qcow2", "virtual-size": 2 * MIB}


def test_allocation_differs_in_strict_mode_only(qimg, qemu_img, qemu_io):
    for name, kind in (("a", "-z"), ("b", "-P 0")):
        qemu_img("create", "-q", "-f", "qcow2", name, MIB).ok()
        qemu_io("-f", "qcow2", "-c", "write -q -P 1 0 64k", "-c", f"write -q {kind} 64k 128k",
                name).ok()
    assert told(qimg, "a", "b", code=0)["differences"] == []
    found = told(qimg, "-s", "a", "b")
    assert ranges(found, "allocation") == [(CLUSTER, 2 * CLUSTER)]
    assert [found["differences"][0][side]["kind"] for side in "ab"] == ["zero", "data"]
    assert found["verdict"] == "allocation" and found["offset"] == CLUSTER


def test_what_people_read(qimg, qemu_img, qemu_io):
    qemu_img("create", "-q", "-f", "qcow2", "base", MIB).ok()
    qemu_img("create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "a", 2 * MIB).ok()
    qemu_io("-f", "qcow2", "-c", "write -q -P 1 0 128k", "base").ok()
    qemu_io("-f", "qcow2", "-c", "write -q -P 2 64k 512", "a").ok()
    result = qimg("compare", "--all", "a", "base")
    assert result.code == 1
    assert result.out == """\
Offset          Length          Differs     First image | second image
0x10000         0x200           content     data in a | data in base
0x100000        0x100000        size        present | past-end
Content mismatch at offset 65536!
"""
    assert qimg("compare", "--all", "-q", "a", "base").out == ""


def test_a_failure_is_part_of_the_json(qimg, qemu_img, qemu_io):
    for name in ("a", "b"):
        qemu_img("create", "-q", "-f", "qcow2", name, MIB).ok()
        qemu_io("-f", "qcow2", "-c", f"write -q -c -P {1 + (name == 'b')} 64k 64k",
                "-c", f"write -q -P {1 + (name == 'b')} 0 512", name).ok()
    path = qemu_img.cwd / "b"
    image = bytearray(path.read_bytes())
    l1 = int.from_bytes(image[40:48], "big")
    l2 = int.from_bytes(image[l1:l1 + 8], "big") & 0x00fffffffffffe00
    packed = int.from_bytes(image[l2 + 8:l2 + 16], "big") & ((1 << 54) - 1)
    image[packed:packed + 16] = b"\xff" * 16
    path.write_bytes(image)
    failed = qimg("compare", "--all", "--output=json", "a", "b")
    assert failed.code == 4
    found = json.loads(failed.out)
    assert found["error"] in failed.err and "verdict" not in found
    assert ranges(found, "content") in ([], [(0, SECTOR)])


def test_p_and_json_do_not_mix(qimg):
    qimg("compare", "-p", "--output=json", "a", "b").failed("--progress=json")
