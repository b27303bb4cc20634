# SPDX-License-Identifier: Apache-2.0
"""What readelf says of a built file, as words that tests can look for."""
import re
import subprocess

from pylib.paths import BUILD


def readelf(path, *options):
    return subprocess.run(["readelf", "--wide", *options, str(path)], capture_output=True,
                          text=True, check=True).stdout


def dynamic(path, tag):
    """The values of a tag of the dynamic section."""
    return re.findall(rf"\({tag}\)\s+(.*)", readelf(path, "--dynamic"))


def needed(path):
    return [re.search(r"\[(.*)\]", value)[1] for value in dynamic(path, "NEEDED")]


def segments(path):
    """[(type, flags)], flags as in "RWE"."""
    lines = readelf(path, "--segments").splitlines()
    found = (re.match(r"  (\w+) +(?:0x\w+ +){5}([RWE ]{3}) ", line) for line in lines)
    return [(m[1], m[2].replace(" ", "")) for m in found if m]


def imports(path):
    """Functions that other libraries provide."""
    symbols = re.findall(r"UND (\w+)", readelf(path, "--dyn-syms"))
    return set(symbols)


def cache_variable(name):
    """What CMake was told or found, or None."""
    found = re.search(rf"^{name}:\w+=(.*)$", (BUILD / "CMakeCache.txt").read_text(), re.M)
    return found and found[1]
