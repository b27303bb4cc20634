# SPDX-License-Identifier: Apache-2.0
"""The same source gives the same bytes wherever it is built. Here one object of each folder is
compiled in two places; scripts/reproduce builds and installs everything twice."""
import json
import shlex
import shutil
import subprocess

import pytest

from pylib import elf
from pylib.paths import BUILD, EMULATED, LONG, ROOT, SANITIZED, TOOL

RELEASE = "Rel" in (elf.cache_variable("CMAKE_BUILD_TYPE") or "")
pytestmark = pytest.mark.skipif(SANITIZED or not RELEASE, reason="not a release build")

# One of each folder of code; most assert, so that their names are in them.
FILES = ("src/base/fail.c", "src/io/queue.c", "src/formats/qcow2/meta.c", "src/chain/copy.c",
         "src/fixtures/fixture_plan.c", "tools/opt.c")


def compiled(tree, name):
    """The object that our build's own command makes of a copy of the sources at @tree."""
    commands = json.loads((BUILD / "compile_commands.json").read_text())
    command = next(c["command"] for c in commands if c["file"] == str(ROOT / name))
    moved = command.replace(str(BUILD), str(tree / "b")).replace(str(ROOT), str(tree))
    args = [a for a in shlex.split(moved) if not a.endswith("ccache")]
    args[args.index("-o") + 1] = "out.o"
    (tree / "b").mkdir(exist_ok=True)
    subprocess.run(args, cwd=tree / "b", check=True)
    return (tree / "b/out.o").read_bytes()


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    found = [tmp_path_factory.mktemp(name) for name in ("a", "quite-another-place")]
    for tree in found:
        for folder in ("src", "include", "tools"):
            shutil.copytree(ROOT / folder, tree / folder)
    return found


@pytest.mark.skipif(EMULATED, reason="the other machine's headers lie in the tree")
@pytest.mark.parametrize("name", FILES)
def test_an_object_is_the_same_from_another_folder(trees, name):
    first, second = (compiled(tree, name) for tree in trees)
    assert first == second


@pytest.mark.parametrize("path", (TOOL, BUILD / "libqimg.so", BUILD / "libqimg.a"),
                         ids=lambda path: path.name)
def test_nothing_built_names_its_folder(path):
    assert str(ROOT).encode() not in path.read_bytes()


def test_archives_have_no_times_and_no_owners():
    listing = subprocess.run(["ar", "tv", BUILD / "libqimg.a"], capture_output=True, text=True,
                             check=True, env={"TZ": "UTC", "LC_ALL": "C"}).stdout.splitlines()
    assert len(listing) > 150
    assert not [line for line in listing if " 0/0 " not in line or "Jan  1 00:00 1970" not in line]


def test_sources_do_not_ask_for_the_time_of_the_build():
    for path in (*ROOT.glob("src/**/*.[ch]"), *ROOT.glob("tools/*.[ch]")):
        text = path.read_text()
        assert "__DATE__" not in text and "__TIME__" not in text, path


@pytest.mark.long
def test_two_builds_are_the_same():
    done = subprocess.run([ROOT / "scripts/reproduce"], capture_output=True, text=True)
    assert done.returncode == 0 and LONG, done.stdout + done.stderr
