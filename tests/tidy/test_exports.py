# SPDX-License-Identifier: Apache-2.0
"""The shared library exports the public interface, and nothing else."""
import re
import subprocess

from pylib import sources
from pylib.paths import BUILD, ROOT


def exported():
    out = subprocess.run(["nm", "-D", "--defined-only", BUILD / "libqimg.so"], capture_output=True,
                         text=True, check=True).stdout
    return {line.split()[-1].split("@")[0] for line in out.splitlines()}


def declared():
    text = "".join(path.read_text() for path in sources.files("include/qimg/*.h"))
    return set(re.findall(r"QIMG_API[^;{]*?\b(qimg_\w+)\(", text))


def test_every_export_begins_with_qimg():
    odd = {name for name in exported()
           if not name.startswith("qimg_") and not name.startswith(("__asan", "__ubsan", "__lsan",
                                                                    "__odr_asan"))}
    assert not odd


def test_exports_are_the_declared_functions():
    exports = {name for name in exported() if name.startswith("qimg_")}
    assert exports == declared()


def test_every_public_function_is_declared_with_words():
    """A comment stands above, or the group's comment does: the header is the reference."""
    for path in sources.files("include/qimg/*.h"):
        assert path.read_text().count("/*") >= 2, path.relative_to(ROOT)
