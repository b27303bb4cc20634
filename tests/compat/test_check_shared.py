# SPDX-License-Identifier: Apache-2.0
"""Tables that many entries lead to, and clusters that more refer to than their counts can say: each
is looked at once, and everything is told as often, and in the order, that QEMU tells it."""
import random
import sys

import pytest

from pylib.paths import LONG, ROOT

sys.path.insert(0, str(ROOT / "tests/corpus"))
from image import COMPRESSED, COPIED, Image, snapshot  # noqa: E402

SEEDS = range(300) if LONG else range(112, 120)
BITS, CLUSTER = 9, 512
TABLES, FREE, ENTRIES = 8, 24, 64


def entry(rng):
    """Of an L2 table: mostly sound, few clusters for many."""
    word = rng.randrange(FREE, FREE + 40) * CLUSTER | rng.choice((0, 0, COPIED))
    words = (word, 0, word | 1, word | 1 << 61, word | 8, word | COMPRESSED, 1 << 40)
    weights = (40, 40, 5, rng.choice((0, 1)), rng.choice((0, 1)), 1, rng.choice((0, 1)))
    return rng.choices(words, weights)[0]


def crafted(seed):
    rng = random.Random(seed)
    order, l1_size = rng.choice((0, 1, 2, 3, 3, 4)), rng.choice((16, 100, 300))
    l1_at = FREE + 40 + TABLES
    l1_clusters = -(-l1_size * 8 // CLUSTER)
    # L1 tables of snapshots are the active one, parts of it, and one another's.
    views = [snapshot(l1_off=(l1_at + rng.randrange(l1_clusters)) * CLUSTER, ident=b"%d" % i,
                      l1_size=rng.randrange(1, l1_size + 1))
             for i in range(rng.choice((0, 3, 20)))]
    image = Image(bits=BITS, refcount_order=order, l1_size=l1_size, l1_off=l1_at * CLUSTER,
                  size=l1_size * ENTRIES * CLUSTER, snapshots=len(views),
                  snapshots_off=(l1_at + 64) * CLUSTER if views else 0)
    image.put((l1_at + 64) * CLUSTER, b"".join(views) + bytes(CLUSTER))
    for table in range(FREE + 40, l1_at):
        for i in range(ENTRIES):
            if rng.random() < 0.3:
                image.u64(table * CLUSTER + 8 * i, entry(rng))
    for i in range(l1_size):
        if rng.random() < 0.7:
            table = rng.choice((FREE + 40, FREE + 41, rng.randrange(FREE + 40, l1_at)))
            word = table * CLUSTER | rng.choice((0, COPIED))
            image.u64(l1_at * CLUSTER + 8 * i, rng.choices((word, word | 2, word + (1 << 45)),
                                                           (200, rng.choice((0, 1)), 1))[0])
    return image


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_shared_is_told_as_often(twin, seed):
    (twin.theirs / "a.qcow2").write_bytes(crafted(seed).data)
    said = twin.read("check", "a.qcow2")
    assert said.code in (0, 2, 3), said.err
