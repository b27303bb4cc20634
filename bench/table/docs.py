# SPDX-License-Identifier: Apache-2.0
"""Writes what a run measured into docs/PERFORMANCE.md, between the markers

    <!-- table: NAME -->
    <!-- end -->

of each group that was run, and the plot of time against depth. Prose is left alone."""
import re

from table.svg import plot

def figure(value, unit=''):
    """Three digits or so, as people read them."""
    if value is None:
        return ''
    if value >= 1000:
        number = f'{value:,.0f}'
    elif value >= 100:
        number = f'{value:.0f}'
    elif value >= 10:
        number = f'{value:.1f}'
    else:
        number = f'{value:.2f}'
    return f'{number}{unit}' if unit == '/s' else f'{number} {unit}'.rstrip()


def row(r):
    unit = '' if r.get('unit') == 'calls' else r.get('unit', '')
    ours, theirs = figure(r.get('ours'), unit), figure(r.get('theirs'), unit)
    if 'other' in r:
        ours += f' ({figure(r["other"], unit)})'
    if 'ours_at_1' in r:
        ours += f' ({figure(r["ours_at_1"], unit)})'
    memory = f'{r["ours_mib"]:.0f} / {r["theirs_mib"]:.0f}' if 'ours_mib' in r else ''
    value = 'failed' if r['value'] is None else figure(r['value'])
    met = {True: '', False: ' **missed**', None: ''}[r['ok']]
    goal = '' if r['ok'] is None and r['value'] is not None else r['goal'] + met
    return f'| {r["name"]} | {ours} | {theirs} | {value} | {goal} | {memory} |'


def table(results):
    head = ('| what | qimg (beside it) | qemu-img | ratio | goal | peak MiB |\n'
            '|---|---|---|---|---|---|\n')
    return head + ''.join(row(r) + '\n' for r in results)


def replace_block(text, name, body):
    pattern = re.compile(rf'(<!-- table: {re.escape(name)} -->\n).*?(<!-- end -->)', re.S)
    if not pattern.search(text):
        raise SystemExit(f'the document has no place for the table "{name}"')
    return pattern.sub(lambda m: m[1] + body + m[2], text)


def machine_line(machine):
    return (f'{machine["processors"]} processors ({machine["cpu"]}), Linux {machine["kernel"]}, '
            f'{machine["qemu_img"]}, commit {machine["commit"]}, {machine["date"]}.\n\n')


def write_document(path, machine, results):
    with open(path, encoding='utf-8') as f:
        text = f.read()
    for group in dict.fromkeys(r['group'] for r in results):
        rows = [r for r in results if r['group'] == group]
        picture = '![time against depth](depth.svg)\n\n' if points_of(rows) else ''
        text = replace_block(text, group, machine_line(machine) + picture + table(rows))
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)


def points_of(results):
    """Those of a plot, where the run has them."""
    return next((r['points'] for r in results if 'points' in r), None)


def write_plot(path, results):
    if points_of(results):
        with open(path, 'w', encoding='utf-8') as f:
            f.write(plot('convert to raw: 512 MiB of data in a chain of images',
                         'images in the chain', 's', points_of(results)))
