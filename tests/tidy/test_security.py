# SPDX-License-Identifier: Apache-2.0
"""SECURITY.md: fourteen promises, and each test that is said to hold one is there and is run."""
import json
import re
import subprocess

import pytest

from pylib import sources
from pylib.paths import BUILD, ROOT

PROMISES = 14
ROWS = re.findall(r"^\| (\d+) \|(.*)\|$", (ROOT / "SECURITY.md").read_text(), re.M)


def held_by(row):
    return re.findall(r"`([^`]+)`", row.rsplit("|", 1)[1])


NAMES = sorted({name for _, row in ROWS for name in held_by(row)})


@pytest.fixture(scope="module")
def registered():
    """What CTest runs in this build."""
    said = subprocess.run(["ctest", "--test-dir", BUILD, "--show-only=json-v1"],
                          capture_output=True, text=True, check=True).stdout
    return {test["name"] for test in json.loads(said)["tests"]}


@pytest.fixture(scope="module")
def units():
    """suite/name of each unit test, and the folder of tests/unit that it is in."""
    found = {}
    for path in sources.files("tests/unit/**/*.c"):
        for suite, name in re.findall(r"^Test\((\w+), (\w+)", path.read_text(), re.M):
            found[f"{suite}/{name}"] = path.relative_to(ROOT / "tests/unit").parts[0]
    return found


def test_there_are_fourteen_and_each_is_held_by_a_test():
    assert [int(number) for number, _ in ROWS] == list(range(1, PROMISES + 1))
    assert all(held_by(row) for _, row in ROWS)


@pytest.mark.parametrize("name", NAMES)
def test_a_named_test_exists_and_is_run(name, registered, units):
    if "::" in name:
        path, function = name.split("::")
        assert re.search(rf"^def {function}\(", (ROOT / path).read_text(), re.M)
        assert path.split("/")[1] in registered
    elif "/" in name:
        assert f"unit_{units[name]}" in registered
    else:
        assert name in registered
