"""What only the whole flow shows: the last parameters by the method of simulated moments.

A few knobs are turned until flow drawn with one seed has the market's figures (McFadden 1989). The
search is a seeded evolution of one parent, so that the same tape gives the same profile; what it
comes to has to be judged on another seed.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np

from lob.bounds import Floats, whole
from lob.calibration.flow_fit import FlowFit, own_rates
from lob.calibration.measures import flatten, measure
from lob.calibration.tape import Tape, make_tape
from lob.clustered_flow import ClusteredFlow
from lob.clustered_profile import ClusteredProfile, Rows
from lob.errors import Fault
from lob.recording import Recording, record
from lob.types import Instrument

Progress = Callable[[int, int, float], None]
"""Told after each evaluation: how many of how many, and the least loss so far."""

DEFAULT_EVALUATIONS: Final = 22
MAX_BRANCHING: Final = 0.92
SKIPPED_SECONDS: Final = 30.0
_WORST: Final = 1.0
_CLOSE: Final = math.log(1.25)
_LED_SHARE: Final = 0.4
_SLOW: Final = 1.0
_SPARE_EVENTS: Final = 4_096
_RECENCY: Final = 10.0
_NEAR_BANDS: Final = 2
_NS: Final = 1_000_000_000
_ABOUT_A_SECOND: Final = (0.1, 10.0)
_MOST_EVENTS: Final = 3.0
"""A flow with so many times the market's events is given up."""


class Knobs(NamedTuple):
    """What is turned: factors as logarithms, the last ones as the profile has them.

    Lives, the odds of improving, offspring on scales about a second, cancels that answer trades,
    limit orders and market orders that come by themselves, the odds of taking a whole queue.
    """

    life: float = 2.4
    inside: float = 0.0
    heat: float = 0.8
    answer: float = 0.0
    limits: float = 0.12
    markets: float = 0.28
    take: float = 0.1
    near_life: float = -1.2
    narrow: float = 1.8
    recency: float = 1.7
    chase: float = 0.7
    news: float = -1.2
    trade: float = 0.5
    reach: float = -1.3
    informed: float = 0.1
    burst: float = 2.0
    patience: float = 0.02


_STEPS: Final = Knobs(
    *(0.15, 0.1, 0.2, 0.2, 0.06, 0.06, 0.15, 0.15, 0.15, 0.4, 0.2, 0.2, 0.2, 0.2, 0.1, 0.7, 0.1)
)


_USUALLY_ALLOWED: Final = (-3.0, 3.0)
_ALLOWED: Final[Mapping[str, tuple[float, float]]] = {
    "chase": (0.0, 1.0),
    "informed": (0.0, 1.0),
    "patience": (0.0, 1.0),
    "burst": (0.0, 10.0),
}


class MomentFit(NamedTuple):
    """The profile with its knobs turned, the loss it has, and how many flows were drawn."""

    profile: ClusteredProfile
    knobs: Knobs
    loss: float
    evaluations: int


def turned(fit: FlowFit, knobs: Knobs) -> ClusteredProfile:
    """Return the fitted profile with its knobs turned."""
    base = fit.profile
    limit, market = np.array(base.limit_offspring), np.array(base.market_offspring)
    decays = np.array(base.decays)
    about = (decays > _ABOUT_A_SECOND[0]) & (decays < _ABOUT_A_SECOND[1])
    limit[:, about] *= math.exp(knobs.heat)
    market[:, about] *= math.exp(knobs.heat)
    cancel = np.array(base.cancel_offspring)
    cancel[3] *= math.exp(knobs.answer)
    # Orders within a few ticks of the best have a knob of their own.
    logs = [
        knobs.life + (knobs.near_life if band <= _NEAR_BANDS else 0.0)
        for band in range(len(base.lives))
    ]
    inside = _improving(base, knobs)
    # The slow scales give way first: likelihood takes every trend of an hour for excitation.
    slow = decays < _SLOW
    for shrunk in (slow, ~slow):
        for _ in range(200):
            if _branching(base, inside, limit, market) <= MAX_BRANCHING:
                break
            limit[:, shrunk] *= 0.98
            market[:, shrunk] *= 0.98
    limits, markets = own_rates(limit, market, base.replace_share, fit.arrivals)
    return replace(
        base,
        limit_offspring=_rows(limit),
        market_offspring=_rows(market),
        cancel_offspring=_rows(cancel),
        limits_per_second=limits * math.exp(knobs.limits),
        markets_per_second=markets * math.exp(knobs.markets),
        lives=tuple(
            tuple(float(f"{life * math.exp(log):.6g}") for life in row)
            for row, log in zip(base.lives, logs, strict=True)
        ),
        anchor_news_ticks=base.anchor_news_ticks * math.exp(knobs.news),
        anchor_trade_ticks=base.anchor_trade_ticks * math.exp(knobs.trade),
        anchor_reach_ticks=base.anchor_reach_ticks * math.exp(knobs.reach),
        informed=knobs.informed,
        inside_shares=inside,
        pull_recency=max(1.0, _RECENCY * math.exp(knobs.recency)),
        take_shares=_shares(base.take_shares, knobs.take),
        chase=knobs.chase,
        burst=knobs.burst,
        patience=knobs.patience,
    )


