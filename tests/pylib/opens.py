# SPDX-License-Identifier: Apache-2.0
"""Which files of a directory are opened: told by the kernel (inotify), whoever opens them by
whatever system call. Needs no rights. Handles that can neither read nor write (O_PATH) are not
told of."""
import contextlib
import ctypes
import os
import struct

IN_OPEN = 0x20
EVENT = struct.Struct("iIII")
LIBC = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def watched(directory):
    """A set that holds, once the block is left, the names of the files that were opened."""
    names = set()
    watch = LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert watch >= 0, "no inotify"
    try:
        added = LIBC.inotify_add_watch(watch, os.fsencode(directory), IN_OPEN)
        assert added >= 0, os.strerror(ctypes.get_errno())
        yield names
        with contextlib.suppress(BlockingIOError):
            while True:
                names |= parse(os.read(watch, 1 << 16))
    finally:
        os.close(watch)


def parse(events):
    names, at = set(), 0
    while at < len(events):
        _, mask, _, length = EVENT.unpack_from(events, at)
        assert not mask & 0x4000, "events were lost"
        name = events[at + EVENT.size:at + EVENT.size + length].rstrip(b"\0")
        names |= {os.fsdecode(name)} - {""}
        at += EVENT.size + length
    return names
