# SPDX-License-Identifier: Apache-2.0
"""`chain graph`: who depends on whom in whole directories."""
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from pylib import headers, run
from pylib.paths import LONG


@pytest.fixture
def tree(scratch):
    """base.raw <- mid.qcow2 <- top.qcow2 and other/far.qcow2; alone.qcow2; data.qcow2 with a data
    file; a broken one, and a text."""
    root = scratch / "tree"
    (root / "other").mkdir(parents=True)
    (root / "base.raw").write_bytes(bytes(1 << 20))
    headers.write(root / "mid.qcow2", b"base.raw", b"raw")
    headers.write(root / "top.qcow2", b"mid.qcow2")
    headers.write(root / "other/far.qcow2", b"../mid.qcow2")
    headers.write(root / "alone.qcow2")
    headers.write(root / "lost.qcow2", b"gone/base.qcow2")
    (root / "notes.txt").write_text("no image")
    return root


def graph(qimg, *args):
    result = qimg("chain", "graph", "--output=json", *args)
    shown = json.loads(result.out)
    return {image["path"]: image for image in shown["images"]}, shown["summary"], result.code


def test_bases_orphans_and_broken_links_are_told_apart(qimg, tree):
    images, summary, code = graph(qimg, tree)
    assert code == 2
    assert summary == {"files": 7, "images": 6, "bases": 2, "tops": 3, "orphans": 1, "broken": 1,
                       "remote": 0, "unreadable": 0}
    assert {name for name, image in images.items() if image.get("orphan")} == {
        f"{tree}/alone.qcow2"}
    assert images[f"{tree}/base.raw"]["dependants"] == 1
    assert images[f"{tree}/mid.qcow2"]["dependants"] == 2
    assert images[f"{tree}/mid.qcow2"]["backing"] == {
        "name": "base.raw", "path": f"{tree}/base.raw", "state": "found"}
    assert images[f"{tree}/gone/base.qcow2"]["state"] == "missing"
    assert images[f"{tree}/top.qcow2"]["backing-format"] == "qcow2"


def test_text_has_overlays_below_their_base(qimg, tree):
    result = qimg("chain", "graph", tree)
    assert result.code == 2
    lines = [line.replace(str(tree), "") for line in result.out.splitlines()]
    assert lines == [
        "/base.raw  raw  1 MiB",
        "└─ /mid.qcow2  qcow2  1 MiB",
        "   ├─ /other/far.qcow2  qcow2  1 MiB",
        "   └─ /top.qcow2  qcow2  1 MiB",
        "/gone/base.qcow2  [missing]",
        "└─ /lost.qcow2  qcow2  1 MiB",
        "",
        "orphans (they name no image, and none names them):",
        "/alone.qcow2  qcow2  1 MiB",
        "",
        "6 images in 7 files: 2 bases in use, 3 tops, 1 orphans, 1 broken links",
    ]


def test_dependants_answer_by_exit_code(qimg, tree):
    asked = qimg("chain", "graph", "--dependants", tree / "base.raw", tree)
    assert asked.code == 2
    assert asked.out.replace(str(tree), "").split() == ["/mid.qcow2", "/other/far.qcow2",
                                                        "/top.qcow2"]
    for name in ("top.qcow2", "alone.qcow2", "notes.txt"):
        asked = qimg("chain", "graph", "--dependants", tree / name, tree)
        assert (asked.code, asked.out) == (0, ""), name
    asked = qimg("chain", "graph", "--dependants", tree / "gone/base.qcow2", tree)
    assert (asked.code, asked.out) == (2, f"{tree}/lost.qcow2\n"), "a missing one, by its name"
    qimg("chain", "graph", "--dependants", tree / "nothing", tree).failed("No such file")
    asked = qimg("chain", "graph", "--dependants", tree / "mid.qcow2", "--output=json", tree)
    assert json.loads(asked.out)["dependants"] == [f"{tree}/other/far.qcow2", f"{tree}/top.qcow2"]


def test_a_file_is_known_by_identity(qimg, tree):
    os.link(tree / "base.raw", tree / "other/same")
    (tree / "link").symlink_to("base.raw")
    headers.write(tree / "through.qcow2", b"link", b"raw")
    for name in ("base.raw", "link", "other/same"):
        asked = qimg("chain", "graph", "--dependants", tree / name, tree)
        assert asked.out.count("\n") == 4, name


def test_a_base_outside_is_known_by_who_names_it(qimg, tree):
    images, _, code = graph(qimg, tree / "other")
    assert code == 0
    assert images[f"{tree}/other/../mid.qcow2"]["state"] == "outside"
    asked = qimg("chain", "graph", "--dependants", tree / "mid.qcow2", tree / "other")
    assert (asked.code, asked.out) == (2, f"{tree}/other/far.qcow2\n")


