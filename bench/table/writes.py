# SPDX-License-Identifier: Apache-2.0
"""`bench -w` of both programs at queue depth 32: clusters that must be allocated, and rewrites."""
import json
import shutil

from table.harness import QEMU_IMG, Failed, fresh, medians, run, settle

KIB = 1024
CLUSTER = 64 * KIB
SIZES = (4 * KIB, CLUSTER)
COUNT = 8192


def command(program, image, size, cache):
    """Each request goes to a cluster of its own."""
    return [program, 'bench', '-q', '-w', '-f', 'qcow2', '-t', cache, '-c', COUNT, '-d', 32,
            '-s', size, '-S', CLUSTER, image]


def label(size, cache):
    return f'{size // KIB} KiB, `-t {cache}`'


def allocating(b):
    """Into an empty image of 1 GiB."""
    image = b.path('written.qcow2')

    def empty():
        run([QEMU_IMG, 'create', '-q', '-f', 'qcow2', fresh(image), '1G'])

    for cache in ('none', 'writeback'):
        for size in SIZES:
            b.versus(f'allocating writes, {label(size, cache)}', 1.5,
                     command(b.qimg, image, size, cache), command(QEMU_IMG, image, size, cache),
                     before=empty, rounds=7)
    fresh(image)


def fio_rate(raw, size):
    """The same requests to a raw file that has all its blocks."""
    done = run(['fio', '--output-format=json', '--name=w', f'--filename={raw}', '--rw=write',
                f'--bs={size}', '--zonemode=strided', f'--zonerange={CLUSTER}',
                f'--zonesize={size}', '--iodepth=32', '--direct=1', '--ioengine=io_uring',
                f'--number_ios={COUNT}', '--overwrite=1'])
    return json.loads(done.out)['jobs'][0]['write']['iops']


def rewrites(b):
    """Of clusters that are there; past the page cache also beside fio on a raw file."""
    if not shutil.which('fio'):
        raise Failed('fio is not installed')
    image, raw = b.path('written.qcow2'), b.path('written.raw')
    run([QEMU_IMG, 'create', '-q', '-f', 'qcow2', fresh(image), '1G'])
    run(command(QEMU_IMG, image, CLUSTER, 'writeback'))
    run([QEMU_IMG, 'convert', '-S', '0', '-O', 'raw', image, fresh(raw)])
    for cache in ('none', 'writeback'):
        for size in SIZES:
            b.versus(f'rewrites, {label(size, cache)}', 1.5, command(b.qimg, image, size, cache),
                     command(QEMU_IMG, image, size, cache), rounds=7)
    for size in SIZES:
        beside_fio(b, image, raw, size)
    fresh(image)
    fresh(raw)


def beside_fio(b, image, raw, size):
    def ours():
        settle()
        return json.loads(run([b.program('bench_write'), image, COUNT, 'stride', f'size={size}',
                               f'step={CLUSTER}', 'cache=none']).out)['iops']

    def fio():
        settle()
        return fio_rate(raw, size)

    m = medians(b.rounds(7), ours=ours, fio=fio)
    ratio = m['ours'] / m['fio']
    b.add(f"rewrites, {label(size, 'none')}, against fio's io_uring on a raw file",
          'at least 0.95', ratio, ratio >= 0.95, ours=m['ours'], other=m['fio'], unit='/s')
