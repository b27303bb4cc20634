# SPDX-License-Identifier: Apache-2.0
"""`bitmap`: the same bitmaps, bit by bit, as qemu-img makes and qemu-io fills."""
import random
import re
import struct

import pytest

from pylib import run


def bitmaps(path):
    """What the file says: {name: (flags, granularity bits, "0110...")}, decoded here."""
    data = path.read_bytes()
    cluster = 1 << struct.unpack_from(">I", data, 20)[0]
    size = struct.unpack_from(">Q", data, 24)[0]
    if not struct.unpack_from(">Q", data, 88)[0] & 1:
        return {}
    at = struct.unpack_from(">I", data, 100)[0]
    while struct.unpack_from(">I", data, at)[0] != 0x23852875:
        assert struct.unpack_from(">I", data, at)[0], "no bitmaps extension"
        at += 8 + (struct.unpack_from(">I", data, at + 4)[0] + 7) // 8 * 8
    count, _, length, directory = struct.unpack_from(">IIQQ", data, at + 8)
    found, at = {}, directory
    for _ in range(count):
        table, words, flags, _, granularity, name_len, extra = struct.unpack_from(">QIIBBHI", data,
                                                                                  at)
        name = data[at + 24 + extra:at + 24 + extra + name_len].decode()
        packed = b"".join(piece(data, struct.unpack_from(">Q", data, table + 8 * i)[0], cluster)
                          for i in range(words))
        bits = -(-size >> granularity)
        number = int.from_bytes(packed, "little") & ((1 << bits) - 1)
        found[name] = (flags, granularity, format(number, f"0{bits}b")[::-1])
        at += (24 + extra + name_len + 7) // 8 * 8
    assert at == directory + length
    return found


def piece(data, word, cluster):
    offset = word & 0x00fffffffffffe00
    return data[offset:offset + cluster].ljust(cluster, b"\0") if offset else \
        (b"\xff" if word & 1 else b"\0") * cluster


def masked(result):
    """QEMU calls the image by a node's name that changes from run to run."""
    return (result.code, result.out,
            re.sub(r"(persistent in |bitmaps to )'?[^:']*'?:", r"\1NODE:", result.err))


def same(twin, name="a.qcow2"):
    mine, theirs = bitmaps(twin.ours / name), bitmaps(twin.theirs / name)
    assert mine.keys() == theirs.keys()
    for key, bitmap in theirs.items():
        assert mine[key][:2] == bitmap[:2], key
        if not bitmap[0] & 1:
            assert mine[key][2] == bitmap[2], key
    assert run.qemu_img(twin.ours)("check", "-q", name).code == 0
    shown = [run.qemu_img(d)("info", "-U", name).out.partition("bitmaps:")[2]
             for d in (twin.ours, twin.theirs)]
    assert shown[0] == shown[1]


@pytest.fixture
def image(twin):
    twin.img("create", "-q", "-f", "qcow2", "a.qcow2", "2M")
    twin.img("bitmap", "--add", "a.qcow2", "b0")
    twin.img("bitmap", "--add", "--disable", "-g", "4k", "a.qcow2", "off")
    twin.io("a.qcow2", "write -q -P 3 100k 200k", options=("-f", "qcow2"))
    return twin.fork()


DONE = (
    ("--add", "a.qcow2", "new"), ("--add", "-g", "512", "a.qcow2", "new"),
    ("--add", "-g", "1M", "--disable", "a.qcow2", "new"), ("--remove", "a.qcow2", "b0"),
    ("--clear", "a.qcow2", "b0"), ("--disable", "a.qcow2", "b0"), ("--enable", "a.qcow2", "off"),
    ("--merge", "b0", "a.qcow2", "off"), ("--merge", "b0", "a.qcow2", "b0"),
    ("--add", "-g", "2k", "--merge", "b0", "--merge", "off", "a.qcow2", "sum"),
    ("--remove", "--add", "a.qcow2", "b0"), ("--add", "-g", "2G", "a.qcow2", "one"),
    ("--add", "a.qcow2", "n" * 1023), ("--add", "a.qcow2", "häß lich"),
    ("--add", "--image-opts", "driver=qcow2,file.filename=a.qcow2", "new"),
    ("--add", "-f", "qcow2", "a.qcow2", "new"),
    ("--merge", "b0", "-b", "a2.qcow2", "-F", "qcow2", "a.qcow2", "off"),
)


