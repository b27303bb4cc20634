# SPDX-License-Identifier: Apache-2.0
"""A release build has what compiler and linker offer against mistakes of ours: read from the files
themselves, because a flag that is passed may still come to nothing."""
import json
import platform
import re

import pytest

from pylib import elf
from pylib.paths import BUILD, EMULATED, SANITIZED, TOOL

RELEASE = "Rel" in (elf.cache_variable("CMAKE_BUILD_TYPE") or "")
pytestmark = pytest.mark.skipif(SANITIZED or not RELEASE, reason="not a release build")

LIBRARY = BUILD / "libqimg.so"
WHERE_THEY_ARE = ("-fstack-clash-protection", "-fcf-protection=full",
                  "-mbranch-protection=standard")
BOTH = pytest.mark.parametrize("path", (TOOL, LIBRARY), ids=("tool", "library"))
INTEL = pytest.mark.skipif(platform.machine() != "x86_64" or EMULATED, reason="Intel's")


def test_the_tool_may_be_loaded_anywhere():
    assert re.search(r"Type:\s+DYN", elf.readelf(TOOL, "--file-header"))
    assert "PIE" in elf.dynamic(TOOL, "FLAGS_1")[0]


@BOTH
def test_relocated_tables_are_read_only_before_the_first_call(path):
    assert "GNU_RELRO" in dict(elf.segments(path))
    assert "NOW" in elf.dynamic(path, "FLAGS_1")[0].split()
    assert not elf.dynamic(path, "TEXTREL")


@BOTH
def test_no_memory_is_writable_and_executable(path):
    segments = elf.segments(path)
    assert dict(segments)["GNU_STACK"] == "RW"
    loads = [flags for kind, flags in segments if kind == "LOAD"]
    assert "RE" in loads and not [flags for flags in loads if {"W", "E"} <= set(flags)]


@BOTH
def test_libraries_are_looked_for_where_the_system_has_them(path):
    assert not elf.dynamic(path, "RPATH") and not elf.dynamic(path, "RUNPATH")


@BOTH
def test_stacks_and_buffers_are_guarded(path):
    imports = elf.imports(path)
    assert "__stack_chk_fail" in imports
    assert {"__memcpy_chk", "__snprintf_chk"} <= imports


def test_each_of_our_files_was_compiled_so():
    commands = json.loads((BUILD / "compile_commands.json").read_text())
    ours = [c["command"] for c in commands if re.search(r"/(src|tools)/", c["file"])]
    assert len(ours) > 200
    wanted = ["-D_FORTIFY_SOURCE=3", "-fstack-protector-strong", "-O2", "-fPI"]
    for flag in WHERE_THEY_ARE:
        if elf.cache_variable("QIMG_HAVE" + re.sub(r"\W", "_", flag)):
            wanted.append(flag)
    assert len(wanted) > 4 or EMULATED
    for command in ours:
        assert not [flag for flag in wanted if flag not in command], command


@INTEL
def test_every_object_marks_its_targets_of_jumps_and_keeps_a_shadow_stack():
    """The whole program would be marked only if libc's and OpenSSL's objects were: Debian 12's are
    not, so what is ours is looked at."""
    notes = elf.readelf(BUILD / "libqimg.a", "--notes").split("File: ")[1:]
    assert len(notes) > 150
    for note in notes:
        assert "IBT, SHSTK" in note, note.splitlines()[0]
