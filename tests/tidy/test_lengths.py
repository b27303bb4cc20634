# SPDX-License-Identifier: Apache-2.0
"""Budgets: a function fits a screen, a file a sitting, a line a window."""
import re

from pylib import sources
from pylib.paths import ROOT

FUNCTION, FILE, LINE = 70, 600, 100


def all_c():
    return [path for path in sources.files("src/*", "tools/*", "include/*", "tests/*", "bench/*",
                                           "examples/*") if path.suffix in (".c", ".h")]


def test_functions():
    long = [f"{path.relative_to(ROOT)}:{line} {name}: {count}"
            for path in all_c() for name, line, count in sources.functions(path)
            if count > FUNCTION]
    assert not long


def test_files():
    long = [f"{path.relative_to(ROOT)}: {count}" for path in all_c()
            if (count := len(path.read_text().splitlines())) > FILE]
    assert not long


def test_lines():
    texts = all_c() + sources.files("*.py", "*.cmake", "CMakeLists.txt", "scripts/*")
    long = [f"{path.relative_to(ROOT)}:{number}" for path in texts
            for number, line in enumerate(path.read_text().splitlines(), 1) if len(line) > LINE]
    assert not long


def test_titles_of_sections_fit_on_a_line():
    """clang-format breaks those that do not."""
    broken = [path for path in all_c() if re.search(r"^ \* -{20,}$", path.read_text(), re.M)]
    assert not broken


def test_every_source_says_its_licence_and_its_purpose():
    for path in all_c():
        assert "SPDX-License-Identifier: Apache-2.0" in path.read_text()[:120], path
