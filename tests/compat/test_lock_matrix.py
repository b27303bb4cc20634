# SPDX-License-Identifier: Apache-2.0
"""Who may open an image that somebody has open, with which sentence: readers, writers, those who
make it longer and those who force their way, before and after each other, qimg and QEMU on either
side. Both programs say the same, whoever holds the image; and both hold the same locks."""
import pytest

from pylib import holders, run
from pylib.twin import Twin

HOLDERS = ("qemu-io", "qimg", "qemu-storage-daemon")

# (program, arguments); of {} is made the format.
COMERS = {
    "info": ("qemu-img", "info", "a"),
    "info -U": ("qemu-img", "info", "-U", "a"),
    "map": ("qemu-img", "map", "-f", "{}", "a"),
    "convert": ("qemu-img", "convert", "-f", "{}", "-O", "raw", "a", "out"),
    "convert -U": ("qemu-img", "convert", "-U", "-f", "{}", "-O", "raw", "a", "out"),
    "compare": ("qemu-img", "compare", "-f", "{}", "-F", "raw", "a", "zeros"),
    "compare -U": ("qemu-img", "compare", "-U", "-f", "{}", "-F", "raw", "a", "zeros"),
    "dd": ("qemu-img", "dd", "-f", "{}", "-O", "raw", "if=a", "of=out"),
    "measure": ("qemu-img", "measure", "-f", "{}", "-O", "qcow2", "a"),
    "reader": ("qemu-io", "-r", "-f", "{}", "-c", "read -q 0 512", "a"),
    "reader -U": ("qemu-io", "-r", "-U", "-f", "{}", "-c", "read -q 0 512", "a"),
    "writer": ("qemu-io", "-f", "{}", "-c", "write -q -z 0 512", "a"),
    "writer -U": ("qemu-io", "-U", "-f", "{}", "-c", "write -q -z 0 512", "a"),
    "resizer": ("qemu-img", "resize", "-f", "{}", "a", "2M"),
    "truncate": ("qemu-io", "-f", "{}", "-c", "truncate 2M", "a"),
    "convert -n": ("qemu-img", "convert", "-n", "-f", "raw", "-O", "{}", "zeros", "a"),
    "bench": ("qemu-img", "bench", "-f", "{}", "-c", "1", "-w", "a"),
}
QCOW2_COMERS = {
    "check": ("qemu-img", "check", "a"),
    "check -U": ("qemu-img", "check", "-U", "a"),
    "check -r": ("qemu-img", "check", "-r", "all", "a"),
    "check -r -U": ("qemu-img", "check", "-r", "all", "-U", "a"),
    "snapshot -l": ("qemu-img", "snapshot", "-l", "a"),
    "snapshot -l -U": ("qemu-img", "snapshot", "-U", "-l", "a"),
    "snapshot -c": ("qemu-img", "snapshot", "-c", "s", "a"),
    "rebase -u": ("qemu-img", "rebase", "-u", "-b", "", "a"),
    "rebase -u -U": ("qemu-img", "rebase", "-U", "-u", "-b", "", "a"),
    "commit": ("qemu-img", "commit", "over"),
    "amend": ("qemu-img", "amend", "-o", "lazy_refcounts=on", "a"),
    "bitmap": ("qemu-img", "bitmap", "--add", "-g", "64k", "a", "{b}"),
}
# Last, because they begin anew.
CREATORS = {
    "create": ("qemu-img", "create", "-f", "{}", "a", "2M"),
    "convert to": ("qemu-img", "convert", "-f", "raw", "-O", "{}", "zeros", "a"),
}



class Second:
    """Comes second, as QEMU and as we."""

    def __init__(self, twin, fmt):
        self.twin, self.fmt, self.count = twin, fmt, 0

    def __call__(self, command):
        program, *args = command
        answers = []
        for ours in (True, False):
            self.count += 1
            names = [a.replace("{b}", f"b{self.count}").replace("{}", self.fmt) for a in args]
            tool = {("qemu-img", True): run.as_qemu_img, ("qemu-img", False): run.qemu_img,
                    ("qemu-io", True): run.as_qemu_io, ("qemu-io", False): run.qemu_io}
            answers.append(tool[program, ours](self.twin.theirs)(*names))
        return answers


def fresh(twin, fmt):
    for name in ("a", "over", "zeros"):
        (twin.theirs / name).unlink(missing_ok=True)
    twin.img("create", "-q", "-f", fmt, "a", "1M")
    twin.img("create", "-q", "-f", "raw", "zeros", "1M")
    if fmt == "qcow2":
        twin.img("create", "-q", "-f", "qcow2", "-b", "a", "-F", "qcow2", "over")


@pytest.mark.parametrize("fmt", ("qcow2", "raw"))
@pytest.mark.parametrize("role", holders.OPTIONS)
def test_who_is_let_in(scratch, role, fmt):
    twin = Twin(scratch)
    comers = {**COMERS, **(QCOW2_COMERS if fmt == "qcow2" else {}), **CREATORS}
    verdicts, held = {}, {}
    for who in HOLDERS:
        fresh(twin, fmt)
        second = Second(twin, fmt)
        with holders.holding(who, twin.theirs, role, fmt, "a"):
            held[who] = holders.locked_bytes(twin.theirs / "a")
            for name, command in comers.items():
                mine, oracle = second(command)
                what = f"{who} holds it as {role}; {name}"
                assert mine.code == oracle.code, f"{what}\n{mine.err}---\n{oracle.err}"
                assert mine.err.splitlines() == oracle.err.splitlines(), what
                if who != "qemu-storage-daemon":  # which keeps more to itself than a qemu-io
                    verdicts.setdefault(name, set()).add((oracle.code != 0, oracle.err))
    assert held["qimg"] == held["qemu-io"], held
    differ = {name: said for name, said in verdicts.items() if len(said) > 1}
    assert not differ, differ
    refused = {name for name, said in verdicts.items() if any(failed for failed, _ in said)}
    assert ("resizer" in refused) == (fmt == "qcow2" and role != "forced reader"), refused
    if fmt == "qcow2" and role == "writer":
        assert refused >= {"info", "writer", "resizer", "check -r", "commit", "create"}
        assert not refused & {"info -U", "convert -U", "reader -U", "check -U"}
