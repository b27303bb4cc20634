# SPDX-License-Identifier: Apache-2.0
"""Who may be opened on an image's word, and that each printed remedy mends."""
import contextlib
import os
import shlex
import subprocess
import threading

import pytest

from pylib import images, run


@pytest.fixture
def unformatted(twin):
    """top.qcow2 names base.qcow2 and does not say in which format."""
    images.make(twin, "compat=1.1", "base.qcow2", 1 << 20)
    twin.io("base.qcow2", "write -q -P 7 0 1M")
    twin.img("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2")
    images.forget_format(twin.theirs / "top.qcow2")
    return twin.theirs


READ = (("map",), ("convert", "-O", "raw"), ("info", "--backing-chain"), ("compare",))


def with_operands(command, name):
    if command[0] == "convert":
        return (*command, name, "out.raw")
    return (*command, name, name) if command[0] == "compare" else (*command, name)


@pytest.mark.parametrize("command", READ, ids=lambda c: c[0])
def test_strict_refuses_a_backing_file_without_a_format(unformatted, command):
    result = run.ours(unformatted)(*with_operands(command, "top.qcow2"))
    assert result.code == (2 if command[0] == "compare" else 1)
    assert "top.qcow2" in result.err and "base.qcow2" in result.err
    assert "rebase" in result.err, "the remedy is printed"


