# SPDX-License-Identifier: Apache-2.0
"""QEMU reads from every ready fixture what its manifest says, and finds what that says."""
import hashlib
import json

import pytest

from pylib.paths import ROOT

SHARE = ROOT / "share/fixtures"
# QEMU's own opener follows a circle of images until memory ends.
READY = sorted(path.stem for path in SHARE.glob("*.json") if path.stem != "chain-loop")
WHOLE = 64 << 20 # larger disks are read row by row


@pytest.fixture
def build(qimg, qemu_img, qemu_io, scratch):
    """(image of the manifest, qemu-img and qemu-io in its directory) for each that is there."""
    return lambda name: list(make(name, qimg, qemu_img, qemu_io, scratch))


def make(name, qimg, qemu_img, qemu_io, scratch):
    qimg("fixture", "build", SHARE / f"{name}.json", "-o", "out", "-q", "--no-sync").ok()
    manifest = json.loads((scratch / "out/manifest.json").read_text())
    for image in manifest["images"]:
        folder, _, leaf = image["file"].rpartition("/")
        if image["files"]:
            here = scratch / "out" / folder
            yield image, leaf, qemu_img.at(here), qemu_io.at(here)


def read_row(run, scratch, image, leaf, row):
    """One range, through a raw node on top."""
    run("convert", "-O", "raw", "--image-opts",
        f"driver=raw,offset={row['at']},size={row['length']},file.driver={image['format']},"
        f"file.file.filename={leaf}", scratch / "row.raw").ok()
    return (scratch / "row.raw").read_bytes()


def judge(rows, read):
    for row in rows:
        if row["pattern"] == "zero":
            assert not any(read(row)), row
        else:
            assert hashlib.sha256(read(row)).hexdigest() == row["sha256"], row


def whole(run, scratch, image, leaf, *options):
    run("convert", "-f", image["format"], "-O", "raw", *options, leaf, scratch / "disk.raw").ok()
    data = (scratch / "disk.raw").read_bytes()
    return lambda row: data[row["at"]:row["at"] + row["length"]]


def reads_what_the_manifest_says(built, scratch):
    for image, leaf, qemu_img, qemu_io in built:
        if image["opens"] not in ("yes", "if-probed"):
            continue
        rows = image.get("guest", [])
        if image["size"] > WHOLE or image.get("unreadable"):
            judge([row for row in rows if "sha256" in row],
                  lambda row: read_row(qemu_img, scratch, image, leaf, row))
        elif rows:
            assert image.get("undefined") or sum(r["length"] for r in rows) <= image["size"]
            judge(rows, whole(qemu_img, scratch, image, leaf))
        for snapshot in image.get("snapshots", []):
            judge(snapshot["guest"], whole(qemu_img, scratch, image, leaf, "-l",
                                           f"snapshot.id={snapshot['id']}"))
        for bad in image.get("unreadable", []):
            said = qemu_io("-r", "-f", image["format"], "-c", f"read {bad['at']} 512", leaf)
            assert "read failed" in said.out + said.err, said.out


def refuses_what_must_not_open(built):
    for image, leaf, qemu_img, _ in built:
        if image["opens"] == "no":
            qemu_img("map", "-f", image["format"], leaf).failed()


def finds_what_the_manifest_says(built):
    for image, leaf, qemu_img, _ in built:
        said = qemu_img("check", "-f", image["format"], "--output=json", leaf)
        if image["check"] == "unsupported":
            assert said.code == 63
        elif image["check"] == "fails":
            assert said.code == 1
        elif image["check"] and image["opens"] in ("yes", "if-probed"):
            found = json.loads(said.out)
            assert image["check"] == {"corruptions": found.get("corruptions", 0),
                                      "leaks": found.get("leaks", 0)}, leaf


def sees_what_the_image_holds(built):
    """layer, against QEMU's map of the image alone."""
    for image, leaf, qemu_img, _ in built:
        if image["opens"] != "yes" or image["size"] > WHOLE or "layer" not in image:
            continue
        said = json.loads(qemu_img("map", "--output=json", "-f", image["format"], leaf).ok().out)
        own = [e for e in said if e["depth"] == 0 and e["present"]]
        assert sum(e["length"] for e in own) == sum(e["length"] for e in image["layer"]), leaf
        data = sum(e["length"] for e in own if e["data"])
        assert data == sum(e["length"] for e in image["layer"] if e["is"] != "zero"), leaf


def sees_bitmaps_and_snapshots(built):
    for image, leaf, qemu_img, _ in built:
        if image["opens"] != "yes" or image["format"] != "qcow2":
            continue
        said = json.loads(qemu_img("info", "--output=json", leaf).ok().out)
        bitmaps = said["format-specific"]["data"].get("bitmaps", [])
        assert [(b["name"], b["granularity"]) for b in bitmaps] == [
            (b["name"], b["granularity"]) for b in image.get("bitmaps", [])]
        assert [(s["id"], s["name"], s["date-sec"]) for s in said.get("snapshots", [])] == [
            (s["id"], s["name"], s["date"]) for s in image.get("snapshots", [])]


@pytest.mark.parametrize("name", READY)
def test_qemu_agrees_with_the_manifest(build, scratch, name):
    built = build(name)
    reads_what_the_manifest_says(built, scratch)
    refuses_what_must_not_open(built)
    finds_what_the_manifest_says(built)
    sees_what_the_image_holds(built)
    sees_bitmaps_and_snapshots(built)


def test_what_describe_says_of_qemus_images_is_built_alike(qimg, qemu_img, qemu_io, scratch):
    qemu_img("create", "-f", "qcow2", "base.qcow2", "8M").ok()
    qemu_io("-c", "write -P 1 0 1M", "-c", "write -P 2 3M 100k", "base.qcow2").ok()
    qemu_img("create", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "-o",
             "extended_l2=on,compression_type=zstd,lazy_refcounts=on", "top.qcow2").ok()
    qemu_io("-c", "write -P 3 10k 3k", "-c", "write -z 2M 128k", "-c", "write -c -P 4 4M 64k",
            "top.qcow2").ok()
    qemu_img("snapshot", "-c", "first", "top.qcow2").ok()
    qemu_io("-c", "write -P 5 4M 64k", "-c", "write -P 6 12k 1k", "top.qcow2").ok()
    qemu_img("bitmap", "--add", "top.qcow2", "b0").ok()
    qemu_io("-c", "write -P 7 5M 64k", "top.qcow2").ok()
    (scratch / "top.json").write_text(
        qimg("fixture", "describe", "--backing-chain", "top.qcow2").ok().out)
    qimg("fixture", "build", "top.json", "-o", "again").ok()
    qimg("fixture", "verify", "again").ok()
    qemu_img("check", "again/top.qcow2").ok()
    qemu_img("compare", "-s", "top.qcow2", "again/top.qcow2").ok()
    for name in ("top.qcow2", "again/top.qcow2"):
        qemu_img("convert", "-l", "snapshot.name=first", "-O", "raw", name,
                 name.replace("/", "-") + ".raw").ok()
    assert (scratch / "top.qcow2.raw").read_bytes() == (
        scratch / "again-top.qcow2.raw").read_bytes()
    assert "b0" in qemu_img("info", "again/top.qcow2").ok().out
