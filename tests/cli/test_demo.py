# SPDX-License-Identifier: Apache-2.0
"""The demo tells the truth."""
import os
import subprocess

import pytest

from pylib import run
from pylib.paths import BUILD, EMULATED, ROOT


@pytest.mark.skipif(EMULATED, reason="it runs what was built")
def test_the_demo_runs():
    run.ours()
    done = subprocess.run([ROOT / "scripts/demo"], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "QIMG_BUILD": str(BUILD)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All as told." in done.stdout