@pytest.mark.parametrize("args", DONE, ids=lambda args: " ".join(args)[:60])
def test_what_is_asked_for(image, args):
    if "a2.qcow2" in args:
        for directory in (image.ours, image.theirs):
            (directory / "a2.qcow2").write_bytes((directory / "a.qcow2").read_bytes())
    image.write("bitmap", *args).ok()
    same(image)


REFUSED = (
    ("--add", "a.qcow2", "b0"), ("--remove", "a.qcow2", "nox"), ("--clear", "a.qcow2", "nox"),
    ("--enable", "a.qcow2", "nox"), ("--disable", "a.qcow2", "nox"),
    ("--merge", "nox", "a.qcow2", "b0"), ("--merge", "b0", "a.qcow2", "nox"),
    ("--add", "a.qcow2", ""), ("--add", "-g", "1000", "a.qcow2", "x"),
    ("--add", "-g", "256", "a.qcow2", "x"), ("--add", "-g", "4G", "a.qcow2", "x"),
    ("a.qcow2", "b0"), ("-g", "4k", "a.qcow2", "b0"), ("--remove", "-g", "4k", "a.qcow2", "b0"),
    ("--merge", "b0", "-F", "qcow2", "a.qcow2", "b0"), ("--add", "-b", "x", "a.qcow2", "n"),
    ("--merge", "b0", "-b", "nox.qcow2", "a.qcow2", "b0"), ("--add", "nox.qcow2", "y"),
    ("--merge", "b0", "-b", "a.qcow2", "a.qcow2", "b0"),
    ("--merge", "b0", "-b", "other.qcow2", "-F", "qcow2", "a.qcow2", "b0"),
    ("--merge", "b0", "-b", "other.qcow2", "-F", "raw", "a.qcow2", "b0"),
    ("--add", "a.qcow2"), ("--add", "a.qcow2", "x", "y"), ("--add", "a.qcow2", "n" * 1024),
    ("--add", "-f", "raw", "a.qcow2", "x"), ("--clear", "-f", "raw", "a.qcow2", "x"),
    ("--add", "v2.qcow2", "x"), ("--add", "-g", "512", "large.qcow2", "x"),
)


@pytest.mark.parametrize("args", REFUSED, ids=lambda args: " ".join(args)[:60])
def test_refused_with_qemus_words_and_untouched(image, args):
    image.img("create", "-q", "-f", "qcow2", "other.qcow2", "1M")
    image.img("bitmap", "--add", "other.qcow2", "b0")
    image.img("create", "-q", "-f", "qcow2", "-o", "compat=0.10", "v2.qcow2", "1M")
    image.img("create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", "large.qcow2", "8T")
    image.fork()
    before = (image.ours / "a.qcow2").read_bytes()
    mine = run.as_qemu_img(image.ours)("bitmap", *args)
    theirs = run.qemu_img(image.theirs)("bitmap", *args)
    if args != ("--add", "a.qcow2"):  # 10.2 shows its usage in another way
        code, out, err = masked(mine)
        old = masked(theirs)
        assert (code, out) == old[:2]
        assert re.sub(r"Try '.*\n", "", err) == re.sub(r"Try '.*\n", "", old[2])
    assert mine.code == 1
    assert (image.ours / "a.qcow2").read_bytes() == before


@pytest.mark.parametrize("verb", ("--clear", "--enable", "--disable", "--merge b0", "--add",
                                  "--remove"))
def test_what_a_killed_writer_left_is_good_for_removal_only(twin, verb):
    twin.img("create", "-q", "-f", "qcow2", "a.qcow2", "1M")
    twin.img("bitmap", "--add", "a.qcow2", "b0")
    with run.holding(twin.theirs, "-f", "qcow2", "a.qcow2", first=("write 0 64k",)):
        pass
    twin.fork()
    twin.write("bitmap", *verb.split(), "a.qcow2", "b0")
    same(twin)


