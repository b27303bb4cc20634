# SPDX-License-Identifier: Apache-2.0
"""Which command opens which file on an image's word, under each policy: the table of
docs/ARCHITECTURE.md, held against what the kernel saw being opened.

The traps: top -> mid -> base.raw, and above -> holder, which has the data file data; named says
json: of base.raw; blank and leaf do not record the formats of mid and end."""
import shlex
import shutil

import pytest

from pylib import images, run
from pylib.opens import watched

BASE = 'json:{"driver":"raw","file":{"driver":"file","filename":"base.raw"}}'

# How far a command goes.
NONE, OWN, HEADERS, NEXT, ALL, LOOKS = "none", "own", "headers", "next", "all", "looks"

COMMANDS = {
    "measure --size 1M -O raw": NONE,
    "create -q -u -f qcow2 -b ../{} -F qcow2 sub/new 1M": NONE,
    "info {}": OWN,
    "check {}": OWN,
    "snapshot -l {}": OWN,
    "snapshot -c s {}": OWN,
    "bitmap --add {} b": OWN,
    "amend -o lazy_refcounts=on {}": OWN,
    "rebase -u -F raw -b base.raw {}": OWN,
    "create -q -f qcow2 -b ../{} -F qcow2 sub/new": OWN,  # the next image alone
    "chain audit {}": OWN,
    "chain graph {}": OWN,
    "info --backing-chain {}": HEADERS,
    "chain seal {}": NEXT,
    "resize -q {} +1M": NEXT,
    "amend -o size=2M {}": NEXT,
    "map {}": ALL,
    "measure -O raw {}": ALL,
    "compare {} {}": ALL,
    "convert -O raw {} sub/out": ALL,
    "dd if={} of=sub/out": ALL,
    "bench -c 1 -d 1 {}": ALL,
    "io -r -c 'read 0 512' {}": ALL,
    "rebase -b '' {}": ALL,
    "commit -q {}": ALL,
    "stream -q {}": ALL,
    "chain verify {}": LOOKS,
    "chain show {}": LOOKS,
    "chain fix {}": LOOKS,
}

# Under QEMU's policy these go as far as qemu-img does.
AS_QEMU = {"check {}": ALL, "amend -o lazy_refcounts=on {}": ALL,
           "create -q -f qcow2 -b ../{} -F qcow2 sub/new": ALL, "resize -q {} +1M": ALL,
           "amend -o size=2M {}": ALL}

# (option, image): what is opened by reference, for each reach; "!" where the command fails. LOOKS,
# the verbs that examine a chain, say what is wrong instead of failing.
STOPPED = "!"
TABLE = {
    ("", "top"): {HEADERS: "mid base.raw", NEXT: "mid", ALL: "mid base.raw", LOOKS: "mid base.raw"},
    ("", "above"): {HEADERS: "holder", NEXT: "holder data", ALL: "holder data",
                    LOOKS: "holder data"},
    ("", "named"): {HEADERS: "base.raw", NEXT: "base.raw", ALL: "base.raw", LOOKS: "base.raw"},
    # Its signature is looked at, to say what it seems to be.
    ("", "blank"): {HEADERS: STOPPED, NEXT: STOPPED, ALL: STOPPED, LOOKS: "mid"},
    ("--compat=qemu", "top"): {HEADERS: "mid base.raw", NEXT: "mid", ALL: "mid base.raw",
                               LOOKS: "mid base.raw"},
    ("--compat=qemu", "above"): {HEADERS: "holder", NEXT: "holder data", ALL: "holder data",
                                 LOOKS: "holder data"},
    ("--compat=qemu", "blank"): {HEADERS: "mid base.raw", NEXT: "mid", ALL: "mid base.raw",
                                 LOOKS: "mid base.raw"},
    ("--allow-probe", "leaf"): {HEADERS: "end", NEXT: "end", ALL: "end", LOOKS: "end"},
    ("--allow-probe", "blank"): {HEADERS: "mid !", NEXT: "mid !", ALL: "mid !", LOOKS: "mid"},
    ("--no-backing", "top"): {HEADERS: STOPPED, NEXT: STOPPED, ALL: STOPPED, LOOKS: ""},
    ("--no-data-file", "above"): {HEADERS: "holder", NEXT: "holder !", ALL: "holder !",
                                  LOOKS: "holder"},
    ("--allow-format=qcow2", "top"): {HEADERS: "mid !", NEXT: "mid", ALL: "mid !", LOOKS: "mid"},
    ("--allow-format=qcow2", "above"): {HEADERS: "holder", NEXT: "holder !", ALL: "holder !",
                                        LOOKS: "holder"},
    ("--max-depth=2", "top"): {HEADERS: "mid !", NEXT: "mid", ALL: "mid !", LOOKS: "mid"},
    ("--allow-dir=sub", "top"): {HEADERS: STOPPED, NEXT: STOPPED, ALL: STOPPED, LOOKS: ""},
    ("--allow-dir=sub", "above"): {HEADERS: STOPPED, NEXT: STOPPED, ALL: STOPPED, LOOKS: ""},
    ("--allow-dir=sub", "named"): {HEADERS: STOPPED, NEXT: STOPPED, ALL: STOPPED, LOOKS: ""},
}