def fit_moments(
    tape: Tape,
    fit: FlowFit,
    *,
    seed: int = 0,
    evaluations: int = DEFAULT_EVALUATIONS,
    seconds: float = 3_600.0,
    progress: Progress | None = None,
) -> MomentFit:
    """Return the profile whose flow is nearest to the market's figures.

    Each evaluation draws `seconds` of flow, or the market's duration where that is less. The same
    arguments give the same profile. O(evaluations x events).
    """
    whole("evaluations", evaluations, 1)
    wanted = measure(tape)
    wide = flatten(wanted)
    rng = np.random.default_rng([seed, 1])
    span = min(seconds, tape.duration)
    best = _within(Knobs())
    least = _loss(wanted, tape, turned(fit, best), seed, span)
    step, at, last = 1.0, best, least
    for done in range(1, evaluations):
        if done < evaluations * _LED_SHARE:
            at = tried = _within(_led(at, wide, last.figures, 1 / (1 + done / 12)))
        else:
            moved = rng.normal(size=len(_STEPS)) * (rng.random(len(_STEPS)) < 0.5)  # noqa: PLR2004
            tried = _within(Knobs(*(np.array(best) + step * np.array(_STEPS) * moved).tolist()))
        last = _loss(wanted, tape, turned(fit, tried), seed, span)
        loss = last
        # Steps grow where they help and shrink where they do not: one in five may help.
        if loss.loss < least.loss:
            best, least, step = tried, loss, min(step * 1.5, 2.0)
        else:
            step = max(step * 0.93, 0.15)
        if progress is not None:
            progress(done + 1, evaluations, least.loss)
    return MomentFit(turned(fit, best), best, least.loss, evaluations)


def draw_flow(
    profile: ClusteredProfile,
    instrument: Instrument,
    *,
    seconds: float,
    mid_ticks: int,
    seed: int,
    most_events: int = 50_000_000,
) -> Recording:
    """Return `seconds` of a profile's flow, recorded; it ends early after `most_events`."""
    flow = ClusteredFlow(instrument, seed, mid_ticks, profile=profile)
    return record(flow, most_events, until_ns=round(seconds * _NS))


