# SPDX-License-Identifier: Apache-2.0
"""What the tool cannot do any more by the time it reads an image.

tests/support_bin/sandboxed.c enters the product's own sandbox and does what an intruder would; the
commands themselves are shown to need nothing that they gave up by every other test, since all run
inside."""
import os
import subprocess

import pytest

from pylib import images, run
from pylib.paths import BUILD, EMULATED, SANITIZED

if EMULATED:
    pytest.skip("an emulator has neither filters nor Landlock", allow_module_level=True)

SANDBOXED = BUILD / "tests/sandboxed"
FILE_ACTS = ("write", "make", "remove", "rename", "thread")
CALL_ACTS = ("exec", "exec-memory", "fork", "tcp", "udp", "unix", "ptrace", "signal",
             "signal-by-file", "limit", "type", "attributes", "chmod", "clone3", "ring")


def sandboxed(scratch, plan, act, place=None, name="victim"):
    (scratch / "victim").write_bytes(b"x")
    for made in ("made", "victim.renamed"):
        (scratch / made).unlink(missing_ok=True)
    extra = ("+w", str(place)) if place else ()
    path = scratch / ("made" if act == "make" else name)
    done = subprocess.run([SANDBOXED, plan, *extra, act, path], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def in_force():
    """Landlock's version, or less than 0; and whether there is a filter."""
    said = subprocess.run([SANDBOXED, "rewrites", "state"], capture_output=True, text=True).stdout
    landlock, code = map(int, said.split())
    return landlock, code == 0


needs_landlock = pytest.mark.skipif(in_force()[0] < 3, reason="the kernel has no Landlock, or old")
needs_filter = pytest.mark.skipif(not in_force()[1], reason="no filter of system calls here")


@needs_landlock
@pytest.mark.parametrize("act", FILE_ACTS)
def test_files_elsewhere_are_out_of_reach(scratch, act):
    (scratch / "other").mkdir()
    assert sandboxed(scratch, "off", act) == "done", "the act is possible as such"
    assert sandboxed(scratch, "reads", act, place=scratch / "other") == "EACCES"
    kept = "done" if act in ("write", "thread") else "EACCES"
    assert sandboxed(scratch, "rewrites", act) == kept
    assert sandboxed(scratch, "anything", act) == "done"


@needs_filter
@pytest.mark.parametrize("act", FILE_ACTS)
def test_a_command_that_only_reads_needs_no_landlock_for_that(scratch, act):
    assert sandboxed(scratch, "inspects", act) == "EPERM"
    assert sandboxed(scratch, "inspects", "read") == "done"


@needs_landlock
def test_what_was_said_can_still_be_done(scratch):
    (scratch / "other").mkdir()
    for act in ("write", "make", "remove"):
        assert sandboxed(scratch, "reads", act, place=scratch) == "done"
        assert sandboxed(scratch, "reads", act, place=scratch / "other") == "EACCES"
    assert sandboxed(scratch, "reads", "write", place=scratch / "victim") == "done"


@needs_landlock
@pytest.mark.skipif(SANITIZED, reason="a sanitized build has no filter")
def test_reading_is_bounded_too_where_asked(scratch):
    assert sandboxed(scratch, "reads", "read") == "done"
    assert sandboxed(scratch, "bounded", "read") == "EACCES"
    assert sandboxed(scratch, "bounded", "read", place=scratch) == "done"


@needs_filter
@pytest.mark.parametrize("act", CALL_ACTS)
def test_system_calls_that_no_image_needs_are_gone(scratch, act):
    assert sandboxed(scratch, "off", act) == "done", "the act is possible as such"
    for plan in ("reads", "rewrites", "anything"):
        assert sandboxed(scratch, plan, act) in ("EPERM", "ENOSYS"), plan
    for plan, given in (("ring", ("ring",)),
                        ("programs", ("exec", "fork", "signal-by-file", "limit"))):
        said = sandboxed(scratch, plan, act)
        assert said == "done" if act in given else said in ("EPERM", "ENOSYS"), plan


# --- the tool itself --------------------------------------------------------------------------

def said_of(tool, *args):
    return [line for line in tool("-v", *args).ok().err.splitlines() if ": sandbox: " in line]


@needs_landlock
@needs_filter
def test_verbose_tells_what_is_in_force(twin):
    tool, top = run.ours(twin.theirs), images.chain(twin, 2)
    for args, files, calls in (
            (("info", top), "writes nothing", "filtered"),
            (("map", "--allow-dir=.", top), "reads and writes what was named only", "filtered"),
            (("resize", "-q", top, "+1M"), "writes what was named only", "filtered"),
            (("commit", "-q", top), "no new files", "filtered"),
            (("commit", "-q", "--allow-dir=.", top), "writes what was named only", "filtered"),
            (("convert", "-O", "raw", "-t", "none", top, "x"), "named only", "io_uring is not"),
            (("chain", "fix", top), "nothing (without Landlock", "filtered"),
            (("chain", "fix", "--engine=io_uring", top), "nothing (Landlock", "io_uring is not"),
            (("chain", "graph", "--output=svg", top), "nothing", "programs may be started")):
        first, second = said_of(tool, *args)
        assert files in first and calls in second, args
    assert not said_of(tool, "--sandbox=off", "info", top)
    assert not said_of(tool.environ(QIMG_SANDBOX="off"), "info", top)


@needs_landlock
@needs_filter
def test_what_reads_no_image_is_confined_on_demand(twin):
    tool, top = run.ours(twin.theirs), images.chain(twin, 2)
    fresh = ("create", "-f", "qcow2")
    for args, needed in (((*fresh, "new", "1M"), False),
                         (("measure", "--size", "1M", "-O", "raw"), False),
                         ((*fresh, "-F", "qcow2", "-b", top, "new"), True),
                         ((*fresh, "-o", f"backing_file={top},backing_fmt=qcow2", "new"), True),
                         (("--sandbox=require", *fresh, "new", "1M"), True)):
        said = said_of(tool, *args)
        assert len(said) == 2 if needed else "no image is read" in said[0], args


def test_a_data_file_is_written_wherever_it_lies(twin):
    """The name is the image's; nobody bounded it."""
    here, tool = twin.theirs, run.ours(twin.theirs)
    (here / "far").mkdir()
    twin.img("create", "-q", "-f", "qcow2", "-o", f"data_file={here}/far/d", "a", "1M")
    for options in ((), (f"--allow-dir={here}/far",)):
        tool("resize", *options, "-q", "a", "+1M").ok()
        tool("bench", *options, "-w", "-c", "4", "-d", "1", "-f", "qcow2", "a").ok()
    tool("resize", "--allow-dir=.", "--no-data-file", "-q", "a", "+1M").failed("--no-data-file")


def test_targets_of_all_kinds_are_made(twin):
    here, tool = twin.theirs, run.ours(twin.theirs)
    twin.img("create", "-q", "-f", "qcow2", "a", "1M")
    (here / "sub").mkdir()
    os.symlink("sub/behind", here / "dangling")
    os.symlink("sub/there", here / "link")
    (here / "sub/there").write_bytes(b"")
    for target in ("new", "sub/new", "dangling", "link", here / "whole", "new"):
        tool("convert", "-O", "qcow2", "a", target).ok()
    tool("convert", "-O", "qcow2", "-o", "data_file=d", "a", "sub/with").ok()
    tool("create", "-q", "-f", "qcow2", "-o", f"data_file={here}/sub/e", "n", "1M").ok()
    made = {path.name for path in (here / "sub").iterdir()}
    assert {"behind", "there", "new", "with", "d", "e"} <= made


@pytest.mark.skipif(SANITIZED, reason="a sanitized build has no filter")
@needs_landlock
def test_require_takes_all_or_nothing(twin):
    tool = run.ours(twin.theirs)
    twin.img("create", "-q", "-f", "qcow2", "a", "1M")
    grow = ("resize", "-q", "a", "+1M")
    tool("--sandbox=require", *grow).ok()
    tool(*grow[:-1], "--sandbox=require", "+1M").ok()
    old = tool.under("--no-landlock")
    old("--sandbox=require", *grow).failed("The sandbox cannot be had: Landlock: ")
    old(*grow).ok()
    assert "no Landlock: Function not implemented" in said_of(old, *grow)[0]
    assert "writes nothing" in said_of(old, "--sandbox=require", "info", "a")[0]
    tool("--sandbox=on", "info", "a").failed("expects 'auto', 'require' or 'off', not 'on'")


@needs_filter
def test_who_holds_an_image_is_still_named(twin):
    """Landlock would hide it."""
    twin.img("create", "-q", "-f", "qcow2", "a", "1M")
    tool = run.ours(twin.theirs)
    with run.holding(twin.theirs, "-f", "qcow2", "a") as holder:
        for command in (("info", "a"), ("resize", "a", "+1M"), ("snapshot", "-c", "s", "a")):
            tool(*command).failed(f"process {holder.pid}")


@needs_landlock
def test_a_reader_of_a_raw_image_does_not_weaken_who_writes_it(twin):
    twin.img("create", "-q", "-f", "raw", "a", "1M")
    with run.holding(twin.theirs, "-r", "-f", "raw", "a"):
        assert "(Landlock" in said_of(run.ours(twin.theirs), "resize", "-f", "raw", "a", "+1M")[0]


@needs_filter
def test_dot_runs_inside(twin):
    top = images.chain(twin, 3)
    drawn = run.ours(twin.theirs)("chain", "graph", "--output=svg", ".").ok()
    assert "<svg" in drawn.out and top in drawn.out
