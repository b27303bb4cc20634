# SPDX-License-Identifier: Apache-2.0
"""What every python test may ask for. Images live in a directory of the test's own."""
import os
import shutil
import signal
import subprocess

import pytest

from pylib import run
from pylib.paths import LONG, SANITIZED
from pylib.twin import Twin


def keep_share(config, items):
    """QIMG_SHARE=1,2,3/4: three quarters of the comparisons with QEMU; another build has the rest.
    Of the other suites, which the release build goes through whole, a sanitizer sees its share."""
    which, _, of = os.environ["QIMG_SHARE"].partition("/")
    kept = {int(number) for number in which.split(",")}
    suites = {"compat", "cli", "corpus"} if SANITIZED else {"compat"}
    shared = [item for item in items if item.path.parent.name in suites]
    dropped = [item for i, item in enumerate(shared) if i % int(of) not in kept]
    config.hook.pytest_deselected(items=dropped)
    out = set(dropped)
    items[:] = [item for item in items if item not in out]


def pytest_configure():
    """Run in the background these are ignored, and would be by all that is started here."""
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_collection_modifyitems(config, items):
    if "QIMG_SHARE" in os.environ:
        keep_share(config, items)
    for item in items:
        if "long" in item.keywords and not LONG:
            item.add_marker(pytest.mark.skip(reason="long: scripts/test --long"))


@pytest.fixture
def scratch(tmp_path):
    """An empty directory, gone when the test is over (images are large, /tmp is not)."""
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def qimg(scratch):
    return run.ours(scratch)


@pytest.fixture
def as_qemu_img(scratch):
    return run.as_qemu_img(scratch)


@pytest.fixture
def as_qemu_io(scratch):
    return run.as_qemu_io(scratch)


@pytest.fixture
def qemu_img(scratch):
    return run.qemu_img(scratch)


@pytest.fixture
def qemu_io(scratch):
    return run.qemu_io(scratch)


@pytest.fixture
def twin(scratch):
    return Twin(scratch)


@pytest.fixture
def loop_device(twin):
    """Makes a block device of a file of QEMU's side."""
    devices = []

    def attach(name):
        done = subprocess.run(["losetup", "--show", "-f", twin.theirs / name], capture_output=True,
                              text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"no loop devices here: {done.stderr.strip()}")
        devices.append(done.stdout.strip())
        return devices[-1]

    yield attach
    for device in devices:
        subprocess.run(["losetup", "-d", device], check=False)
