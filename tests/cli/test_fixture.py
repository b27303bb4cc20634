# SPDX-License-Identifier: Apache-2.0
"""qimg fixture: the same bytes always, a manifest that holds, specifications checked, described."""
import copy
import hashlib
import json
import re

import jsonschema
import pytest

from pylib.paths import LONG, ROOT

SHARE = ROOT / "share/fixtures"
READY = sorted(path.stem for path in SHARE.glob("*.json"))
SCHEMA = json.loads((ROOT / "docs/fixture.schema.json").read_text())
GOLDEN = json.loads((ROOT / "tests/cli/golden_fixtures.json").read_text())


def build(qimg, name, directory, *options):
    qimg("fixture", "build", SHARE / f"{name}.json", "-o", directory, "-q", "--no-sync",
         *options).ok()
    return json.loads((qimg.cwd / directory / "manifest.json").read_text())


def digest(manifest):
    """Of all files of a fixture, by what the manifest says of them."""
    lines = [f"{file['file']} {file['length']} {file['sha256']}\n"
             for image in manifest["images"] for file in image["files"]]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def images(manifest):
    return {image["file"]: image for image in manifest["images"]}


def write(scratch, spec, name="spec.json"):
    (scratch / name).write_text(json.dumps(spec))
    return name


# --- the ready specifications ----------------------------------------------------------------


@pytest.mark.parametrize("name", READY)
def test_ready_specification_makes_the_bytes_that_it_always_made(qimg, scratch, name):
    manifest = build(qimg, name, "out")
    assert digest(manifest) == GOLDEN[name]
    for image in manifest["images"]:
        for file in image["files"]:
            data = (scratch / "out" / file["file"]).read_bytes()
            assert len(data) == file["length"]
            assert hashlib.sha256(data).hexdigest() == file["sha256"]
    assert qimg("fixture", "verify", "-q", "out").ok().out == ""


def test_every_golden_digest_has_its_specification():
    assert sorted(GOLDEN) == READY


@pytest.mark.parametrize("options", [("--threads", "1"), ("--threads", "7"),
                                     ("--engine", "threads"), ("--engine", "io_uring")])
def test_threads_and_engines_make_no_difference(qimg, scratch, options):
    for name in ("chain-mixed", "compressed-zlib", "snapshots"):
        build(qimg, name, f"{name}-plain")
        build(qimg, name, f"{name}-other", *options)
        for file in (scratch / f"{name}-plain").iterdir():
            assert file.read_bytes() == (scratch / f"{name}-other" / file.name).read_bytes()


def test_list_shows_each_ready_specification_with_its_purpose(qimg):
    lines = qimg.environ(QIMG_FIXTURES=str(SHARE))("fixture", "list").ok().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(READY, key=lambda name: f"{name}.json")
    assert all(len(line.split(None, 1)[1]) > 10 for line in lines)


def test_a_name_means_a_ready_specification(qimg, scratch):
    qimg.environ(QIMG_FIXTURES=str(SHARE))("fixture", "build", "dirty", "-o", "out").ok()
    assert digest(json.loads((scratch / "out/manifest.json").read_text())) == GOLDEN["dirty"]


# --- verify ----------------------------------------------------------------------------------


