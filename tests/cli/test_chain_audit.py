# SPDX-License-Identifier: Apache-2.0
"""`qimg chain audit`: a case for every reason, and none of them in images that QEMU makes."""
import json
import os
import random
import struct

import pytest

from pylib import images, run
from pylib.paths import ROOT

CLUSTER = 65536


def patch(path, *changes):
    """Each change: (offset, bytes)."""
    with open(path, "r+b") as image:
        for at, new in changes:
            image.seek(at)
            image.write(new)


def be64(value):
    return struct.pack(">Q", value)


def word(path, at):
    return struct.unpack(">Q", path.read_bytes()[at:at + 8])[0]


def judge(qimg, *args, image="a.qcow2"):
    """(exit code, {reason: sentence}, {note: sentence})"""
    result = qimg("chain", "audit", "--output=json", *args, image)
    assert result.code in (0, 2), result.err
    report = json.loads(result.out)[0]
    assert (report["verdict"] == "accept") == (result.code == 0)
    reasons, notes = ({f["id"]: f["sentence"] for f in report[key]} for key in ("reasons", "notes"))
    assert bool(reasons) == (result.code == 2)
    return result.code, reasons, notes


class Maker:
    """Makes a.qcow2 (or a.raw): 2 MiB of data in the file, then what a case does to it."""

    def __init__(self, scratch, qimg):
        self.path, self.qimg = scratch / "a.qcow2", qimg
        self.img, self.io = run.qemu_img(scratch), run.qemu_io(scratch)

    def qcow2(self, options="compat=1.1", size="8M", data=True):
        self.img("create", "-q", "-f", "qcow2", "-o", options, "a.qcow2", size).ok()
        if data:
            self.io("-c", "write -q -P 3 0 1M", "a.qcow2").ok()
        return self.path

    def l2(self):
        return word(self.path, word(self.path, 40)) & 0x00fffffffffffe00

    def entries(self, **words):
        self.qcow2()
        at = self.l2()
        patch(self.path, *((at + 8 * int(n[1:]), be64(w)) for n, w in words.items()))

    def patched(self, *changes, options="compat=1.1"):
        self.qcow2(options)
        patch(self.path, *changes)

    def overlay(self, *more):
        self.img("create", "-q", "-f", "qcow2", "-u", "-b", "../b.raw", "-F", "raw", "a.qcow2",
                 "8M").ok()
        patch(self.path, *more)

    def data_file(self):
        self.img("create", "-q", "-f", "qcow2", "-o", "data_file=d.raw", "a.qcow2", "8M").ok()

    def snapshot(self, state=False):
        self.qcow2()
        self.img("snapshot", "-c", "s", "a.qcow2").ok()
        if state:
            patch(self.path, (word(self.path, 64) + 40, be64(1 << 20)))

    def bitmap(self):
        self.qcow2()
        self.img("bitmap", "--add", "a.qcow2", "b").ok()

    def raw(self, *changes):
        with open(self.path, "wb") as image:
            image.truncate(1 << 20)
        patch(self.path, *changes)

    def unused_data_file(self):
        self.data_file()
        patch(self.path, (72, be64(0)))

    def nul_in_data_file(self):
        self.data_file()
        at = self.path.read_bytes().index(b"d.raw")
        patch(self.path, (at + 1, b"\0"))

    def bomb(self):
        """A gigabyte of the same packed cluster."""
        self.qcow2("cluster_size=2M", "1G", data=False)
        self.io("-c", "write -q -c -P 0x41 0 2M", "a.qcow2").ok()
        at = self.l2()
        packed = be64(word(self.path, at))
        patch(self.path, *((at + 8 * i, packed) for i in range(1, 512)))

    def appended(self):
        self.qcow2()
        with open(self.path, "ab") as image:
            image.write(b"hello")


