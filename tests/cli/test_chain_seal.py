# SPDX-License-Identifier: Apache-2.0
"""`qimg chain seal`, and what `chain` finds of fingerprints. (What QEMU does to them:
tests/compat/test_fingerprint.py.)"""
import json
import os

import pytest


@pytest.fixture
def overlay(scratch, qimg, qemu_io):
    qimg("create", "-q", "-f", "qcow2", "base.qcow2", "8M").ok()
    qimg("io", "-c", "write -q -P 5 0 1M", "base.qcow2").ok()
    qimg("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2").ok()
    qimg("io", "-c", "write -q -P 6 2M 64k", "top.qcow2").ok()
    return scratch


def found(qimg, image="top.qcow2"):
    out = json.loads(qimg("chain", "show", "--output=json", image).out)
    return {f["id"]: f for f in out["findings"] if f["id"].startswith("fingerprint")}


def test_seal_records_renews_and_removes(overlay, qimg):
    assert qimg("chain", "seal", "top.qcow2").ok().out == "top.qcow2: fingerprint recorded\n"
    assert b"QIMF" in (overlay / "top.qcow2").read_bytes()[:512]
    assert not found(qimg)
    assert qimg("chain", "seal", "-q", "--content", "top.qcow2").ok().out == ""
    assert not found(qimg)
    assert qimg("chain", "seal", "--remove", "top.qcow2").ok().out == \
        "top.qcow2: fingerprint removed\n"
    assert b"QIMF" not in (overlay / "top.qcow2").read_bytes()[:512]
    qimg("chain", "seal", "--remove", "top.qcow2").ok()


def test_content_shows_progress(overlay, qimg):
    assert "(100.00/100%)" in qimg("chain", "seal", "-p", "--content", "top.qcow2").ok().out


def change(qimg):
    qimg("io", "-c", "write -q -P 7 4M 64k", "base.qcow2").ok()



def repoint(path):
    with open(path, "r+b") as image:
        image.seek(8)
        image.seek(int.from_bytes(image.read(8), "big"))
        image.write(b"bas2.qcow2")


CASES = {
    "fingerprint-changed": ("error", "is not what it was: its mapping is another one"),
    "fingerprint-touched": ("warning", "may not be what it was: it was last written to at "),
    "fingerprint-stale": ("warning", "has no fingerprint of its own: it describes 'base.qcow2'"),
    "fingerprint-unknown": ("warning", "has no readable fingerprint: it is damaged, or of a"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_verdict_is_a_finding_and_its_remedy_mends_it(overlay, qimg, case):
    qimg("chain", "seal", "-q", "top.qcow2").ok()
    top = overlay / "top.qcow2"
    if case == "fingerprint-changed":
        change(qimg)
    elif case == "fingerprint-touched":
        os.utime(overlay / "base.qcow2", (1, 1))
    elif case == "fingerprint-stale":
        (overlay / "base.qcow2").rename(overlay / "bas2.qcow2")
        repoint(top)
    else:
        at = top.read_bytes().index(b"QIMF") + 8
        with open(top, "r+b") as image:
            image.seek(at)
            image.write(b"\xff")
    severity, sentence = CASES[case]
    finding = found(qimg)[case]
    assert finding["severity"] == severity and sentence in finding["sentence"]
    assert finding["remedy"] == "qimg chain seal 'top.qcow2'"
    qimg("chain", "seal", "top.qcow2").ok()
    assert not found(qimg)


def test_images_that_cannot_keep_one_are_refused(scratch, qimg):
    qimg("create", "-q", "-f", "raw", "a.raw", "1M").ok()
    qimg("create", "-q", "-f", "qcow2", "a.qcow2", "1M").ok()
    qimg("create", "-q", "-f", "qcow2", "-u", "-b", "gone", "-F", "raw", "b.qcow2", "1M").ok()
    qimg("chain", "seal", "-f", "raw", "a.raw").failed("Images of format 'raw' keep no fingerpr")
    qimg("chain", "seal", "a.qcow2").failed("image 'a.qcow2' has no backing file")
    qimg("chain", "seal", "b.qcow2").failed("Could not open backing file", "No such file")
    qimg("chain", "seal").failed("Expecting image file names")
