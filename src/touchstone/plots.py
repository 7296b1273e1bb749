"""Plots as SVG text: lines, points, steps and bars with bands, on linear or logarithmic axes.

No script and no outside file. The same text stands inside a page, which brings `STYLE`, and as a
file of its own, which brings it along (`svg_file`); both are readable in light and dark.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from typing import Final, Literal

WIDTH: Final = 720
HEIGHT: Final = 240
LEFT: Final = 64
RIGHT: Final = 34
TOP: Final = 14
BOTTOM: Final = 40
POINTS_MAX: Final = 2_000
TICKS: Final = 5
COLOURS: Final = 6

_LEGEND: Final = 18
_LETTER: Final = 6.2
_DECADES_MAX: Final = 7
_BIG: Final = 1e5
_SMALL: Final = 1e-3

Kind = Literal["line", "points", "steps", "bars"]
"""How a figure draws its series."""

Point = tuple[float, float]

_LIGHT: Final = (
    "--p-ink:#5b6570;--p-rule:#d6dbe1;--p-0:#1f5fa8;--p-1:#b84a00;--p-2:#1a7a4c;--p-3:#84459c;"
    "--p-4:#b3261e;--p-5:#6d6200"
)
_DARK: Final = (
    "--p-ink:#aab4bf;--p-rule:#3c444d;--p-0:#79b8ff;--p-1:#ffab70;--p-2:#6fdca9;--p-3:#d2a8ff;"
    "--p-4:#ff938a;--p-5:#e3d26f"
)
STYLE: Final = "".join(
    [
        f":root{{{_LIGHT}}}@media(prefers-color-scheme:dark){{:root{{{_DARK}}}}}",
        ".plot{width:100%;height:auto}",
        ".plot text{font:11px system-ui,sans-serif;fill:var(--p-ink)}",
        ".plot .x{text-anchor:middle}.plot .y{text-anchor:end}",
        ".plot .area{fill:none;stroke:var(--p-rule)}.plot .grid{stroke:var(--p-rule)}",
        ".plot .l{fill:none;stroke-width:1.8}.plot .b{opacity:.18;stroke:none}",
        ".plot .w{stroke-width:1.2;fill:none}",
        *(
            f".plot .l.s{n},.plot .w.s{n}{{stroke:var(--p-{n})}}"
            f".plot .d.s{n},.plot .b.s{n}{{fill:var(--p-{n})}}"
            for n in range(COLOURS)
        ),
        ".plot .d{opacity:.85}.plot .s1.l{stroke-dasharray:7 3}.plot .s2.l{stroke-dasharray:3 3}",
        ".plot .s4.l{stroke-dasharray:9 3 2 3}",
    ]
)
"""What a page that holds plots must have in its style."""


@dataclass(frozen=True, slots=True)
class Series:
    """One named line, or set of points or bars; `low` and `high` are its band where it has one."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot of one or more series over common axes; what is not finite is left out."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    kind: Kind = "line"
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """Where values lie in a plot; limits of a logarithmic axis are logarithms to the base 10."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    log_x: bool = False
    log_y: bool = False

    def x(self, value: float) -> float:
        """Return the horizontal place of a value, kept within the plot."""
        at = math.log10(value) if self.log_x else value
        share = (at - self.x_low) / (self.x_high - self.x_low)
        return round(LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        """Return the vertical place of a value, kept within the plot."""
        at = math.log10(value) if self.log_y else value
        share = (at - self.y_low) / (self.y_high - self.y_low)
        return round(HEIGHT - BOTTOM - min(max(share, 0.0), 1.0) * (HEIGHT - TOP - BOTTOM), 1)


def frame_of(
    xs: Sequence[float], ys: Sequence[float], *, log_x: bool = False, log_y: bool = False
) -> Frame:
    """Return a frame that holds all values, never an empty one."""
    x_low, x_high = _limits(xs, log=log_x)
    y_low, y_high = _limits(ys, log=log_y)
    if x_high - x_low < 1e-9:  # noqa: PLR2004 - one value only
        x_low, x_high = x_low - 1.0, x_high + 1.0
    margin = (y_high - y_low) * 0.08 or (1.0 if log_y else abs(y_high) * 0.1 or 1.0)
    below = margin if log_y or y_low < 0 or y_low == y_high else 0.0
    return Frame(x_low, x_high, y_low - below, y_high + margin, log_x, log_y)


def nice_ticks(low: float, high: float, count: int = TICKS) -> list[float]:
    """Return round values between two limits.

    >>> nice_ticks(0, 10)
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    """
    raw = (high - low) / count
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * m for m in (1, 2, 5, 10) if size * m >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    digits = max(0, 2 - math.floor(math.log10(step)))
    return [round(i * step, digits) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return round values between two powers of ten, given as exponents.

    >>> log_ticks(-1, 2)
    [0.1, 1.0, 10.0, 100.0]
    >>> log_ticks(0, 0.9)
    [1.0, 2.0, 5.0]
    """
    every = max(1, math.ceil((high - low) / _DECADES_MAX))
    leads = (1.0, 2.0, 5.0) if high - low < 2 else (1.0,)  # noqa: PLR2004 - two decades
    found = []
    for power in range(math.floor(low), math.ceil(high) + 1, every):
        for lead in leads:
            value = float(f"{lead:g}e{power}")
            if low - 1e-9 <= math.log10(value) <= high + 1e-9:
                found.append(value)
    return found