def test_data_files_are_in_use(qimg, qemu_img, scratch):
    qemu_img("create", "-q", "-f", "qcow2", "-o", "data_file=data.bin", "a.qcow2", "1M").ok()
    images, summary, code = graph(qimg, ".")
    assert (code, summary["bases"], summary["orphans"]) == (0, 1, 0)
    assert images["./a.qcow2"]["data-file"]["path"] == "./data.bin"
    asked = qimg("chain", "graph", "--dependants", "data.bin", ".")
    assert (asked.code, asked.out) == (2, "./a.qcow2\n")
    assert "data in ./data.bin" in qimg("chain", "graph", ".").out


def test_loops_are_told_and_end(qimg, scratch):
    headers.write(scratch / "a", b"b")
    headers.write(scratch / "b", b"a")
    headers.write(scratch / "above", b"a")
    headers.write(scratch / "self", b"self")
    result = qimg("chain", "graph", ".")
    assert result.code == 2
    assert result.out.splitlines()[:5] == [
        "./a  [in a loop, through b]", "└─ ./above  qcow2  1 MiB",
        "./b  [in a loop, through a]", "./self  [in a loop, through self]", ""]
    asked = qimg("chain", "graph", "--dependants", "a", ".")
    assert sorted(asked.out.split()) == ["./above", "./b"]
    assert [image.get("loop") for image in graph(qimg, ".")[0].values()] == [True, None, True, True]


def test_odd_names_are_neither_followed_nor_fatal(qimg, scratch):
    headers.write(scratch / "remote", b"nbd://host/x", b"raw")
    images, summary, code = graph(qimg, ".")
    assert (code, summary["remote"]) == (4, 1)
    assert images["nbd://host/x"]["state"] == "remote"
    headers.write(scratch / "odd", b"foo:bar", b"raw")
    damaged = bytearray(headers.qcow2(b"base"))
    damaged[20:24] = b"\0\0\0\x63"
    (scratch / "damaged").write_bytes(damaged)
    os.mkfifo(scratch / "pipe")
    images, summary, code = graph(qimg, ".")
    assert (code, summary["broken"], summary["unreadable"]) == (2, 2, 0)
    assert "cluster size" in images["./damaged"]["problem"]
    assert images["foo:bar"]["state"] == "nowhere"


def test_what_cannot_be_read_is_counted_and_makes_no_unsure():
    """As nobody where we are root; not below pytest's own directory, which is shut to nobody."""
    with tempfile.TemporaryDirectory(prefix="qimg-graph-") as name:
        os.chmod(name, 0o755)
        os.mkdir(f"{name}/shut", 0)
        headers.write(Path(name) / "alone.qcow2")
        shutil.copy(run.ours().path, f"{name}/qimg")
        user = {"user": 65534} if os.geteuid() == 0 else {}
        ask = lambda: subprocess.run(  # noqa: E731
            [f"{name}/qimg", "chain", "graph", "--dependants", f"{name}/alone.qcow2", name],
            capture_output=True, text=True, **user)
        asked = ask()
        os.chmod(f"{name}/shut", 0o755)
        assert asked.returncode == 4 and "1 files or directories could not be read" in asked.stderr
        assert ask().returncode == 0


def test_names_are_escaped(qimg, scratch):
    headers.write(scratch / "a\x1b[31m\"b", b"gone\x1b[0m")
    for output in ("human", "json", "dot"):
        assert "\x1b" not in qimg("chain", "graph", "--output", output, ".").out
    assert '\\"b' in qimg("chain", "graph", "--output=dot", ".").out


def test_svg_is_what_graphviz_makes_of_it(scratch, tree):
    """A stand-in for dot, which says what it was given."""
    bin = scratch / "bin"
    bin.mkdir()
    (bin / "dot").write_text("#!/bin/sh\n[ \"$1\" = -Tsvg ] || exit 9\necho '<svg>'\ncat\n")
    (bin / "dot").chmod(0o755)
    path = f"{bin}:{os.environ['PATH']}"
    qimg = run.ours(scratch).environ(PATH=path)
    dot = qimg("chain", "graph", "--output=dot", tree).out
    svg = qimg("chain", "graph", "--output=svg", tree)
    assert svg.code == 2 and svg.out == "<svg>\n" + dot
    (bin / "dot").write_text("#!/bin/sh\nexit 3\n")
    qimg("chain", "graph", "--output=svg", tree).failed("dot failed")
    (bin / "dot").write_text("#!/bin/sh\nexit 127\n")
    qimg("chain", "graph", "--output=svg", tree).failed("Could not run Graphviz's dot: No such")
    run.ours(scratch).environ(PATH="/nowhere")("chain", "graph", "--output=svg", tree).failed(
        "Could not run Graphviz's dot", "--output=dot")


def test_many_images_in_one_process_of_small_memory(qimg, scratch):
    headers.tree(scratch / "many", images=10000 if LONG else 500, folders=10)
    result = qimg("chain", "graph", scratch / "many", measure=True)
    assert result.ok().out.splitlines()[-1].startswith(
        "10000 images" if LONG else "500 images in 500 files: 50 bases in use, 450 tops")
    assert result.seconds < 10
