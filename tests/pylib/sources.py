# SPDX-License-Identifier: Apache-2.0
"""C sources as the tidy tests see them: with comments and strings blanked, split in functions."""
import re
import subprocess

from pylib.paths import ROOT

BLANK = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def files(*globs):
    tracked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", *globs], cwd=ROOT,
                             capture_output=True, text=True, check=True).stdout.split("\n")
    return [ROOT / name for name in tracked if name and (ROOT / name).exists()]


def code(path):
    """The text with comments and literals replaced by blanks; line numbers stay. `#include "x"`
    keeps its name."""
    def blank(match):
        start = text.rfind("\n", 0, match.start()) + 1
        if text[start:match.start()].lstrip().startswith("#include"):
            return match[0]
        return re.sub(r"[^\n]", " ", match[0])

    text = path.read_text()
    return BLANK.sub(blank, text)


def functions(path):
    """(name, first line, number of lines) of each function body: the house style puts the
    opening and the closing brace of a function in column 0."""
    lines = code(path).split("\n")
    start = None
    for number, line in enumerate(lines):
        if line == "{" and start is None:
            start = number
        elif line.startswith("}") and start is not None:
            head = "".join(lines[max(0, start - 6):start])
            names = re.findall(r"(\w+)\s*\(", head)
            yield (names[-1] if names else "?"), start + 1, number - start + 1
            start = None


def quoted(path):
    """Names included in quotes: ours."""
    return re.findall(r'^\s*#\s*include\s+"([^"]+)"', code(path), re.M)


def includes(path):
    return re.findall(r'^\s*#\s*include\s+["<]([^">]+)[">]', code(path), re.M)