# id: (what makes the image, options, a part of the sentence)
CASES = {
    "format-unexpected": (lambda m: m.qcow2(), ["--expect=vmdk"], "said to be vmdk and is qcow2"),
    "format-not-taken": (lambda m: m.raw((0, b"KDMV")), [], "its format is vmdk; taken are: raw,"),
    "format-unexamined": (lambda m: m.raw((0, b"vhdxfile")), ["--formats", "vhdx"], "vhdx"),
    "polyglot": (lambda m: m.patched((32769, b"CD001")), [], "qcow2 and that of iso9660"),
    "raw-has-signature": (lambda m: m.qcow2(), ["--expect", "raw"], "bears the signature of qcow2"),
    "header-corrupt": (lambda m: m.patched((20, b"\0\0\0\x30")), [], "Unsupported cluster size"),
    "extensions-corrupt": (lambda m: m.patched((116, b"\x7f")), [], "extension too large"),
    "snapshots-corrupt": (lambda m: m.patched((60, b"\0\0\0\1"), (64, be64(4 * CLUSTER)),
                                              (4 * CLUSTER + 36, b"\xff" * 4)), [],
                          "extra metadata"),
    "entries-corrupt": (lambda m: m.entries(e5=0x50200), [], "the entry for guest offset 0x50000"),
    "marked-corrupt": (lambda m: m.patched((79, b"\2")), [], "marked corrupt"),
    "backing-file": (lambda m: m.overlay(), [], "names a backing file, '../b.raw'"),
    "backing-elsewhere": (lambda m: m.overlay(), ["--policy=host", "--allow-dir=."], "'../b.raw'"),
    "format-missing": (lambda m: m.overlay((112, b"abcd")), ["--policy=host"], "does not record"),
    "data-file": (lambda m: m.data_file(), [], "keeps its data in a file, 'd.raw'"),
    "data-file-unused": (lambda m: m.unused_data_file(), [], "not marked as having one"),
    "name-bytes": (lambda m: m.nul_in_data_file(), [], "control character 0"),
    "unknown-features": (lambda m: m.patched((72, b"\x80")), [], "0x8000000000000000"),
    "unknown-flags": (lambda m: m.patched((80, b"\x80")), [], "compatible 0x8000000000000000"),
    "unknown-extension": (lambda m: m.patched((112, b"abcd")), [], "type 0x61626364"),
    "extended-l2": (lambda m: m.qcow2("extended_l2=on"), [], "extended L2"),
    "zstd": (lambda m: m.qcow2("compression_type=zstd"), [], "zstd"),
    "encrypted": (lambda m: m.patched((35, b"\1")), [], "method 1"),
    "dirty": (lambda m: m.patched((79, b"\1")), [], "marked dirty"),
    "snapshots": (lambda m: m.snapshot(), [], "1 internal"),
    "vm-state": (lambda m: m.snapshot(state=True), [], "1 of its snapshots"),
    "bitmaps": (lambda m: m.bitmap(), [], "persistent bitmaps"),
    "size-zero": (lambda m: m.qcow2(size="0", data=False), [], "no bytes"),
    "size-limit": (lambda m: m.qcow2(), ["--max-size=4M"], "8388608 bytes; allowed are 4194304"),
    "size-huge": (lambda m: m.patched((24, be64(1 << 62))), [], "more than 2^53"),
    "file-size-limit": (lambda m: m.qcow2(), ["--max-file-size=64k"], "allowed are 65536"),
    "tables-outside": (lambda m: m.patched((56, b"\0\0\0\x40")), [], "passes the end of the file"),
    "tables-overlap": (lambda m: m.entries(e5=1 << 63 | CLUSTER), [],
                       "a data cluster at 0x10000 overlaps the refcount table"),
    "data-outside": (lambda m: m.entries(e5=1 << 63 | 1 << 40), [], "begins past the end"),
    "data-overlap": (lambda m: m.entries(e5=1 << 63 | 6 * CLUSTER), [], "share the host cluster"),
    "cost-tables": (lambda m: m.qcow2(), ["--max-tables=64k"], "tables are longer than the 65536"),
    "cost-read": (lambda m: m.qcow2(), ["--max-read=64k"], "yields 1048576 bytes"),
    "expansion": (lambda m: m.bomb(), [], "yields 1073741824, more than 100 times"),
    "trailing-data": (lambda m: m.appended(), [], "there is data at"),
}
NOTES = ("unknown-flags", "unknown-extension")


@pytest.mark.parametrize("reason", CASES)
def test_each_reason(scratch, qimg, reason):
    make, options, part = CASES[reason]
    make(Maker(scratch, qimg))
    code, reasons, notes = judge(qimg, *options)
    where = notes if reason in NOTES else reasons
    assert part in where[reason], where
    assert code == (0 if reason in NOTES else 2)
    _, reasons, notes = judge(qimg, *options, "--allow", reason)
    assert reason not in reasons and reason not in notes
    assert reason in judge(qimg, *options, "--note", reason)[2]
    assert reason in judge(qimg, *options, "--reject", reason)[1]


