"""The plots of a dossier as inline SVG: no script, no external file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any, Final

WIDTH: Final = 720
HEIGHT: Final = 240
LEFT: Final = 64
RIGHT: Final = 34
TOP: Final = 14
BOTTOM: Final = 40
POINTS_MAX: Final = 2_000
TICKS: Final = 5
SLIPPAGE_LIMIT_BPS: Final = 10.0

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Frame:
    """Where values lie in a plot."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        """Return the horizontal place of a value."""
        share = (value - self.x_low) / (self.x_high - self.x_low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        """Return the vertical place of a value, kept within the plot."""
        share = (value - self.y_low) / (self.y_high - self.y_low)
        return round(HEIGHT - BOTTOM - min(max(share, 0.0), 1.0) * (HEIGHT - TOP - BOTTOM), 1)


def frame_of(xs: Sequence[float], ys: Sequence[float]) -> Frame:
    """Return a frame that holds all values, never an empty one."""
    x_low, x_high = min(xs), max(xs)
    y_low, y_high = min(ys), max(ys)
    if x_high - x_low < 1e-9:  # noqa: PLR2004 - one value only
        x_low, x_high = x_low - 1.0, x_high + 1.0
    margin = (y_high - y_low) * 0.08 or 1.0
    return Frame(x_low, x_high, y_low - (margin if y_low < 0 else 0.0), y_high + margin)


def nice_ticks(low: float, high: float, count: int = TICKS) -> list[float]:
    """Return round values between two limits.

    >>> nice_ticks(0, 10)
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    """
    raw = (high - low) / count
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * m for m in (1, 2, 5, 10) if size * m >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def evidence_plot(
    curve: Sequence[Mapping[str, Any]], harm_bps: float, margin_bps: float
) -> str | None:
    """Return the judge's evidence as it grew: mean, its bounds, harm and margin."""
    points = [p for p in curve if p["mean_bps"] is not None][:POINTS_MAX]
    if not points:
        return None
    xs = [float(p["blocks"]) for p in points]
    bounds = [float(p[k]) for p in points for k in ("lower_bps", "upper_bps") if p[k] is not None]
    means = [float(p["mean_bps"]) for p in points]
    frame = frame_of(xs, [*means, *bounds, harm_bps, margin_bps])
    upper = [(float(p["blocks"]), _or(p["upper_bps"], frame.y_high)) for p in points]
    lower = [(float(p["blocks"]), _or(p["lower_bps"], frame.y_low)) for p in points]
    body = [
        f'<polygon class="band" points="{_places(frame, [*upper, *reversed(lower)])}"/>',
        _line(frame, list(zip(xs, means, strict=True)), "mean"),
        _level(frame, harm_bps, "harm", f"harm {harm_bps:g}", at_right=True),
        _level(frame, margin_bps, "margin", f"margin {margin_bps:g}", at_right=True),
    ]
    return _plot(frame, body, "symbol-minutes compared", "L3 - L2, bps", "The judge's evidence")


def window_plot(rows: Sequence[Mapping[str, Any]], slot_seconds: float, name: str) -> str | None:
    """Return a trigger's window: per slot how many were counted, and how many were too much."""
    if not rows:
        return None
    xs = [float(row["at"]) for row in rows]
    frame = frame_of([*xs, xs[-1] + slot_seconds], [0.0, *(float(r["samples"]) for r in rows)])
    width = max(1.0, frame.x(frame.x_low + slot_seconds) - LEFT - 1)
    body = []
    for row in rows:
        for css, value in (("all", row["samples"]), ("over", row["over"])):
            top = frame.y(float(value))
            body.append(
                f'<rect class="{css}" x="{frame.x(float(row["at"]))}" y="{top}" '
                f'width="{width:.1f}" height="{HEIGHT - BOTTOM - top:.1f}"/>'
            )
    title = f"{name}: counted (grey) and above the limit (red)"
    return _plot(frame, body, "time, UTC", "executions", title, times=True)


def orders_plot(orders: Sequence[Mapping[str, Any]], count: int) -> str | None:
    """Return the orders shown of `count`: slippage by time, and failures at the upper edge."""
    shown = orders[:POINTS_MAX]
    if not shown:
        return None
    slippages = [float(o["slippage_bps"]) for o in shown if o["slippage_bps"] is not None]
    frame = frame_of([float(o["at"]) for o in shown], [0.0, SLIPPAGE_LIMIT_BPS, *slippages])
    body = [_level(frame, SLIPPAGE_LIMIT_BPS, "harm", f"limit {SLIPPAGE_LIMIT_BPS:g} bps")]
    for order in shown:
        x = frame.x(float(order["at"]))
        if order["error"] is not None:
            body.append(f'<path class="failed" d="M{x - 3} {TOP}l6 6m0 -6l-6 6"/>')
        elif order["slippage_bps"] is not None:
            body.append(
                f'<circle class="order" cx="{x}" cy="{frame.y(order["slippage_bps"])}" r="2.5"/>'
            )
    which = f"the worst {len(shown)} of {count}" if count > len(shown) else f"all {count}"
    title = f"Affected orders, {which}: slippage, and failures as crosses"
    return _plot(frame, body, "time, UTC", "slippage, bps", title, times=True)


def _or(value: float | None, default: float) -> float:
    return default if value is None else float(value)


def _places(frame: Frame, points: Sequence[Point]) -> str:
    return " ".join(f"{frame.x(x)},{frame.y(y)}" for x, y in points)


def _line(frame: Frame, points: Sequence[Point], css: str) -> str:
    return f'<polyline class="{css}" points="{_places(frame, points)}"/>'


def _level(frame: Frame, value: float, css: str, text: str, *, at_right: bool = False) -> str:
    """Return a horizontal line with its name, at the end where less is in its way."""
    y = frame.y(value)
    x, anchor = (WIDTH - RIGHT - 6, "end") if at_right else (LEFT + 6, "start")
    return (
        f'<line class="{css}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
        f'<text text-anchor="{anchor}" x="{x}" y="{y - 4}">{escape(text)}</text>'
    )


def _plot(
    frame: Frame, body: Sequence[str], x_text: str, y_text: str, title: str, *, times: bool = False
) -> str:
    floor = HEIGHT - BOTTOM
    axes = [
        (
            f'<rect class="area" x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" '
            f'height="{floor - TOP}"/>'
        )
    ]
    for value in nice_ticks(frame.y_low, frame.y_high):
        y = frame.y(value)
        axes.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        axes.append(f'<text class="y" x="{LEFT - 6}" y="{y + 4}">{value:g}</text>')
    for value in nice_ticks(frame.x_low, frame.x_high):
        text = _clock(value) if times else f"{value:g}"
        axes.append(f'<text class="x" x="{frame.x(value)}" y="{floor + 15}">{text}</text>')
    middle = (TOP + floor) / 2
    axes.append(f'<text class="x" x="{WIDTH / 2}" y="{HEIGHT - 6}">{escape(x_text)}</text>')
    axes.append(
        f'<text class="x" x="14" y="{middle}" transform="rotate(-90 14 {middle})">'
        f"{escape(y_text)}</text>"
    )
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(axes)}{''.join(body)}</svg></figure>"
    )


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S")
