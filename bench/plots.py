# SPDX-License-Identifier: MIT
"""Pictures of results as SVG: bars with intervals, lines over workers or percentiles, ratios.

Pictures inside a page take their colours from its style sheet; `standalone` gives a picture its own.
"""
import math
import re
from html import escape
from typing import NamedTuple

from results import factor, number
from stats import Series

WIDTH = 380
LEFT = 112   # where bars start
ROW = 21
MARGIN = 10  # around pictures that are files
FONT = "system-ui, sans-serif"
COLOURS = {  # light, dark
    "text": ("#1d1d1b", "#ececea"), "muted": ("#62625e", "#a5a5a0"), "grid": ("#dededa", "#3c3c3a"),
    "ground": ("#ffffff", "#1c1c1b"), "page": ("#f5f5f2", "#121211"), "warn": ("#fdf1d6", "#3a2f12"),
    "c0": ("#2a78d6", "#3987e5"), "c1": ("#1baf7a", "#199e70"), "c2": ("#eb6834", "#d95926"),
    "c3": ("#d39000", "#c98500"), "c4": ("#5a48c0", "#9085e9"), "c5": ("#d9628f", "#d55181"),
    "c6": ("#8a8a85", "#8f8f8a"), "c7": ("#0d93a8", "#2fb0c4"), "c8": ("#8a5a2b", "#b98654"),
    "c9": ("#a3268f", "#c66ab8"), "c10": ("#75870a", "#9db030"), "c11": ("#c22f2d", "#e2635f"),
    "c12": ("#3d3a36", "#d8d4ce"), "c13": ("#7a1f3d", "#b5607c")}
PEERS = {"weir": 0, "weir-functions": 0, "weir-fixed": 0, "weir-coroutines": 1, "weir-autoscale": 1, "weir-jobs": 1,
         "libomp": 1, "onetbb": 2, "onetbb-gate": 2, "asio": 3, "asio-gate": 3, "libgomp-static": 3, "mutex": 4,
         "libgomp-dynamic": 4, "libomp-gnu": 4, "libomp-tasks": 4, "libgomp": 5, "libgomp-gnu": 5,
         "libgomp-tasks": 5, "threads": 5, "serial": 6, "libomp-static": 7, "moodycamel": 7, "weir-ready": 7,
         "boost-asio": 8, "rayon": 8, "libomp-dynamic": 9, "boost-fiber": 9, "eigen": 10,
         "std-async": 11, "std-par": 11, "go": 12, "tokio": 13}


class Bar(NamedTuple):
    label: str
    peer: str
    series: Series


class Line(NamedTuple):
    peer: str
    points: dict  # place on the x axis: (value, low, high), the bounds None of a single round


def colour(peer):
    """The number of the peer's colour; peers that are not known share the last five."""
    return PEERS.get(peer, 7 + sum(map(ord, peer)) % 5)


def style():
    """Variables of both colour schemes and the classes of the pictures."""
    light, dark = ("".join(f"--{name}:{both[i]};" for name, both in COLOURS.items()) for i in (0, 1))
    peers = "".join(f".{name}{{--c:var(--{name})}}" for name in COLOURS if name[1:].isdigit())
    return (f":root{{color-scheme:light dark;{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"
            f"svg text{{font:12px {FONT};fill:var(--text)}}svg .m{{fill:var(--muted)}}svg .b{{font-weight:600}}"
            f"{peers}svg .f{{fill:var(--c)}}svg .l{{stroke:var(--c);stroke-width:2;fill:none}}"
            "svg .w{stroke:var(--text);stroke-width:1.3;fill:none}svg .v{stroke:var(--c);stroke-width:1.3;fill:none}"
            "svg .g{stroke:var(--grid);stroke-width:1}svg .d{stroke:var(--muted);stroke-dasharray:3 4}")


