# SPDX-License-Identifier: Apache-2.0
"""What every python test may ask for. Images live in a directory of the test's own."""
import shutil

import pytest

from pylib import run
from pylib.paths import LONG
from pylib.twin import Twin


def pytest_collection_modifyitems(items):
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