def spoil(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def lies(manifest):
    """Manifests that are wrong in one place, each with what verify must say."""
    def change(edit):
        other = copy.deepcopy(manifest)
        edit(other["images"][0])
        return other
    yield change(lambda i: i.update(size=i["size"] * 2)), "its disk has"
    yield change(lambda i: i.update(opens="no")), "opens, and must not"
    yield change(lambda i: i["guest"][0].update(sha256="00" * 32)), "not what was written"
    yield change(lambda i: i["guest"][0].pop("sha256")), "are not zeros"
    yield change(lambda i: i["layer"].pop()), "its tables hold"
    yield change(lambda i: i["layer"][0].update({"is": "zero"})), "not the layer's next row"
    yield change(lambda i: i["check"].update(leaks=1)), "check finds 0 corruptions and 0 leaks"
    yield change(lambda i: i["files"][0].update(length=1)), "bytes long, not 1"
    yield change(lambda i: i["bitmaps"][0]["dirty"].pop()), "other bits are set"
    yield change(lambda i: i["bitmaps"][0].update(enabled=False)), "other flags"
    yield change(lambda i: i["bitmaps"][0].update(name="x")), "bitmap 'x' is missing"
    yield change(lambda i: i["snapshots"][0]["guest"][0].update(sha256="11" * 32)), "snapshot '1'"
    yield change(lambda i: i.update(unreadable=[{"at": 0, "length": 512}])), "can be read"


def test_verify_tells_each_kind_of_difference(qimg, scratch):
    spec = {"fixture": 1, "images": [{
        "file": "a.qcow2", "size": "1M", "bitmaps": [{"name": "b", "dirty": [{"at": 0}]}],
        "snapshots": [{"name": "s", "content": [{"at": 0, "length": "64k", "pattern": "random"}]}],
        "content": [{"at": "128k", "length": "64k", "pattern": "byte", "value": 3}]}]}
    qimg("fixture", "build", write(scratch, spec), "-o", "out", "-q").ok()
    manifest = json.loads((scratch / "out/manifest.json").read_text())
    assert qimg("fixture", "verify", "out").ok().out.endswith(" 0 differences\n")
    for lie, words in lies(manifest):
        (scratch / "out/manifest.json").write_text(json.dumps(lie))
        said = qimg("fixture", "verify", "-q", "out")
        assert said.code == 1 and words in said.out, (words, said.out)


def test_verify_sees_a_changed_byte_and_a_missing_file(qimg, scratch):
    build(qimg, "chain-basic", "out")
    spoil(scratch / "out/base.raw", 12345, b"x")
    said = qimg("fixture", "verify", "out")
    assert said.code == 1 and "base.raw: its SHA-256 is" in said.out
    assert "not what was written" in said.out
    (scratch / "out/base.raw").unlink()
    said = qimg("fixture", "verify", "out")
    assert said.code == 1 and "base.raw: No such file" in said.out
    assert "top.qcow2: does not open" in said.out


def test_verify_needs_a_manifest(qimg, scratch):
    qimg("fixture", "verify", ".").failed("manifest.json'", "No such file")
    (scratch / "manifest.json").write_text("{")
    qimg("fixture", "verify", ".").failed("manifest.json: line 1")
    # It speaks of nothing outside its directory.
    write(scratch, {"manifest": 1, "images": [{"file": "../x", "files": []}]}, "manifest.json")
    qimg("fixture", "verify", ".").failed("$.images[0].file: '../x' is not a name")
    write(scratch, {"manifest": 1, "images": [{"file": "x", "files": [{"file": "/etc/passwd"}]}]},
          "manifest.json")
    qimg("fixture", "verify", ".").failed("$.images[0].files[0]: '/etc/passwd' is not a name")


# --- schema and reader -----------------------------------------------------------------------


STRANGE = [None, True, -1, 3, 1.5, "", "no such", [], {}, [1], {"x": 1}]
# Wrong in a way that a schema has no words for: the reader alone must refuse these.
BEYOND_SCHEMA = re.compile(
    "is not a size|past the end|is not a multiple|is there already|a length of 0|no image of this|"
    r"is not a relative name|'size' is missing|\.options|Could not open|must be whole|have none|"
    "has none|is not a number of 64 bits|not a power of 2|an empty list|the image itself|"
    "a backing name has|there are none|name of the manifest|is not from 104|lead past|bits 2, 3")


def walk(node, path=()):
    """Every place in a document."""
    yield path
    lengths = range(len(node)) if isinstance(node, list) else ()
    for key in node if isinstance(node, dict) else lengths:
        yield from walk(node[key], path + (key,))


def replaced(document, path, value):
    other = copy.deepcopy(document)
    owner = other
    for key in path[:-1]:
        owner = owner[key]
    if value is KeyError:
        del owner[path[-1]]
    else:
        owner[path[-1]] = value
    return other


def mutations(spec):
    for path in walk(spec):
        if path:
            yield replaced(spec, path, KeyError)
            for value in STRANGE:
                yield replaced(spec, path, value)
        node = spec
        for key in path:
            node = node[key]
        if isinstance(node, dict):
            yield replaced(spec, path + ("strange",), 1)


def small(spec):
    """One image of each kind of member is enough: mutations are many."""
    return {**spec, "images": spec["images"][:2]}


AGREEING = ["chain-missing-format", "bitmaps", "corrupt-l2", "unknown-features", "snapshots",
            "patterns", "data-file"]


@pytest.mark.parametrize("name", READY)
def test_ready_specification_follows_the_schema(name):
    jsonschema.validate(json.loads((SHARE / f"{name}.json").read_text()), SCHEMA)


@pytest.mark.parametrize("name", AGREEING)
def test_schema_and_reader_refuse_the_same_specifications(qimg, scratch, name):
    spec = small(json.loads((SHARE / f"{name}.json").read_text()))
    validator = jsonschema.validators.validator_for(SCHEMA)(SCHEMA)
    documents = list(mutations(spec))
    step = max(1, len(documents) // (2000 if LONG else 25)) # a sample, the same each time
    for number, document in enumerate(documents[::step]):
        said = qimg("fixture", "build", write(scratch, document), "-o", f"out{number}", "-q",
                    "--no-sync")
        valid = validator.is_valid(document)
        if said.code == 0:
            assert valid, document
        elif valid:
            assert BEYOND_SCHEMA.search(said.err), (said.err, document)
        if said.code:
            assert re.match(r"qimg: spec\.json: \$", said.err) or "$.images[" in said.err, said.err


def test_the_schema_is_a_schema():
    jsonschema.validators.validator_for(SCHEMA).check_schema(SCHEMA)


# --- building --------------------------------------------------------------------------------


def test_files_that_are_there_are_kept_unless_forced(qimg, scratch):
    (scratch / "out").mkdir()
    (scratch / "out/top.qcow2").write_text("mine")
    said = qimg("fixture", "build", SHARE / "chain-basic.json", "-o", "out")
    said.failed("Could not create 'out/top.qcow2': File exists")
    assert [path.name for path in (scratch / "out").iterdir()] == ["top.qcow2"]
    assert (scratch / "out/top.qcow2").read_text() == "mine"
    assert digest(build(qimg, "chain-basic", "out", "--force")) == GOLDEN["chain-basic"]


def test_a_failure_takes_the_new_files_away(qimg, scratch):
    spec = {"fixture": 1, "images": [{"file": "a", "size": "1M"}, {"file": "b", "size": "1M",
            "corrupt": [{"l2_entry": 0, "set": 1}]}]}
    said = qimg("fixture", "build", write(scratch, spec), "-o", "out")
    said.failed("$.images[1]: corrupt[0]: no L2 table stands for guest offset 0")
    assert list((scratch / "out").iterdir()) == []


def test_content_comes_from_files_beside_the_specification(qimg, scratch):
    (scratch / "sub").mkdir()
    (scratch / "sub/data.bin").write_bytes(bytes(range(256)) * 4)
    spec = {"fixture": 1, "images": [{"file": "a.raw", "format": "raw", "size": 4096, "content": [
        {"at": 512, "length": 2048, "pattern": "file", "path": "data.bin", "offset": 16}]}]}
    write(scratch, spec, "sub/spec.json")
    qimg("fixture", "build", "sub/spec.json", "-o", "out").ok()
    data = (scratch / "out/a.raw").read_bytes()
    assert data[512:512 + 1008] == (bytes(range(256)) * 4)[16:]
    assert data[:512] == bytes(512) and data[1520:] == bytes(4096 - 1520)
    qimg("fixture", "verify", "out").ok()


def test_the_oracle_says_how_each_byte_is_made(qimg, scratch):
    """By a second implementation of the patterns: the one in docs/fixtures.md."""
    code = re.search(r"```python\n(# patterns.*?)```", (ROOT / "docs/fixtures.md").read_text(),
                     re.S)[1]
    names = {}
    exec(code, names)
    manifest = build(qimg, "patterns", "out")
    raw = (scratch / "out/image.raw").read_bytes()
    for row in images(manifest)["image.raw"]["guest"]:
        assert names["content"](row) == raw[row["at"]:row["at"] + row["length"]], row


def test_short_forms_are_specifications(qimg, scratch):
    text = qimg("fixture", "chain", "--depth", "5", "--size", "1G", "--spec").ok().out
    jsonschema.validate(json.loads(text), SCHEMA)
    (scratch / "spec.json").write_text(text)
    qimg("fixture", "build", "spec.json", "-o", "a", "-q").ok()
    qimg("fixture", "chain", "--depth", "5", "--size", "1G", "b", "-q").ok()
    for name in ("base.qcow2", "overlay-4.qcow2", "manifest.json"):
        assert (scratch / "a" / name).read_bytes() == (scratch / "b" / name).read_bytes()
    said = json.loads(qimg("info", "--backing-chain", "--output=json", "a/overlay-4.qcow2").out)
    assert [image["virtual-size"] for image in said] == [1 << 30] * 5
    qimg("fixture", "verify", "a").ok()
    qimg("fixture", "overlays", "--count", "3", "-f", "raw", "c").ok()
    assert len(list((scratch / "c").glob("overlay-*.qcow2"))) == 3
    qimg("fixture", "verify", "c").ok()


def test_a_deep_chain_costs_what_its_images_cost(qimg, scratch):
    said = qimg("fixture", "chain", "--depth", "400", "--size", "1G", "--no-sync", "out").ok()
    assert said.out.startswith("400 images, 400 files,")
    assert (scratch / "out/manifest.json").stat().st_size < 400 * 1500
    qimg("fixture", "verify", "out", timeout=60).ok()


@pytest.mark.parametrize("args, words", [
    ((), "Expecting a verb"), (("bake",), "There is no 'fixture bake'"),
    (("build", "x.json"), "Expecting a directory"), (("build", "-o", "d"), "Expecting one"),
    (("build", "x.json", "-o", "d"), "Could not read 'x.json'"), (("chain",), "Expecting one dir"),
    (("chain", "--depth", "0", "d"), "number of images"), (("verify",), "Expecting one directory"),
    (("chain", "--size", "1000", "d"), "multiple of 512"), (("describe",), "Expecting one image"),
    (("overlays", "--cluster-size", "1000", "d"), "power of two"), (("list", "x"), "no operand"),
    (("chain", "-f", "vmdk", "d"), "Unknown file format 'vmdk'")])
def test_wrong_usage_is_said(qimg, args, words):
    qimg("fixture", *args).failed(words)


# --- describe --------------------------------------------------------------------------------


def structure(qimg, name):
    info = json.loads(qimg("info", "--output=json", name).ok().out)
    for key in ("filename", "actual-size", "children", "full-backing-filename"):
        info.pop(key, None)
    return info, qimg("map", "--no-backing", "--output=json", name).out.replace("offset", "")


DESCRIBED = [name for name in READY if not name.startswith(("chain-loop", "chain-m", "chain-w",
                                                            "corrupt", "truncated", "leaks",
                                                            "dirty", "huge"))]


@pytest.mark.parametrize("name", DESCRIBED)
def test_what_is_described_is_built_and_described_again(qimg, scratch, name):
    for image in build(qimg, name, "out")["images"]:
        if image["opens"] != "yes":
            continue
        file = image["file"]
        here = qimg.at(scratch / "out" / file.rpartition("/")[0])
        text = here("fixture", "describe", file.rpartition("/")[2]).ok().out
        jsonschema.validate(json.loads(text), SCHEMA)
        write(scratch, json.loads(text))
        qimg("fixture", "build", "spec.json", "-o", "again", "-q", "--no-sync", "--force").ok()
        other = qimg.at(scratch / "again")
        leaf = file.rpartition("/")[2]
        assert other("fixture", "describe", leaf).ok().out == text
        assert structure(here, leaf)[0] == structure(other, leaf)[0]


def test_data_that_no_pattern_makes_goes_to_a_file(qimg, scratch):
    (scratch / "base.raw").write_bytes(hashlib.sha512(b"x").digest() * 2048)
    qimg("convert", "-O", "qcow2", "-c", "base.raw", "a.qcow2").ok()
    text = qimg("fixture", "describe", "a.qcow2", "--data-file", "a.data").ok().out
    (scratch / "a.json").write_text(text)
    qimg("fixture", "build", "a.json", "-o", "out").ok()
    qimg("compare", "out/a.qcow2", "base.raw").ok()
    qimg("fixture", "describe", "a.qcow2", "--data-file", "a.data").failed("File exists")


def test_a_chain_is_described_as_one(qimg, scratch):
    build(qimg, "chain-basic", "out")
    text = qimg("fixture", "describe", "--backing-chain", "out/top.qcow2").ok().out
    (scratch / "top.json").write_text(text)
    assert [i["file"] for i in json.loads(text)["images"]] == ["base.raw", "middle.qcow2",
                                                               "top.qcow2"]
    qimg("fixture", "build", "top.json", "-o", "again").ok()
    qimg("compare", "out/top.qcow2", "again/top.qcow2").ok()


def test_leaks_are_described_and_damage_is_told(qimg, scratch):
    build(qimg, "leaks", "leaks")
    assert json.loads(qimg("fixture", "describe", "leaks/image.qcow2").ok().out)["images"][0][
        "leaks"] == 5
    build(qimg, "corrupt-refcount", "bad")
    said = qimg("fixture", "describe", "bad/data.qcow2").ok()
    assert "2 corruptions are not described" in said.err
