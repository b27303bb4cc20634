# SPDX-License-Identifier: Apache-2.0
"""`qimg chain mv`: every chain holds afterwards; a crash at any step leaves what a second run
completes."""
import fcntl
import hashlib
import json
import os
import random
import shutil
import subprocess

import pytest

from pylib import run
from pylib.paths import BUILD, QIMG, SANITIZED

MiB = 1 << 20
JOURNAL = ".qimg-chain-mv.journal"


def make_tree(root, qemu_img, qemu_io):
    """vm/base.raw <- vm/mid.qcow2 <- vm/top.qcow2; other/o.qcow2 on mid by its absolute name."""
    for name in ("vm", "other", "dst"):
        (root / name).mkdir()
    (root / "vm/base.raw").write_bytes(random.Random(1).randbytes(MiB))
    for name, base, fmt in (("vm/mid.qcow2", "base.raw", "raw"),
                            ("vm/top.qcow2", "mid.qcow2", "qcow2"),
                            ("other/o.qcow2", f"{root}/vm/mid.qcow2", "qcow2")):
        qemu_img("create", "-q", "-f", "qcow2", "-b", base, "-F", fmt, name).ok()
        qemu_io("-c", "write -q -P 7 300k 3k", name).ok()


@pytest.fixture
def tree(scratch, qemu_img, qemu_io):
    make_tree(scratch, qemu_img, qemu_io)
    return scratch


def names(qimg, image):
    """The recorded names of the chain; the whole of it must open."""
    result = qimg("info", "--backing-chain", "--output=json", image)
    if result.code:
        return None
    return [i["backing-filename"] for i in json.loads(result.out) if "backing-filename" in i]


def content(qemu_img, scratch, image):
    qemu_img("convert", "-O", "raw", image, "guest.raw").ok()
    data = (scratch / "guest.raw").read_bytes()
    (scratch / "guest.raw").unlink()
    return data


def listing(root):
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if not p.is_dir())


def test_a_base_moves_and_all_that_name_it_follow(tree, qimg, qemu_img):
    seen = [content(qemu_img, tree, i) for i in ("vm/top.qcow2", "other/o.qcow2")]
    out = qimg("chain", "mv", "--dependants-in=.", "vm/base.raw", "vm/mid.qcow2", "dst").ok().out
    assert out.count("move '") == 2 and out.count("backing file '") == 2
    assert names(qimg, "vm/top.qcow2") == ["../dst/mid.qcow2", "base.raw"]
    assert names(qimg, "other/o.qcow2") == [f"{tree}/dst/mid.qcow2", "base.raw"]
    assert [content(qemu_img, tree, i) for i in ("vm/top.qcow2", "other/o.qcow2")] == seen
    assert listing(tree) == ["dst/base.raw", "dst/mid.qcow2", "other/o.qcow2", "vm/top.qcow2"]


def test_a_whole_directory_moves(tree, qimg):
    qimg("chain", "mv", "--dependants-in=other", "vm", "dst").ok()
    assert names(qimg, "dst/vm/top.qcow2") == ["mid.qcow2", "base.raw"]
    assert names(qimg, "other/o.qcow2") == [f"{tree}/dst/vm/mid.qcow2", "base.raw"]


def test_a_new_name(tree, qimg):
    qimg("chain", "mv", "--dependants-in=.", "vm/mid.qcow2", "vm/new name.qcow2").ok()
    assert names(qimg, "vm/top.qcow2") == ["new name.qcow2", "base.raw"]


def test_an_overlay_moves_away_from_its_base(tree, qimg):
    qimg("chain", "mv", "-q", "vm/top.qcow2", "dst").ok()
    assert names(qimg, "dst/top.qcow2") == ["../vm/mid.qcow2", "base.raw"]
    qimg("chain", "mv", "other/o.qcow2", "dst").ok()
    assert names(qimg, "dst/o.qcow2") == [f"{tree}/vm/mid.qcow2", "base.raw"]


def test_that_nobody_was_asked_about_dependants_is_told(tree, qimg):
    assert "--dependants-in=DIR" in qimg("chain", "mv", "vm/mid.qcow2", "dst").ok().out
    out = qimg("chain", "mv", "--dependants-in=.", "dst/mid.qcow2", "vm").ok().out
    assert "--dependants-in" not in out


def test_dry_run_tells_and_does_nothing(tree, qimg):
    before = listing(tree)
    result = qimg("chain", "mv", "--dry-run", "--dependants-in=.", "vm/mid.qcow2", "dst")
    assert result.code == 5 and "'mid.qcow2' -> '../dst/mid.qcow2'" in result.out
    assert listing(tree) == before and names(qimg, "vm/top.qcow2") == ["mid.qcow2", "base.raw"]


def test_fingerprints_hold_afterwards(tree, qimg):
    qimg("chain", "seal", "-q", "vm/mid.qcow2", "vm/top.qcow2", "other/o.qcow2").ok()
    qimg("chain", "mv", "--dependants-in=.", "vm/base.raw", "dst").ok()
    for image in ("vm/top.qcow2", "other/o.qcow2"):
        assert qimg("map", "--verify", image).ok().err == ""


