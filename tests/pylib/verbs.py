# SPDX-License-Identifier: Apache-2.0
"""Comparing what verbs that change an image as a whole leave in both directories of a twin."""
import json
import re

from compat import normalise
from pylib import run


def io(twin, name, *commands):
    """The same guest writes, by QEMU, in both directories."""
    args = [part for command in commands for part in ("-c", command)]
    for directory in (twin.theirs, twin.ours):
        result = run.qemu_io(directory)("-f", "qcow2", *args, name).ok()
        assert "failed" not in result.out + result.err, f"{result}{result.out}{result.err}"


def described(directory, name):
    """What QEMU says of the image, without dates and storage."""
    text = run.qemu_img(directory)("info", "--output=json", name).ok().out
    text = re.sub(r'"actual-size": \d+,', "", text)
    return json.loads(normalise.mask(text).replace("<DATE>", "0"))


def snapshots(directory, name):
    return [s["id"] for s in described(directory, name).get("snapshots", [])]


def guest_map(directory, name):
    """Where there is data; not at which offset, nor whether the file has a hole there."""
    entries = json.loads(run.qemu_img(directory)("map", "--output=json", name).ok().out)
    merged = []
    for entry in entries:
        key = (entry["depth"], entry["data"])
        if merged and merged[-1][1] == key:
            merged[-1][2] += entry["length"]
        else:
            merged.append([entry["start"], key, entry["length"]])
    return merged


def same_content(twin, name, *options):
    raw = []
    for directory in (twin.ours, twin.theirs):
        raw.append(twin.scratch / f"{directory.name}.raw")
        run.qemu_img(directory)("convert", *options, "-O", "raw", name, raw[-1]).ok()
    result = run.qemu_img(twin.scratch)("compare", "-f", "raw", "-F", "raw", *raw)
    assert result.code == 0, f"{options}: {result.out}{result.err}"


def assert_clean(directory, name):
    result = run.qemu_img(directory)("check", name)
    assert result.code == 0, f"{result}{result.out}{result.err}"


def assert_same(twin, name="a.qcow2", mapped=True):
    """Description, state and every snapshot agree; ours is without an error or a leak."""
    assert described(twin.ours, name) == described(twin.theirs, name)
    assert_clean(twin.ours, name)
    same_content(twin, name)
    for snapshot in snapshots(twin.theirs, name):
        same_content(twin, name, "-l", f"snapshot.id={snapshot}")
    if mapped:
        assert guest_map(twin.ours, name) == guest_map(twin.theirs, name)
