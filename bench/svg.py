"""Curves over a common axis, drawn as SVG without a plotting library."""

from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

WIDTH: Final = 760
PANEL_HEIGHT: Final = 300
LEFT: Final = 56
RIGHT: Final = 570
TOP: Final = 40
BOTTOM: Final = 256
LEGEND: Final = 582
LEGEND_STEP: Final = 18
TICKS: Final = 5
COLORS: Final = ("#b2182b", "#2166ac", "#777777", "#1b7837", "#762a83", "#e08214")


class Curve(NamedTuple):
    """One line: its name and its shares at even steps, the last at the panel's `x_max`.

    `color` counts the palette; without one it is the curve's place in its panel. Curves of one name
    share a line of the legend.
    """

    name: str
    values: tuple[float, ...]
    dashed: bool = False
    color: int | None = None


class Panel(NamedTuple):
    """One plot: its title, the name of its x axis, its curves, and where both axes end."""

    title: str
    x_name: str
    curves: tuple[Curve, ...]
    x_max: float
    y_max: float


def draw(panels: Sequence[Panel]) -> str:
    """Return the panels below one another, as one SVG."""
    height = PANEL_HEIGHT * len(panels)
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            'font-family="sans-serif" font-size="12">\n'
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>'
        )
    ]
    for index, panel in enumerate(panels):
        lines.append(f'<g transform="translate(0,{PANEL_HEIGHT * index})">')
        lines += _panel(panel)
        lines.append("</g>")
    lines.append("</svg>\n")
    return "\n".join(lines)


def _panel(panel: Panel) -> list[str]:
    lines = [f'<text x="{LEFT}" y="22" font-size="14">{escape(panel.title)}</text>']
    for tick in range(TICKS + 1):
        share = tick / TICKS
        y = BOTTOM - (BOTTOM - TOP) * share
        x = LEFT + (RIGHT - LEFT) * share
        lines += [
            f'<line x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>',
            (
                f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
                f"{panel.y_max * share:.0%}</text>"
            ),
            (
                f'<text x="{x:.1f}" y="{BOTTOM + 16}" text-anchor="middle">'
                f"{panel.x_max * share:,.0f}</text>"
            ),
        ]
    middle = (LEFT + RIGHT) // 2
    lines.append(
        f'<text x="{middle}" y="{BOTTOM + 34}" text-anchor="middle">{escape(panel.x_name)}</text>'
    )
    named: list[str] = []
    for place, curve in enumerate(panel.curves):
        color = COLORS[(place if curve.color is None else curve.color) % len(COLORS)]
        stroke = f'stroke="{color}" stroke-width="1.8"'
        if curve.dashed:
            stroke += ' stroke-dasharray="5,4"'
        lines.append(f'<polyline points="{_points(curve, panel.y_max)}" fill="none" {stroke}/>')
        if curve.name in named:
            continue
        y = 48 + LEGEND_STEP * len(named)
        named.append(curve.name)
        lines += [
            f'<line x1="{LEGEND}" x2="{LEGEND + 20}" y1="{y}" y2="{y}" {stroke}/>',
            f'<text x="{LEGEND + 26}" y="{y + 4}">{escape(curve.name)}</text>',
        ]
    return lines


def _points(curve: Curve, y_max: float) -> str:
    step = (RIGHT - LEFT) / len(curve.values)
    return " ".join(
        f"{LEFT + step * (index + 1):.1f},{BOTTOM - (BOTTOM - TOP) * value / y_max:.1f}"
        for index, value in enumerate(curve.values)
    )