def test_a_bitmap_of_our_killed_writer_is_in_use_for_qemu(image):
    process = run.as_qemu_io(image.ours).start("-f", "qcow2", "a.qcow2")
    process.stdin.write("write 0 64k\nflush\nlength\n")
    process.stdin.flush()
    while "MiB" not in (line := process.stdout.readline()) or "wrote" in line:
        assert line, "qemu-io is gone"
    process.kill()
    process.communicate()
    flags = {name: flags for name, (flags, _, _) in bitmaps(image.ours / "a.qcow2").items()}
    assert flags == {"b0": 3, "off": 0}
    run.qemu_img(image.ours)("bitmap", "--clear", "a.qcow2", "b0").failed("is inconsistent")
    run.qemu_img(image.ours)("bitmap", "--remove", "a.qcow2", "b0").ok()


def test_commands_that_change_no_guest_data_leave_bitmaps_valid(image):
    before = bitmaps(image.ours / "a.qcow2")
    run.ours(image.ours)("rebase", "-u", "-b", "gone", "-F", "raw", "a.qcow2").ok()
    run.ours(image.ours)("rebase", "-u", "-b", "", "a.qcow2").ok()
    assert bitmaps(image.ours / "a.qcow2") == before
    assert run.qemu_img(image.ours)("check", "-q", "a.qcow2").code == 0


# --- writes of the guest ----------------------------------------------------------------------

KINDS = ("write -q -P 7", "write -q -z", "write -q -z -u", "discard -q")


def some_commands(rnd, size, cluster):
    commands = []
    for _ in range(rnd.randint(0, 6)):
        kind, off = rnd.choice(KINDS), rnd.randrange(size // 512) * 512
        length = rnd.choice((512, 1024, 4096, 100 * 512, cluster, 300032))
        if kind == KINDS[3]:  # what a discard leaves alone, QEMU marks and we do not
            off, length = off // cluster * cluster, max(cluster, length // cluster * cluster)
        commands.append(f"{kind} {off} {min(length, size - off)}")
    return commands


@pytest.mark.parametrize("seed", range(12))
def test_guest_writes_set_the_same_bits_under_both(twin, seed):
    """Also where the two take turns on one image."""
    rnd = random.Random(seed)
    cluster, size = rnd.choice((512, 4096, 65536, 2 << 20)), rnd.choice((1 << 20, 1050112, 5 << 20))
    options = f"cluster_size={cluster}" + (",extended_l2=on" if cluster == 65536 else "")
    twin.img("create", "-q", "-f", "qcow2", "-o", options, "a.qcow2", size)
    for number, granularity in enumerate((512, 65536, rnd.choice((4096, 1 << 20)))):
        off = ("--disable",) if number == 2 and rnd.random() < .5 else ()
        twin.img("bitmap", "--add", "-g", granularity, *off, "a.qcow2", f"b{number}")
    twin.fork()
    for _ in range(3):
        commands = some_commands(rnd, size, cluster)
        args = [part for command in commands for part in ("-c", command)]
        if commands:
            assert not run.as_qemu_io(twin.ours)("-f", "qcow2", *args, "a.qcow2").ok().out
            assert not run.qemu_io(twin.theirs)("-f", "qcow2", *args, "a.qcow2").ok().out
        twin.write("bitmap", *rnd.choice((("--clear",), ("--enable",), ("--disable",),
                                          ("--merge", "b1"))), "a.qcow2", "b0").ok()
        same(twin)
        if rnd.random() < .5:
            twin.ours, twin.theirs = twin.theirs, twin.ours
    twin.same_guest("a.qcow2")


def test_bitmaps_that_went_stale_are_warned_of_once(twin):
    """However often a job opens the file."""
    twin.img("create", "-q", "-f", "qcow2", "a.qcow2", "1M")
    twin.img("bitmap", "--add", "a.qcow2", "b0")
    with open(twin.theirs / "a.qcow2", "r+b") as file:
        file.seek(88)
        file.write(bytes(8))  # autoclear: somebody has written who knows no bitmaps
    twin.img("create", "-q", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "o.qcow2")
    twin.io("o.qcow2", "write -q 0 64k", options=("-f", "qcow2"))
    twin.fork()
    for tool in (run.as_qemu_img(twin.ours), run.qemu_img(twin.theirs)):
        assert tool("commit", "o.qcow2").ok().err.count("lacking bitmap support") == 1
