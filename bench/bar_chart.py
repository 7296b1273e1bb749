"""Draw horizontal bars as an SVG file, on a logarithmic scale, readable on light and dark pages."""

import math
from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

WIDTH: Final = 860
LABEL: Final = 330
VALUE: Final = 90
ROW: Final = 26
TOP: Final = 44
OURS: Final = "#2a78d6"
OTHERS: Final = "#8a8f98"


class BarRow(NamedTuple):
    """One bar: what it is, how much, and whether it is ours."""

    label: str
    value: float
    ours: bool


def short(value: float) -> str:
    """Return a number with three figures, and large ones whole: 0.123, 4.56, 78.9, 1,235.

    >>> short(0.12345), short(78.94), short(1234.5)
    ('0.123', '78.9', '1,234')
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three figures


def bars_svg(title: str, unit: str, rows: Sequence[BarRow]) -> str:
    """Return a drawing of the rows in their order; values must be above 0."""
    low = math.floor(math.log10(min(row.value for row in rows)))
    high = math.ceil(math.log10(max(row.value for row in rows)))
    high = max(high, low + 1)
    room = WIDTH - LABEL - VALUE
    bottom = TOP + ROW * len(rows)

    def x(value: float) -> float:
        return LABEL + room * (math.log10(value) - low) / (high - low)

    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 34}" '
            f'role="img" aria-label="{escape(title)}" font-family="sans-serif" font-size="13">'
        ),
        f'<rect width="{WIDTH}" height="{bottom + 34}" fill="#ffffff" rx="6"/>',
        (
            f'<text x="12" y="24" font-size="15" font-weight="bold" fill="#1c1e21">'
            f"{escape(title)}</text>"
        ),
    ]
    for power in range(low, high + 1):
        at = x(10.0**power)
        parts.append(
            f'<line x1="{at:.1f}" y1="{TOP - 6}" x2="{at:.1f}" y2="{bottom}" stroke="#e3e5e8"/>'
            f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle" font-size="11" '
            f'fill="#5b6068">{10.0**power:g} {escape(unit)}</text>'
        )
    for index, row in enumerate(rows):
        y = TOP + ROW * index
        colour = OURS if row.ours else OTHERS
        end = max(x(row.value), LABEL + 2.0)
        parts.append(
            f'<text x="{LABEL - 10}" y="{y + 16}" text-anchor="end" fill="#1c1e21">'
            f"{escape(row.label)}</text>"
            f'<rect x="{LABEL}" y="{y + 3}" width="{end - LABEL:.1f}" height="{ROW - 8}" '
            f'fill="{colour}" rx="2"/>'
            f'<text x="{end + 6:.1f}" y="{y + 16}" fill="#1c1e21">{short(row.value)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"
