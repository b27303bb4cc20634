# SPDX-License-Identifier: Apache-2.0
"""Documents that repeat code must repeat it exactly."""
import re

from pylib import sources
from pylib.paths import ROOT


def test_the_example_in_libqimg_md_is_the_one_that_is_compiled():
    text = (ROOT / "docs/libqimg.md").read_text()
    shown = re.search(r"```c\n(.*?)```", text, re.S)[1]
    assert shown == (ROOT / "examples/read_chain.c").read_text()


def test_readme_starts_with_the_two_commands_of_a_newcomer():
    top = (ROOT / "README.md").read_text().splitlines()[:15]
    assert any("scripts/demo" in line for line in top)
    assert any("scripts/test" in line for line in top)


def test_ci_runs_what_readme_says():
    assert "scripts/test" in (ROOT / ".ci/run").read_text()


def test_the_demo_builds_without_packages_of_the_tests():
    text = "".join(path.read_text() for path in (ROOT / "tests").glob("**/CMakeLists.txt"))
    text += "".join(path.read_text() for path in (ROOT / "tests").glob("*.cmake"))
    assert "pkg_check_modules(CRITERION" in text and "REQUIRED" not in text


def test_every_header_of_the_library_is_in_its_page():
    page = (ROOT / "docs/libqimg.md").read_text()
    missing = [path.name for path in (ROOT / "include/qimg").glob("*.h")
               if f"`{path.name}`" not in page]
    assert not missing


def test_every_relative_link_in_the_documents_leads_somewhere():
    broken = []
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/**/*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert not broken


def test_every_source_that_a_document_names_is_there():
    names = {path.name for path in sources.files()}
    gone = []
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for name in re.findall(r"`(?:[\w/]+/)?(\w+\.(?:c|h|def|py|cmake))[`:]", page.read_text()):
            if name not in names and not name.endswith("_x.c") and name != "file.py":
                gone.append(f"{page.relative_to(ROOT)}: {name}")
    assert not gone


def test_every_figure_of_a_benchmark_is_explained():
    table = (ROOT / "tools/bench_metrics.def").read_text()
    keys = re.findall(r'^METRIC\(\w+, "([^"]+)"', table, re.M)
    page = (ROOT / "docs/bench.md").read_text()
    assert keys and [key for key in keys if f"`{key}`" not in page] == []


def test_every_finding_is_in_a_man_page():
    table = (ROOT / "src/chain/findings.def").read_text()
    ids = re.findall(r'^FINDING\(\w+,\s*"([\w-]+)"', table, re.M)
    pages = "".join(page.read_text() for page in (ROOT / "man").glob("qimg-chain-*.1"))
    assert ids and [id for id in ids if f".It Cm {id}\n" not in pages] == []