def closeness(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> float:
    """Return how far figures are from those wanted, 0 for all alike and at most 1.

    A figure counts x^2 / (1 + x^2), x its log ratio over log 1.25: one that is far off counts no
    more than one that is hopeless. It is the mean of that over the figures, and over the means of
    groups (by first name), half and half. Figures that are 0 or less are left out.

    >>> closeness({"a": 1.0, "b": {"x": 2.0}}, {"a": 1.0, "b": {"x": 2.0}})
    0.0
    """
    groups, every = [], []
    for name, value in wanted.items():
        theirs = flatten({name: found.get(name, math.nan)})
        parts = [
            _apart(theirs.get(key, math.nan), want)
            for key, want in flatten({name: value}).items()
            if want > 0
        ]
        if parts:
            groups.append(sum(parts) / len(parts))
            every += parts
    return sum(groups) / len(groups) / 2 + sum(every) / len(every) / 2


def _apart(found: float, wanted: float) -> float:
    if not (math.isfinite(found) and found > 0 and math.isfinite(wanted)):
        return 1.0
    squared = (math.log(found / wanted) / _CLOSE) ** 2
    return squared / (1 + squared)


class _Tried(NamedTuple):
    """The loss of a profile, and the figures of its flow."""

    loss: float
    figures: Mapping[str, float]


_LEADS: Final[tuple[tuple[str, float, tuple[str, ...]], ...]] = (
    ("limits", 0.8, ("events_per_s.add",)),
    ("markets", 0.8, ("aggressive_orders_per_s",)),
    ("life", 0.4, tuple(f"book_shape_mean_qty_by_tick_from_best.{at}" for at in range(6, 20))),
    ("near_life", 0.3, ("lifetime_cancel_s.0.5", "lifetime_cancel_s.0.75")),
    ("news", 0.4, ("mid_return.10.var_per_s", "mid_return.60.var_per_s")),
    ("trade", 0.3, ("response_ticks.1", "mid_return.10.var_per_s", "mid_return.60.var_per_s")),
    ("recency", 0.4, ("lifetime_cancel_s.0.25",)),
    ("patience", -0.02, ("lifetime_fill_s.0.25",)),
    ("narrow", -0.4, tuple(f"cst_params_unit=mean_limit_size.lam.{away}" for away in (2, 3, 4, 5))),
    ("inside", -0.6, ("spread_ticks_timeweighted.mean",)),
    ("heat", 0.3, ("fano_1s_book_events",)),
    ("take", 0.4, ("exec_msgs_to_add",)),
)
"""Knobs that lead one figure or two each: by how much of the logarithm that these are short."""


def _led(
    knobs: Knobs, wanted: Mapping[str, float], found: Mapping[str, float], gain: float
) -> Knobs:
    """Return the knobs turned towards the figures that they lead (Robbins and Monro 1951)."""
    turned_to: dict[str, float] = {}
    for name, share, figures in _LEADS:
        short = [
            math.log(wanted[figure] / found[figure])
            for figure in figures
            if wanted[figure] > 0 and found.get(figure, 0.0) > 0
        ]
        if short:
            # One step is never more than a factor of e.
            step = max(-1.0, min(1.0, sum(short) / len(short)))
            turned_to[name] = getattr(knobs, name) + gain * share * step
    return knobs._replace(**turned_to)


def _loss(
    wanted: Mapping[str, Any], tape: Tape, profile: ClusteredProfile, seed: int, span: float
) -> "_Tried":
    expected = len(tape.seconds) / tape.duration * span
    try:
        drawn = draw_flow(
            profile,
            tape.instrument,
            seconds=span + SKIPPED_SECONDS,
            mid_ticks=middle_ticks(tape),
            seed=seed,
            most_events=int(_MOST_EVENTS * expected) + _SPARE_EVENTS,
        )
        found = measure(
            make_tape(drawn.feed, tape.instrument, drawn.hidden, skip_seconds=SKIPPED_SECONDS)
        )
    except Fault:
        return _Tried(_WORST, {})
    return _Tried(closeness(wanted, found), flatten(found))


def middle_ticks(tape: Tape) -> int:
    """Return a price about which a tape's market trades."""
    return max(2, int(tape.after.mid[tape.after.two_sided].mean()))


def _within(knobs: Knobs) -> Knobs:
    """Return the knobs within what a profile allows."""
    within: dict[str, float] = {}
    for name, value in knobs._asdict().items():
        least, most = _ALLOWED.get(name, _USUALLY_ALLOWED)
        within[name] = min(max(value, least), most)
    return Knobs(**within)


def _improving(base: ClusteredProfile, knobs: Knobs) -> tuple[float, ...]:
    """Return the shares that improve, by width of the spread: fewer where it is narrow already."""
    edges = base.spread_edges
    if not edges:
        return _shares(base.inside_shares, knobs.inside)
    middle = edges[len(edges) // 2]
    widths = (edges[0] / 2, *edges)
    return tuple(
        _shares((share,), knobs.inside + knobs.narrow * math.log(width / middle))[0]
        for share, width in zip(base.inside_shares, widths, strict=True)
    )


def _shares(shares: tuple[float, ...], log: float) -> tuple[float, ...]:
    """Return shares with their odds turned."""
    factor = math.exp(log)
    return tuple(round(share * factor / (1 + share * (factor - 1)), 6) for share in shares)


def _branching(
    base: ClusteredProfile, inside: tuple[float, ...], limit: Floats, market: Floats
) -> float:
    by_limit, takes = limit.sum(axis=1), market.sum(axis=1)
    own = by_limit[:4].sum() + base.replace_share
    improving = sum(inside) / len(inside) / 2
    matrix = [[own, by_limit[4] + by_limit[5]], [takes[0] * improving + takes[1], takes[2]]]
    return float(np.abs(np.linalg.eigvals(np.array(matrix))).max())


def _rows(matrix: Floats) -> Rows:
    return tuple(tuple(round(float(value), 6) for value in row) for row in matrix)
