# SPDX-License-Identifier: Apache-2.0
"""Each public header compiles alone, in the oldest C we promise and in C++."""
import subprocess

import pytest

from pylib import sources
from pylib.paths import ROOT

HEADERS = sorted(path.name for path in sources.files("include/qimg/*.h"))


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("compiler", (("cc", "-std=c99", "-x", "c"), ("c++", "-std=c++11", "-x",
                                                                     "c++")))
def test_compiles_alone(header, compiler):
    done = subprocess.run([*compiler, "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only",
                           f"-I{ROOT}/include", "-"], input=f'#include "qimg/{header}"\n',
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
