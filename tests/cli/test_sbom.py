# SPDX-License-Identifier: Apache-2.0
"""The bill of materials is valid SPDX 2.3, and names all that the built files load, and no more."""
import json
import re
import subprocess

import pytest

from pylib import elf
from pylib.paths import BUILD, EMULATED, ROOT, SANITIZED, TOOL

pytestmark = pytest.mark.skipif(SANITIZED or EMULATED, reason="of what is installed here")

# The library that the loader is asked for, and the project it comes from.
PROJECTS = {"libc": "glibc", "libz": "zlib", "libzstd": "zstd", "liburing": "liburing",
            "libjansson": "jansson", "libcrypto": "openssl", "libisal": "isa-l"}
# A symbol that is only in a program that has the library in itself.
SYMBOLS = {"zlib": "inflateInit2_", "zstd": "ZSTD_decompressStream", "liburing": "io_uring_submit",
           "jansson": "json_loadb", "openssl": "SHA256_Update|EVP_DigestUpdate"}


@pytest.fixture(scope="module")
def document():
    return json.loads((BUILD / "qimg.spdx.json").read_text())


def related(document, kind):
    strip = len("SPDXRef-")
    return {(r["spdxElementId"][strip:], r["relatedSpdxElement"][strip:])
            for r in document["relationships"] if r["relationshipType"] == kind}


def dlopened():
    """Of our own sources: the names that are given to dlopen()."""
    text = "".join(path.read_text() for path in ROOT.glob("src/**/*.c"))
    return set(re.findall(r'dlopen\("(lib\w+)\.so', text))


def test_structure(document):
    assert document["spdxVersion"] == "SPDX-2.3" and document["dataLicense"] == "CC0-1.0"
    assert document["SPDXID"] == "SPDXRef-DOCUMENT"
    assert re.fullmatch(r"urn:sha256:[0-9a-f]{64}", document["documentNamespace"])
    created = document["creationInfo"]["created"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", created)
    ids = [package["SPDXID"] for package in document["packages"]]
    assert len(ids) == len(set(ids)) and all(re.fullmatch(r"SPDXRef-[\w.-]+", i) for i in ids)
    known = {*ids, "SPDXRef-DOCUMENT"}
    for relation in document["relationships"]:
        assert {relation["spdxElementId"], relation["relatedSpdxElement"]} <= known
    assert related(document, "DESCRIBES") == {("DOCUMENT", "qimg"), ("DOCUMENT", "libqimg")}


def test_each_package_has_version_and_licence(document):
    for package in document["packages"]:
        assert re.match(r"\d+\.\d+", package["versionInfo"]), package
        assert package["licenseDeclared"] == package["licenseConcluded"] != "NOASSERTION"
        for ref in package["externalRefs"]:
            assert re.fullmatch(r"pkg:deb/\w+/[\w.+-]+@\S+\?arch=\w+", ref["referenceLocator"])


def test_versions_are_those_of_pkg_config(document):
    versions = {p["name"]: p["versionInfo"] for p in document["packages"]}
    for name, module in (("zlib", "zlib"), ("zstd", "libzstd"), ("liburing", "liburing"),
                         ("jansson", "jansson"), ("openssl", "libcrypto")):
        said = subprocess.run(["pkg-config", "--modversion", module], capture_output=True,
                              text=True, check=True).stdout.strip()
        assert versions[name] == said


@pytest.mark.parametrize("name, path", (("qimg", TOOL), ("libqimg", BUILD / "libqimg.so")))
def test_what_is_loaded_is_listed_and_what_is_listed_is_loaded(document, name, path):
    loaded = {PROJECTS[library.split(".")[0]] for library in elf.needed(path)}
    listed = {to for start, to in related(document, "DYNAMIC_LINK") if start == name}
    assert listed == loaded


def test_archives_in_the_tool_are_listed(document):
    symbols = subprocess.run(["nm", TOOL], capture_output=True, text=True, check=True).stdout
    inside = {project for project, symbol in SYMBOLS.items()
              if re.search(rf" [tT] ({symbol})$", symbols, re.M)}
    assert {to for _, to in related(document, "STATIC_LINK")} == inside


def test_what_is_opened_while_running_is_listed(document):
    assert dlopened(), "the pattern finds no dlopen()"
    for name in ("qimg", "libqimg"):
        optional = {start for start, to in related(document, "OPTIONAL_DEPENDENCY_OF")
                    if to == name}
        isal = elf.cache_variable("QIMG_ISAL") == "ON"
        assert optional == ({PROJECTS[library] for library in dlopened()} if isal else set())
