# SPDX-License-Identifier: Apache-2.0
"""Every source file of the library has its unit test file, or a reason."""
from pylib import sources
from pylib.paths import ROOT

EXCEPTIONS = {  # source: where it is tested instead
    "src/base/str.c": "through every message; tests/unit/base/test_fail.c",
    "src/formats/codec_deflate.c": "side by side in tests/unit/formats/test_codec.c",
    "src/formats/codec_isal.c": "side by side in tests/unit/formats/test_codec.c",
    "src/formats/codec_zstd.c": "tests/unit/formats/test_codec.c",
    "src/formats/qcow2/meta_page.c": "through every write; tests/unit/formats/qcow2/test_meta.c",
    "src/formats/qcow2/refcount_write.c": "tests/unit/formats/qcow2/test_{alloc,meta}.c",
    "src/formats/qcow2/shadow_gather.c": "tests/unit/formats/qcow2/test_snapshot_write.c: lengths",
    "src/formats/qcow2/amend_refcounts.c": "tests/unit/formats/qcow2/test_amend.c",
    "src/formats/qcow2/amend_version.c": "tests/unit/formats/qcow2/test_amend.c",
    "src/chain/version.c": "a constant; tests/cli/test_package.py compares it",
}


def test_each_source_has_a_test():
    missing = []
    for path in sources.files("src/*.c"):
        name = str(path.relative_to(ROOT))
        folder = path.relative_to(ROOT / "src").parts[0]
        tests = ROOT / "tests/unit" / folder
        candidates = [tests / f"test_{path.name}", *tests.glob(f"*/test_{path.name}")]
        if name not in EXCEPTIONS and not any(c.exists() for c in candidates):
            missing.append(name)
    assert not missing


def test_exceptions_exist():
    assert all((ROOT / name).exists() for name in EXCEPTIONS)
