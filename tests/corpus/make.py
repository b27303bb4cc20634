# SPDX-License-Identifier: Apache-2.0
"""Crafts the images of this corpus; README.md explains each.

    make.py DIRECTORY      writes them all there
    make.py --readme       writes README.md, from the cases' own texts

Every image starts as the same small, whole one (image.py) of which a case changes a few named
fields. Nothing is pasted as bytes, so that a reader sees what is wrong with each.
"""
import os
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import cases_bitmaps  # noqa: E402
import cases_cve  # noqa: E402
import cases_extensions  # noqa: E402
import cases_header  # noqa: E402
import cases_names  # noqa: E402
import cases_refcounts  # noqa: E402
import cases_snapshots  # noqa: E402
import cases_tables  # noqa: E402
from image import Image  # noqa: E402


def many_extensions():
    """QEMU makes two reads for each."""
    image = Image(21)
    for off in range(112, (1 << 21) - 8, 8):
        struct.pack_into(">II", image.data, off, 0x12345678, 0)
    return image


LARGE = (
    ("good-260000-extensions", "the whole 2 MiB header cluster is empty extensions: QEMU needs "
     "11 s",
     many_extensions),
    ("good-l1-32m-in-400k", "claims the largest L1 table in a file of 400 KiB: must cost next to "
     "nothing", lambda: Image(l1_size=(32 << 20) // 8, size=1 << 40)),
)

MODULES = (cases_header, cases_tables, cases_refcounts, cases_snapshots, cases_bitmaps,
           cases_extensions, cases_names, cases_cve)
CASES = [case for module in MODULES for case in module.CASES] + list(LARGE)

ABOUT = """# The corpus of crafted images

`make.py DIRECTORY` writes them; nothing is stored, because a line of code says more than a file.
Each is the same small image with a few named fields changed. *good* ones are read by every command
(check may find something); of *bad* ones some command refuses what it needs; *unsupported* ones are
well-formed but not for us; those with the name of a report are what broke other programs.

`outcomes.json` has what each command says of each image: exit code and error text. `test_corpus.py`
holds every image to it, and beside that: no signal, under a second, under 64 MiB, nothing written,
no control byte printed, JSON that is UTF-8. Where QEMU says otherwise `differs.json` has why.

An image that once broke something gets a row here first: a case in `cases_*.py`, then
`make.py --readme` and `test_corpus.py --outcomes`, and a look at what changed.
"""


def readme():
    text = ABOUT
    groups = [(m.__doc__.split("\n")[0], m.CASES) for m in MODULES] + [("Large claims.", LARGE)]
    for about, cases in groups:
        text += f"\n## {about.rstrip('.')}\n\n| image | what it is |\n|---|---|\n"
        text += "".join(f"| `{name}` | {about} |\n" for name, about, _ in cases)
    return text


def make(directory):
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for name, _, maker in CASES:
        (directory / f"{name}.qcow2").write_bytes(maker().data)
    (directory / "good-empty.raw").write_bytes(b"")
    for name, target in (("link", "good-plain.qcow2"), ("link-loop", "link-loop")):
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(target)
    if not (directory / "fifo").exists():
        os.mkfifo(directory / "fifo")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make.py DIRECTORY | --readme")
    if sys.argv[1] == "--readme":
        (Path(__file__).parent / "README.md").write_text(readme())
    else:
        make(sys.argv[1])
