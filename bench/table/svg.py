# SPDX-License-Identifier: Apache-2.0
"""A plot of lines over two logarithmic axes, as SVG that reads well on light and dark pages."""
import math

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 50, 50

STYLE = """\
  <style>
    .paper { fill: #ffffff } .ink { fill: #24292f } .grid { stroke: #d8dee4 }
    .a { stroke: #0969da } .a-ink { fill: #0969da } .b { stroke: #bc4c00 } .b-ink { fill: #bc4c00 }
    @media (prefers-color-scheme: dark) {
      .paper { fill: #0d1117 } .ink { fill: #e6edf3 } .grid { stroke: #30363d }
      .a { stroke: #58a6ff } .a-ink { fill: #58a6ff }
      .b { stroke: #ffa657 } .b-ink { fill: #ffa657 }
    }
    text { font: 13px sans-serif } .title { font-size: 15px; font-weight: 600 }
    polyline { fill: none; stroke-width: 2.5 }
  </style>
"""


def escape(text):
    return text.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')


class Axis:
    """Values to coordinates; the range is widened to whole powers of @base."""

    def __init__(self, values, start, end, base):
        self.base = base
        self.low = math.floor(math.log(min(values), base) + 1e-9)
        self.high = math.ceil(math.log(max(values), base) - 1e-9)
        self.start, self.end = start, end

    def at(self, value):
        part = (math.log(value, self.base) - self.low) / (self.high - self.low)
        return round(self.start + part * (self.end - self.start), 1)

    def ticks(self):
        return [self.base ** n for n in range(self.low, self.high + 1)]


def text(x, y, words, anchor='start', style='ink'):
    where = f'x="{x}" y="{y}" text-anchor="{anchor}" class="{style}"'
    return f'  <text {where}>{escape(words)}</text>\n'


def line(x1, y1, x2, y2):
    return f'  <line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="grid"/>\n'


def plot(title, x_name, y_name, series):
    """@series: {name: {x: y}}, two of them at most."""
    xs = [x for points in series.values() for x in points]
    ys = [y for points in series.values() for y in points.values()]
    x_axis = Axis(xs, LEFT, WIDTH - RIGHT, 2)
    y_axis = Axis(ys, HEIGHT - BOTTOM, TOP, 10)
    out = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">\n'
           f'  <title>{escape(title)}</title>\n{STYLE}'
           f'  <rect width="{WIDTH}" height="{HEIGHT}" class="paper"/>\n')
    out += text(LEFT, 26, title, style='ink title')
    for tick in x_axis.ticks():
        x = x_axis.at(tick)
        out += line(x, TOP, x, HEIGHT - BOTTOM)
        out += text(x, HEIGHT - BOTTOM + 18, f'{tick:g}', 'middle')
    for tick in y_axis.ticks():
        y = y_axis.at(tick)
        out += line(LEFT, y, WIDTH - RIGHT, y) + text(LEFT - 8, y + 4, f'{tick:g} {y_name}', 'end')
    out += text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_name, 'middle')
    for (name, points), style in zip(series.items(), 'ab'):
        places = [(x_axis.at(x), y_axis.at(y)) for x, y in sorted(points.items())]
        out += f'  <polyline class="{style}" points="{" ".join(f"{x},{y}" for x, y in places)}"/>\n'
        out += ''.join(f'  <circle cx="{x}" cy="{y}" r="3.5" class="{style}-ink"/>\n'
                       for x, y in places)
        out += text(places[-1][0] + 10, places[-1][1] + 4, name, style=f'{style}-ink')
    return out + '</svg>\n'