@pytest.fixture(scope="module")
def traps(tmp_path_factory):
    here = tmp_path_factory.mktemp("traps")
    create = ("create", "-q", "-u", "-f", "qcow2")
    tool = run.qemu_img(here)
    tool("create", "-q", "-f", "raw", "base.raw", "1M").ok()
    tool("create", "-q", "-f", "qcow2", "end", "1M").ok()
    tool("create", "-q", "-f", "qcow2", "-o", "data_file=data", "holder", "1M").ok()
    for name, backing, fmt in (("mid", "base.raw", "raw"), ("top", "mid", "qcow2"),
                               ("above", "holder", "qcow2"), ("blank", "mid", "qcow2"),
                               ("leaf", "end", "qcow2"), ("named", BASE, "raw")):
        tool(*create, "-b", backing, "-F", fmt, name, "1M").ok()
    for name in ("blank", "leaf"):
        images.forget_format(here / name)
    (here / "sub").mkdir()
    yield here
    shutil.rmtree(here)


@pytest.mark.parametrize("case", TABLE, ids=lambda case: f"{case[0] or 'strict'} {case[1]}")
def test_what_is_opened(traps, tmp_path, case):
    option, image = case
    here = tmp_path / "here"
    for command, reach in COMMANDS.items():
        if option == "--compat=qemu":
            reach = AS_QEMU.get(command, reach)
        shutil.rmtree(here, ignore_errors=True)
        shutil.copytree(traps, here)
        words = shlex.split(command.format(image, image))
        with watched(here) as opened:
            result = run.ours(here)(*([option] if option else []), *words)
        expected = TABLE[case].get(reach, "").split()
        own = set() if reach == NONE else {image}
        assert opened - {"sub"} == own | set(expected) - {STOPPED}, f"{result}{result.err}"
        if reach != LOOKS and not command.startswith("chain audit"):
            assert (result.code == 0) == (STOPPED not in expected), f"{result}{result.err}"
    shutil.rmtree(here)


@pytest.mark.parametrize("command", ("resize -q top 1M", "amend -o size=1M top"))
def test_a_disk_that_grows_into_its_backing_file_shows_nothing_more_of_it(tmp_path, command):
    """The last cluster is written anew, from what lies deeper than the next image alone."""
    (tmp_path / "base.raw").write_bytes(b"\x5a" * (3 << 20))
    create = run.qemu_img(tmp_path)
    create("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "mid").ok()
    create("create", "-q", "-f", "qcow2", "-b", "mid", "-F", "qcow2", "top", "98816").ok()
    with watched(tmp_path) as opened:
        run.ours(tmp_path)(*command.split()).ok()
    assert opened == {"top", "mid", "base.raw"}
    run.qemu_img(tmp_path)("convert", "-O", "raw", "top", "out").ok()
    assert (tmp_path / "out").read_bytes() == b"\x5a" * 98816 + bytes((1 << 20) - 98816)


@pytest.mark.parametrize("command", ("resize -q top 2M", "amend -o size=2M top"))
def test_a_disk_grows_though_an_image_far_below_it_is_missing(traps, tmp_path, command):
    """Where qemu-img, which opens them all, fails."""
    here = tmp_path / "here"
    shutil.copytree(traps, here)
    (here / "base.raw").unlink()
    run.ours(here)(*command.split()).ok()
    (here / "mid").unlink()
    refused = run.ours(here)(*command.replace("2M", "3M").split())
    assert refused.code == 1
    assert "Could not open backing file: Could not open 'mid': No such file" in refused.err