def test_places_behind_the_last_offset_hide_no_overlap(scratch, qimg):
    """Sixteen refcount blocks, one upon the other, that end where offsets do."""
    maker = Maker(scratch, qimg)
    maker.entries(e5=1 << 63 | CLUSTER)
    patch(maker.path, *((CLUSTER + 8 * n, be64(2 ** 64 - 512)) for n in range(1, 17)))
    assert "(and 15 more)" in judge(qimg)[1]["tables-overlap"]


def test_every_reason_that_is_listed_has_its_case(qimg):
    listed = {line.split()[0] for line in qimg("chain", "audit", "--list").ok().out.split("\n")[1:]
              if line}
    assert listed == set(CASES)


def test_the_man_page_lists_every_reason(qimg):
    page = (ROOT / "man/qimg-chain-audit.1").read_text()
    assert all(f".It Cm {reason}\n" in page for reason in CASES)


@pytest.mark.parametrize("layout", images.LAYOUTS)
def test_images_of_qemu_are_accepted_on_the_host(twin, layout):
    images.make(twin, images.LAYOUTS[layout])
    options = ["--policy=host", "--max-expansion=0"]
    if "data_file" in images.LAYOUTS[layout]:
        options.append("--allow=data-file")
    result = run.ours(twin.theirs)("chain", "audit", *options, "a.qcow2")
    assert result.code == 0 and "note" not in result.out, result.out


@pytest.mark.parametrize("make", ("snapshots", "converted", "bitmaps", "resized"))
def test_images_with_a_past_are_accepted_on_the_host(twin, make):
    images.make(twin, "compat=1.1")
    if make == "snapshots":
        for n in range(3):
            twin.img("snapshot", "-c", f"s{n}", "a.qcow2")
            twin.io("a.qcow2", f"write -q -P 7 {n}M 300k")
        twin.img("snapshot", "-d", "s1", "a.qcow2")
    elif make == "converted":
        twin.img("convert", "-c", "-O", "qcow2", "a.qcow2", "b.qcow2")
        os.rename(twin.theirs / "b.qcow2", twin.theirs / "a.qcow2")
    elif make == "bitmaps":
        twin.img("bitmap", "--add", "a.qcow2", "b")
        twin.io("a.qcow2", "write -q 0 4M")
    else:
        twin.img("resize", "-q", "a.qcow2", "10G")
    assert not judge(run.ours(twin.theirs), "--policy=host", "--max-expansion=0")[1]


@pytest.mark.parametrize("head", (
    (510, b"\x55\xaa"), (512, b"EFI PART"), (32769, b"CD001"), (1080, b"\x53\xef")))
def test_disks_with_partitions_or_file_systems_are_raw(scratch, qimg, head):
    Maker(scratch, qimg).raw((446, b"\x80"), head)
    assert judge(qimg)[0] == 0
    assert judge(qimg, "--expect", "raw")[0] == 0


def inspector_refuses(head):
    """What OpenStack's inspector holds against a qcow2 header, in our words."""
    backing, features = struct.unpack(">Q", head[8:16])[0], struct.unpack(">Q", head[72:80])[0]
    return backing != 0 or bool(features & 4) or bool(features & ~15)


def test_whatever_openstack_refuses_is_refused(scratch, qimg):
    chance = random.Random(5)
    maker = Maker(scratch, qimg)
    good = maker.qcow2().read_bytes()
    refused = 0
    for number in range(60):
        head = bytearray(good)
        at = chance.choice([8, 15, 72, 76, 79, 79, 79, 20, 4, 7, 24])
        head[at] ^= 1 << chance.randrange(8)
        path = scratch / f"{number}.qcow2"
        path.write_bytes(head)
        result = qimg("chain", "audit", path.name)
        if inspector_refuses(head):
            refused += 1
            assert result.code == 2, f"byte {at}: {head[at]:#x}\n{result.out}"
        path.unlink()
    assert refused > 20


def test_a_file_cut_within_its_header_is_no_raw_disk(scratch, qimg):
    path = Maker(scratch, qimg).qcow2()
    for length in (8, 72, 100, 111):
        cut = path.read_bytes()[:length]
        (scratch / "cut").write_bytes(cut)
        assert "header-corrupt" in judge(qimg, image="cut")[1], length


