# SPDX-License-Identifier: Apache-2.0
"""`info` on everything that QEMU can write, in both outputs."""
import json

import pytest

from pylib import images, run

OUTPUTS = ((), ("--output=json",))


def both_outputs(twin, *args):
    for output in OUTPUTS:
        twin.read("info", *output, *args)


@pytest.mark.parametrize("layout", images.LAYOUTS)
def test_info_of_each_layout(twin, layout):
    name = images.make(twin, images.LAYOUTS[layout])
    both_outputs(twin, name)
    both_outputs(twin, "-U", "-f", "qcow2", name)
    both_outputs(twin, "-f", "raw", name)


@pytest.mark.parametrize("size", (0, 512, 1536, 1000, "1G", "1.5G", "2T", "7E"))
def test_info_of_raw_files(twin, size):
    if size == "7E":
        twin.img("create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", "a", "1E")
    else:
        twin.img("create", "-q", "-f", "raw", "a", size)
    both_outputs(twin, "a")


@pytest.mark.parametrize("size", ("999", "1000", "1023k", "1024k", "999999", "1000000000", "10T",
                                  "1P", "1234567890123"))
def test_sizes_are_printed_with_qemus_units(twin, size):
    twin.img("create", "-q", "-f", "qcow2", "a", size)
    both_outputs(twin, "a")


def test_info_of_a_chain(twin):
    top = images.chain(twin, 4)
    both_outputs(twin, top)
    both_outputs(twin, "--backing-chain", top)
    both_outputs(twin, "-U", "--backing-chain", "-f", "qcow2", top)


