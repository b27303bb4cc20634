# SPDX-License-Identifier: Apache-2.0
"""`qimg chain fix`: each repair, what it must not decide by itself, and that files stay as they
are but for the names."""
import json
import os
import random
import shutil
import subprocess

import pytest

from pylib import run

MiB = 1 << 20


@pytest.fixture
def chain(scratch, qimg, qemu_img, qemu_io):
    """vm/base.raw <- vm/mid.qcow2 <- vm/top.qcow2, by relative names, all with data."""
    (scratch / "vm").mkdir()
    make_base(scratch / "vm/base.raw", 1)
    qemu_img("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "vm/mid.qcow2").ok()
    qemu_img("create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "vm/top.qcow2").ok()
    qemu_io("-c", "write -q -P 1 100k 3k", "vm/mid.qcow2").ok()
    qemu_io("-c", "write -q -P 2 300k 3k", "vm/top.qcow2").ok()
    return scratch / "vm"


def make_base(path, seed):
    path.write_bytes(random.Random(seed).randbytes(MiB) + bytes(3 * MiB))


def fix(qimg, *args, code):
    result = qimg("chain", "fix", *args)
    assert result.code == code, f"{result}{result.out}{result.err}"
    return result.out


def names(qemu_img, image="vm/top.qcow2"):
    """What each image of the chain records, as QEMU reads it."""
    infos = json.loads(qemu_img("info", "--output=json", "--backing-chain", image).ok().out)
    return [(i["backing-filename"], i.get("backing-filename-format")) for i in infos[:-1]]


def guest(qemu_img, scratch, image="vm/top.qcow2"):
    qemu_img("convert", "-O", "raw", image, "guest.raw").ok()
    return (scratch / "guest.raw").read_bytes()


def forget_format(path):
    data = path.read_bytes()
    at = data.index(b"\xe2\x79\x2a\xca")
    with open(path, "r+b") as image:
        image.seek(at)
        image.write(b"\x11\x22\x33\x44")


def test_nothing_to_do(chain, qimg):
    assert fix(qimg, "vm/top.qcow2", code=0) == "nothing to do\n"


def test_dry_run_writes_nothing(chain, qimg):
    before = {path: path.read_bytes() for path in chain.iterdir()}
    out = fix(qimg, "--absolute", "vm/top.qcow2", code=5)
    assert "dry run, nothing written; add --apply" in out
    assert {path: path.read_bytes() for path in chain.iterdir()} == before


def test_absolute_and_back(chain, qimg, qemu_img, scratch):
    seen = guest(qemu_img, scratch)
    fix(qimg, "--absolute", "--apply", "vm/top.qcow2", code=0)
    assert names(qemu_img) == [(f"{chain}/mid.qcow2", "qcow2"), (f"{chain}/base.raw", "raw")]
    fix(qimg, "--absolute", "vm/top.qcow2", code=0)
    fix(qimg, "--relative", "--apply", "vm/top.qcow2", code=0)
    assert names(qemu_img) == [("mid.qcow2", "qcow2"), ("base.raw", "raw")]
    assert guest(qemu_img, scratch) == seen


def test_relative_names_with_a_colon_get_a_dot(scratch, qimg, qemu_img):
    make_base(scratch / "a:b.raw", 1)
    qemu_img("create", "-q", "-f", "qcow2", "-b", f"{scratch}/a:b.raw", "-F", "raw", "t.qcow2").ok()
    fix(qimg, "--relative", "--apply", "t.qcow2", code=0)
    assert names(qemu_img, "t.qcow2") == [("./a:b.raw", "raw")]


def test_a_relative_name_that_would_lead_elsewhere_stays_absolute(scratch, qimg, qemu_img):
    (scratch / "real/deep").mkdir(parents=True)
    make_base(scratch / "base.raw", 1)
    os.symlink("real/deep", scratch / "link")
    qemu_img("create", "-q", "-f", "qcow2", "-b", f"{scratch}/base.raw", "-F", "raw",
             "link/t.qcow2").ok()
    fix(qimg, "--relative", "link/t.qcow2", code=0)


# --- formats -------------------------------------------------------------------------------------

def test_a_missing_format_is_not_set_unless_asked(chain, qimg):
    forget_format(chain / "mid.qcow2")
    assert "undecided: its format is not recorded: --set-format" in \
        fix(qimg, "--apply", "vm/top.qcow2", code=2)


def test_raw_is_certain_where_no_image_is_there(chain, qimg, qemu_img):
    forget_format(chain / "mid.qcow2")
    fix(qimg, "--set-format", "--apply", "vm/top.qcow2", code=0)
    assert names(qemu_img)[1] == ("base.raw", "raw")


def test_an_image_that_names_no_further_file_is_certain(chain, qimg, qemu_img):
    qemu_img("create", "-q", "-f", "qcow2", "vm/mid.qcow2", "4M").ok()
    forget_format(chain / "top.qcow2")
    fix(qimg, "--set-format", "--apply", "vm/top.qcow2", code=0)
    assert names(qemu_img) == [("mid.qcow2", "qcow2")]


def test_an_image_that_leads_on_is_for_the_user_to_decide(chain, qimg, qemu_img):
    forget_format(chain / "top.qcow2")
    out = fix(qimg, "--set-format", "--apply", "vm/top.qcow2", code=2)
    assert "names a further file: if that is to be trusted, --set-format=1:qcow2" in out
    fix(qimg, "--set-format=1:qcow2", "--apply", "vm/top.qcow2", code=0)
    assert names(qemu_img)[0] == ("mid.qcow2", "qcow2")


def test_an_image_called_raw_is_for_the_user_to_decide(scratch, qimg, qemu_img):
    for data_file in (False, True):
        qemu_img("create", "-q", "-f", "qcow2", *(["-o", "data_file=d"] if data_file else []),
                 "b.img", "1M").ok()
        qemu_img("create", "-q", "-f", "qcow2", "-b", "b.img", "-F", "qcow2", "t.qcow2").ok()
        forget_format(scratch / "t.qcow2")
        assert "undecided" in fix(qimg, "--set-format", "t.qcow2", code=2)


def test_a_wrong_format_is_for_the_user_to_decide(chain, qimg, qemu_img):
    qemu_img("rebase", "-u", "-b", "base.raw", "-F", "vmdk", "vm/mid.qcow2").ok()
    assert fix(qimg, "vm/top.qcow2", code=0)  # a format that qimg does not read is believed
    qemu_img("rebase", "-u", "-b", "base.raw", "-F", "qcow2", "vm/mid.qcow2").ok()
    assert "not readable as qcow2" in fix(qimg, "--set-format", "vm/top.qcow2", code=2)
    fix(qimg, "--set-format=2:raw", "--apply", "vm/top.qcow2", code=0)
    assert names(qemu_img)[1] == ("base.raw", "raw")


# --- moved files ---------------------------------------------------------------------------------

def test_the_only_candidate_is_taken(chain, qimg, qemu_img, scratch):
    seen = guest(qemu_img, scratch)
    (scratch / "new/deep").mkdir(parents=True)
    shutil.move(chain / "base.raw", scratch / "new/deep/base.raw")
    assert "it is missing: --relocate=DIR or --pick=2=PATH" in fix(qimg, "vm/top.qcow2", code=2)
    out = fix(qimg, "--relocate", "new", "vm/top.qcow2", code=5)
    assert "copied-up sectors match  [taken]" in out
    fix(qimg, "--relocate", "new", "--apply", "vm/top.qcow2", code=0)
    assert names(qemu_img)[1] == ("../new/deep/base.raw", "raw")
    assert guest(qemu_img, scratch) == seen


def test_a_whole_tree_that_moved_is_mended_at_once(chain, qimg, qemu_img, scratch):
    fix(qimg, "--absolute", "--apply", "vm/top.qcow2", code=0)
    seen = guest(qemu_img, scratch)
    chain.rename(scratch / "srv")
    fix(qimg, "--relocate", "srv", "--relative", "--apply", "srv/top.qcow2", code=0)
    assert names(qemu_img, "srv/top.qcow2") == [("mid.qcow2", "qcow2"), ("base.raw", "raw")]
    assert guest(qemu_img, scratch, "srv/top.qcow2") == seen


def test_of_two_that_fit_none_is_taken(chain, qimg, qemu_img, scratch):
    for name, seed in (("a", 1), ("b", 2)):
        (scratch / name).mkdir()
        make_base(scratch / name / "base.raw", seed)
    (chain / "base.raw").unlink()
    out = fix(qimg, "--relocate=.", "--apply", "vm/top.qcow2", code=2)
    lines = {line.split()[1]: line for line in out.split("\n") if "candidate /" in line}
    assert "122 of 128 copied-up sectors match" in lines[f"{scratch}/a/base.raw"]
    assert "0 of 128 copied-up sectors match" in lines[f"{scratch}/b/base.raw"]
    assert "2 candidates were found: --pick=2=PATH" in out
    fix(qimg, "--pick=2=a/base.raw", "--apply", "vm/top.qcow2", code=0)
    assert names(qemu_img)[1] == ("../a/base.raw", "raw")


def test_hard_links_of_one_file_are_one_candidate(chain, qimg, scratch):
    for name in ("a", "b"):
        (scratch / name).mkdir()
    shutil.move(chain / "base.raw", scratch / "a/base.raw")
    os.link(scratch / "a/base.raw", scratch / "b/base.raw")
    assert "[taken]" in fix(qimg, "--relocate=.", "vm/top.qcow2", code=5)


def test_a_fingerprint_decides_between_two(chain, qimg, qemu_img, scratch):
    qimg("chain", "seal", "-q", "vm/mid.qcow2").ok()
    qimg("chain", "seal", "-q", "vm/top.qcow2").ok()
    for name in ("a", "b"):
        (scratch / name).mkdir()
    shutil.move(chain / "base.raw", scratch / "b/base.raw")
    make_base(scratch / "a/base.raw", 2)
    out = fix(qimg, "--relocate=.", "--apply", "vm/top.qcow2", code=0)
    assert "a/base.raw  raw, same size, not what the fingerprint describes" in out
    assert "as the fingerprint says" in out
    assert names(qemu_img)[1] == ("../b/base.raw", "raw")
    # Both records hold: the one of mid follows the name, that of top the new time of mid.
    qimg("map", "--verify", "vm/top.qcow2").ok()
    assert qimg("map", "--verify", "vm/top.qcow2").err == ""


@pytest.mark.parametrize("what, why", (
    ("size", "5242880 bytes, the overlay has 4194304"), ("format", "looks like qcow2, not raw"),
    ("directory", "0 candidates")))
def test_candidates_that_do_not_fit(chain, qimg, qemu_img, scratch, what, why):
    (scratch / "new").mkdir()
    (chain / "base.raw").unlink()
    if what == "size":
        (scratch / "new/base.raw").write_bytes(bytes(5 * MiB))
    elif what == "format":
        qemu_img("create", "-q", "-f", "qcow2", "new/base.raw", "4M").ok()
    else:
        (scratch / "new/base.raw").mkdir()
    assert why in fix(qimg, "--relocate=new", "vm/top.qcow2", code=2)


def test_a_base_smaller_than_its_overlay_is_taken_by_what_was_copied_up(scratch, qimg, qemu_img,
                                                                       qemu_io):
    """As of a cloud's image, whose overlays are made larger."""
    make_base(scratch / "base.raw", 1)
    qemu_img("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "top.qcow2", "1G").ok()
    qemu_io("-c", "write -q 100k 1k", "top.qcow2").ok()
    (scratch / "new").mkdir()
    make_base(scratch / "new/base.raw", 2)
    (scratch / "base.raw").unlink()
    assert "0 of 128 copied-up sectors match\n" in fix(qimg, "--relocate=.", "top.qcow2", code=2)
    make_base(scratch / "new/base.raw", 1)
    assert "126 of 128 copied-up sectors match  [taken]" in \
        fix(qimg, "--relocate=.", "top.qcow2", code=5)


def test_of_more_candidates_than_are_looked_at_none_is_taken(chain, qimg, scratch):
    for i in range(100):
        (scratch / f"c{i}").mkdir()
        (scratch / f"c{i}/base.raw").write_bytes(bytes(512))
    shutil.move(chain / "base.raw", scratch / "c7/base.raw")
    out = fix(qimg, "--relocate=.", "vm/top.qcow2", code=2)
    assert "[taken]" not in out and out.count("[fits]") == 1


def test_a_missing_data_file_is_told_of(chain, qimg, qemu_img, scratch):
    make = ("create", "-q", "-f", "qcow2", "-o", "data_file=it's.data,data_file_raw=on")
    qemu_img(*make, "d.qcow2", "1M").ok()
    qemu_img("create", "-q", "-f", "qcow2", "-b", "d.qcow2", "-F", "qcow2", "o.qcow2").ok()
    fix(qimg, "o.qcow2", code=0)
    (scratch / "it's.data").rename(scratch / "moved.data")
    out = fix(qimg, "--relocate=.", "o.qcow2", code=2)
    assert f"image 1 {scratch}/d.qcow2: data file 'it's.data'\n  undecided: it is missing" in out
    command = out.split("doubled): ")[1].split("\n")[0].replace("FILE", "moved.data")
    subprocess.run(["sh", "-ec", command.replace("qimg", str(qimg.path), 1)], cwd=scratch,
                   check=True)
    fix(qimg, "o.qcow2", code=0)


JSON = 'json:{"file":{"driver":"file","filename":"old/base.raw"}}'


def test_a_json_name_of_a_missing_file_is_looked_for_by_its_path(scratch, qimg, qemu_img):
    qemu_img("create", "-q", "-u", "-f", "qcow2", "-b", JSON, "-F", "raw", "t.qcow2", "4M").ok()
    (scratch / "new").mkdir()
    make_base(scratch / "new/base.raw", 1)
    fix(qimg, "--relocate=.", "--apply", "t.qcow2", code=0)
    assert names(qemu_img, "t.qcow2") == [(f"{scratch}/new/base.raw", "raw")]


def test_a_json_name_that_is_relative_can_be_made_absolute(scratch, qimg, qemu_img):
    (scratch / "old").mkdir()
    make_base(scratch / "old/base.raw", 1)
    qemu_img("create", "-q", "-u", "-f", "qcow2", "-b", JSON, "-F", "raw", "t.qcow2", "4M").ok()
    fix(qimg, "t.qcow2", code=0)
    fix(qimg, "--absolute", "--apply", "t.qcow2", code=0)
    assert names(qemu_img, "t.qcow2") == [(f"{scratch}/old/base.raw", "raw")]
    fix(qimg, "--absolute", "t.qcow2", code=0)


def test_a_loop_is_for_the_user_to_decide(scratch, qimg, qemu_img):
    for name in "abc":
        qemu_img("create", "-q", "-f", "qcow2", name, "1M").ok()
    for name, backing in (("a", "b"), ("b", "a")):
        qemu_img("rebase", "-u", "-F", "qcow2", "-b", backing, name).ok()
    out = fix(qimg, "--absolute", "--apply", "a", code=2)
    assert "image 1" in out and "it leads back into its own chain: --pick=2=PATH" in out
    assert names(qemu_img, "c") == [] and qimg("info", "b").ok().out.count("backing file: a") == 1
    fix(qimg, "--pick=2=c", "--apply", "a", code=0)
    assert names(qemu_img, "a") == [("b", "qcow2"), ("c", "qcow2")]


# --- what stays ----------------------------------------------------------------------------------

def note(path):
    """An attribute, where the file system has them."""
    try:
        os.setxattr(path, "user.note", b"kept")
    except OSError:
        return False
    return True


def test_owner_mode_links_and_attributes_stay(chain, qimg):
    top = chain / "top.qcow2"
    os.link(top, chain / "link")
    os.chmod(top, 0o640)
    noted = note(top)
    if os.geteuid() == 0:
        os.chown(top, 1234, 4321)
    subprocess.run(["setfacl", "-m", "u:7:r", top], check=False)
    acl = subprocess.run(["getfacl", "-cp", top], capture_output=True, check=False).stdout
    before = os.stat(top)
    fix(qimg, "--absolute", "--apply", "vm/top.qcow2", code=0)
    after = os.stat(top)
    for field in ("st_ino", "st_mode", "st_uid", "st_gid", "st_nlink", "st_size"):
        assert getattr(before, field) == getattr(after, field)
    assert not noted or os.getxattr(top, "user.note") == b"kept"
    assert subprocess.run(["getfacl", "-cp", top], capture_output=True,
                          check=False).stdout == acl


def test_an_image_in_use_is_not_changed_nor_are_the_others(chain, qimg, qemu_img):
    with run.holding(chain.parent, "vm/top.qcow2"):
        result = qimg("chain", "fix", "--absolute", "--apply", "vm/top.qcow2")
    assert result.code == 1 and "nothing was changed" in result.err and "lock" in result.err
    assert names(qemu_img) == [("mid.qcow2", "qcow2"), ("base.raw", "raw")]


def test_json(chain, qimg):
    plan = json.loads(fix(qimg, "--absolute", "--output=json", "vm/top.qcow2", code=5))
    assert plan["applied"] is False and plan["undecided"] == 0
    assert [s["new-name"] for s in plan["steps"]] == [f"{chain}/mid.qcow2", f"{chain}/base.raw"]


@pytest.mark.parametrize("args, why", (
    ((), "Expecting one image"), (("--relative", "--absolute", "x"), "exclude each other"),
    (("gone",), "Could not open 'gone'"), (("--pick=x", "y"), "Expecting INDEX=VALUE"),
    (("--set-format=1:what", "vm/top.qcow2"), "Invalid format name: 'what'"),
    (("--pick=9=vm/base.raw", "vm/top.qcow2"), "the chain has no image 9"),
    (("--pick=1=gone", "vm/top.qcow2"), "Could not open 'gone'"),
))
def test_mistakes(chain, qimg, args, why):
    qimg("chain", "fix", *args).failed(why)


def test_a_directory_that_is_not_there_is_not_an_empty_one(chain, qimg):
    (chain / "base.raw").unlink()
    qimg("chain", "fix", "--relocate=gone", "vm/top.qcow2").failed("Could not search 'gone'")
