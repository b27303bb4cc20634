# SPDX-License-Identifier: Apache-2.0
"""Where things are: the source tree, the build under test, the tier that was asked for."""
import os
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("QIMG_BUILD", ROOT / "build/dev"))
QIMG = BUILD / "qimg"
SANITIZED = bool(os.environ.get("QIMG_SANITIZE"))
# What runs the built programs where they are not this machine's, and how much slower: test-on.
EMULATOR = shlex.split(os.environ.get("QIMG_EMULATOR", ""))
PATIENCE = float(os.environ.get("QIMG_PATIENCE", "1"))
LONG = os.environ.get("QIMG_LONG") == "1"

# The running oracle. Debian's, by its full name: a symlink called qemu-img may be first in PATH.
QEMU_IMG = Path("/usr/bin/qemu-img")
QEMU_IO = Path("/usr/bin/qemu-io")
