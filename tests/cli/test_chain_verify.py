# SPDX-License-Identifier: Apache-2.0
"""Each finding of `chain verify` on an image that has it, made by qemu-img or crafted from one;
and that each command it prints mends its case."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from pylib import images, run
from pylib.paths import ROOT

SEVERITY_EXIT = {"error": 2, "unvisited": 4, "warning": 3, "note": 0}
KINDS = dict(re.findall(r'^FINDING\(\w+,\s*"([\w-]+)",\s*(\w+),',
                        re.search(r"--- doctor:.*?(?=/\* ---|\Z)",
                                  (ROOT / "src/chain/findings.def").read_text(), re.S)[0], re.M))


class Bench:
    """A directory with a healthy chain, top.qcow2 -> mid.qcow2 -> base.raw, to be broken."""

    def __init__(self, where):
        self.where = where
        self.run = run.ours(where)

    def make(self):
        self.img("create", "-f", "raw", "base.raw", "1M")
        self.overlay("mid.qcow2", "base.raw", "raw")
        self.overlay("top.qcow2", "mid.qcow2", "qcow2")

    def img(self, *args):
        run.qemu_img(self.where)(args[0], "-q", *args[1:]).ok()

    def overlay(self, name, backing, fmt, *more):
        self.img("create", "-u", "-f", "qcow2", "-b", backing, "-F", fmt, *more, name, "1M")

    def point(self, name, backing, fmt):
        self.img("rebase", "-u", "-f", "qcow2", "-b", backing, "-F", fmt, name)

    def forget(self, name):
        images.forget_format(self.where / name)

    def patch(self, name, off, data):
        with open(self.where / name, "r+b") as image:
            image.seek(off)
            image.write(data)

    def move(self, a, b):
        (self.where / b).parent.mkdir(exist_ok=True)
        os.rename(self.where / a, self.where / b)

    def age(self):
        """As if all were made in due order: breaking an image changes the time of a base."""
        for path in self.where.rglob("*"):
            if path.is_file():
                os.utime(path, (0, 0))

    def verify(self, *args):
        """The findings, and the exit code."""
        result = self.run("chain", "verify", "--output=json", *args)
        assert not result.err, result.err
        found = [f for image in json.loads(result.out)["images"] for f in image["findings"]]
        return found, result.code

    def shell(self, script):
        """Runs what was printed as it was printed, by a shell."""
        bin = self.where / "bin"
        bin.mkdir(exist_ok=True)
        if not (bin / "qimg").exists():
            (bin / "qimg").symlink_to(self.run.path)
        environment = {**os.environ, "PATH": f"{bin}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-ec", script], cwd=self.where, env=environment,
                              capture_output=True, text=True)
        assert done.returncode == 0, f"{script}\n{done.stderr}"


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    where = tmp_path_factory.mktemp("healthy")
    Bench(where).make()
    assert Bench(where).verify("top.qcow2") == ([], 0)
    return where


@pytest.fixture
def bench(healthy):
    """Not below pytest's own directory, which is shut to other users."""
    where = Path(tempfile.mkdtemp(prefix="qimg-chain-"))
    shutil.copytree(healthy, where, dirs_exist_ok=True)
    where.chmod(0o755)
    yield Bench(where)
    shutil.rmtree(where)


# --- what is broken, and how -----------------------------------------------------------------

def format_missing(b):
    b.forget("mid.qcow2")


def format_missing_of_qcow2(b):
    b.img("create", "-f", "qcow2", "base.qcow2", "1M")
    b.point("mid.qcow2", "base.qcow2", "qcow2")
    b.forget("mid.qcow2")


def format_missing_of_an_overlay(b):
    b.forget("top.qcow2")


def json_without_format(b):
    b.point("mid.qcow2", f'json:{{"driver":"file","filename":"{b.where}/base.raw"}}', "raw")
    b.forget("mid.qcow2")


def format_unknown(b):
    data = (b.where / "mid.qcow2").read_bytes()
    b.patch("mid.qcow2", data.index(b"raw\0"), b"blo")


def format_of_protocol(b):
    b.point("mid.qcow2", "base.raw", "file")


def format_conflict(b):
    b.point("mid.qcow2", "base.raw", "vmdk")


def raw_recorded_as_qcow2(b):
    b.point("mid.qcow2", "base.raw", "qcow2")


def raw_has_signature(b):
    b.point("top.qcow2", "mid.qcow2", "raw")