def test_the_end_comes_soon_whatever_the_tables_say(scratch, qimg):
    """Four million entries of L1, and as many L2 tables of 2 MiB in a sparse file."""
    path = Maker(scratch, qimg).qcow2("cluster_size=2M", "1G", data=False)
    count, base = (32 << 20) // 8, 64 << 20
    os.truncate(path, base + (8 << 40))
    one_table = b"".join(be64(1 << 63 | base) for _ in range(count))
    patch(path, (36, struct.pack(">I", count)), (40, be64(16 << 20)), (16 << 20, one_table))
    result = qimg("chain", "audit", path.name, measure=True)
    assert result.code == 2 and "entries of the L1 table point at one L2 table" in result.out
    tables = b"".join(be64(1 << 63 | base + (2 << 20) * i) for i in range(count))
    patch(path, (16 << 20, tables))
    again = qimg("chain", "audit", path.name, measure=True)
    assert again.code == 2 and "more than 1048576 tables" in again.out
    patch(path, (36, struct.pack(">I", 100)))
    fewer = qimg("chain", "audit", "--max-tables=64M", path.name, measure=True)
    assert fewer.code == 2 and "longer than the 67108864 bytes" in fewer.out
    assert max(r.seconds for r in (result, again, fewer)) < 15
    assert max(r.peak_kib for r in (result, again, fewer)) < 256 << 10


def test_nothing_but_the_image_is_opened(scratch, qimg):
    maker = Maker(scratch, qimg)
    maker.data_file()
    os.remove(scratch / "d.raw")
    os.mkfifo(scratch / "d.raw")
    assert "data-file" in judge(qimg)[1]
    maker.overlay()
    assert "backing-file" in judge(qimg)[1]
    os.mkfifo(scratch / "fifo")
    qimg("chain", "audit", "fifo").failed("neither a regular file nor a block device")


def test_policy_files(scratch, qimg):
    maker = Maker(scratch, qimg)
    maker.snapshot()
    policy = scratch / "p.json"
    policy.write_text(json.dumps({"policy": "upload", "max-size": 4096, "note": ["snapshots"],
                                  "formats": ["qcow2"], "expect": "qcow2", "max-read": "1G"}))
    code, reasons, notes = judge(qimg, "--policy-file", policy.name)
    assert (code, set(reasons), set(notes)) == (2, {"size-limit"}, {"snapshots"})
    assert judge(qimg, "--policy-file", policy.name, "--max-size=0")[0] == 0


@pytest.mark.parametrize("text, why", (
    ("{", "line 1:"), ("[]", "a policy is an object"), ('{"policy": "x"}', "unknown audit policy"),
    ('{"policy": 1}', "'policy' expects"), ('{"allow": ["x"]}', "no audit tells 'x'"),
    ('{"max-size": "many"}', "max-size expects a number"), ('{"max-size": {}}', "'max-size' expec"),
    ('{"colour": "red"}', "an audit policy has no 'colour'"), ('{"allow": [1]}', "list of strings"),
))
def test_bad_policy_files_are_refused(scratch, qimg, text, why):
    (scratch / "p.json").write_text(text)
    qimg("chain", "audit", "--policy-file=p.json", "x").failed("p.json: ", why)


def test_usage(scratch, qimg):
    qimg("chain", "audit").failed("Expecting image file names")
    qimg("chain", "audit", "gone").failed("Could not open 'gone': No such file or directory")
    qimg("chain", "audit", "--policy=x", "a").failed("unknown audit policy 'x'")
    qimg("chain", "audit", "--policy=host", "--policy-file=p", "a").failed("exclude each other")


def test_several_images_have_the_worst_of_their_exit_codes(scratch, qimg):
    maker = Maker(scratch, qimg)
    maker.qcow2()
    assert qimg("chain", "audit", "a.qcow2", "a.qcow2").code == 0
    (scratch / "b").write_bytes(b"KDMV" + bytes(9999))
    result = qimg("chain", "audit", "a.qcow2", "b")
    assert result.code == 2 and "ACCEPT a.qcow2 (qcow2)" in result.out
    assert "REJECT b (vmdk)" in result.out
    assert qimg("chain", "audit", "b", "gone").code == 1