def test_info_from_another_directory_shows_actual_paths(twin):
    sub = twin.theirs / "sub"
    sub.mkdir()
    twin.img("create", "-q", "-f", "qcow2", "sub/base.qcow2", "1M")
    twin.img("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "sub/top.qcow2")
    twin.img("create", "-q", "-f", "qcow2", "-b", "../sub/../sub/top.qcow2", "-F", "qcow2",
             "sub/top2.qcow2")
    both_outputs(twin, "sub/top.qcow2")
    both_outputs(twin, "./sub/../sub/top.qcow2")
    both_outputs(twin, sub / "top.qcow2")
    both_outputs(twin, "--backing-chain", "sub/top2.qcow2")


def test_info_of_a_broken_chain_prints_nothing_on_stdout(twin):
    top = images.chain(twin, 3)
    (twin.theirs / "c0.raw").unlink()
    both_outputs(twin, top)
    result = twin.read("info", "--backing-chain", top)
    assert (result.code, result.out) == (1, "")


def test_info_of_a_loop(twin):
    twin.img("create", "-q", "-u", "-f", "qcow2", "-b", "b", "-F", "qcow2", "a", "1M")
    twin.img("create", "-q", "-u", "-f", "qcow2", "-b", "a", "-F", "qcow2", "b", "1M")
    both_outputs(twin, "a")
    both_outputs(twin, "--backing-chain", "a")


def test_info_without_a_recorded_format_probes_under_this_name(twin):
    twin.img("create", "-q", "-f", "qcow2", "base.qcow2", "1M")
    twin.img("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2")
    images.forget_format(twin.theirs / "top.qcow2")
    both_outputs(twin, "--backing-chain", "top.qcow2")


def test_info_lists_snapshots(twin):
    name = images.make(twin, "compat=1.1")
    for tag in ("first", "a tag with blanks", "x" * 60, "2"):
        twin.img("snapshot", "-c", tag, name)
    twin.img("create", "-q", "-f", "qcow2", "-o", "compat=0.10", "v2.qcow2", "1M")
    twin.img("snapshot", "-c", "old", "v2.qcow2")
    both_outputs(twin, name)
    both_outputs(twin, "v2.qcow2")


def test_info_lists_bitmaps(twin):
    name = images.make(twin, "compat=1.1")
    twin.img("bitmap", "--add", name, "b0")
    twin.img("bitmap", "--add", "-g", "4k", "--disable", name, "second one")
    twin.img("bitmap", "--add", "-g", "2G", name, "coarse")
    both_outputs(twin, name)


def test_info_shows_bitmaps_that_were_left_in_use(twin):
    name = images.make(twin, "compat=1.1")
    twin.img("bitmap", "--add", name, "b0")
    with run.holding(twin.theirs, "-f", "qcow2", name, first=["write -q 0 64k"]):
        pass
    both_outputs(twin, name)


@pytest.mark.parametrize("encryption,options", (
    ("luks", "encrypt.format=luks,encrypt.iter-time=10"),
    pytest.param("luks-128", "encrypt.format=luks,encrypt.iter-time=10,encrypt.cipher-alg=aes-128,"
                 "encrypt.hash-alg=sha1", marks=pytest.mark.long),
    pytest.param("luks-cbc", "encrypt.format=luks,encrypt.iter-time=10,encrypt.cipher-mode=cbc,"
                 "encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256",
                 marks=pytest.mark.long),
    ("aes", "encrypt.format=aes"),
))
def test_info_describes_encrypted_images(twin, encryption, options):
    twin.img("create", "-q", "-f", "qcow2", "--object", "secret,id=s,data=abc", "-o",
             f"{options},encrypt.key-secret=s", "a", "4M")
    both_outputs(twin, "a")


@pytest.mark.parametrize("byte,value", ((79, 1), (79, 2), (87, 1), (87, 0x80), (95, 0x80)))
def test_info_shows_header_bits(twin, byte, value):
    name = images.make(twin, "compat=1.1", size=1 << 20)
    with open(twin.theirs / name, "r+b") as image:
        image.seek(byte)
        image.write(bytes([value]))
    both_outputs(twin, name)


@pytest.mark.parametrize("top", (
    'json:{"driver":"qcow2","file":{"driver":"file","filename":"a.qcow2"}}',
    'json:{"file.filename":"a.qcow2","driver":"qcow2"}',
    "json:{'driver': 'qcow2', 'file.driver': 'file', 'file.filename': 'a.qcow2'}",
    'json:{"driver":"raw","offset":65536,"size":65536,"file":{"driver":"file",'
    '"filename":"a.qcow2"}}',
    'json:{"driver":"raw","file.filename":"a.qcow2","offset":"512"}',
    "file:a.qcow2",
    "./a.qcow2",
))
def test_names_of_the_opened_image(twin, top):
    images.make(twin, "compat=1.1", size=1 << 20)
    both_outputs(twin, top)


@pytest.mark.parametrize("options", (
    "driver=qcow2,file.filename=a.qcow2",
    "driver=qcow2,file.driver=file,file.filename=a.qcow2",
    "file.filename=a.qcow2",
    "driver=raw,file.filename=a.qcow2,offset=512,size=1024",
    "a.qcow2",
    "driver=nosuch,file.filename=a.qcow2",
    "driver=qcow2,file.filename=nox",
    "driver=qcow2,file.filename=a.qcow2,nosuch=1",
))
def test_image_opts(twin, options):
    images.make(twin, "compat=1.1", size=1 << 20)
    both_outputs(twin, "--image-opts", options)


def test_names_with_control_characters_inside_json(twin):
    name = 'sun\x1b[1m\x7f\n\t"\\.raw'
    twin.img("create", "-q", "-f", "raw", name, "1M")
    mine = run.as_qemu_img(twin.theirs)
    options = json.dumps({"driver": "raw", "size": 512, "file": {"driver": "file",
                                                                 "filename": name}})
    shown = json.loads(mine("info", "--output=json", f"json:{options}").ok().out)["filename"]
    assert not any(ord(c) < 32 or ord(c) == 127 for c in shown)
    assert json.loads(shown[len("json:"):])["file"]["filename"] == name