def unsupported(b):
    b.img("create", "-f", "vmdk", "base.vmdk", "1M")
    b.overlay("mid.qcow2", "base.vmdk", "vmdk")


def missing(b):
    b.move("base.raw", "elsewhere/base.raw")


def missing_and_beside(b):
    b.point("mid.qcow2", "/gone/base.raw", "raw")


def relative_elsewhere(b):
    b.move("mid.qcow2", "sub/mid.qcow2")


def relative_by_symlink(b):
    b.move("top.qcow2", "sub/top.qcow2")
    b.move("mid.qcow2", "sub/mid.qcow2")
    b.point("sub/mid.qcow2", f"{b.where}/base.raw", "raw")
    (b.where / "top.qcow2").symlink_to("sub/top.qcow2")


def permission_of_a_directory(b):
    b.move("base.raw", "shut/base.raw")
    b.point("mid.qcow2", "shut/base.raw", "raw")
    (b.where / "shut").chmod(0o600)


def permission_of_a_file(b):
    (b.where / "base.raw").chmod(0o000)


def unreadable(b):
    (b.where / "base.raw").unlink()
    (b.where / "base.raw").mkdir()


def loop(b):
    b.point("mid.qcow2", "top.qcow2", "qcow2")


def bad_name(b):
    b.point("mid.qcow2", "json:{\"driver\":", "raw")


def unsupported_name(b):
    b.point("mid.qcow2", "foo:bar", "raw")


def header_corrupt(b):
    b.patch("mid.qcow2", 20, (77).to_bytes(4, "big"))


def hidden_backing(b):
    b.patch("mid.qcow2", 40000, b"base.raw")
    b.patch("mid.qcow2", 8, (40000).to_bytes(8, "big"))


def marked_corrupt(b):
    b.patch("mid.qcow2", 79, b"\2")


def dirty(b):
    b.patch("mid.qcow2", 79, b"\1")


def data_file(b, name="data.raw", where="."):
    (b.where / where).mkdir(exist_ok=True)
    name = name.replace(",", ",,")
    b.img("create", "-f", "qcow2", "-o", f"data_file={name}", f"{where}/top.qcow2", "1M")


def data_file_missing(b):
    data_file(b)
    (b.where / "data.raw").unlink()


def data_file_in_the_current_directory(b):
    data_file(b, "data,1.raw", "sub")


def data_file_empty(b):
    data_file(b)
    at = (b.where / "top.qcow2").read_bytes().index(b"DATA")
    b.patch("top.qcow2", at, b"NONE")


def data_file_name(b):
    data_file_in_the_current_directory(b)
    shutil.copy(b.where / "data,1.raw", b.where / "sub")


def size_smaller(b):
    b.img("create", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "top.qcow2", "512k")


def size_larger(b):
    b.img("create", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "top.qcow2", "2M")


def base_newer(b):
    later = time.time_ns() + 10**9  # after the overlay's birth
    os.utime(b.where / "base.raw", ns=(later, later))


def json_relative(b):
    b.point("mid.qcow2", 'json:{"driver":"raw","file":{"driver":"file","filename":"base.raw"}}',
            "raw")


def protocol_relative(b):
    b.point("mid.qcow2", "file:base.raw", "raw")


def symlink_dependent(b):
    (b.where / "sub").mkdir()
    for name in ("mid.qcow2", "base.raw"):
        shutil.copy(b.where / name, b.where / "sub" / name)
    (b.where / "sub/top.qcow2").symlink_to("../top.qcow2")


def credentials(b):
    b.point("mid.qcow2", "nbd://joe:secret@host/export", "raw")


def qemu_wont_open(b):
    b.point("mid.qcow2", f'json:{{"driver":"file","filename":"{b.where}/base.raw"}}', "raw")


def unvisited(b):
    b.point("mid.qcow2", "nbd://host/export", "raw")


AS_NOBODY = ["--as", "nobody"] if os.geteuid() == 0 else []

