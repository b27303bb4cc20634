# SPDX-License-Identifier: Apache-2.0
"""Counts single tests in the verbose output of CTest.

A Criterion program and a pytest suite print how many cases they ran; a stress or fuzz program
prints nothing of the kind and counts as one. A test that CTest calls failed although its own
numbers say that all is well (a crash, a leak, a time-out) counts as one failure.
"""
import os
import re
import sys

CRITERION = re.compile(r"Synthesis: Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+)"
                       r" \| Crashing: (\d+)")
PYTEST = re.compile(r"\b(\d+) (passed|failed|error|errors|skipped)\b")
PYTEST_LINE = re.compile(r"^(=+ )?(\d+ \w+, )*\d+ (passed|failed|errors?|skipped)\b.* in [\d.]+s")
RESULT = re.compile(r"^ *\d+/\d+ Test +#(\d+): (\S+) \.*\** *(Passed|.*)")
OUTPUT = re.compile(r"^(\d+): (.*)$")


def cases(lines):
    """(passed, failed) that the output of one CTest test states, or None."""
    found = None
    for line in lines:
        criterion = CRITERION.search(line)
        if criterion:
            tested, passed = int(criterion[1]), int(criterion[2])
            found = (passed, tested - passed)
        elif PYTEST_LINE.match(line):
            counts = {kind.rstrip("s") if kind.startswith("error") else kind: int(number)
                      for number, kind in PYTEST.findall(line)}
            found = (counts.get("passed", 0), counts.get("failed", 0) + counts.get("error", 0))
    return found


def tests_of(text):
    """(name, ok, output lines) of each test in a log of `ctest --verbose`."""
    output = {}
    for line in text.splitlines():
        said = OUTPUT.match(line)
        if said:
            output.setdefault(said[1], []).append(said[2])
            continue
        result = RESULT.match(line)
        if result:
            yield result[2], result[3].startswith("Passed"), output.get(result[1], [])


def count(text):
    passed = failed = 0
    for _, ok, lines in tests_of(text):
        good, bad = cases(lines) or ((1, 0) if ok else (0, 1))
        passed += good
        failed += bad if ok or bad else 1
    return passed, failed


def failures(text):
    for name, ok, lines in tests_of(text):
        if not ok:
            yield f"--- {name}\n" + "\n".join(lines[-120:])


def main(arguments):
    if arguments[0] == "--failures":
        with open(arguments[1], encoding="utf-8", errors="replace") as log:
            print("\n".join(failures(log.read())))
        return 0
    broken = int(arguments[1])
    passed = failed = 0
    for path in filter(os.path.exists, arguments[2:]):  # nothing built, nothing logged
        with open(path, encoding="utf-8", errors="replace") as log:
            good, bad = count(log.read())
        passed += good
        failed += bad
    failed = max(failed, broken)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