def test_the_printed_remedy_mends(unformatted):
    refused = run.ours(unformatted)("map", "top.qcow2")
    assert refused.code == 1
    remedies = [line.strip() for line in refused.err.splitlines() if "rebase" in line]
    command = remedies[0][remedies[0].index("qimg rebase"):].rstrip(".")
    words = ["qcow2" if word in ("FORMAT", "FMT", "<format>") else word
             for word in shlex.split(command)]
    done = subprocess.run(words, executable=str(run.ours().path), cwd=unformatted,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    run.ours(unformatted)("map", "top.qcow2").ok()


FOREIGN = {"vmdk": (b"KDMV", b"COWD", b"# Disk DescriptorFile"),
           "vdi": (bytes(64) + b"\x7f\x10\xda\xbe",), "vhdx": (b"vhdxfile",),
           "vpc": (b"conectix",), "qed": (b"QED\0",), "qcow": (b"QFI\xfb\0\0\0\1",),
           "luks": (b"LUKS\xba\xbe",), "parallels": (b"WithoutFreeSpace", b"WithouFreSpacExt")}


@pytest.mark.parametrize("form", FOREIGN)
def test_what_begins_like_a_foreign_image_is_raw_only_if_that_is_said(unformatted, form):
    tool, base = run.ours(unformatted), unformatted / "base.qcow2"
    for head in FOREIGN[form]:
        base.write_bytes(head.ljust(1 << 20, b"\0"))
        for command in (("info",), ("resize", "-q"), ("io", "-c", "write 0 512")):
            size = ("2M",) if command[0] == "resize" else ()
            tool(*command, base, *size).failed(f"It begins like a {form} image", "so: -f raw")
        assert base.read_bytes()[:len(head)] == head and base.stat().st_size == 1 << 20
        guessed = tool("map", "--allow-probe", "top.qcow2").failed(f"like a {form} image")
        tool("info", "-f", "raw", base).ok()
    subprocess.run(shlex.split(remedy(guessed, FORMAT="raw")), executable=str(tool.path),
                   cwd=unformatted, check=True)
    tool("convert", "-O", "raw", "top.qcow2", "out").ok()
    assert (unformatted / "out").read_bytes() == base.read_bytes()


def remedy(result, **words):
    """The command that @result prints, its placeholders filled in."""
    line = [line for line in result.err.splitlines() if "qimg rebase" in line][0]
    command = line[line.index("qimg rebase"):]
    for word, value in words.items():
        command = command.replace(f" {word} ", f" {value} ")
    return command


def obey(command, here):
    """As a person would who copies it into a shell."""
    shell = f'qimg() {{ "{run.ours().path}" "$@"; }}; {command}'
    done = subprocess.run(["bash", "-c", shell], cwd=here, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"


@pytest.mark.parametrize("name", ("-n.qcow2", "- -.qcow2", "it's.qcow2", "-\x1b[1m.qcow2"))
def test_remedies_work_for_odd_names(unformatted, name):
    (unformatted / "top.qcow2").rename(unformatted / name)
    obey(remedy(run.ours(unformatted)("map", "--", name).failed("no recorded format"),
                FORMAT="qcow2"), unformatted)
    run.ours(unformatted)("map", "--", name).ok()


@pytest.mark.parametrize("broken", ("missing", "another format"))
def test_a_broken_chain_says_which_image_names_what(twin, broken):
    top = images.chain(twin, 3)
    here = twin.theirs
    (here / "c0.raw").rename(here / "new")
    if broken != "missing":
        (here / "new").rename(here / "c0.raw")
        twin.img("rebase", "-u", "-F", "qcow2", "-b", "c0.raw", "c1.qcow2")
    for command in READ:
        result = run.ours(here)(*with_operands(command, top))
        assert result.code in (1, 2) and "\nc1.qcow2 names " in result.err, result.err
        as_qemu = run.as_qemu_img(here)(*with_operands(command, top))
        assert "c1.qcow2 names" not in as_qemu.err
    obey(remedy(result, NEW="new", FORMAT="raw"), here)
    run.ours(here)("map", top).ok()


def test_a_data_file_of_two_layers_is_no_loop(twin):
    twin.img("create", "-q", "-f", "qcow2", "-o", "data_file=d.bin", "a", "1M")
    twin.img("create", "-q", "-f", "qcow2", "-o", "data_file=d.bin", "-b", "a", "-F", "qcow2", "b")
    twin.img("rebase", "-u", "-b", "d.bin", "-F", "raw", "a")
    for command in READ:
        run.ours(twin.theirs)(*with_operands(command, "b")).ok()


@pytest.mark.parametrize("command", READ, ids=lambda c: c[0])
@pytest.mark.parametrize("option", ("--allow-probe", "--compat=qemu"))
def test_options_that_accept_a_probed_format(unformatted, command, option):
    run.ours(unformatted)(option, *with_operands(command, "top.qcow2")).ok()


def test_allow_probe_does_not_follow_what_was_probed(unformatted):
    """libvirt's rule: a probed image may not lead to further files."""
    tool = run.qemu_img(unformatted)
    tool("create", "-q", "-f", "qcow2", "-b", "top.qcow2", "-F", "qcow2", "top2.qcow2").ok()
    images.forget_format(unformatted / "top2.qcow2")
    assert run.ours(unformatted)("map", "--allow-probe", "top2.qcow2").code == 1
    run.ours(unformatted)("--compat=qemu", "map", "top2.qcow2").ok()


def test_as_qemu_img_it_probes(unformatted):
    run.as_qemu_img(unformatted)("map", "top.qcow2").ok()


def test_commands_that_need_no_backing_file_open_none(unformatted):
    tool = run.ours(unformatted)
    (unformatted / "base.qcow2").unlink()
    tool("info", "top.qcow2").ok()
    tool("rebase", "-u", "-b", "other", "-F", "raw", "top.qcow2").ok()
    tool("create", "-q", "-f", "qcow2", "-u", "-b", "nox", "-F", "raw", "x.qcow2", "1M").ok()


def test_no_image_of_its_own_chain_is_overwritten(twin):
    top = images.chain(twin, 3)
    for name in ("c0.raw", top):
        before = (twin.theirs / name).read_bytes()
        run.ours(twin.theirs)("create", "-q", "-f", "qcow2", "-b", top, "-F", "qcow2",
                              name).failed("same filename as the backing file")
        assert (twin.theirs / name).read_bytes() == before, name


def test_no_backing_refuses_every_chain(twin):
    top = images.chain(twin, 2)
    tool = run.ours(twin.theirs)
    tool("map", "--no-backing", top).failed("c0.raw", "--no-backing")
    tool("map", "--no-backing", "c0.raw").ok()
    tool("info", "--no-backing", top).ok()


def test_no_data_file(twin):
    twin.img("create", "-q", "-f", "qcow2", "-o", "data_file=d.bin", "a", "1M")
    run.ours(twin.theirs)("map", "--no-data-file", "a").failed("d.bin")
    run.ours(twin.theirs)("map", "a").ok()


@pytest.mark.parametrize("depth,limit,fine", ((5, 5, True), (5, 4, False), (1, 1, True)))
def test_max_depth(twin, depth, limit, fine):
    top = images.chain(twin, depth)
    result = run.ours(twin.theirs)("map", f"--max-depth={limit}", top)
    assert result.code == (0 if fine else 1), result.err


def test_allow_dir(twin):
    (twin.theirs / "in").mkdir()
    (twin.theirs / "out").mkdir()
    twin.img("create", "-q", "-f", "raw", "in/base", "1M")
    twin.img("create", "-q", "-f", "raw", "out/base", "1M")
    (twin.theirs / "in/link").symlink_to("../out/base")
    for number, name in enumerate(("base", "../out/base", "../in/base", "link")):
        twin.img("create", "-q", "-f", "qcow2", "-b", name, "-F", "raw", f"in/top{number}")
    tool = run.ours(twin.theirs)
    tool("map", "--allow-dir=in", "in/top0").ok()
    tool("map", "--allow-dir=in", "in/top1").failed("out/base")
    tool("map", "--allow-dir=in", "--allow-dir=out", "in/top1").ok()
    tool("map", "--allow-dir=in", "in/top2").ok()
    tool("map", "--allow-dir=in", "in/top3").failed("link", f"'{twin.theirs}/out/base'")
    tool("map", "--allow-dir=nowhere", "in/top0").failed("--allow-dir 'nowhere': No such file")
    tool("map", "--allow-dir=in/base", "in/top0").failed("--allow-dir 'in/base': Not a dir")


def test_allow_format(twin):
    top = images.chain(twin, 2)
    tool = run.ours(twin.theirs)
    tool("map", "--allow-format=raw", top).ok()
    tool("map", "--allow-format=qcow2", top).failed("raw")


@pytest.mark.parametrize("name", (
    "nbd://localhost/x", "http://localhost/x", "nosuch:x", "json:{'driver':'nbd'}",
    "json:{'driver':'null-co'}", "json:{'driver':'qcow2','file':{'driver':'http'}}"))
def test_strict_opens_local_files_only(twin, name):
    twin.img("create", "-q", "-f", "qcow2", "top", "1M")
    twin.img("rebase", "-u", "-b", name, "-F", "raw", "top")
    result = run.ours(twin.theirs)("map", "top")
    assert result.code == 1 and result.seconds < 5
    assert "top" in result.err


def test_local_json_names_are_followed(twin):
    twin.img("create", "-q", "-f", "raw", "base", "1M")
    name = 'json:{"driver":"raw","file":{"driver":"file","filename":"base"}}'
    twin.img("create", "-q", "-u", "-f", "qcow2", "-b", name, "-F", "raw", "top", "1M")
    run.ours(twin.theirs)("map", "top").ok()


@pytest.mark.parametrize("how", ("self", "pair", "hard link", "symlink"))
def test_loops_are_found_by_every_command(twin, how):
    here, tool = twin.theirs, run.ours(twin.theirs)
    twin.img("create", "-q", "-f", "qcow2", "a", "1M")
    names = {"self": ["a"], "pair": ["b", "a"], "hard link": ["h"], "symlink": ["s"]}[how]
    os.link(here / "a", here / "h")
    os.symlink("a", here / "s")
    if how == "pair":
        twin.img("create", "-q", "-u", "-f", "qcow2", "-b", "a", "-F", "qcow2", "b", "1M")
    twin.img("rebase", "-u", "-b", names[0], "-F", "qcow2", "a")
    for command in READ:
        result = tool(*with_operands(command, "a"))
        assert result.code in (1, 2) and "loop" in result.err, f"{result}{result.err}"
    tool("info", "a").ok()
    tool("rebase", "-u", "a").ok()
    tool("map", "a").ok()


@pytest.mark.parametrize("kind", ("fifo", "directory", "socket", "device"))
@pytest.mark.parametrize("role", ("backing", "data file"))
def test_a_reference_must_be_a_file_or_a_block_device(twin, kind, role):
    here = twin.theirs
    if role == "backing":
        twin.img("create", "-q", "-u", "-f", "qcow2", "-b", "thing", "-F", "raw", "top", "1M")
    else:
        twin.img("create", "-q", "-f", "qcow2", "-o", "data_file=thing", "top", "1M")
        (here / "thing").unlink()
    if kind == "fifo":
        os.mkfifo(here / "thing")
    elif kind == "directory":
        (here / "thing").mkdir()
    elif kind == "device":
        os.symlink("/dev/zero", here / "thing")
    else:
        run.socket_at(here / "thing")
    for program in (run.ours(here), run.as_qemu_img(here)):
        result = program("map", "top")
        assert result.code == 1 and "thing" in result.err and result.seconds < 5


def holders(here):
    """Images that name in/link in each way there is, by what names it."""
    tool = run.qemu_img(here)
    named = {"backing": "link", "json":
             'json:{"driver":"raw","file":{"driver":"file","filename":"in/link"}}'}
    for kind, name in named.items():
        tool("create", "-q", "-u", "-f", "qcow2", "-b", name, "-F", "raw", f"in/{kind}", "64k").ok()
    # Made where the name says the same to QEMU, which looks in the current directory.
    run.qemu_img(here / "in")("create", "-q", "-f", "qcow2", "-o", "data_file=made", "data file",
                              "64k").ok()
    run.qemu_io(here / "in")("-f", "qcow2", "-c", "write -q -P 1 0 64k", "data file").ok()
    (here / "in/made").rename(here / "in/data")
    (here / "in/made").symlink_to("link")
    return (*named, "data file")


@contextlib.contextmanager
def swapping(link, *targets):
    """A link that leads now here, now there, thousands of times."""
    stop, count, between = threading.Event(), 0, link.with_name("between")

    def swap():
        nonlocal count
        while not stop.is_set():
            between.unlink(missing_ok=True)
            between.symlink_to(targets[count % 2])
            os.replace(between, link)
            count += 1

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield lambda: count
    finally:
        stop.set()
        thread.join()


def test_a_link_that_is_swapped_while_it_is_opened_never_leads_out(twin):
    here, tool = twin.theirs, run.ours(twin.theirs)
    for directory in ("in", "out"):
        (here / directory).mkdir()
    kinds = holders(here)
    (here / "in/data").write_bytes(b"\1" * 65536)
    (here / "out/secret").write_bytes(b"S" * 65536)
    (here / "in/link").symlink_to("data")
    for kind in kinds:
        seen = {"read": 0, "refused": 0}
        with swapping(here / "in/link", "data", "../out/secret") as swaps:
            while swaps() < 1000 or not all(seen.values()):
                result = tool("convert", "-O", "raw", "--allow-dir=in", f"in/{kind}", "out.raw")
                if result.code == 0:
                    assert (here / "out.raw").read_bytes() == b"\1" * 65536, kind
                else:
                    result.failed("--allow-dir lists")
                seen["read" if result.code == 0 else "refused"] += 1
                assert sum(seen.values()) < 500, f"{kind}: no race: {seen}"
