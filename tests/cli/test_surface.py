# SPDX-License-Identifier: Apache-2.0
"""Help, version, names: what scripts look at first."""
import json
import shutil

import pytest

from pylib import images, run

COMMANDS = ("bitmap", "compare", "convert", "create", "info", "map", "rebase")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(qimg, as_qemu_img, command):
    for program, name in ((qimg, "qimg"), (as_qemu_img, "qemu-img")):
        for spelling in ("--help", "-h"):
            result = program(command, spelling).ok()
            assert result.out.startswith("Usage:") and f"{name} {command}" in result.out
            assert not result.err


def test_global_help(qimg, as_qemu_img):
    for program in (qimg, as_qemu_img):
        out = program("--help").ok().out
        assert all(f"  {command} - " in out for command in COMMANDS)
        assert "Supported image formats:" in out


def test_version_has_a_number_as_third_word(qimg, as_qemu_img):
    assert as_qemu_img("--version").ok().out.split()[2].split(".")[0] == "10"
    assert qimg("--version").ok().out.split()[0] == "qimg"


def test_a_copy_under_another_name_behaves_by_its_name(scratch, qimg):
    for name in ("qemu-img", "qemu-io"):
        shutil.copy(qimg.path, scratch / name)
    images_made = run.Program(scratch / "qemu-img", "qemu-img", cwd=scratch)
    images_made("create", "-q", "-f", "raw", "a", "1M").ok()
    io = run.Program(scratch / "qemu-io", "qemu-io", cwd=scratch)
    assert "1 MiB" in io("-r", "-f", "raw", "-c", "length", "a").ok().out


def test_info_of_a_deep_chain_is_valid_json(twin, qimg):
    top = images.chain(twin, 30)
    nodes = json.loads(run.ours(twin.theirs)("info", "--backing-chain", "--output=json", top)
                       .ok().out)
    assert [node["filename"] for node in nodes] == \
        [f"c{n}.qcow2" for n in range(29, 0, -1)] + ["c0.raw"]


@pytest.mark.parametrize("alias", (("--format=qcow2",), ("--format", "qcow2"), ("-fqcow2",)))
def test_long_spellings(twin, alias):
    images.make(twin, "compat=1.1", size=1 << 20)
    run.as_qemu_img(twin.theirs)("info", *alias, "a.qcow2").ok()


def test_options_after_operands(twin):
    images.make(twin, "compat=1.1", size=1 << 20)
    run.as_qemu_img(twin.theirs)("info", "a.qcow2", "--output=json").ok()


def test_names_that_look_like_options_or_protocols(twin):
    here = run.ours(twin.theirs)
    here("create", "-q", "-f", "raw", "./a:b", "1M").ok()
    here("info", "./a:b").ok()
    here("info", "a:b").failed("Unknown protocol 'a'")
    here("create", "-q", "-f", "raw", "--", "-x", "1M").ok()
    here("info", "--", "-x").ok()
