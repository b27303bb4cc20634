# SPDX-License-Identifier: Apache-2.0
"""Small qcow2 images made of bytes, as no tool makes them by the thousand."""
import struct

CLUSTER = 65536


def qcow2(backing=b"", fmt=b"qcow2", size=1 << 20):
    """An empty image on @backing: header, refcount table and block, L1 table."""
    extension = b""
    if backing and fmt:
        extension = struct.pack(">II", 0xe2792aca, len(fmt)) + fmt + bytes(-len(fmt) % 8)
    name_at = 112 + len(extension) + 8
    header = b"QFI\xfb" + struct.pack(
        ">IQIIQIIQQIIQQQQII", 3, name_at if backing else 0, len(backing), 16, size, 0, 1,
        3 * CLUSTER, CLUSTER, 1, 0, 0, 0, 0, 0, 4, 112)
    first = (header.ljust(112, b"\0") + extension + bytes(8) + backing).ljust(CLUSTER, b"\0")
    table = struct.pack(">Q", 2 * CLUSTER).ljust(CLUSTER, b"\0")
    block = struct.pack(">HHHH", 1, 1, 1, 1).ljust(CLUSTER, b"\0")
    return first + table + block + bytes(8)


def write(path, *args, **named):
    path.write_bytes(qcow2(*args, **named))


def tree(root, images=10000, folders=100):
    """@images images in @folders folders: a tenth bases, each under nine overlays."""
    for folder in range(folders):
        (root / f"{folder:03}").mkdir(parents=True)
    for number in range(images):
        base = number - number % 10
        name = f"../{base % folders:03}/{base:07}.qcow2".encode() if number % 10 else b""
        path = root / f"{number % folders:03}/{number:07}.qcow2"
        with open(path, "wb") as image:  # the head alone; the rest is a hole
            image.write(qcow2(name)[:512])
            image.truncate(3 * CLUSTER + 8)


if __name__ == "__main__":
    import pathlib
    import sys
    tree(pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:]))