def tick_text(value: float) -> str:
    """Return a short text of a round value.

    >>> [tick_text(v) for v in (0.0, 0.25, 1500.0, 2e6, 1e-4)]
    ['0', '0.25', '1500', '2e6', '1e-4']
    """
    if value == 0 or _SMALL <= abs(value) < _BIG:
        return f"{value:.6g}"
    digits, power = f"{value:e}".split("e")
    return f"{float(digits):g}e{int(power)}"


def figure_svg(figure: Figure) -> str:
    """Return the figure as an `svg` element; the page's style must hold `STYLE`."""
    shown = [_usable(one, figure) for one in figure.series]
    if not any(one.x for one in shown):
        return _element("<text class='x' x='360' y='120'>nothing to show</text>", figure.title)
    xs = [value for one in shown for value in one.x]
    ys = [value for one in shown for row in (one.y, one.low, one.high) for value in row]
    if figure.kind == "bars":
        gap = _least_gap(xs)
        xs += [min(xs) - gap / 2, max(xs) + gap / 2]
        ys += [] if figure.log_y else [0.0]
    frame = frame_of(xs, ys, log_x=figure.log_x, log_y=figure.log_y)
    body: list[str] = []
    for place, one in enumerate(shown):
        colour = f"s{place % COLOURS}"
        if figure.kind == "bars":
            body += _bars(frame, one, colour, place, len(shown), _least_gap(xs[:-2]))
        elif figure.kind == "points":
            body += _points(frame, one, colour)
        else:
            body += _line(frame, one, colour, steps=figure.kind == "steps")
    many = len(shown) > 1 or bool(shown[0].name)
    return framed(
        frame,
        body,
        figure.x_label,
        figure.y_label,
        figure.title,
        legend=[one.name for one in shown] if many else (),
        filled=figure.kind in {"points", "bars"},
    )


def svg_file(figure: Figure) -> str:
    """Return the figure as a file of its own, with its style and its title inside."""
    text = figure_svg(figure)
    at = text.index(">") + 1
    start = text[:at].replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    paper = "svg{background:#fff}@media(prefers-color-scheme:dark){svg{background:#15191e}}"
    return f"{start}<style>{STYLE}{paper}</style>{text[at:]}\n"


def framed(
    frame: Frame,
    body: Sequence[str],
    x_text: str,
    y_text: str,
    title: str,
    *,
    times: bool = False,
    legend: Sequence[str] = (),
    filled: bool = False,
) -> str:
    """Return an `svg` element of drawn shapes with axes, grid, labels and a legend.

    The legend shows lines, or squares where shapes are `filled`.

    `times` reads the horizontal values as seconds since 1970 and shows the hour in UTC.
    """
    floor = HEIGHT - BOTTOM
    parts = [
        (
            f'<rect class="area" x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" '
            f'height="{floor - TOP}"/>'
        )
    ]
    for value in _ticks(frame.y_low, frame.y_high, log=frame.log_y):
        y = frame.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="y" x="{LEFT - 6}" y="{y + 4:.1f}">{tick_text(value)}</text>')
    for value in _ticks(frame.x_low, frame.x_high, log=frame.log_x):
        text = _clock(value) if times else tick_text(value)
        parts.append(f'<text class="x" x="{frame.x(value)}" y="{floor + 15}">{text}</text>')
    middle = (TOP + floor) / 2
    parts.append(f'<text class="x" x="{WIDTH / 2}" y="{HEIGHT - 6}">{escape(x_text)}</text>')
    parts.append(
        f'<text class="x" x="14" y="{middle}" transform="rotate(-90 14 {middle})">'
        f"{escape(y_text)}</text>"
    )
    names, rows = _legend(legend, filled=filled)
    return _element("".join([*parts, *body, *names]), title, below=rows * _LEGEND)


def _element(inside: str, title: str, *, below: int = 0) -> str:
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT + below}" role="img" '
        f'aria-label="{escape(title)}">{inside}</svg>'
    )


