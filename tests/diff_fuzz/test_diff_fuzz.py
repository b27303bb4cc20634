# SPDX-License-Identifier: Apache-2.0
"""A few sequences of tests/diff_fuzz/fuzz.py; it runs for hours by hand."""
import os
import subprocess
import sys
from pathlib import Path

from pylib.paths import BUILD, LONG


def test_random_operations_agree():
    seeds = ["--seed", "1000", "--seeds", "400"] if LONG else ["--seeds", "25"]
    done = subprocess.run([sys.executable, Path(__file__).with_name("fuzz.py"), *seeds],
                          capture_output=True, text=True,
                          env={**os.environ, "QIMG_BUILD": str(BUILD)})
    assert done.returncode == 0, done.stdout + done.stderr
