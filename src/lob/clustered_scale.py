"""Carry a profile over to another instrument: its ticks, its lots, its pace.

What was fitted to one market says how orders stand to one another: behind the best price, within
the spread, ahead of a trade. On another grid of prices the same law holds in units of the spread.
"""

import math
from collections import defaultdict
from dataclasses import replace
from typing import Final

from lob.bounds import number, positive
from lob.clustered_profile import ClusteredProfile, Law

_TAIL_EXPONENT: Final = 1.6
"""Of the density of distances (Bouchaud, Mezard and Potters, Quantitative Finance 2, 2002)."""

_TAIL_POINTS: Final = 48


def scaled(
    profile: ClusteredProfile, *, ticks: float = 1.0, lots: float = 1.0, rate: float = 1.0
) -> ClusteredProfile:
    """Return a profile of `ticks` ticks and `lots` lots for one, `rate` times as fast.

    Finer ticks spread what was one place over those that it has become, but for the best queue, to
    which an order still comes exactly; coarser ones add up. Raises `InvalidInput` unless all three
    are above 0.
    """
    for name, value in (("ticks", ticks), ("lots", lots), ("rate", rate)):
        positive(name, value)
    return replace(
        profile,
        decays=_times(profile.decays, rate),
        limits_per_second=profile.limits_per_second * rate,
        markets_per_second=profile.markets_per_second * rate,
        patience_seconds=profile.patience_seconds / rate,
        warm_up_seconds=profile.warm_up_seconds / rate,
        lives=tuple(_times(quantiles, 1 / rate) for quantiles in profile.lives),
        chase_below=profile.chase_below * ticks,
        anchor_news_ticks=profile.anchor_news_ticks * ticks,
        anchor_trade_ticks=profile.anchor_trade_ticks * ticks,
        anchor_reach_ticks=profile.anchor_reach_ticks * ticks,
        spread_edges=_times(profile.spread_edges, ticks),
        inside_ticks=tuple(_stretched(law, ticks, least=1) for law in profile.inside_ticks),
        behind_ticks=_stretched(profile.behind_ticks, ticks, least=0),
        life_edges=_times(profile.life_edges, ticks),
        limit_lots=_rounded(profile.limit_lots, lots),
        market_lots=_rounded(profile.market_lots, lots),
        hidden_lots=_rounded(profile.hidden_lots, lots),
        take_edges=_times(profile.take_edges, lots),
    )


def deepened(
    profile: ClusteredProfile, *, share: float, furthest_ticks: float, life_seconds: float
) -> ClusteredProfile:
    """Return a profile of which a share of limit orders stand beyond all others, and stay longer.

    Their distances follow a power law up to `furthest_ticks`, their lives have this median and are
    from a sixteenth of it to sixteen times as long. A file that shows only the best levels says
    nothing of them. Raises `InvalidInput` for a share that is not one, or a distance that is not
    beyond.
    """
    number("share", share, low=0, high=1)
    edge = max(value for value, _ in profile.behind_ticks)
    number("furthest_ticks", furthest_ticks, low=edge + 1)
    positive("life_seconds", life_seconds)
    bounds = [
        edge * (furthest_ticks / edge) ** (place / _TAIL_POINTS)
        for place in range(1, _TAIL_POINTS + 1)
    ]
    weights = [
        (upper ** (1 - _TAIL_EXPONENT) - lower ** (1 - _TAIL_EXPONENT)) / (1 - _TAIL_EXPONENT)
        for lower, upper in zip([edge, *bounds], bounds, strict=False)
    ]
    total = sum(weights)
    tail = tuple(
        (float(math.ceil(bound)), share * weight / total)
        for bound, weight in zip(bounds, weights, strict=True)
    )
    return replace(
        profile,
        behind_ticks=(
            *((value, part * (1 - share)) for value, part in profile.behind_ticks),
            *tail,
        ),
        life_edges=(*profile.life_edges, edge + 1),
        lives=(*profile.lives, _lives(profile.life_levels, life_seconds)),
    )


def _lives(levels: tuple[float, ...], median: float) -> tuple[float, ...]:
    """Return quantiles of a log-uniform law, from a sixteenth of its median to sixteen times it."""
    return tuple(median * 2 ** (4 * (2 * level - 1)) for level in levels)


def _times(values: tuple[float, ...], factor: float) -> tuple[float, ...]:
    return tuple(value * factor for value in values)


def _stretched(law: Law, factor: float, *, least: int) -> Law:
    """Return distances on another grid; each one's share goes to the ticks that it covers."""
    found: defaultdict[int, float] = defaultdict(float)
    for value, share in law:
        if value == 0:
            found[0] += share
            continue
        low = max(_nearest((value - 0.5) * factor), least)
        count = max(_nearest((value + 0.5) * factor) - low, 1)
        for tick in range(low, low + count):
            found[tick] += share / count
    return _of(found)


def _nearest(value: float) -> int:
    """Return the nearest whole number, the upper one of two: so that ticks meet without a gap."""
    return math.floor(value + 0.5)


def _rounded(law: Law, factor: float) -> Law:
    """Return sizes in other lots, at least one each."""
    found: defaultdict[int, float] = defaultdict(float)
    for value, share in law:
        found[max(round(value * factor), 1)] += share
    return _of(found)


def _of(found: dict[int, float]) -> Law:
    total = sum(found.values())
    return tuple((float(value), share / total) for value, share in sorted(found.items()))
