# SPDX-License-Identifier: Apache-2.0
"""What lies in the tree belongs there: a core dump (86 MB, with its process's environment) and two
traces were once committed together with an honest change."""
from pylib import sources
from pylib.paths import ROOT

AT_THE_TOP = set("""
    .ci .clang-format .clang-tidy .editorconfig .gitignore CMakeLists.txt CMakePresets.json
    CONTRIBUTING.md LICENSE README.md SECURITY.md bench cmake completions docs examples include man
    scripts share src tests tools""".split())
LARGEST = 256 << 10


def test_nothing_unexpected_at_the_top():
    found = {path.relative_to(ROOT).parts[0] for path in sources.files()}
    assert found == AT_THE_TOP


def test_no_large_file():
    assert [path for path in sources.files() if path.stat().st_size > LARGEST] == []
