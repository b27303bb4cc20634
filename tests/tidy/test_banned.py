# SPDX-License-Identifier: Apache-2.0
"""Functions and words that no source has."""
import re

import pytest

from pylib import sources
from pylib.paths import ROOT

BANNED = {  # function: why
    "strcpy": "no bound", "strcat": "no bound", "sprintf": "no bound", "vsprintf": "no bound",
    "gets": "no bound", "strtok": "hidden state", "atoi": "no errors", "atol": "no errors",
    "alloca": "unbounded stack", "system": "no shell", "popen": "no shell", "execv": "no programs",
    "execvp": "no programs", "execl": "no programs", "execlp": "no programs",
    "execve": "no programs", "fork": "no programs", "posix_spawn": "no programs",
    "posix_spawnp": "no programs", "realpath": "names are joined as text", "tmpnam": "a race",
    "mktemp": "a race", "rand": "not repeatable",
}
# File and function: why there all the same.
ALLOWED = {("src/chain/gate.c", "realpath"): "--allow-dir compares where a path really ends",
           ("src/chain/real_path.c", "realpath"): "explains names, never finds a file",
           ("tools/graph_svg.c", "posix_spawnp"): "Graphviz's dot, and nothing else"}
WORDS = ("TO" + "DO", "FIX" + "ME", "XX" + "X")


@pytest.mark.parametrize("function", BANNED)
def test_function_is_not_called(function):
    call = re.compile(rf"(?<![\w.>]){function}\s*\(")
    found = [f"{path.relative_to(ROOT)}:{number}"
             for path in sources.files("src/*", "tools/*", "include/*")
             if path.suffix in (".c", ".h")
             and (str(path.relative_to(ROOT)), function) not in ALLOWED
             for number, line in enumerate(sources.code(path).split("\n"), 1) if call.search(line)]
    assert not found, BANNED[function]


def test_the_one_program_that_is_run_is_dot():
    text = sources.code(ROOT / "tools/graph_svg.c")
    assert text.count("posix_spawnp(") == 1 and 'program[] = "dot"' in (
        ROOT / "tools/graph_svg.c").read_text()


def test_no_word_that_means_later():
    found = []
    for path in sources.files("src/*", "tools/*", "include/*", "tests/*", "cmake/*", "scripts/*",
                              "docs/*", "*.md", "CMakeLists.txt", "examples/*", "bench/*"):
        if path.suffix in (".json", ".bin") or "golden" in path.parts:
            continue
        text = path.read_text(errors="replace")
        found += [f"{path.relative_to(ROOT)}: {word}" for word in WORDS
                  if re.search(rf"\b{word}\b", text)]
    assert not found


def test_no_assert_on_ndebug():
    flags = (ROOT / "cmake/flags.cmake").read_text()
    assert 'string(REPLACE "-DNDEBUG" ""' in flags


def test_the_library_never_prints_and_never_exits():
    talk = re.compile(r"(?<![\w.>])(printf|puts|putchar|perror|exit|_exit|abort)\s*\("
                      r"|\b(stdout|stderr)\b")
    found = [f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
             for path in sources.files("src/*.c", "src/*.h")
             for number, line in enumerate(sources.code(path).split("\n"), 1) if talk.search(line)]
    assert not found
