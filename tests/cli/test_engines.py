# SPDX-License-Identifier: Apache-2.0
"""Both engines read the same bytes, in batches; a refused io_uring is no obstacle."""
import subprocess

import pytest

from pylib import images, run


@pytest.fixture
def image(twin):
    images.make(twin, "compat=1.1")
    images.real_data(twin.theirs / "real", 1)
    twin.img("convert", "-c", "-O", "qcow2", "real", "packed.qcow2")
    twin.img("convert", "-O", "raw", "a.qcow2", "want.raw")
    return twin.theirs


ENGINES = ("auto", "io_uring", "threads")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("cache", ("none", "writeback", "writethrough", "directsync", "unsafe"))
def test_each_engine_and_cache_mode_gives_the_same_bytes(image, engine, cache):
    tool = run.ours(image)
    tool(f"--engine={engine}", "convert", "-t", cache, "-T", cache, "-O", "raw", "a.qcow2",
         "out.raw").ok()
    assert (image / "out.raw").read_bytes() == (image / "want.raw").read_bytes()
    tool(f"--engine={engine}", "convert", "-T", cache, "-O", "raw", "packed.qcow2", "out.raw").ok()
    assert (image / "out.raw").read_bytes() == (image / "real").read_bytes()


@pytest.mark.parametrize("engine", ENGINES)
def test_the_environment_chooses_as_the_option_does(image, engine):
    tool = run.ours(image).environ(QIMG_ENGINE=engine)
    tool("convert", "-O", "raw", "a.qcow2", "out.raw").ok()
    assert (image / "out.raw").read_bytes() == (image / "want.raw").read_bytes()


def test_an_unknown_engine_is_refused_by_the_name_it_came_under(image):
    tool = run.ours(image)
    tool("--engine=nosuch", "convert", "-O", "raw", "a.qcow2", "o").failed(
        "qimg: --engine expects")
    tool.environ(QIMG_ENGINE="nosuch")("convert", "-O", "raw", "a.qcow2", "o").failed(
        "qimg: QIMG_ENGINE expects", "'nosuch'")


@pytest.mark.parametrize("cache", ("none", "writeback"))
@pytest.mark.parametrize("engine", ("auto", "threads"))
def test_works_where_io_uring_is_refused(image, engine, cache):
    """As under the seccomp profiles of container runtimes."""
    tool = run.ours(image).under("--no-io-uring")
    tool("info", "a.qcow2").ok()
    tool("map", "--output=json", "a.qcow2").ok()
    tool(f"--engine={engine}", "convert", "-t", cache, "-T", cache, "-O", "raw", "a.qcow2",
         "out.raw").ok()
    assert (image / "out.raw").read_bytes() == (image / "want.raw").read_bytes()


def test_a_deep_queue_needs_no_locked_memory(image):
    """Kernels before 5.12 count a ring against RLIMIT_MEMLOCK: then there are threads."""
    tool = run.ours(image)
    command = ("bench", "-d", "1024", "-c", "3000", "-f", "raw", "-t", "none", "want.raw")
    done = subprocess.run(["prlimit", "--memlock=0:0", "unshare", "-Ur", str(tool.path), *command],
                          cwd=image, capture_output=True, text=True, timeout=60, check=False)
    if "unshare" in done.stderr:
        pytest.skip(f"no user name space here: {done.stderr.strip()}")
    assert done.returncode == 0 and "Run completed" in done.stdout, done.stderr


def test_asking_for_a_refused_io_uring_says_so(image):
    result = run.ours(image).under("--no-io-uring")("--engine=io_uring", "convert", "-T", "none",
                                                    "-O", "raw", "a.qcow2", "out.raw")
    result.failed("io_uring", "--engine=threads")


def test_zlib_serves_where_isa_l_is_not_installed(image):
    """Fast deflate is ISA-L's where it can be loaded, and looks different."""
    without = image / "no-isal"
    without.mkdir()
    (without / "libisal.so.2").touch()
    tools = {"with": run.ours(image), "without": run.ours(image).environ(LD_LIBRARY_PATH=without)}
    for name, tool in tools.items():
        tool("convert", "-c", "-O", "qcow2", "--compression-level=1", "real", name).ok()
        tool("convert", "-O", "raw", "packed.qcow2", f"{name}.raw").ok()
        assert (image / f"{name}.raw").read_bytes() == (image / "real").read_bytes()
        run.qemu_img(image)("compare", name, "real").ok()
    assert (image / "with").read_bytes() != (image / "without").read_bytes()


@pytest.mark.parametrize("engine", ("io_uring", "threads"))
def test_direct_writes_of_packed_clusters_cut_nothing_off(qimg, scratch, engine):
    """Packed clusters end anywhere, while whole ones are written behind them."""
    images.real_data(scratch / "real")
    command = ("convert", "-q", "-c", "-f", "raw", "-O", "qcow2")
    qimg(*command, "real", "cached").ok()
    for _ in range(10):
        qimg(*command, "-t", "none", f"--engine={engine}", "real", "direct").ok()
        qimg("compare", "-q", "-f", "raw", "-F", "qcow2", "real", "direct").ok()
    assert (scratch / "direct").read_bytes() == (scratch / "cached").read_bytes()
