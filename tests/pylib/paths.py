# SPDX-License-Identifier: Apache-2.0
"""Where things are: the source tree, the build under test, the tier that was asked for."""
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("QIMG_BUILD", ROOT / "build/dev"))
SANITIZED = bool(os.environ.get("QIMG_SANITIZE"))
# The tool's file, and what runs it: where it is another machine's, scripts/test-on puts emulated.c
# in its place, and says how much slower that is.
EMULATED = "QIMG_EMULATOR" in os.environ
TOOL = BUILD / "qimg"
QIMG = BUILD / "emulated-qimg" if EMULATED else TOOL
PATIENCE = float(os.environ.get("QIMG_PATIENCE", "1"))
LONG = os.environ.get("QIMG_LONG") == "1"

# The running oracle. Debian's, by its full name: a symlink called qemu-img may be first in PATH.
QEMU_IMG = Path("/usr/bin/qemu-img")
QEMU_IO = Path("/usr/bin/qemu-io")
