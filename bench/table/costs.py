# SPDX-License-Identifier: Apache-2.0
"""What does not show on the clock: system calls and memory.

System calls of a process and all its threads, of all kinds, are counted by `perf stat -e
raw_syscalls:sys_enter`, which does not slow it down. Where that is not allowed, by `strace -f -c`:
threads of a program that is traced wait more often for each other, in both programs.
"""
import os
import shutil

from table.content import raw_content
from table.harness import QEMU_IMG, Failed, fresh, run
from table.jobs import create
from table.rebases import Subject, rebase

MIB = 512


def by_perf(b, command):
    log = b.path('perf.log')
    run(['perf', 'stat', '-x,', '-e', 'raw_syscalls:sys_enter', '-o', log, *command])
    with open(log, encoding='ascii', errors='replace') as f:
        return int(next(line for line in f if 'sys_enter' in line).split(',')[0])


def by_strace(b, command):
    log = b.path('strace.log')
    run(['strace', '-f', '-c', '-o', log, *command])
    with open(log, encoding='ascii', errors='replace') as f:
        return int(next(line.split() for line in f if line.rstrip().endswith(' total'))[3])


def counter(b):
    """What counts here."""
    for tool, count in (('perf', by_perf), ('strace', by_strace)):
        try:
            if shutil.which(tool) and count(b, ['true']) > 0:
                return count
        except (Failed, ValueError):
            pass
    raise Failed('neither perf nor strace can count system calls here')


def lines(b):
    """(name, MiB that are copied or compared, command without its program, what goes before)"""
    out, base = b.path('out'), b.path('calls-base.qcow2')
    b.make_image('calls', 1, MIB, MIB * 16)
    image, raw = b.path('calls0.qcow2'), b.path('calls.raw')
    run([QEMU_IMG, 'convert', '-O', 'raw', image, raw])
    content = raw_content(b.path('calls-content.raw'), 64)
    b.make_image('calls-top', 1, MIB, MIB * 16, 'backing=calls-base.qcow2')
    subject = Subject(b, 'calls-over', MIB, 'calls0.qcow2', 5)
    run([QEMU_IMG, 'convert', '-O', 'qcow2', raw, b.path('calls-copy.qcow2')])

    def gone():
        fresh(out)

    return (
        ('raw to qcow2', MIB, ('convert', '-O', 'qcow2', '-f', 'raw', raw, out), gone),
        ('qcow2 to raw', MIB, ('convert', '-O', 'raw', image, out), gone),
        ('`convert -c`', 64, ('convert', '-c', '-f', 'raw', '-O', 'qcow2', content, out), gone),
        ('safe `rebase`', MIB, rebase('', subject.name, 'calls-copy.qcow2')[1:], subject.put_back),
        ('`commit`', MIB, ('commit', '-d', b.path('calls-top0.qcow2')),
         lambda: create(base, mib=MIB)),
        ('`stream`', MIB, ('stream', out), lambda: create(out, '-b', image, '-F', 'qcow2')),
        ('`compare`', MIB, ('compare', '-f', 'raw', '-F', 'qcow2', raw, image), gone))


def system_calls(b):
    """Per MiB, on each line."""
    calls = counter(b)
    for name, mib, command, before in lines(b):
        theirs = ('rebase', '-f', 'qcow2', '-b', '', command[1]) if command[0] == 'stream' \
            else command
        try:
            before()
            ours = calls(b, [b.qimg, *command]) / mib
            before()
            others = calls(b, [QEMU_IMG, *theirs]) / mib
        except Failed as reason:
            b.failed(f'system calls per MiB, {name}', reason)
            continue
        b.add(f'system calls per MiB, {name}', "below qemu-img's", ours / others, ours < others,
              ours=ours, theirs=others, unit='calls', counted=calls.__name__)


def flat_memory(b):
    """The same conversion of 512 MiB and of eight times as much."""
    sizes = (128, 1024) if b.quick else (MIB, 8 * MIB)
    peaks = []
    for mib in sizes:
        b.make_image('flat', 1, mib, mib * 16)
        image, out = b.path('flat0.qcow2'), b.path('out')
        for fmt in ('raw', 'qcow2'):
            peaks.append(run([b.qimg, 'convert', '-O', fmt, image, fresh(out)]).peak_kib)
        os.unlink(image)
    fresh(out)
    for i, fmt in enumerate(('raw', 'qcow2')):
        ratio = peaks[2 + i] / peaks[i]
        b.add(f'peak memory of `convert -O {fmt}`, {sizes[1]} MiB against {sizes[0]}',
              'within 1.15', ratio, ratio <= 1.15, ours=peaks[2 + i] / 1024, unit='MiB',
              ours_at_1=peaks[i] / 1024)


def peak_memory(b):
    """Of every line of this run that both programs did."""
    pairs = [(r['ours_mib'] / r['theirs_mib'], r) for r in b.results if 'theirs_mib' in r]
    if not pairs:
        return
    ratio, worst = max(pairs, key=lambda pair: pair[0])
    b.add(f'peak memory, the worst of {len(pairs)} lines', "below qemu-img's", ratio, ratio < 1,
          ours=worst['ours_mib'], theirs=worst['theirs_mib'], unit='MiB', line=worst['name'])
