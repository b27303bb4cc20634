# SPDX-License-Identifier: Apache-2.0
"""docs/chains.md: every command on the page is run, in order, and prints what the page says.
QIMG_WRITE_PAGE=1 writes what they print into the page instead."""
import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from pylib.paths import QEMU_IMG, QIMG, ROOT

PAGE = ROOT / "docs/chains.md"
BLOCK = re.compile(r"(<!-- as root -->\n)?```console\n(.*?)```\n", re.S)
# What depends on the file system, or on the day.
VARYING = ((re.compile(r"[\d.]+ [KMGT]?i?B on disk"), "SIZE on disk"),
           (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"), "TIME"))


def commands(block):
    return re.findall(r"^\$ (.*)$", block, re.M)


def play(directory, blocks):
    """What each command printed, as the page shows it."""
    script = ["_code=0"]
    for number, command in enumerate(c for block in blocks for c in commands(block)):
        script += [f"printf '\\n<%d>\\n' {number}; (exit $_code)", command, "_code=$?"]
    bin_ = directory.parent / "bin"
    bin_.mkdir()
    for name, target in (("qimg", QIMG), ("qemu-img", QEMU_IMG),
                         ("qemu-io", QEMU_IMG.with_name("qemu-io"))):
        (bin_ / name).symlink_to(target)
    done = subprocess.run(["bash", "-c", "\n".join(script)], cwd=directory, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False,
                          env={**os.environ, "PATH": f"{bin_}:/usr/sbin:/usr/bin:/sbin:/bin",
                               "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": "/"})
    out = done.stdout.replace(str(directory), "/srv/vm")
    return [part.strip("\n") for part in re.split(r"\n<\d+>\n", "\n" + out)[1:]]


def shown(block, printed):
    lines = []
    for command in commands(block):
        text = printed.pop(0)
        lines.append(f"$ {command}\n{text}\n" if text else f"$ {command}\n")
    return "".join(lines)


def masked(text):
    for pattern, word in VARYING:
        text = pattern.sub(word, text)
    return text


@pytest.fixture
def directory():
    """Below directories that everybody may search: the page asks for what "nobody" may read."""
    with tempfile.TemporaryDirectory(prefix="qimg-page-", dir="/tmp") as root:
        os.chmod(root, 0o755)
        (Path(root) / "vm").mkdir()
        yield Path(root) / "vm"


def test_every_command_prints_what_the_page_says(directory):
    page = PAGE.read_text()
    blocks = [block for root, block in BLOCK.findall(page) if not root or os.geteuid() == 0]
    assert len(blocks) > 8
    printed = play(directory, blocks)
    now = {block: shown(block, printed) for block in blocks}
    assert not printed
    if os.environ.get("QIMG_WRITE_PAGE"):
        for block, text in now.items():
            page = page.replace(f"```console\n{block}```", f"```console\n{text}```")
        PAGE.write_text(page)
        pytest.skip("the page was written")
    for block, text in now.items():
        assert masked(text) == masked(block)
