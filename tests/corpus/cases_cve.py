# SPDX-License-Identifier: Apache-2.0
"""What broke other programs, one case for each class. These are opened without a format's name."""
import struct

from image import (CLUSTER, COPIED, Image, deflated, snapshot, with_snapshot,
                   with_snapshots)


def plain(data):
    """A file that is no qcow2 image."""
    image = Image()
    image.data = bytearray(data)
    return image


def qcow1(l2_bits, size):
    """Version 1: magic, version, backing name, mtime, size, cluster and L2 bits, L1 offset."""
    return plain(struct.pack(">IIQIIQBBHIQ", 0x514649fb, 1, 0, 0, 0, size, 12, l2_bits, 0, 0, 48) +
                 bytes(4096))


def everywhere_packed(data):
    image = Image()
    for index in range(16):
        image.packed(data, index)
    return image.count(6, 16)


DESCRIPTOR = b"""# Disk DescriptorFile
version=1
CID=fffffffe
parentCID=ffffffff
createType="monolithicFlat"
RW 2048 FLAT "/etc/passwd" 0
"""

CASES = (
    ("cve-2008-2004-guest-header-in-raw", "a raw disk on which the guest wrote a qcow2 header that "
     "names a file of the host: read as raw where that is said, refused where nothing is",
     lambda: Image().backing(b"/etc/passwd")),
    ("cve-2013-1922-raw-base-not-probed", "the base is recorded as raw, and its guest wrote a "
     "qcow2 header there: its bytes are read, not its chain",
     lambda: Image().backing(b"cve-2008-2004-guest-header-in-raw.qcow2", b"raw").l2(0, 0)),
    ("cve-2014-0142-cluster-bits-0", "a divisor of 0", lambda: Image(cluster_bits=0)),
    ("cve-2014-0143-l1-overflow", "L1 entries times 8 does not fit 32 bits",
     lambda: Image(l1_size=0x20000001)),
    ("cve-2014-0143-snapshots-overflow", "snapshots times their size does not fit 32 bits",
     lambda: Image(snapshots=0x10000001, snapshots_off=6 * CLUSTER)),
    ("cve-2014-0143-reftable-overflow", "refcount table clusters times their size does not either",
     lambda: Image(reftable_clusters=0x10001)),
    ("cve-2014-0144-header-length", "a header that is longer than what was read of it",
     lambda: Image(header_length=0x7fffffff)),
    ("cve-2014-0144-extension-length", "an extension whose length wraps when it is rounded up",
     lambda: Image().extension("unknown", b"", length=0xfffffff9)),
    ("cve-2014-0144-backing-length", "a backing name longer than its buffer",
     lambda: Image(backing_off=112, backing_len=CLUSTER - 112)),
    ("cve-2014-0145-snapshot-l1", "a snapshot with an L1 table longer than the active one",
     lambda: with_snapshot(l1_size=0x7fffffff)),
    ("cve-2014-0146-snapshot-fields-unset", "opening fails before snapshots are read, and they are "
     "freed",
     lambda: with_snapshots(snapshot(), count=2).cut(6 * CLUSTER + 30).set("l1_off", 8)),
    ("cve-2014-0147-refcount-beyond", "a refcount block for offsets that are negative as signed "
     "numbers",
     lambda: Image().u64(CLUSTER, 1 << 63 | 2 * CLUSTER)),
    ("cve-2014-0148-vhdx", "a VHDX file: a format that we do not read, and say so",
     lambda: plain(b"vhdxfile" + bytes(65536))),
    ("cve-2014-0222-qcow1-l2-bits", "version 1 with L2 tables of 2^255 entries",
     lambda: qcow1(255, 1 << 20)),
    ("cve-2014-0223-qcow1-size", "version 1 with a disk of 2^64 - 1 bytes",
     lambda: qcow1(9, (1 << 64) - 1)),
    ("cve-2015-5162-tables", "claims as large as they may be, all at once",
     lambda: Image(l1_size=4 << 20, size=2 << 50, reftable_clusters=128, snapshots=65536,
                   snapshots_off=6 * CLUSTER)),
    ("cve-2015-5162-expansion", "every guest cluster is the same packed one",
     lambda: everywhere_packed(deflated(bytes(CLUSTER)))),
    ("cve-2015-5163-backing-of-host", "an uploaded image that names a file of the host",
     lambda: Image().backing(b"/etc/passwd")),
    ("lp-1728615-refblock-at-0", "a refcount block in the header's cluster",
     lambda: Image(refcount_order=4).u64(CLUSTER, 1)),
    ("cve-2022-47951-vmdk-descriptor", "a VMDK description that names a file of the host",
     lambda: plain(DESCRIPTOR.ljust(CLUSTER, b"\n"))),
    ("cve-2024-32498-data-file", "a data file of the host",
     lambda: Image().data_file(b"/etc/passwd").l2(0, COPIED)),
    ("cve-2024-40767-data-file-of-base", "a base that has a data file of the host",
     lambda: Image().backing(b"cve-2024-32498-data-file.qcow2", b"qcow2").l2(0, 0)),
    ("cve-2024-44082-data-file-raw", "the same, said to be the disk itself",
     lambda: Image(autoclear=2).data_file(b"/etc/passwd").l2(0, COPIED)),
    ("cve-2024-4467-json-data-file", "a data file by JSON, which would open an NBD server",
     lambda: Image().data_file(b'json:{"driver":"nbd","server":{"type":"unix","path":"socket"}}')),
    ("cve-2024-4467-json-backing", "the same of a backing file", lambda: Image().backing(
        b'json:{"driver":"raw","file":{"driver":"nbd","server":{"type":"unix","path":"socket"}}}')),
    ("cve-2026-24708-guest-header-resize", "a raw disk with a guest's qcow2 header, to be resized",
     lambda: Image(size=1 << 20).backing(b"/etc/passwd", b"raw")),
    ("ghsa-jmr4-g2hv-mjj6-autodetect", "raw by its owner's intention, qcow2 by its first bytes",
     lambda: Image().backing(b"/etc/shadow", fmt=None)),
    ("lima-5441-convert-data-file", "a data file named beside a backing file",
     lambda: Image(incompatible=4).extensions(("format", b"raw"), ("data", b"/etc/passwd"))
        .l2(0, COPIED)),
)
