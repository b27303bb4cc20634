# SPDX-License-Identifier: Apache-2.0
"""Where the file system says that a file has data."""
import os


def extents(path):
    """[(start, end)] of the data of a file, by SEEK_DATA."""
    out, end = [], 0
    with open(path, "rb") as raw:
        size = os.fstat(raw.fileno()).st_size
        while end < size:
            try:
                start = os.lseek(raw.fileno(), end, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(raw.fileno(), start, os.SEEK_HOLE)
            out.append((start, end))
    return out
