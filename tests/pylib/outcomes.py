# SPDX-License-Identifier: Apache-2.0
"""What commands say of an image, in a form that can be stored and compared."""
import json
import re

# name: (arguments before the image, arguments behind it). Of the first four nothing is left out in
# any test run; the others are asked where there is time.
COMMANDS = {
    "info": (["info", "--output=json"], []),
    "check": (["check"], []),
    "map": (["map", "--output=json"], []),
    "convert": (["convert", "-O", "raw"], ["OUT"]),
    "info-human": (["info"], []),
    "check-json": (["check", "--output=json"], []),
    "map-human": (["map"], []),
    "compare": (["compare"], ["good-plain.qcow2"]),
    "measure": (["measure", "--output=json"], []),
    "snapshot": (["snapshot", "-l"], []),
    "audit": (["chain", "audit"], []),
    "io": (["io", "-r", "-c", "read -q 0 1M"], []),
}
ALWAYS = ("info", "check", "map", "convert")
LINES = 3  # of stderr that are stored


def call(program, command, image, out, measure=False):
    """Images with the name of a report are opened as a user would: without a format's name."""
    before, behind = COMMANDS[command]
    guess = not image.startswith(("good-", "bad-", "unsupported-")) or command in (
        "audit", "snapshot")
    formats = [] if guess else ["-f", "qcow2"]
    if command == "compare" and not guess:
        formats = ["-f", "qcow2", "-F", "qcow2"]
    split = 2 if before[0] == "chain" else 1
    args = before[:split] + formats + before[split:] + [f"{image}.qcow2"] + \
        [str(out) if arg == "OUT" else arg for arg in behind]
    return program(*args, measure=measure)


def said(result):
    """[exit code, lines of stderr]; more lines than a few are counted."""
    lines = re.sub(r"^qemu-img: |^qemu-io: |^qimg: ", "", result.err,
                   flags=re.M).rstrip("\n").split("\n") if result.err else []
    if len(lines) > LINES:
        lines = lines[:LINES] + [f"... {len(lines)} lines"]
    return [result.code, *lines]


def broken_rules(result, command, seconds, kib):
    """What no outcome may do, whatever is stored."""
    text = result.out + result.err
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]", text):
        yield "a raw control byte"
    if result.code and not result.err and command not in ("compare", "check", "check-json", "audit",
                                                          "io"):
        yield "a refusal without a word"
    if "json" in str(COMMANDS[command][0]) and result.code == 0:
        try:
            json.loads(result.out.encode("utf-8"))  # surrogates: bytes that were no UTF-8
        except ValueError as why:
            yield f"no JSON: {why}"
    # Promised as time; measured as work, because the machine may be busy with other tests.
    if result.cpu_seconds >= seconds:
        yield f"{result.cpu_seconds:.1f} s"
    if kib and result.peak_kib >= kib:
        yield f"{result.peak_kib} KiB"
