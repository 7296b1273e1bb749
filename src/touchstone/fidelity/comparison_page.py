"""The comparison of L2 and L3 for readers: lines for a terminal, and one page of HTML."""

import json
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from touchstone.fidelity.comparison import Comparison, Group, Tried
from touchstone.pages import figure, page, table
from touchstone.plots import Figure, Series

_CURVE: Final = 200
_ROUND: Final = 3


def lines_of(found: Comparison) -> Iterator[str]:
    """Yield the comparison as lines of text."""
    yield (
        f"{found.source}: {found.scenes} scenes, {len(found.tried):,} orders through L2 and L3; "
        f"sizes in multiples of {found.touch_quantity} (the median at the touch)"
    )
    for group in found.groups:
        yield (
            f"{group.kind:<6} x{group.size:<4g} filled {_percent(group.fill_rate[0])} / "
            f"{_percent(group.fill_rate[1])}  slippage {_number(group.slippage_bps[0].mean)} / "
            f"{_number(group.slippage_bps[1].mean)} bps  RMSE {_number(group.rmse_bps)} bps  "
            f"correlation {_number(group.correlation)}  ({group.both_filled} filled by both)"
        )
    for name, spread in zip(("L2", "L3"), found.call_us, strict=True):
        shown = ", ".join(f"{p} {_number(v, 1)} us" for p, v in spread.percentiles.items())
        yield f"one call of {name}: {shown}"


def html_page(found: Comparison) -> str:
    """Return the comparison as one page that needs nothing else."""
    sections = [
        "<h1>L2 and L3 on the same orders</h1>",
        (
            f"<p>{escape(found.source)}, {escape(found.asset_class)}: {found.scenes} scenes, "
            f"{len(found.tried):,} orders, seed {found.seed}.</p>"
        ),
        *(f"<p>{escape(text)}</p>" for text in _TEXT),
        "<h2>Fills and slippage</h2>",
        table(_FILL_HEADS, [_fill_row(group) for group in found.groups]),
        "<h3>Slippage of what filled</h3>",
        table(_COST_HEADS, [_cost_row(group) for group in found.groups]),
        *(figure(drawn) for drawn in figures(found)),
        "<h2>How long a call takes</h2>",
        table(
            ("Level", "#Calls", "#Mean, us", *(f"#{p}, us" for p in found.call_us[0].percentiles)),
            [
                (
                    name,
                    spread.count,
                    _number(spread.mean, 1),
                    *(_number(value, 1) for value in spread.percentiles.values()),
                )
                for name, spread in zip(("L2", "L3"), found.call_us, strict=True)
            ],
        ),
        "<h2>Why, in three orders</h2>",
        "<p>The orders, filled by both, on which the two levels differ most.</p>",
        *(part for one in found.examples() for part in _example(one)),
    ]
    return page("L2 and L3", sections, style=_STYLE)


def figures(found: Comparison) -> tuple[Figure, ...]:
    """Return the plots: distributions of slippage, one level against the other, fills, calls."""
    market = [one for one in found.tried if one.kind == "MARKET"]
    largest = max(one.size for one in found.tried)
    big = [one for one in market if one.size == largest]
    limits = [group for group in found.groups if group.kind == "LIMIT"]
    both = [one for one in market if None not in one.slippage_bps]
    return (
        Figure(
            f"Slippage of the largest market orders (x{largest:g} the touch), distribution",
            "slippage, bps (a cost is above 0)",
            "share of orders at most",
            (
                _curve("L2", [one.slippage_bps[0] for one in big]),
                _curve("L3", [one.slippage_bps[1] for one in big]),
            ),
            kind="steps",
        ),
        Figure(
            "Slippage of each market order: L3 against L2",
            "L2, bps",
            "L3, bps",
            tuple(
                Series(
                    f"x{size:g}",
                    tuple(_bps(one, 0) for one in both if one.size == size),
                    tuple(_bps(one, 1) for one in both if one.size == size),
                )
                for size in sorted({one.size for one in both})
            ),
            kind="points",
        ),
        Figure(
            "Share filled of limit orders that join the best price",
            "place of the size: 1 is the smallest",
            "share filled",
            tuple(
                Series(
                    name,
                    tuple(float(place) for place in range(1, len(limits) + 1)),
                    tuple(group.fill_rate[level] for group in limits),
                )
                for level, name in enumerate(("L2", "L3"))
            ),
            kind="bars",
        ),
        Figure(
            "How long one call takes, distribution",
            "microseconds",
            "share of calls at most",
            (
                _curve("L2", [one.call_us[0] for one in found.tried]),
                _curve("L3", [one.call_us[1] for one in found.tried]),
            ),
            kind="steps",
            log_x=True,
        ),
    )


def _curve(name: str, values: Sequence[float | None]) -> Series:
    """Return the distribution function, at no more points than are seen."""
    ordered = sorted(value for value in values if value is not None)
    count = len(ordered)
    step = max(1, count // _CURVE)
    places = [*range(0, count, step), count - 1] if count else []
    return Series(
        name,
        tuple(ordered[place] for place in places),
        tuple((place + 1) / count for place in places),
    )


def _bps(one: Tried, level: int) -> float:
    value = one.slippage_bps[level]
    return 0.0 if value is None else value


_FILL_HEADS: Final = (
    "Type", "#Size", "#Orders", "#L2 filled", "#L3 filled", "#Filled some by both",
    "#L3 - L2, bps", "#RMSE, bps", "#Correlation",
)  # fmt: skip
_COST_HEADS: Final = (
    "Type", "#Size", "#L2 mean, bps", "#5 %", "#50 %", "#95 %",
    "#L3 mean, bps", "#5 %", "#50 %", "#95 %",
)  # fmt: skip


def _fill_row(group: Group) -> tuple[object, ...]:
    return (
        group.kind,
        f"x{group.size:g}",
        group.orders,
        *(_percent(share) for share in group.fill_rate),
        group.both_filled,
        _number(group.mean_difference_bps),
        _number(group.rmse_bps),
        _number(group.correlation),
    )


def _cost_row(group: Group) -> tuple[object, ...]:
    row: list[object] = [group.kind, f"x{group.size:g}"]
    for spread in group.slippage_bps:
        row += [_number(spread.mean), *(_number(value) for value in spread.percentiles.values())]
    return tuple(row)


def _example(one: Tried) -> list[str]:
    said = {"L2": one.attribution[0], "L3": one.attribution[1]}
    text = json.dumps(said, indent=1, default=str, sort_keys=True)
    return [
        (
            f"<h3>{escape(one.side)} {one.quantity:f} {escape(one.kind)}, scene {one.scene}: "
            f"L2 {_number(one.slippage_bps[0])} bps, L3 {_number(one.slippage_bps[1])} bps</h3>"
        ),
        f"<pre>{escape(text)}</pre>",
    ]


def _number(value: float | None, digits: int = _ROUND) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


_STYLE: Final = "pre{font-size:.75rem;overflow-x:auto;white-space:pre-wrap}"

_TEXT: Final = (
    (
        "Limits first: this says how far the two models are apart, not which one is right (that is "
        "what `touchstone fidelity` measures); the orders are tried one at a time and leave no "
        "mark on the market that follows; the daily volume is that of the part seen, scaled up."
    ),
    (
        "At each scene the same order goes to both providers with the same depth of ten levels, "
        "the same bar of ten seconds after it, and the same seed. Market orders and limit orders "
        "that join the best price of their own side are tried in three sizes, given in multiples "
        "of the median size at the touch. Slippage is signed against the mid at the decision: "
        "above 0 is a cost, and a resting order that fills earns half the spread."
    ),
)