def _legend(names: Sequence[str], *, filled: bool) -> tuple[list[str], int]:
    """Return the names with their colours, row after row below the plot, and the rows."""
    parts, x, row = [], float(LEFT), 0
    for place, name in enumerate(names):
        wide = 26 + _LETTER * len(name) + 14
        if x > LEFT and x + wide > WIDTH:
            x, row = float(LEFT), row + 1
        y = HEIGHT + row * _LEGEND + 8
        colour = f"s{place % COLOURS}"
        css, shape = (
            ("d", f"M{x + 6:.1f} {y - 8}h9v9h-9z") if filled else ("l", f"M{x:.1f} {y - 4}h20")
        )
        parts.append(f'<path class="{css} {colour}" d="{shape}"/>')
        parts.append(f'<text x="{x + 26:.1f}" y="{y}">{escape(name)}</text>')
        x += wide
    return parts, row + 1 if names else 0


def _usable(one: Series, figure: Figure) -> Series:
    """Return what can be drawn of a series, thinned where there is too much of it."""
    keep = []
    banded = len(one.low) == len(one.high) == len(one.x)
    for at, (x, y) in enumerate(zip(one.x, one.y, strict=True)):
        values = (y, one.low[at], one.high[at]) if banded else (y,)
        fine = math.isfinite(x) and all(math.isfinite(value) for value in values)
        if fine and not (figure.log_x and x <= 0) and not (figure.log_y and min(values) <= 0):
            keep.append(at)
    if len(keep) > POINTS_MAX:
        step = len(keep) / POINTS_MAX
        keep = [keep[int(place * step)] for place in range(POINTS_MAX)]

    def kept(row: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(float(row[at]) for at in keep)

    bands = (kept(one.low), kept(one.high)) if banded else ((), ())
    return Series(one.name, kept(one.x), kept(one.y), *bands)


def _limits(values: Sequence[float], *, log: bool) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (math.log10(low), math.log10(high)) if log else (low, high)


def _ticks(low: float, high: float, *, log: bool) -> list[float]:
    return log_ticks(low, high) if log else nice_ticks(low, high)


def _least_gap(xs: Sequence[float]) -> float:
    """Return the least distance between two different values; 1 where there is one only."""
    ordered = sorted(set(xs))
    return min((b - a for a, b in pairwise(ordered)), default=1.0)


def _line(frame: Frame, one: Series, colour: str, *, steps: bool) -> Iterator[str]:
    if one.low:
        upper = list(zip(one.x, one.high, strict=True))
        lower = list(zip(one.x, one.low, strict=True))
        if steps:
            upper, lower = _stepped(upper), _stepped(lower)
        yield f'<polygon class="b {colour}" points="{places(frame, [*upper, *reversed(lower)])}"/>'
    points = list(zip(one.x, one.y, strict=True))
    if steps:
        points = _stepped(points)
    yield f'<polyline class="l {colour}" points="{places(frame, points)}"/>'


def _stepped(points: Sequence[Point]) -> list[Point]:
    """Return the corners of a line that keeps each value until the next."""
    corners = list(points[:1])
    for (_, before), (x, y) in pairwise(points):
        corners += [(x, before), (x, y)]
    return corners


def _points(frame: Frame, one: Series, colour: str) -> Iterator[str]:
    radius = 3.0 if len(one.x) <= 60 else 2.0  # noqa: PLR2004 - few enough to be large
    for at, (x, y) in enumerate(zip(one.x, one.y, strict=True)):
        if one.low:
            yield _whisker(frame, frame.x(x), one.low[at], one.high[at], colour)
        yield f'<circle class="d {colour}" cx="{frame.x(x)}" cy="{frame.y(y)}" r="{radius:g}"/>'


def _bars(
    frame: Frame, one: Series, colour: str, place: int, count: int, gap: float
) -> Iterator[str]:
    """Yield bars beside those of the other series, from 0 (or the lower edge) up or down."""
    full = (frame.x(one.x[0] + gap) - frame.x(one.x[0])) if one.x else 0.0
    full = abs(full) or float(WIDTH - LEFT - RIGHT)
    wide = max(1.0, full * 0.8 / count)
    ground = HEIGHT - BOTTOM if frame.log_y else frame.y(0.0)
    for at, (x, y) in enumerate(zip(one.x, one.y, strict=True)):
        left = frame.x(x) - full * 0.4 + place * wide
        top, bottom = sorted((frame.y(y), ground))
        yield (
            f'<rect class="d {colour}" x="{left:.1f}" y="{top}" width="{wide:.1f}" '
            f'height="{bottom - top:.1f}"/>'
        )
        if one.low:
            yield _whisker(frame, left + wide / 2, one.low[at], one.high[at], colour)


def _whisker(frame: Frame, x: float, low: float, high: float, colour: str) -> str:
    return f'<path class="w {colour}" d="M{x:.1f} {frame.y(low)}V{frame.y(high)}"/>'


def places(frame: Frame, points: Sequence[Point]) -> str:
    """Return the points as the `points` of a polyline or polygon."""
    return " ".join(f"{frame.x(x)},{frame.y(y)}" for x, y in points)


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S")