def note(path):
    """An attribute, where the file system has them."""
    try:
        os.setxattr(path, "user.note", b"kept")
    except OSError:
        return False
    return True


def test_owner_mode_links_and_attributes_stay(tree, qimg):
    files = {"vm/mid.qcow2": "dst/mid.qcow2", "vm/base.raw": "dst/base.raw",
             "vm/top.qcow2": "vm/top.qcow2"}
    for name in files:
        os.chmod(tree / name, 0o604)
        note(tree / name)
        if os.geteuid() == 0:
            os.chown(tree / name, 1234, 4321)
        subprocess.run(["setfacl", "-m", "u:7:r", tree / name], check=False)
    before = [look(tree / name) for name in files]
    qimg("chain", "mv", "--dependants-in=.", "vm/base.raw", "vm/mid.qcow2", "dst").ok()
    assert [look(tree / name) for name in files.values()] == before


def look(path):
    st = os.stat(path)
    acl = subprocess.run(["getfacl", "-cp", path], capture_output=True, check=False).stdout
    return st.st_ino, st.st_mode, st.st_uid, st.st_gid, st.st_nlink, acl, os.listxattr(path)


# --- refusals ------------------------------------------------------------------------------------

def test_what_cannot_be_done_is_refused_before_anything_is_done(tree, qimg, qemu_img):
    (tree / "dst/base.raw").write_bytes(b"")
    qemu_img("create", "-q", "-f", "qcow2", "-u", "-b",
             'json:{"driver":"raw","file":{"driver":"file","filename":"vm/base.raw"}}', "-F", "raw",
             "vm/j.qcow2", "1M").ok()
    qemu_img("create", "-q", "-f", "qcow2", "-o", "data_file=d.raw", "d.qcow2", "1M").ok()
    os.symlink("vm", tree / "link")
    before = listing(tree)
    for args, why in ((("vm/base.raw", "dst"), "File exists"),
                      (("gone", "dst"), "No such file"),
                      (("vm/top.qcow2", "vm/mid.qcow2", "new"), "Not a directory"),
                      (("vm", "vm/sub"), "cannot be moved into itself"),
                      (("link", "dst"), "neither a regular file nor a directory"),
                      (("vm/top.qcow2", "nowhere/top.qcow2"), "No such file"),
                      (("vm/base.raw", "dst/new.raw"), "by json: or a protocol"),
                      (("d.qcow2", "dst"), "would lose its external data file")):
        qimg("chain", "mv", "--dependants-in=vm", *args).failed(why)
    qimg("chain", "mv", "vm").failed("Expecting what to move, and where to")
    assert listing(tree) == before


def test_image_and_data_file_move_together(tree, qimg, qemu_img):
    qemu_img("create", "-q", "-f", "qcow2", "-o", "data_file=d.raw", "d.qcow2", "1M").ok()
    qimg("chain", "mv", "d.qcow2", "d.raw", "dst").ok()
    qimg("map", "dst/d.qcow2").ok()


def test_an_image_in_use_undoes_the_rest(tree, qimg):
    before = listing(tree)
    with run.holding(tree, "other/o.qcow2"):
        result = qimg("chain", "mv", "--dependants-in=.", "vm/mid.qcow2", "dst")
    assert result.code == 1 and "lock" in result.err
    assert listing(tree) == before and names(qimg, "vm/top.qcow2") == ["mid.qcow2", "base.raw"]


def test_a_journal_that_was_not_finished_says_nothing(tree, qimg):
    (tree / "dst" / JOURNAL).write_text("qimg-chain-mv 1\nrename =/a =/b 1 1 file\n")
    qimg("chain", "mv", "--dependants-in=.", "vm/mid.qcow2", "dst").ok()
    assert not (tree / "dst" / JOURNAL).exists()


def whole_journal(*lines):
    text = "".join(line + "\n" for line in ("qimg-chain-mv 1", *lines))
    return f"{text}end {hashlib.sha256(text.encode()).hexdigest()}\n"


def test_a_journal_that_others_may_write_is_not_believed(tree, qimg):
    """It would have us move files of its author's choice."""
    secret = tree / "vm/base.raw"
    st = secret.stat()
    journal = tree / "dst" / JOURNAL
    journal.write_text(whole_journal(f"rename ={secret} ={tree}/dst/stolen {st.st_dev} {st.st_ino} "
                                     "file"))
    journal.chmod(0o666)
    attempt = ("chain", "mv", "other/o.qcow2", "dst")
    result = qimg(*attempt)
    assert result.code == 1 and "can be written by other users" in result.err
    assert secret.exists() and not (tree / "dst/stolen").exists()
    if os.geteuid() == 0:
        journal.chmod(0o600)
        os.chown(journal, 65534, 65534)
        assert "can be written by other users" in qimg(*attempt).err
        os.chown(journal, 0, 0)
    journal.chmod(0o600)
    qimg(*attempt).ok()
    assert not secret.exists() and (tree / "dst/stolen").exists()


