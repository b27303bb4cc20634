# SPDX-License-Identifier: Apache-2.0
"""A header of ours declares what some other file uses; else it would be static, or gone."""
import re

from pylib import sources
from pylib.paths import ROOT

DECLARED = re.compile(r"^(?!static|typedef|#|\s)[^\n;{}()]*?\b(\w+)\(", re.M)
# What a macro of the same header hands to every file that uses it.
BY_MACRO = {"doctor_words_release", "check_report", "opt_set_output", "opt_set_progress"}


def test_each_declared_function_is_used_by_another_file():
    texts = {path: sources.code(path) for path in sources.files("*.c", "*.h", "*.def")}
    users = {}
    for path, text in texts.items():
        for name in set(re.findall(r"\b[a-z]\w+", text)):
            users.setdefault(name, set()).add(path)
    alone = []
    for header, text in texts.items():
        if header.suffix != ".h" or header.relative_to(ROOT).parts[0] not in ("src", "tools"):
            continue
        for name in set(DECLARED.findall(text)) - BY_MACRO:
            others = [path for path in users.get(name, ()) if path != header]
            if name.islower() and not name.startswith("_") and len(others) < 2:
                alone.append(f"{header.relative_to(ROOT)}: {name}")
    assert not alone
