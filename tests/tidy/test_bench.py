# SPDX-License-Identifier: Apache-2.0
"""What bench/run.py writes into the documents; nothing is measured here."""
import sys
import xml.etree.ElementTree as xml

import pytest

from pylib.paths import ROOT

sys.path.insert(0, str(ROOT / "bench"))
from table import docs, svg  # noqa: E402

MACHINE = {"processors": 2, "cpu": "C", "kernel": "6", "qemu_img": "Q", "commit": "abc",
           "date": "2026-11-23"}
RESULTS = [
    {"group": "a", "name": "x", "goal": "at least 2x as fast", "value": 2.5, "ok": True,
     "ours": 0.2, "theirs": 0.5, "unit": "s", "ours_mib": 9.6, "theirs_mib": 24.2},
    {"group": "a", "name": "y", "goal": "within 1.25", "value": 1.5, "ok": False, "ours": 3000.0,
     "other": 2000.0, "unit": "ms"},
    {"group": "b", "name": "z", "goal": "runs", "value": None, "ok": False, "error": "no"},
]
POINTS = {"qimg": {1: 0.2, 64: 0.25, 512: 0.6}, "qemu-img": {1: 0.5, 64: 1.1}}


def test_tables_are_replaced_and_prose_is_kept(tmp_path):
    document = tmp_path / "P.md"
    document.write_text("top\n<!-- table: a -->\nold\n<!-- end -->\nmiddle\n"
                        "<!-- table: b -->\n<!-- end -->\n<!-- table: c -->\nkept\n<!-- end -->\n")
    docs.write_document(document, MACHINE, RESULTS)
    docs.write_document(document, MACHINE, RESULTS)  # twice is once
    text = document.read_text()
    assert "old" not in text and "kept" in text and text.startswith("top\n") and "middle" in text
    assert "| x | 0.20 s | 0.50 s | 2.50 | at least 2x as fast | 10 / 24 |\n" in text
    assert "| y | 3,000 ms (2,000 ms) |  | 1.50 | within 1.25 **missed** |  |\n" in text
    assert "| z |  |  | failed | runs **missed** |  |\n" in text
    assert text.count("| what |") == 2 and "commit abc" in text


def test_a_group_without_a_place_is_refused(tmp_path):
    (tmp_path / "P.md").write_text("<!-- table: a -->\n<!-- end -->\n")
    with pytest.raises(SystemExit):
        docs.write_document(tmp_path / "P.md", MACHINE, RESULTS)


def test_every_group_has_its_place():
    import run  # of bench/
    text = (ROOT / "docs/PERFORMANCE.md").read_text()
    assert run.GROUPS
    for group in run.GROUPS:
        assert f"<!-- table: {group} -->\n" in text, group
    assert text.count("<!-- end -->") == len(run.GROUPS)


def test_the_plot_is_svg_with_a_line_for_each():
    root = xml.fromstring(svg.plot("a < b", "x", "s", POINTS))
    space = "{http://www.w3.org/2000/svg}"
    lines = [line.get("points").split() for line in root.iter(f"{space}polyline")]
    assert [len(points) for points in lines] == [3, 2]
    xs = [[float(p.split(",")[0]) for p in points] for points in lines]
    ys = [[float(p.split(",")[1]) for p in points] for points in lines]
    assert xs[0] == sorted(xs[0]) and xs[0][:2] == xs[1]
    assert ys[0][0] > ys[0][2], "more time is higher up"
    assert ys[1][0] < ys[0][0]
    assert "prefers-color-scheme: dark" in root.find(f"{space}style").text
    words = [t.text for t in root.iter(f"{space}text")]
    assert "qimg" in words and "qemu-img" in words and "a < b" in words