def test_what_keeps_a_journal_from_being_completed_is_told(tree, qimg):
    gone = whole_journal(f"rename ={tree}/gone ={tree}/dst/gone 1 1 file")
    (tree / "dst" / JOURNAL).write_text(gone)
    (tree / "dst" / JOURNAL).chmod(0o600)
    result = qimg("chain", "mv", "other/o.qcow2", "dst")
    assert result.code == 1 and "is not the file that it was" in result.err
    assert f"its journal is '{tree}/dst/{JOURNAL}'" in result.err
    assert (tree / "dst" / JOURNAL).exists() and (tree / "other/o.qcow2").exists()


@pytest.mark.parametrize("line", ("change - - - - - - - keep", "rename =/a =/b%A 1 1 file",
                                  "rename =/a%0g =/b 1 1 file", "rename =/a% =/b 1 1 file"))
def test_a_journal_whose_names_are_missing_or_broken_off_is_refused(tree, qimg, line):
    (tree / "dst" / JOURNAL).write_text(whole_journal(line))
    (tree / "dst" / JOURNAL).chmod(0o600)
    result = qimg("chain", "mv", "other/o.qcow2", "dst")
    assert result.code == 1 and "cannot be understood" in result.err


def test_two_moves_to_one_directory_do_not_meet(tree, qimg):
    before = listing(tree)
    lock = os.open(tree / "dst", os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    result = qimg("chain", "mv", "--dependants-in=.", "vm/mid.qcow2", "dst")
    assert result.code == 1 and "is under way" in result.err and listing(tree) == before
    (tree / "dst" / JOURNAL).write_text("the other one is about to write this")
    assert "is under way" in qimg("chain", "mv", "vm/mid.qcow2", "dst").err
    assert (tree / "dst" / JOURNAL).exists()
    os.close(lock)
    qimg("chain", "mv", "--dependants-in=.", "vm/mid.qcow2", "dst").ok()


# --- crashes -------------------------------------------------------------------------------------

def kill_at(directory, number, *args):
    """The exit code of qimg; -9 where it was killed at that step."""
    env = {**os.environ, "LC_ALL": "C", "LD_PRELOAD": str(BUILD / "tests/kill_at.so"),
           "KILL_AT": str(number)}
    return subprocess.run([QIMG, *args], cwd=directory, env=env, capture_output=True,
                          timeout=60, check=False).returncode


MOVES = {
    "files": (["--dependants-in=.", "vm/base.raw", "vm/mid.qcow2", "dst"],
              {"vm/top.qcow2": ["../dst/mid.qcow2", "base.raw"],
               "other/o.qcow2": ["%s/dst/mid.qcow2", "base.raw"]}),
    "a directory": (["--dependants-in=other", "vm", "dst"],
                    {"dst/vm/top.qcow2": ["mid.qcow2", "base.raw"],
                     "other/o.qcow2": ["%s/dst/vm/mid.qcow2", "base.raw"]}),
}


@pytest.mark.skipif(SANITIZED, reason="the sanitizer wants to be loaded first")
@pytest.mark.parametrize("move", MOVES)
def test_a_second_run_completes_what_a_crash_at_any_step_left(scratch, move):
    args, wanted = MOVES[move]
    home, work = scratch / "home", scratch / "work"
    home.mkdir()
    work.mkdir()
    make_tree(work, run.qemu_img(work), run.qemu_io(work))
    run.ours(work)("chain", "seal", "-q", "vm/mid.qcow2", "vm/top.qcow2", "other/o.qcow2").ok()
    subprocess.run(["cp", "-a", f"{work}/.", home], check=True)
    killed = 0
    for number in range(1, 500):
        code = kill_at(work, number, "chain", "mv", "-q", *args)
        if code == 0:
            break
        assert code == -9, number
        killed += 1
        if move == "files":  # hard links keep every chain whole meanwhile
            assert names(run.ours(work), "other/o.qcow2"), number
            assert names(run.ours(work), "vm/top.qcow2"), number
        unfinished = (work / "dst" / JOURNAL).exists() or not done(work, wanted)
        again = run.ours(work)("chain", "mv", *args)
        assert again.code == (0 if unfinished else 1), f"{number}: {again.err}"
        check(work, wanted, number)
        shutil.rmtree(work)
        subprocess.run(["cp", "-a", home, work], check=True)
    assert killed >= 10
    check(work, wanted, "the end")


def done(work, wanted):
    return all((work / image).exists() for image in wanted) and not (work / "vm/base.raw").exists()


def check(work, wanted, number):
    qimg = run.ours(work)
    for image, chain in wanted.items():
        recorded = [name % work if "%s" in name else name for name in chain]
        assert names(qimg, image) == recorded, number
        assert qimg("map", "--verify", image).ok().err == "", number
    assert not list(work.rglob(JOURNAL)), number
    assert len(listing(work)) == 4, number
