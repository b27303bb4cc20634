# SPDX-License-Identifier: Apache-2.0
"""No image can crash, hang, inflate or mislead qimg, and it agrees with QEMU where QEMU is sane.

    test_corpus.py --outcomes    asks anew, and writes outcomes.json and differs.json
                                 (as QIMG_BUILD's program, and the installed QEMU, answer)
"""
import functools
import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent))

import make  # noqa: E402
from pylib import outcomes, run  # noqa: E402
from pylib.paths import LONG, SANITIZED  # noqa: E402

SECONDS = 5 if SANITIZED else 1
MEMORY_KIB = 0 if SANITIZED else 64 * 1024
NAMES = [name for name, _, _ in make.CASES]
ASKED = list(outcomes.COMMANDS) if LONG else outcomes.ALWAYS[SANITIZED:]
# All of them, or one of a few: QEMU's tools take their time.
BESIDE_QEMU = NAMES[::1 if LONG else 20 if SANITIZED else 5]
# What is compared with QEMU, run as qemu-img. (Its map depends on holes of the file.)
WITH_QEMU = ("info", "check", "convert")

# Where asking QEMU would hang or take too long.
QEMU_HANGS = {"bad-backing-itself", "bad-backing-itself-json", "bad-backing-itself-roundabout",
              "bad-backing-loop-a", "bad-backing-loop-b", "bad-backing-fifo", "bad-data-file-fifo",
              "good-260000-extensions", "good-snapshots-65536-in-44k", "good-snapshots-65535",
              "good-l1-32m-in-400k", "good-l1-beyond-the-file", "good-snapshot-l1-32m",
              "cve-2015-5162-tables", "bad-backing-nbd", "bad-backing-http", "bad-backing-device",
              "bad-data-file-device", "bad-data-file-itself"}


@functools.cache
def stored(name):
    return json.loads((HERE / f"{name}.json").read_text())


def outcome(name, command):
    """Exit code and words; what is not stored went well, or as the command that is named."""
    row = stored("outcomes")[name]
    stands = row.get(command, [0])
    return row[stands] if isinstance(stands, str) else stands


@pytest.fixture(scope="module")
def corpus():
    directory = Path(tempfile.mkdtemp(prefix="qimg-corpus-"))
    make.make(directory)
    before = digests(directory)
    yield directory
    after = digests(directory)
    shutil.rmtree(directory)
    assert after == before, "something was written"


def digests(directory):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest()
            for p in directory.iterdir() if p.is_file()}


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_every_command_says_what_is_stored(corpus, scratch, name):
    before = digest(corpus / f"{name}.qcow2")
    for command in ASKED:
        result = outcomes.call(run.ours(corpus), command, name, scratch / "out", measure=True)
        assert outcomes.said(result) == outcome(name, command), f"{result}"
        assert not list(outcomes.broken_rules(result, command, SECONDS, MEMORY_KIB)), f"{result}"
        assert result.seconds < 5 * SECONDS, f"{result} took {result.seconds:.1f} s"
    assert digest(corpus / f"{name}.qcow2") == before, "something was written"
    if outcome(name, "convert")[0]:
        assert not (scratch / "out").exists(), "half a file was left"


def reads(name):
    return not any(outcome(name, c)[0] for c in ("info", "map", "convert"))


@pytest.mark.parametrize("name", NAMES)
def test_the_name_says_whether_it_can_be_read(name):
    if name.startswith("good-"):
        assert reads(name)
    elif name.startswith(("bad-", "unsupported-")):
        assert not reads(name)


def with_qemu(corpus, scratch, name):
    """{command: what QEMU says, where that is something else}"""
    other = {}
    for command in WITH_QEMU:
        mine = outcomes.call(run.as_qemu_img(corpus), command, name, scratch / "mine")
        theirs = outcomes.call(run.qemu_img(corpus), command, name, scratch / "theirs")
        if outcomes.said(mine) != outcomes.said(theirs):
            other[command] = outcomes.said(theirs)
        elif command == "convert" and mine.code == 0 and not same_start(scratch):
            other[command] = ["other bytes"]
    return other