# what is broken: finding, how many commands in a row mend it (0: none is printed), options, image
CASES = {
    format_missing: ("format-missing", 1),
    format_missing_of_qcow2: ("format-missing", 1),
    format_missing_of_an_overlay: ("format-missing", 1),
    json_without_format: ("format-missing", 1),
    format_unknown: ("format-unknown", 1),
    format_of_protocol: ("format-unknown", 1),
    format_conflict: ("format-conflict", 1),
    raw_recorded_as_qcow2: ("format-conflict", 1),
    raw_has_signature: ("raw-has-signature", 1),
    unsupported: ("unsupported-format", 0),
    missing: ("missing", 0),
    missing_and_beside: ("missing", 1),
    relative_elsewhere: ("relative-elsewhere", 1, [], "sub/mid.qcow2"),
    relative_by_symlink: ("relative-elsewhere", 1),
    permission_of_a_directory: ("permission", 1, AS_NOBODY),
    permission_of_a_file: ("permission", 1, AS_NOBODY),
    unreadable: ("unreadable", 0),
    loop: ("loop", 1),
    bad_name: ("bad-name", 0),
    unsupported_name: ("unsupported-name", 0),
    header_corrupt: ("header-corrupt", 0),
    hidden_backing: ("hidden-backing", 1),
    marked_corrupt: ("marked-corrupt", 1),
    dirty: ("dirty", 1),
    data_file_missing: ("data-file-missing", 0),
    data_file_in_the_current_directory: ("data-file-missing", 1, [], "sub/top.qcow2"),
    data_file_empty: ("data-file-empty", 0),
    data_file_name: ("data-file-name", 1, [], "sub/top.qcow2"),
    size_smaller: ("size-smaller", 1),
    size_larger: ("size-larger", 0),
    base_newer: ("base-newer", 1, [], "mid.qcow2"),
    json_relative: ("json-relative", 1),
    protocol_relative: ("json-relative", 1),
    symlink_dependent: ("symlink-dependent", 1, [], "sub/top.qcow2"),
    credentials: ("credentials-in-name", 0),
    qemu_wont_open: ("qemu-wont-open", 1),
    unvisited: ("unvisited", 0),
    lambda b: None: ("too-deep", 0, ["--max-depth=2"]),
    (lambda b: b.where): ("refused", 0, ["--allow-dir=/usr"]),
    (lambda b: b.forget("mid.qcow2")): ("probed", 1, ["--allow-probe"]),
}
# shown elsewhere: a chain of 201 images in tests/unit/chain/test_doctor.c, a writer below
ELSEWHERE = {"deep", "base-written"}


def names():
    return [getattr(make, "__name__", "").replace("<lambda>", case[0].replace("-", "_"))
            for make, case in CASES.items()]


@pytest.mark.parametrize("make", CASES, ids=names())
def test_each_finding_is_told_and_its_command_mends(bench, make):
    defaults = (None, None, [], "top.qcow2")
    id, commands, options, image = CASES[make] + defaults[len(CASES[make]):]
    make(bench)
    if make is not base_newer:
        bench.age()
    found, code = bench.verify(*options, image)
    mine = [f for f in found if f["id"] == id]
    assert len(mine) == 1, found
    assert mine[0]["severity"] == KINDS[id].lower()
    assert code == SEVERITY_EXIT[max((f["severity"] for f in found), key=list(
        ("note", "warning", "unvisited", "error")).index)]
    says = mine[0]["sentence"]
    assert os.path.basename(mine[0]["image"]) in says, "names the image"
    assert mine[0]["field"]
    assert ("remedy" in mine[0]) == (commands > 0), mine[0]
    if commands:
        bench.shell(mine[0]["remedy"])
        found, _ = bench.verify(*options, image)
        assert id not in [f["id"] for f in found], found
    else:
        assert "advice" in mine[0] or id in ("size-larger", "unvisited", "unsupported-format",
                                             "unreadable", "bad-name", "unsupported-name",
                                             "header-corrupt", "refused", "credentials-in-name")


def test_every_finding_of_the_table_has_a_case():
    assert {case[0] for case in CASES.values()} | ELSEWHERE == set(KINDS)


def test_a_writer_of_a_backing_file_is_named(bench):
    script = "import sys; f = open(sys.argv[1], 'r+b'); print('open', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script, bench.where / "base.raw"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "open\n"
        found, code = bench.verify("top.qcow2")
        writer.communicate("\n")
    assert code == 3
    assert [f["id"] for f in found] == ["base-written"]
    assert found[0]["level"] == 2
    assert f"(process {writer.pid})" in found[0]["sentence"]
    assert "python" in found[0]["value"]
    assert bench.verify("top.qcow2") == ([], 0), "it is gone"