def standalone(svg):
    """The picture as a file: with its own colours, ground and margin."""
    head, rest = svg.split(">", 1)
    width, height = (float(re.search(rf' {side}="([0-9.]+)"', head)[1]) + 2 * MARGIN for side in ("width", "height"))
    size = f'width="{width:.0f}" height="{height:.0f}"'
    head = re.sub(r'viewBox="[^"]*" width="[^"]*" height="[^"]*"',
                  f'viewBox="{-MARGIN} {-MARGIN} {width:.0f} {height:.0f}" {size}', head)
    ground = f'<rect x="{-MARGIN}" y="{-MARGIN}" {size} fill="var(--ground)"/>'
    return f"<!-- SPDX-License-Identifier: MIT -->\n{head}><style>{style()}</style>{ground}{rest}\n"


def picture(title, height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
            f'height="{height:.0f}" role="img" aria-label="{escape(title)}">' + "".join(parts) + "</svg>")


def text(x, y, content, classes="", anchor="start"):
    return (f'<text x="{x:.1f}" y="{y:.1f}"{f" class={chr(34)}{classes}{chr(34)}" if classes else ""}'
            f'{"" if anchor == "start" else f" text-anchor={chr(34)}{anchor}{chr(34)}"}>{escape(content)}</text>')


def rule(x1, y1, x2, y2, classes):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{classes}"/>'


def said(series, unit):
    """What is said of a figure when it is pointed at."""
    bounds = f", 95 % interval {number(series.interval[0])} to {number(series.interval[1])}" if series.interval else ""
    return f"{number(series.median)} {unit}{bounds}, {len(series.values)} rounds"


def steps(highest, count=4):
    """Round numbers from 0 to at least nearly the highest."""
    rough = highest / count
    power = 10 ** math.floor(math.log10(rough))
    step = min((f * power for f in (1, 2, 2.5, 5, 10) if f * power >= rough * 0.99), default=10 * power)
    return [i * step for i in range(int(highest / step + 1e-9) + 1)]


def bars(title, groups, unit):
    """Horizontal bars from zero with whiskers. `groups`: pairs of a heading (or "") and a list of `Bar`."""
    series = [bar.series for _, group in groups for bar in group]
    highest = max(max(s.median, s.interval[1] if s.interval else 0) for s in series) or 1
    right = WIDTH - 50
    scale = (right - LEFT) / highest
    parts, y = [], 4
    for heading, group in groups:
        if heading:
            parts.append(text(0, y + 14, heading, "b"))
            y += ROW
        for bar in group:
            middle = y + ROW / 2
            end = LEFT + bar.series.median * scale
            reach = end
            body = [f'<g class="c{colour(bar.peer)}"><title>{escape(f"{bar.label}: {said(bar.series, unit)}")}</title>',
                    text(LEFT - 6, middle + 4, bar.label, anchor="end"),
                    f'<rect x="{LEFT}" y="{middle - 7:.1f}" width="{max(end - LEFT, 0.5):.1f}" height="14" rx="2" '
                    'class="f"/>']
            if bar.series.interval:
                low, high = (LEFT + bound * scale for bound in bar.series.interval)
                body += [rule(low, middle, high, middle, "w"), rule(low, middle - 4, low, middle + 4, "w"),
                         rule(high, middle - 4, high, middle + 4, "w")]
                reach = max(reach, high)
            body += [text(reach + 5, middle + 4, number(bar.series.median)), "</g>"]
            parts += body
            y += ROW
        y += 6
    grid = [rule(LEFT + s * scale, 2, LEFT + s * scale, y, "g") for s in steps(highest)]
    axis = [text(LEFT + s * scale, y + 14, f"{s:g}", "m", "middle") for s in steps(highest)]
    axis.append(text(0, y + 14, unit, "m"))
    return picture(title, y + 20, grid + parts + axis)


def legend(peers):
    """Rows of marks with the peers' names, and their height."""
    parts, x, y = [], 0, 14
    for peer in peers:
        width = 22 + 6.8 * len(peer)
        if x + width > WIDTH:
            x, y = 0, y + 18
        parts.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" rx="2" class="f c{colour(peer)}"/>')
        parts.append(text(x + 14, y, peer))
        x += width + 6
    return parts, y + 10


def mark_text(mark):
    """Of an axis; short, as there is little room."""
    if mark >= 1e6:
        return f"{mark / 1e6:g}M"
    return f"{mark / 1000:g}k" if mark >= 1e5 else f"{mark:g}"


