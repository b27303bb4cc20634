# SPDX-License-Identifier: Apache-2.0
"""Who may include whom: what include paths cannot say."""
from pylib import sources
from pylib.paths import ROOT

RANK = {"base": 0, "io": 1, "formats": 2, "chain": 3, "fixtures": 4}
# Each outside library is touched by one source file (and the header beside it).
ONE_FILE = {"zlib.h": "src/formats/codec", "zstd.h": "src/formats/codec",
            "liburing.h": "src/io/", "igzip_lib.h": "src/formats/codec",
            "openssl/sha.h": "src/chain/digest", "isa-l/igzip_lib.h": "src/formats/codec"}


def layer(path):
    parts = path.relative_to(ROOT).parts
    return parts[1] if parts[0] == "src" else None


def headers():
    """Bare name: layer, for each private header."""
    return {path.name: layer(path) for path in sources.files("src/*.h")}


def test_no_include_goes_up():
    owner = headers()
    wrong = []
    for path in sources.files("src/*.c", "src/*.h"):
        for name in sources.quoted(path):
            if name in owner and RANK[owner[name]] > RANK[layer(path)]:
                wrong.append(f"{path.relative_to(ROOT)}: {name}")
    assert not wrong


def test_no_include_by_dots():
    wrong = [f"{path.relative_to(ROOT)}: {name}"
             for path in sources.files("src/*", "tools/*", "tests/*.c", "tests/*.h")
             if path.suffix in (".c", ".h")
             for name in sources.includes(path) if ".." in name]
    assert not wrong


def test_chain_knows_no_format_by_name():
    qcow2 = {path.name for path in sources.files("src/formats/qcow2/*.h")}
    wrong = [f"{path.relative_to(ROOT)}: {name}"
             for path in sources.files("src/chain/*.c", "src/chain/*.h")
             for name in sources.includes(path) if name.split("/")[-1] in qcow2]
    assert qcow2 and not wrong


def test_tools_include_public_headers_and_their_own():
    own = {path.name for path in sources.files("tools/*.h", "tools/*.def")}
    private = headers()
    wrong = [f"{path.name}: {name}"
             for path in sources.files("tools/*.c", "tools/*.h")
             for name in sources.quoted(path)
             if name in private and name not in own or "/" in name
             and not name.startswith("qimg/")]
    assert not wrong


def test_each_outside_library_is_touched_by_one_file():
    users = {}
    for path in sources.files("src/*.c", "src/*.h", "tools/*.c"):
        for name in sources.includes(path):
            if name in ONE_FILE:
                users.setdefault(name, []).append(str(path.relative_to(ROOT)))
    assert users
    for name, where in users.items():
        assert len(where) == 1, f"{name}: {where}"
        assert where[0].startswith(ONE_FILE[name])


def test_jansson_stays_with_the_few_that_parse_or_print_json():
    users = {str(path.relative_to(ROOT)) for path in sources.files("src/*", "tools/*")
             if path.suffix in (".c", ".h") and "jansson.h" in sources.includes(path)}
    assert all(user.startswith(("src/chain/", "src/fixtures/", "tools/")) for user in users)
    assert len(users) <= 7, users
