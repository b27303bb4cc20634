# SPDX-License-Identifier: Apache-2.0
"""Every source file of the library has its unit test file, or a reason."""
from pylib import sources
from pylib.paths import ROOT

EXCEPTIONS = {  # source: where it is tested instead
    "src/base/str.c": "through every message; tests/unit/base/test_fail.c",
    "src/chain/audit.c": "tests/cli/test_chain_audit.py, reason by reason",
    "src/chain/audit_policy.c": "tests/cli/test_chain_audit.py",
    "src/formats/audit_request.c": "tests/cli/test_chain_audit.py",
    "src/formats/qcow2/audit.c": "tests/cli/test_chain_audit.py",
    "src/formats/qcow2/audit_tables.c": "tests/cli/test_chain_audit.py",
    "src/chain/cache_mode.c": "each name: tests/cli/test_engines.py, compat/test_compare.py",
    "src/chain/commit_base.c": "tests/compat/test_commit.py: bases by many names",
    "src/chain/context.c": "every test of src/chain makes one; tests/cli/test_engines.py",
    "src/chain/doctor_fingerprint.c": "tests/cli/test_chain_seal.py",
    "src/chain/access.c": "tests/cli/test_chain_verify.py, permission",
    "src/chain/doctor_access.c": "tests/cli/test_chain_verify.py, permission",
    "src/chain/doctor_data.c": "tests/cli/test_chain_verify.py, data_file_*",
    "src/chain/doctor_missing.c": "tests/cli/test_chain_verify.py, missing_*, relative_*",
    "src/chain/doctor_relation.c": "tests/cli/test_chain_verify.py, size_*, base_newer, names",
    "src/chain/doctor_writers.c": "tests/cli/test_chain_verify.py, writers",
    "src/chain/real_path.c": "tests/cli/test_chain_verify.py, symlink_dependent",
    "src/chain/writers.c": "tests/cli/test_chain_verify.py, writers",
    "src/chain/doctor_image.c": "tests/unit/chain/test_doctor.c",
    "src/chain/doctor_reference.c": "tests/unit/chain/test_doctor.c",
    "src/chain/dependants.c": "tests/cli/test_commit.py, over directories",
    "src/chain/convert_bitmaps.c": "tests/compat/test_convert_image.py, --bitmaps",
    "src/chain/convert_check.c": "tests/unit/chain/test_convert_target.c: refusals",
    "src/chain/convert_plan.c": "tests/unit/chain/test_convert.c, tests/compat/test_convert_*.py",
    "src/chain/convert_write.c": "tests/unit/chain/test_convert.c, tests/compat/test_convert_*.py",
    "src/chain/explain.c": "tests/corpus, by its words",
    "src/chain/fingerprint_check.c": "tests/unit/chain/test_seal.c",
    "src/chain/fingerprint_measure.c": "tests/unit/chain/test_seal.c",
    "src/chain/fix.c": "tests/cli/test_chain_fix.py",
    "src/chain/fix_candidates.c": "tests/cli/test_chain_fix.py",
    "src/chain/move.c": "tests/cli/test_chain_mv.py",
    "src/chain/move_journal.c": "tests/cli/test_chain_mv.py",
    "src/chain/move_run.c": "tests/cli/test_chain_mv.py, killed at each step",
    "src/chain/repoint.c": "tests/cli/test_chain_fix.py, test_chain_mv.py",
    "src/chain/formats.c": "tests/cli/test_surface.py, tests/compat/test_rebase.py",
    "src/chain/info.c": "tests/compat/test_info.py, field by field against QEMU",
    "src/chain/map_extents.c": "tests/compat/test_map.py, entry by entry against QEMU",
    "src/chain/map_load.c": "tests/unit/chain/test_map.c: loading is what a first look-up does",
    "src/chain/map_tables.c": "tests/unit/chain/test_map.c: loading is what a first look-up does",
    "src/chain/open_layer.c": "tests/unit/chain/test_open.c",
    "src/chain/open_lock.c": "tests/unit/chain/test_open.c, tests/compat/test_locks.py",
    "src/chain/pull.c": "tests/unit/chain/test_rebase.c, tests/compat/test_rebase_safe.py",
    "src/chain/pull_differ.c": "tests/unit/chain/test_rebase.c, tests/compat/test_rebase_safe.py",
    "src/chain/pull_plan.c": "tests/unit/chain/test_rebase.c, tests/compat/test_rebase_safe.py",
    "src/chain/pull_walk.c": "tests/unit/chain/test_rebase.c, tests/compat/test_rebase_safe.py",
    "src/chain/new_file.c": "tests/unit/chain/test_create.c, test_convert_target.c",
    "src/chain/packers.c": "tests/compat/test_convert_image.py: the same bytes, levels",
    "src/chain/read.c": "tests/unit/chain/test_queue.c, tests/stress/stress_read.c",
    "src/chain/graph.c": "tests/cli/test_chain_graph.py",
    "src/chain/graph_scan.c": "tests/cli/test_chain_graph.py",
    "src/chain/libvirt.c": "tests/cli/test_chain_show.py, by libvirt itself",
    "src/chain/remote.c": "tests/unit/chain/test_survey.c",
    "src/chain/remote_read.c": "tests/cli/test_chain_show.py, by libvirt itself",
    "src/chain/resolve_location.c": "tests/unit/chain/test_resolve.c",
    "src/chain/resolve_options.c": "tests/unit/chain/test_resolve.c",
    "src/chain/survey_look.c": "tests/unit/chain/test_survey.c",
    "src/chain/survey_stat.c": "tests/unit/chain/test_survey.c",
    "src/io/align.c": "tests/unit/io/test_file.c",
    "src/io/bounce.c": "tests/unit/io/test_queue.c",
    "src/io/buffer.c": "tests/unit/io/test_exact.c",
    "src/io/copy_range.c": "tests/compat/test_convert.py, -C",
    "src/io/engine_threads.c": "tests/unit/io/test_queue.c, on every engine",
    "src/io/engine_uring.c": "tests/unit/io/test_queue.c, on every engine",
    "src/io/handover.c": "tests/stress/stress_io.c",
    "src/io/request.c": "tests/unit/io/test_exact.c",
    "src/formats/admin.c": "tests/unit/chain/test_admin.c, a resize that is stopped",
    "src/formats/codec_deflate.c": "side by side in tests/unit/formats/test_codec.c",
    "src/formats/codec_isal.c": "side by side in tests/unit/formats/test_codec.c",
    "src/formats/codec_zstd.c": "tests/unit/formats/test_codec.c",
    "src/formats/qcow2/growth.c": "tests/compat/test_rebase_safe.py: the plan is kept to",
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