def lines_over(title, lines, places, unit, axis="", logarithmic=False, ideal=None):
    """Lines over a few places, which are named on the x axis. `ideal`: values of a dashed line, or None."""
    parts, top = legend([line.peer for line in lines])
    left, right, height = 44, WIDTH - 12, 170
    bottom = top + 20 + height
    values = [v for line in lines for point in line.points.values() for v in point if v is not None]
    if logarithmic:
        values = [v for v in values if v > 0] or [1]
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        high = max(high, low + 1)
        marks = [10.0 ** p for p in range(low, high + 1)]
    else:
        low, high = 0, max([*values, *(ideal or [])]) or 1
        marks = steps(high)

    def across(place):
        return left + (right - left) * (places.index(place) + 0.5) / len(places)

    def up(value):
        if logarithmic:
            value = math.log10(value) if value > 0 else low  # what is nothing stands at the bottom
        return bottom - height * (value - low) / (high - low)

    for mark in marks:
        parts += [rule(left, up(mark), right, up(mark), "g"), text(left - 5, up(mark) + 4, mark_text(mark), "m", "end")]
    parts.append(text(0, top + 5, unit, "m"))
    parts += [text(across(p), bottom + 16, p, "m", "middle") for p in places]
    if axis:
        parts.append(text((left + right) / 2, bottom + 31, axis, "m", "middle"))
    if ideal:
        corners = [(across(place), up(value)) for place, value in zip(places, ideal)]
        parts += [rule(*one, *next_one, "d") for one, next_one in zip(corners, corners[1:])]
    for i, line in enumerate(lines):
        shift = (i - (len(lines) - 1) / 2) * min(5, 24 / len(lines))  # so that whiskers of different peers do not hide each other
        points = [(across(p) + shift, *line.points[p], p) for p in places if p in line.points]
        parts.append(f'<g class="c{colour(line.peer)}">')
        parts.append('<polyline class="l" points="' + " ".join(f"{x:.1f},{up(v):.1f}" for x, v, *_ in points) + '"/>')
        for x, value, least, most, place in points:
            if least is not None:
                parts.append(rule(x, up(least), x, up(most), "v"))
            parts.append(f'<circle cx="{x:.1f}" cy="{up(value):.1f}" r="3.5" class="f"><title>'
                         f"{escape(f'{line.peer}, {place}: {number(value)} {unit}')}</title></circle>")
        parts.append("</g>")
    return picture(title, bottom + (38 if axis else 22), parts)


def ratios(title, rows):
    """Ratios on a logarithmic axis; above 1 is a win. `rows`: label, (value, low, high), and whether that counts."""
    left, right = 196, WIDTH - 52
    values = [v for _, ratio, _ in rows for v in ratio if v]
    least, most = min(0.7, *values) / 1.1, max(1.5, *values) * 1.1

    def across(value):
        return left + (right - left) * math.log(value / least) / math.log(most / least)

    height = len(rows) * ROW + 4
    marks = [1]
    for mark in (10, 100, 1000, 0.1, 0.01, 2, 0.5, 5, 0.2):
        if least <= mark <= most and all(abs(across(mark) - across(m)) > 26 for m in marks):
            marks.append(mark)
    parts = [rule(across(m), 2, across(m), height, "d" if m == 1 else "g") for m in marks]
    for i, (label, (value, low, high), counts) in enumerate(rows):
        y = 4 + ROW * (i + 0.5)
        known = low is not None
        side = 0 if counts and known and low > 1 else 2 if counts and known and high < 1 else 6
        bounds = f", 95 % interval {factor(low)} to {factor(high)}" if known else ""
        parts.append(f'<g class="c{side}"><title>{escape(f"{label}: {factor(value)}×{bounds}")}</title>')
        parts.append(text(left - 6, y + 4, label, anchor="end"))
        if known:
            parts.append(rule(across(low), y, across(high), y, "l"))
        parts += [f'<circle cx="{across(value):.1f}" cy="{y:.1f}" r="4" class="f"/>',
                  text(WIDTH, y + 4, f"{factor(value)}×", anchor="end"), "</g>"]
    parts += [text(across(m), height + 14, f"{m:g}×", "m", "middle") for m in marks]
    return picture(title, height + 20, parts)
