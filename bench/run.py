#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Speed and memory of qimg, side by side with qemu-img in one run.

    bench/run.py [--build DIR] [--work DIR] [--quick] [--only NAME,...] [--assert] [--write-docs]

Prints one JSON document: machine, kernel, commit, and for each question what was measured, the
ratio, and the goal. NAME is a group (chains) or a question of one (chains.batches); --list names
them. --assert: exit 1 where a goal is missed. --write-docs: put the tables of the groups that were
run into docs/PERFORMANCE.md, and the plot of time against depth into docs/depth.svg. --quick: few
rounds, smaller images, and nothing of qemu-img's that takes minutes.

Images are crafted (make_image) or of content with a fixed seed, the same on every machine. Each
number is the median over rounds in which ours and theirs take turns, so that what else the machine
does hits both alike.
"""
import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time

from table import (chains, copies, costs, docs, jobs, metadata, packing, reads, rebases, small,
                   writes)
from table.harness import QEMU_IMG, QEMU_IO, Bench, Failed

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

GROUPS = {
    'commands': (small.small_commands, small.deep_commands, small.map_of_fragments),
    'chains': (chains.convert_chains, chains.batches),
    'reads': (reads.reads, reads.direct_reads, reads.huge_chain),
    'writes': (writes.allocating, writes.rewrites),
    'metadata': (metadata.checks, metadata.snapshots, metadata.resizes),
    'copies': (copies.copies, copies.direct_copy),
    'packing': (packing.packing, packing.unpacking),
    'rebase': (rebases.safe_rebase, rebases.deep_rebase),
    'jobs': (jobs.commit, jobs.stream, jobs.compare),
    'costs': (costs.system_calls, costs.flat_memory, costs.peak_memory),
}


def chosen(only):
    """(group, question), in the table's order."""
    every = [(group, q) for group, questions in GROUPS.items() for q in questions]
    if not only:
        return every
    wanted = set(only.split(','))
    known = set(GROUPS) | {f'{group}.{q.__name__}' for group, q in every}
    if wanted - known:
        sys.exit(f'no such question: {", ".join(sorted(wanted - known))} (see --list)')
    return [(group, q) for group, q in every
            if group in wanted or f'{group}.{q.__name__}' in wanted]


def machine():
    with open('/proc/cpuinfo', encoding='ascii', errors='replace') as f:
        model = next((line.split(':')[1].strip() for line in f if line.startswith('model name')),
                     platform.machine())
    commit = subprocess.run(['git', '-C', ROOT, 'rev-parse', '--short', 'HEAD'],
                            capture_output=True, text=True, check=False).stdout.strip()
    version = subprocess.run([QEMU_IMG, '--version'], capture_output=True, text=True, check=True)
    return {'cpu': model, 'processors': len(os.sched_getaffinity(0)),
            'kernel': platform.release(), 'commit': commit,
            'qemu_img': version.stdout.splitlines()[0], 'date': time.strftime('%Y-%m-%d')}


def ask(bench, questions):
    for group, question in questions:
        bench.group = group
        start = time.monotonic()
        try:
            question(bench)
        except Failed as reason:
            bench.failed(question.__name__, reason)
        print(f'     -- {group}.{question.__name__}: {time.monotonic() - start:.0f} s',
              file=sys.stderr)


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--build', default=os.path.join(ROOT, 'build', 'release'))
    p.add_argument('--work', help='directory for images (30 GiB are needed)')
    p.add_argument('--quick', action='store_true')
    p.add_argument('--assert', dest='check', action='store_true')
    p.add_argument('--write-docs', action='store_true')
    p.add_argument('--list', action='store_true')
    p.add_argument('--only', metavar='NAME,...')
    return p.parse_args()


def main():
    args = arguments()
    questions = chosen(args.only)
    if args.list:
        sys.exit('\n'.join(f'{group}.{q.__name__}' for group, q in questions))
    if not QEMU_IMG or not QEMU_IO:
        sys.exit('qemu-img and qemu-io are needed for comparison')
    bench = Bench(args.build, args.work, args.quick)
    try:
        ask(bench, questions)
    finally:
        shutil.rmtree(bench.work)
    print(json.dumps({'machine': machine(), 'results': bench.results}, indent=2))
    if args.write_docs:
        document = os.path.join(ROOT, 'docs', 'PERFORMANCE.md')
        docs.write_document(document, machine(), bench.results)
        docs.write_plot(os.path.join(ROOT, 'docs', 'depth.svg'), bench.results)
    missed = [r['name'] for r in bench.results if r['ok'] is False]
    if missed:
        print('missed: ' + '; '.join(missed), file=sys.stderr)
    sys.exit(1 if args.check and missed else 0)


if __name__ == '__main__':
    main()
