"""The plots of a dossier as inline SVG: no script, no external file."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from touchstone.plots import (
    BOTTOM,
    HEIGHT,
    LEFT,
    POINTS_MAX,
    RIGHT,
    TOP,
    WIDTH,
    Frame,
    Point,
    frame_of,
    framed,
    places,
)

SLIPPAGE_LIMIT_BPS: Final = 10.0


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
        f'<polygon class="band" points="{places(frame, [*upper, *reversed(lower)])}"/>',
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


def _line(frame: Frame, points: Sequence[Point], css: str) -> str:
    return f'<polyline class="{css}" points="{places(frame, points)}"/>'


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
    drawn = framed(frame, body, x_text, y_text, title, times=times)
    return f"<figure><figcaption>{escape(title)}</figcaption>{drawn}</figure>"
