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


def test_unknown_options_are_quoted_escaped(qimg, as_qemu_img):
    for program in (qimg, as_qemu_img):
        for args in (("map", "--f\x1b[1m"), ("--f\x1b[1m",), ("map", "a", "-U", "--f\x1b[1m=\x07")):
            err = program(*args).failed("unrecognized option '--f\\x1b[1m").err
            assert not set(err) & {"\x1b", "\x07"}
        err = program("map", "-\x1b").failed("invalid option").err
        assert "\x1b" not in err


def test_help_as_a_command_under_our_own_name(qimg, as_qemu_img):
    assert qimg("help").ok().out == qimg("--help").ok().out
    assert qimg("help", "map").ok().out == qimg("map", "--help").ok().out
    qimg("help", "nosuch").failed("Command not found: nosuch")
    as_qemu_img("help").failed("Command not found: help")


def test_how_the_work_is_done_may_be_said_behind_the_command(twin):
    images.make(twin, "compat=1.1", size=1 << 20)
    for option in ("--engine=threads", "--threads=1", "--map-budget=1M", "--compat=qemu"):
        for args in ((option, "map", "a.qcow2"), ("map", option, "a.qcow2"),
                     ("map", "a.qcow2", option)):
            run.ours(twin.theirs)(*args).ok()
        run.as_qemu_img(twin.theirs)("map", option, "a.qcow2").failed("unrecognized option")


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