def test_a_lock_of_qemu_names_its_process(bench):
    with subprocess.Popen(["/usr/bin/qemu-io", "-f", "raw", bench.where / "base.raw"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        writer.stdin.write("length\n")
        writer.stdin.flush()
        assert "1 MiB" in writer.stdout.readline()
        found, _ = bench.verify("top.qcow2")
        assert [(f["id"], f["value"]) for f in found] == [
            ("base-written", f"qemu-io (process {writer.pid})")]
        assert bench.verify("base.raw") == ([], 0), "a guest may write to its own image"
        found, code = bench.verify("base.raw", "top.qcow2")
        assert ([f["id"] for f in found], code) == (["base-written"], 3), "but to no other's base"
        writer.communicate("quit\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look with other users' eyes")
def test_permission_names_user_directory_and_mode(bench):
    permission_of_a_directory(bench)
    bench.age()
    found, _ = bench.verify("--as", "nobody", "top.qcow2")
    assert f"user 'nobody' may not read '{bench.where}/shut/base.raw'" in found[0]["sentence"]
    assert f"directory '{bench.where}/shut' has mode 0600" in found[0]["sentence"]
    assert found[0]["remedy"] == f"chmod o+x '{bench.where}/shut'"
    assert found[0]["level"] == 2
    assert bench.verify("--as", "root", "top.qcow2") == ([], 0)
    assert bench.run("chain", "verify", "--as", "noone", "top.qcow2").failed("no user 'noone'")


def test_a_shared_base_is_told_of_once_and_counts_for_all(bench):
    missing(bench)
    bench.overlay("other.qcow2", "mid.qcow2", "qcow2")
    result = bench.run("chain", "verify", "--output=json", "top.qcow2", "other.qcow2", "mid.qcow2")
    images_of = json.loads(result.out)["images"]
    assert [[f["id"] for f in image["findings"]] for image in images_of] == [["missing"], [], []]
    assert [image["verdict"] for image in images_of] == ["error"] * 3
    assert [image["depth"] for image in images_of] == [3, 3, 2]
    assert result.code == 2


def test_the_worst_of_many_images_decides_the_exit_code(bench):
    bench.img("create", "-f", "qcow2", "clean.qcow2", "1M")
    bench.overlay("warns.qcow2", "clean.qcow2", "raw")
    bench.overlay("far.qcow2", "nbd://host/x", "raw")
    bench.overlay("broken.qcow2", "gone", "raw")
    verify = lambda *names: bench.run("chain", "verify", "-q", *names)  # noqa: E731
    assert verify("clean.qcow2").code == 0
    assert verify("clean.qcow2", "warns.qcow2").code == 3
    assert verify("far.qcow2", "warns.qcow2", "clean.qcow2").code == 4
    assert verify("far.qcow2", "broken.qcow2", "warns.qcow2").code == 2
    quiet = verify("broken.qcow2", "absent.qcow2")
    assert (quiet.code, quiet.out) == (1, "")


def test_a_network_reference_is_never_fatal_to_what_lies_above(bench):
    unvisited(bench)
    dirty(bench)
    bench.age()
    found, code = bench.verify("top.qcow2")
    assert [f["id"] for f in found] == ["dirty", "unvisited"]
    assert code == 4


def test_names_of_strangers_are_escaped_and_quoted(bench):
    name = "it's\x1b[31m $(touch pwned).raw"
    bench.move("base.raw", name)
    bench.point("mid.qcow2", name, "raw")
    bench.forget("mid.qcow2")
    bench.age()
    told = bench.run("chain", "verify", "top.qcow2")
    assert "\x1b" not in told.out and told.code == 2
    found, _ = bench.verify("top.qcow2")
    bench.shell(found[0]["remedy"])
    bench.age()
    assert bench.verify("top.qcow2") == ([], 0)
    assert not (bench.where / "pwned").exists()


def test_people_read_sentence_command_and_note(bench):
    format_missing_of_an_overlay(bench)
    bench.age()
    told = bench.run("chain", "verify", "top.qcow2")
    assert told.out == (
        "top.qcow2: 2 images, error\n"
        "error[format-missing]: image 'top.qcow2' does not record the format of its backing file "
        "'mid.qcow2', whose content looks like qcow2\n"
        "  try: qimg rebase -u -F qcow2 -b 'mid.qcow2' 'top.qcow2'\n"
        "  note: read as qcow2 it names further files: only if you trust what it names\n")