def same_start(scratch):
    with open(scratch / "mine", "rb") as mine, open(scratch / "theirs", "rb") as theirs:
        return mine.read(4 << 20) == theirs.read(4 << 20) and \
            mine.seek(0, 2) == theirs.seek(0, 2)


@pytest.mark.parametrize("name", [n for n in BESIDE_QEMU if n not in QEMU_HANGS])
def test_same_words_and_exit_code_as_qemu(corpus, scratch, name):
    differs = stored("differs").get(name, {})
    assert with_qemu(corpus, scratch, name) == {c: differs[c] for c in WITH_QEMU if c in differs}


def test_every_difference_from_qemu_has_its_reason():
    assert all(differs.get("why") for differs in stored("differs").values())


def test_an_empty_file_is_raw_and_empty(corpus):
    tool = run.ours(corpus)
    assert "virtual size: 0 B" in tool("info", "good-empty.raw").ok().out
    tool("info", "-f", "qcow2", "good-empty.raw").failed("Image is not in qcow2 format")


def test_the_opened_image_may_not_be_a_fifo(corpus):
    for command in (("info",), ("map",), ("convert", "-O", "raw")):
        operands = ("fifo", "out.raw") if command[0] == "convert" else ("fifo",)
        result = run.ours(corpus)(*command, *operands)
        assert result.code == 1 and result.seconds < SECONDS


def test_a_guests_header_does_not_make_a_raw_disk_an_image(corpus, scratch):
    """CVE-2008-2004, CVE-2026-24708: what is said to be raw stays raw for every command."""
    image = scratch / "cve.raw"
    shutil.copy(corpus / "cve-2026-24708-guest-header-resize.qcow2", image)
    size = image.stat().st_size
    run.ours(scratch)("convert", "-f", "raw", "-O", "raw", image, "out").ok()
    assert (scratch / "out").read_bytes() == image.read_bytes()
    run.ours(scratch)("resize", "-f", "raw", image, "+1M").ok()
    assert image.stat().st_size == size + (1 << 20)
    run.ours(corpus)("info", "cve-2013-1922-raw-base-not-probed.qcow2").ok()


def test_the_readme_is_the_cases_own_text():
    assert (HERE / "README.md").read_text() == make.readme(), "run make.py --readme"


def test_there_are_no_other_outcomes():
    assert set(stored("outcomes")) == set(NAMES) and set(stored("differs")) <= set(NAMES)


# --- asking anew --------------------------------------------------------------------------------

def brief(row):
    """What was said before is told by the command that said it."""
    out = {}
    for command, said in row.items():
        out[command] = next((c for c, earlier in out.items() if earlier == said), said)
    return out


def ask_anew(directory):
    directory = Path(directory)
    make.make(directory / "corpus")
    corpus, known = directory / "corpus", stored("differs")
    all_outcomes, all_differs = {}, {}
    for name in NAMES:
        all_outcomes[name] = {}
        for command in outcomes.COMMANDS:
            result = outcomes.call(run.ours(corpus), command, name, directory / "out", True)
            for rule in outcomes.broken_rules(result, command, SECONDS, MEMORY_KIB):
                print(f"{name}: {result}  {rule}")
            if outcomes.said(result) != [0]:
                all_outcomes[name][command] = outcomes.said(result)
            (directory / "out").unlink(missing_ok=True)
        all_outcomes[name] = brief(all_outcomes[name])
        differs = with_qemu(corpus, directory, name) if name not in QEMU_HANGS else {}
        if differs:
            all_differs[name] = {"why": known.get(name, {}).get("why", ""), **differs}
    for which, table in (("outcomes", all_outcomes), ("differs", all_differs)):
        rows = (f"{json.dumps(name)}: {json.dumps(row)}" for name, row in table.items())
        (HERE / f"{which}.json").write_text("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    if sys.argv[1:] != ["--outcomes"]:
        sys.exit("usage: test_corpus.py --outcomes")
    with tempfile.TemporaryDirectory() as scratch_directory:
        ask_anew(scratch_directory)
