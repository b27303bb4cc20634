# SPDX-License-Identifier: Apache-2.0
"""What qimg's commit does beyond qemu-img's: dependants are minded, a stopped job says so."""
import signal
import subprocess
import time

import pytest

from pylib import run
from pylib.paths import LONG, QIMG


@pytest.fixture
def chain(scratch, qimg):
    qimg = qimg.at(scratch)

    def create(name, backing=None):
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        back = ("-b", backing, "-F", "qcow2") if backing else ()
        qimg("create", "-q", "-f", "qcow2", *back, name, "1M").ok()
        qimg("io", "-c", "write -q -P 7 64k 64k", name).ok()

    create("base")
    create("mid", "base")
    create("top", "mid")
    create("others/of-base", "../base")
    create("others/deep/of-mid", str(scratch / "mid"))
    create("others/of-nobody")
    create("others/of-top", "../top")
    (scratch / "others/noise").write_bytes(b"QFI\xfb nothing that opens")
    (scratch / "others/pipe").symlink_to("nowhere")
    return qimg


def digest(scratch):
    return subprocess.run("cat base mid top", shell=True, cwd=scratch, capture_output=True).stdout


@pytest.mark.parametrize("args,found", (
    ((), {"others/deep/of-mid": "mid"}),
    (("-b", "base"), {"others/deep/of-mid": "mid", "others/of-base": "base"}),
))
def test_dependants_are_named_and_nothing_is_changed(chain, scratch, args, found):
    before = digest(scratch)
    result = chain("commit", *args, "--dependants", ".", "top").failed("nothing was changed")
    for name, backing in found.items():
        assert f"'./{name}' depends on '{backing}'" in result.err
    assert result.err.count("depends on '") == len(found) + (len(found) == 1)
    assert digest(scratch) == before


def test_dependants_may_be_broken(chain, scratch):
    result = chain("commit", "--dependants", ".", "--break-dependants", "top").ok()
    assert "'./others/deep/of-mid' depends on 'mid'" in result.err
    assert result.out == "Image committed.\n"


def test_without_dependants_all_is_well(chain, scratch):
    (scratch / "elsewhere").mkdir()
    assert chain("commit", "--dependants", "elsewhere", "--dependants", "others/of-nobody",
                 "top").ok().err == ""


def test_links_and_other_spellings_are_the_same_file(chain, scratch):
    (scratch / "alias").mkdir()
    (scratch / "alias/base").symlink_to("../mid")
    chain("create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "alias/over").ok()
    result = chain("commit", "--dependants", "alias", "top")
    result.failed("1 other image depends on 'mid'")
    assert "'alias/over' depends on 'mid'" in result.err


def test_a_place_that_cannot_be_searched_is_a_refusal(chain, scratch):
    before = digest(scratch)
    chain("commit", "--dependants", "nox", "top").failed("Could not search 'nox' for dependants")
    assert digest(scratch) == before


# --- stopped and killed -----------------------------------------------------------------------

def big_overlay(scratch, qimg):
    qimg = qimg.at(scratch)
    qimg("create", "-q", "-f", "qcow2", "base", "24M").ok()
    qimg("io", "-c", "write -q -P 1 0 20M", "base").ok()
    qimg("create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top", "32M").ok()
    qimg("io", "-c", "write -q -P 2 1M 16M", "-c", "write -q -z 18M 1M", "-c",
         "write -q -P 3 22M 9M", "top").ok()
    subprocess.run(["cp", "base", "base.0"], cwd=scratch, check=True)
    subprocess.run(["cp", "top", "top.0"], cwd=scratch, check=True)
    return flat(scratch, "top"), flat(scratch, "base")


def flat(scratch, name):
    run.ours(scratch)("convert", "-O", "raw", name, "flat").ok()
    return (scratch / "flat").read_bytes()


def restore(scratch):
    subprocess.run("cp base.0 base; cp top.0 top", shell=True, cwd=scratch, check=True)


def sound(scratch, name):
    code = run.ours(scratch)("check", name).code
    assert code in (0, 3), f"{name}: check says {code}"


def start(scratch, *args):
    return subprocess.Popen(["qimg", "commit", *args, "top"], executable=QIMG, cwd=scratch,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def test_stopped_it_says_what_is_kept_and_can_go_on(scratch, qimg):
    want, _ = big_overlay(scratch, qimg)
    began = (scratch / "base").stat().st_mtime_ns
    process = start(scratch, "-r", "40M")
    while (scratch / "base").stat().st_mtime_ns == began and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1]
    assert process.returncode == -signal.SIGINT and "commit it again" in said
    sound(scratch, "base")
    sound(scratch, "top")
    assert flat(scratch, "top") == want
    run.ours(scratch)("commit", "top").ok()
    assert flat(scratch, "base") == want == flat(scratch, "top")


def test_killed_at_any_moment_the_overlay_reads_the_same(scratch, qimg):
    want, before = big_overlay(scratch, qimg)
    tries = 200 if LONG else 3
    began = time.monotonic()
    run.ours(scratch)("commit", "top").ok()
    took = time.monotonic() - began
    for n in range(tries):
        restore(scratch)
        process = start(scratch)
        time.sleep(took * (n + 0.5) / tries)
        process.kill()
        process.communicate()
        sound(scratch, "base")
        sound(scratch, "top")
        assert flat(scratch, "top") == want, f"killed after {took * (n + 0.5) / tries:.4f} s"
        base = flat(scratch, "base")
        for at in range(0, len(base), 512):
            part = base[at:at + 512]
            assert part in (before[at:at + 512], want[at:at + 512]) or \
                (at >= len(before) and part == bytes(512)), at
    run.ours(scratch)("commit", "top").ok()
    assert flat(scratch, "base") == want
