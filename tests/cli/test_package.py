# SPDX-License-Identifier: Apache-2.0
"""An installed qimg: a stranger finds the tool, the library, the pages, and can build with it."""
import os
import shutil
import subprocess

import pytest

from pylib import run
from pylib.paths import BUILD, EMULATED, ROOT, SANITIZED

pytestmark = pytest.mark.skipif(SANITIZED or EMULATED, reason="not a library for consumers here")


def sh(*args, cwd=None, **variables):
    done = subprocess.run([str(a) for a in args], cwd=cwd, capture_output=True, text=True,
                          env={**os.environ, **variables})
    assert done.returncode == 0, f"{args}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    path = tmp_path_factory.mktemp("prefix")
    sh("cmake", "--install", BUILD, "--prefix", path)
    return path


def library_dir(prefix):
    return next(p.parent for p in prefix.rglob("libqimg.so"))


def check_example(program, scratch, prefix):
    run.ours(scratch)("create", "-q", "-f", "qcow2", "a.qcow2", "1M").ok()
    out = sh(program, "a.qcow2", cwd=scratch, LD_LIBRARY_PATH=str(library_dir(prefix)))
    assert "first byte: 0x00" in out


def test_what_is_installed(prefix):
    names = {str(p.relative_to(prefix)) for p in prefix.rglob("*") if p.is_file() or p.is_symlink()}
    for wanted in ("bin/qimg", "include/qimg/qimg.h", "share/man/man1/qimg.1",
                   "share/man/man1/qimg-convert.1", "share/bash-completion/completions/qimg",
                   "share/zsh/site-functions/_qimg", "share/fish/vendor_completions.d/qimg.fish"):
        assert wanted in names
    assert not [name for name in names if name.endswith(".c") and "examples" not in name]
    assert any(name.endswith("/qimg.pc") for name in names)


def test_the_soname_is_versioned(prefix):
    out = sh("objdump", "-p", library_dir(prefix) / "libqimg.so")
    assert "SONAME               libqimg.so.0" in out


def test_find_package(prefix, scratch):
    sh("cmake", "-S", ROOT / "examples", "-B", scratch / "b", f"-DCMAKE_PREFIX_PATH={prefix}")
    sh("cmake", "--build", scratch / "b")
    check_example(scratch / "b/read_chain", scratch, prefix)
    check_example(scratch / "b/read_chain_static", scratch, prefix)


@pytest.mark.parametrize("static", ((), ("--static",)))
def test_pkg_config(prefix, scratch, static):
    flags = sh("pkg-config", *static, "--cflags", "--libs", "qimg",
               PKG_CONFIG_PATH=str(library_dir(prefix) / "pkgconfig")).split()
    if static:
        flags = [str(library_dir(prefix) / "libqimg.a") if f == "-lqimg" else f for f in flags]
    sh("cc", ROOT / "examples/read_chain.c", *flags, "-o", scratch / "example")
    check_example(scratch / "example", scratch, prefix)


def test_cplusplus_program(prefix, scratch):
    (scratch / "a.cpp").write_text('#include "qimg/qimg.h"\n#include <cstdio>\n'
                                   'int main() { std::puts(qimg_version()); }\n')
    sh("c++", "-std=c++11", "-Wall", "-Werror", scratch / "a.cpp", f"-I{prefix}/include",
       f"-L{library_dir(prefix)}", "-lqimg", "-o", scratch / "a")
    version = sh(scratch / "a", LD_LIBRARY_PATH=str(library_dir(prefix))).strip()
    assert f"qimg VERSION {version} " in (ROOT / "CMakeLists.txt").read_text().replace("(", "")
    assert version in run.ours(scratch)("--version").ok().out


def test_the_installed_tool_runs_under_qemu_img_s_name(prefix, scratch):
    shutil.copy(prefix / "bin/qimg", scratch / "qemu-img")
    out = sh(scratch / "qemu-img", "--version")
    first = out.splitlines()[0].split()
    assert first[:2] == ["qemu-img", "version"] and first[2][0].isdigit()
