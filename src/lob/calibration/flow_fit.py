"""Fit a clustered flow to a market: every part of the profile straight from the tape.

Arrivals by maximum likelihood, lives by Kaplan and Meier's estimator (orders that traded are
censored), signs by least squares on their autocorrelation, sizes and places by their frequencies.
What only the whole flow shows is left to `lob.calibration.moments`.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lob.bounds import Floats
from lob.calibration.measures import Aggressors, aggressors, autocorrelation
from lob.calibration.tape import Kind, Tape
from lob.clustered_profile import ClusteredProfile, Law
from lob.errors import InvalidInput
from lob.hawkes.multiscale import MultiscaleFit, fit_multiscale

DECAYS: Final = (0.03, 0.3, 3.0, 30.0, 300.0, 3_000.0, 30_000.0)
"""Time scales of excitation, 1/s: from half a minute to 30 microseconds."""

LIFE_EDGES: Final = (0.0, 1.0, 6.0, 21.0)
LIFE_LEVELS: Final = (
    *(0.0, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5),
    *(0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 1.0),
)
SIGN_GRID: Final = (0.0, 0.2, 0.4, 0.55, 0.7, 0.8, 0.87, 0.92, 0.95, 0.975)
SIGN_LAGS_FITTED: Final = 50
MAX_BRANCHING: Final = 0.97

_ATOMS: Final = 48
_TAIL: Final = 48
_SPREAD_LEVELS: Final = (
    *(0.003, 0.007, 0.015, 0.03, 0.05, 0.08, 0.12, 0.16, 0.2, 0.26, 0.32, 0.38, 0.44),
    *(0.5, 0.56, 0.62, 0.68, 0.74, 0.8, 0.85, 0.9, 0.94, 0.97, 0.99),
)
_CHASE_LEVEL: Final = 0.7
_STEP_ATOMS: Final = 10
_STEP_TAIL: Final = 6
_TAKE_LEVELS: Final = (0.1, 0.25, 0.5, 0.75, 0.9, 0.97)
_LEAST_LIFE: Final = 1e-6
_SOON: Final = 3e-4
_MIN_EVENTS: Final = 30


class Arrivals(NamedTuple):
    """Events a second in the window, both sides together."""

    limits: float
    cancels: float
    markets: float
    improving: float


@dataclass(frozen=True, slots=True)
class FlowFit:
    """The profile, what arrives in all, and how well its arrivals fit.

    `limits` and `cancels` are of one side, `markets` of both.

    The sources of `limits` and `cancels` are bids, asks, cancelled bids, cancelled asks, buyers,
    sellers; those of `markets` improving limit orders, cancels, market orders.
    """

    profile: ClusteredProfile
    arrivals: Arrivals
    limits: MultiscaleFit
    cancels: MultiscaleFit
    markets: MultiscaleFit


def fit_flow(tape: Tape, *, warm_up_seconds: float = 300.0) -> FlowFit:
    """Return the profile that a tape speaks for.

    Raises:
        InvalidInput: fewer than 30 limit orders, cancels or market orders in the window.
    """
    took = aggressors(tape)
    for name, count in (
        ("limit orders", int(tape.of(Kind.ADD).sum())),
        ("cancels", int(tape.of(Kind.CANCEL).sum())),
        ("market orders", len(took.sign)),
    ):
        if count < _MIN_EVENTS:
            raise InvalidInput(f"messages: {count} {name}; allowed: {_MIN_EVENTS} or more")
    limits, cancels, markets, replaced = _fit_arrivals(tape, took)
    arrivals = Arrivals(
        int(tape.of(Kind.ADD).sum()) / tape.duration,
        int(tape.of(Kind.CANCEL).sum()) / tape.duration,
        len(took.sign) / tape.duration,
        int((tape.of(Kind.ADD) & (tape.placed < 0)).sum()) / tape.duration,
    )
    profile = ClusteredProfile(
        **_rates(arrivals, (limits, cancels, markets), replaced, _own_cancels(tape)),
        sign_runs=_sign_runs(took.sign),
        **_places(tape),
        life_edges=LIFE_EDGES,
        life_levels=LIFE_LEVELS,
        lives=_lives(tape),
        **_sizes(tape, took),
        warm_up_seconds=warm_up_seconds,
    )
    return FlowFit(profile, arrivals, limits, cancels, markets)


# ------------------------------------------------------------------------------- arrivals


def _fit_arrivals(
    tape: Tape, took: Aggressors
) -> tuple[MultiscaleFit, MultiscaleFit, MultiscaleFit, float]:
    """Return the fits of limit orders, cancels, market orders; the share of cancels replaced."""
    until = float(np.nextafter(max(tape.duration, float(tape.seconds[-1])), np.inf))
    add, cancel = tape.of(Kind.ADD), tape.of(Kind.CANCEL)
    seconds, side = tape.seconds, tape.side
    instant = np.zeros(len(add), bool)
    # An order that comes with a cancel of its side, at one time and just after it, replaces it.
    instant[1:] = add[1:] & cancel[:-1] & (side[1:] == side[:-1]) & (np.diff(seconds) == 0)

    def half(kept: NDArray[np.bool_], sign: int) -> tuple[Floats, list[Floats]]:
        sources = [seconds[kind & (side == its)] for kind in (add, cancel) for its in (sign, -sign)]
        sources += [took.seconds[took.sign == its] for its in (sign, -sign)]
        return seconds[kept & (side == sign)], sources

    limits, cancels = (
        fit_multiscale(*half(kept, 1), DECAYS, until, mirrored=half(kept, -1))
        for kept in (add & ~instant, cancel)
    )
    improving = add & (tape.placed < 0)
    markets = fit_multiscale(
        took.seconds, [seconds[improving], seconds[cancel], took.seconds], DECAYS, until
    )
    return limits, cancels, markets, float(instant.sum() / cancel.sum())


def _rates(
    arrivals: Arrivals,
    fits: tuple[MultiscaleFit, MultiscaleFit, MultiscaleFit],
    replaced: float,
    own: Floats,
) -> dict[str, Any]:
    """Return rates and offspring, scaled back where they would grow for ever.

    `own` is what each time scale has of cancels by the orders' own lives: no other order's.
    """
    limits, cancels, markets = fits
    limit, market = np.array(limits.offspring), np.array(markets.offspring)
    # Half of the improving orders stand on the side that is not being hit.
    market[0] *= 2
    pulls = np.array(cancels.offspring)
    pulls[0] = np.maximum(pulls[0] - own, 0.0)
    plain: dict[str, Any] = {
        "decays": DECAYS,
        "replace_share": replaced,
        "cancel_offspring": _rows(pulls),
    }
    for _ in range(200):
        try:
            probe = ClusteredProfile(
                **plain, limit_offspring=_rows(limit), market_offspring=_rows(market)
            )
        except InvalidInput:
            ratio = 1.2
        else:
            ratio = probe.branching_ratio
        if ratio <= MAX_BRANCHING:
            break
        limit, market = limit * 0.98, market * 0.98
    own_limits, own_markets = own_rates(limit, market, replaced, arrivals)
    return {
        **plain,
        "limits_per_second": own_limits,
        "markets_per_second": own_markets,
        "limit_offspring": _rows(limit),
        "market_offspring": _rows(market),
    }


def _own_cancels(tape: Tape) -> Floats:
    """Return the shares of cancels at ages about each time scale, the bounds halfway in logs."""
    ages = tape.age[tape.of(Kind.CANCEL)]
    ages = ages[np.isfinite(ages)]
    scales = 1 / np.array(DECAYS)
    bounds = np.concatenate([[np.inf], np.sqrt(scales[1:] * scales[:-1]), [-1.0]])
    shares = [np.mean((ages <= high) & (ages > low)) for high, low in pairwise(bounds)]
    return np.array(shares)


def own_rates(
    limit: Floats, market: Floats, replaced: float, arrivals: Arrivals
) -> tuple[float, float]:
    """Return the rates at which orders come by themselves, given what offspring leave of all.

    At least a hundredth of all, so that the flow never dies out.
    """
    by_limit, by_market = limit.sum(axis=1), market.sum(axis=1)
    limits = (
        arrivals.limits * (1 - by_limit[0] - by_limit[1])
        - arrivals.cancels * (by_limit[2] + by_limit[3] + replaced)
        - arrivals.markets * (by_limit[4] + by_limit[5])
    )
    markets = (
        arrivals.markets * (1 - by_market[2])
        - arrivals.improving / 2 * by_market[0]
        - arrivals.cancels * by_market[1]
    )
    return (
        max(float(limits), 0.01 * arrivals.limits),
        max(float(markets), 0.01 * arrivals.markets),
    )


def _rows(matrix: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(float(value), 6) for value in row) for row in matrix)


def _sign_runs(sign: Floats) -> tuple[tuple[float, float], ...]:
    """Return runs whose autocorrelation is nearest to the signs', as weights of new runs.

    A run that goes on with probability r gives r^lag; a mixture by trades of weights w comes of
    new runs in proportion to w (1 - r).
    """
    lags = np.arange(1, min(SIGN_LAGS_FITTED, len(sign) // 4) + 1)
    found = np.array([autocorrelation(sign, int(lag)) for lag in lags])
    found = np.nan_to_num(found)
    goes_on = np.array(SIGN_GRID)
    design = np.vstack([goes_on[None, :] ** lags[:, None], np.full((1, len(goes_on)), 30.0)])
    weights = not_negative_least_squares(design, np.append(found, 30.0))
    starts = weights * (1 - goes_on)
    kept = starts > 1e-4 * starts.sum()
    total = starts[kept].sum()
    return tuple(
        (round(float(weight / total), 6), float(goes))
        for weight, goes in zip(starts[kept], goes_on[kept], strict=True)
    )


def not_negative_least_squares(design: Floats, values: Floats, rounds: int = 4_000) -> Floats:
    """Return the x of 0 or more that makes |design x - values| least, by coordinate descent.

    >>> not_negative_least_squares(np.eye(2), np.array([2.0, -1.0])).tolist()
    [2.0, 0.0]
    """
    gram, target = design.T @ design, design.T @ values
    found = np.zeros(design.shape[1])
    for _ in range(rounds):
        before = found.copy()
        for place in range(len(found)):
            slope = target[place] - gram[place] @ found + gram[place, place] * found[place]
            found[place] = max(0.0, slope / gram[place, place])
        if np.abs(found - before).max() < 1e-10:  # noqa: PLR2004 - at rest
            break
    return found


# ------------------------------------------------------------------------------- places, lives


def _places(tape: Tape) -> dict[str, Any]:
    add = tape.of(Kind.ADD) & tape.quotes.two_sided
    if not add.any():
        raise InvalidInput(
            "messages: no limit order met both sides of the book; allowed: a two-sided market"
        )
    wide = (tape.quotes.ask - tape.quotes.bid)[add]
    placed = tape.placed[add]
    inside = placed < 0
    edges = np.unique(np.ceil(np.quantile(wide, _SPREAD_LEVELS)))
    edges = edges[edges > 1]
    which = np.searchsorted(edges, wide, side="right")
    count = np.bincount(which, minlength=len(edges) + 1)
    improved = np.bincount(which[inside], minlength=len(edges) + 1)
    overall = float(inside.mean())
    shares = (improved + overall) / (count + 1)
    near = _near_trades(tape, aggressors(tape))
    return {
        "spread_edges": tuple(map(float, edges)),
        "chase_below": float(np.ceil(np.quantile(wide, _CHASE_LEVEL))),
        "inside_shares": tuple(round(float(share), 6) for share in shares),
        "inside_after_trade": tuple(_odds(shares[which[mine]], inside[mine]) for mine in near),
        "inside_ticks": tuple(
            law(-placed[inside & (which == width)], _STEP_ATOMS, _STEP_TAIL)
            if (inside & (which == width)).any()
            else ((1.0, 1.0),)
            for width in range(len(edges) + 1)
        ),
        "behind_ticks": law(placed[~inside]) if (~inside).any() else ((0.0, 1.0),),
    }


def _near_trades(tape: Tape, took: Aggressors) -> list[NDArray[np.bool_]]:
    """Return which limit orders come within 0.3 ms of a trade: of the aggressor's side, the other.

    Of the limit orders that met both sides of the book.
    """
    add = tape.of(Kind.ADD) & tape.quotes.two_sided
    seconds, side = tape.seconds[add], tape.side[add]
    found = []
    for relation in (1, -1):
        near = np.zeros(len(seconds), bool)
        for sign in (1, -1):
            trades = took.seconds[took.sign == sign]
            if len(trades):
                place = np.searchsorted(trades, seconds, side="left") - 1
                since = np.where(place >= 0, seconds - trades[np.maximum(place, 0)], np.inf)
                near |= (since < _SOON) & (side == relation * sign)
        found.append(near)
    return found


def _odds(shares: Floats, inside: NDArray[np.bool_]) -> float:
    """Return by what the odds of `shares` are multiplied for their mean to be that of `inside`."""
    if len(shares) < _MIN_EVENTS:
        return 1.0
    wanted = float(inside.mean())
    low, high = -7.0, 7.0
    for _ in range(50):
        odds = math.exp((low + high) / 2)
        if float(np.mean(shares * odds / (1 + shares * (odds - 1)))) < wanted:
            low = math.log(odds)
        else:
            high = math.log(odds)
    return round(math.exp((low + high) / 2), 6)


class _Lives:
    """Of each order that came in the window: how long it was seen, whether a cancel ended that."""

    def __init__(self, tape: Tape) -> None:
        add = np.flatnonzero(tape.of(Kind.ADD))
        self.order, self.begun = tape.order[add], tape.seconds[add]
        self.placed, self.side = tape.placed[add], tape.side[add]
        until = float(tape.seconds[-1])
        self.ended = np.full(len(add), until)
        self.cancelled = np.zeros(len(add), bool)
        last = np.flatnonzero(tape.ended)
        place = np.searchsorted(self.order, tape.order[last])
        place = np.minimum(place, len(add) - 1)
        known = self.order[place] == tape.order[last]
        self.ended[place[known]] = tape.seconds[last[known]]
        self.cancelled[place[known]] = tape.kind[last[known]] == Kind.CANCEL


def _lives(tape: Tape) -> tuple[tuple[float, ...], ...]:
    lives = _Lives(tape)
    if not lives.cancelled.any():
        raise InvalidInput("messages: no order came and was cancelled whole; allowed: 1 or more")
    seen = np.maximum(lives.ended - lives.begun, _LEAST_LIFE)
    which = np.searchsorted(LIFE_EDGES, np.nan_to_num(lives.placed, nan=0.0), side="right")
    rows = []
    for band in range(len(LIFE_EDGES) + 1):
        mine = which == band
        if int(lives.cancelled[mine].sum()) < _MIN_EVENTS:
            mine = np.ones(len(which), bool)
        rows.append(life_quantiles(seen[mine], lives.cancelled[mine], tape.duration))
    return tuple(rows)


def life_quantiles(seen: Floats, cancelled: NDArray[np.bool_], longest: float) -> tuple[float, ...]:
    """Return the times by which shares `LIFE_LEVELS` are cancelled (Kaplan and Meier 1958).

    Beyond what was seen the law goes on to twice the `longest` time, evenly in its logarithm.
    """
    by_time = np.argsort(seen, kind="stable")
    times, ends = seen[by_time], cancelled[by_time]
    at_risk = len(times) - np.arange(len(times))
    gone = 1 - np.cumprod(1 - ends / at_risk)
    times, gone = times[ends], gone[ends]
    reached = gone <= 1 - 1e-9
    times = np.concatenate([times[:1], times[reached], [max(2 * longest, float(times[-1]) * 2)]])
    gone = np.concatenate([[0.0], gone[reached], [1.0]])
    found = np.exp(np.interp(LIFE_LEVELS, gone, np.log(times)))
    return tuple(float(f"{value:.6g}") for value in np.maximum.accumulate(found))


# ------------------------------------------------------------------------------- sizes


def _sizes(tape: Tape, took: Aggressors) -> dict[str, Any]:
    opposite = np.where(
        took.sign > 0, tape.quotes.ask_lots[took.first], tape.quotes.bid_lots[took.first]
    )
    visible = took.visible_lots > 0
    best, lots = opposite[visible], took.visible_lots[visible]
    edges = np.unique(np.ceil(np.quantile(best, _TAKE_LEVELS))) if visible.any() else np.zeros(0)
    edges = edges[edges > 0]
    which = np.searchsorted(edges, best, side="right")
    count = np.bincount(which, minlength=len(edges) + 1)
    exact = np.bincount(which, lots == best, minlength=len(edges) + 1)
    less = lots[lots < best]
    concealed = tape.lots[tape.of(Kind.HIDDEN)]
    meets = took.hidden_lots > 0
    return {
        "limit_lots": law(tape.lots[tape.of(Kind.ADD)]),
        "market_lots": law(less) if len(less) else law(took.lots),
        "take_edges": tuple(map(float, edges)),
        "take_shares": tuple(round(float(share), 6) for share in (exact + 0.5) / (count + 1.0)),
        "sweep_share": round(float(np.mean(lots > best)), 6) if visible.any() else 0.0,
        "hidden_only": round(float(np.mean(meets & ~visible)), 6),
        "hidden_mixed": round(float(np.mean(meets & visible)), 6),
        "hidden_slices": max(1.0, len(concealed) / max(int(meets.sum()), 1)),
        "hidden_lots": law(concealed) if len(concealed) else ((1.0, 1.0),),
    }


def law(values: NDArray[Any], atoms: int = _ATOMS, tail: int = _TAIL) -> Law:
    """Return values with their shares: the most frequent ones, and even steps through the rest.

    >>> law(np.array([100, 100, 20, 100]))
    ((20.0, 0.25), (100.0, 0.75))
    """
    found, counts = np.unique(np.round(values), return_counts=True)
    if len(found) > atoms + tail:
        often = np.sort(np.argsort(-counts, kind="stable")[:atoms])
        rest = np.repeat(np.delete(found, often), np.delete(counts, often))
        steps = np.quantile(rest, (np.arange(tail) + 0.5) / tail, method="nearest")
        even = np.full(tail, len(rest) / tail)
        found, place = np.unique(np.concatenate([found[often], steps]), return_inverse=True)
        counts = np.bincount(place, np.concatenate([counts[often], even]))
    shares = np.round(counts / counts.sum(), 9)
    shares[np.argmax(shares)] += 1 - shares.sum()
    return tuple((float(v), float(s)) for v, s in zip(found, shares, strict=True))
