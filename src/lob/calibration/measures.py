"""What a market looks like in numbers: the same figures of real and of synthetic flow.

`measure` gives them as a nested mapping; `flatten` as one figure a name. Every figure is of the
tape's window. Prices, spreads and returns are in ticks, sizes in lots, times in seconds.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lob.bounds import Floats
from lob.calibration.tape import Ints, Kind, Tape
from lob.errors import InvalidInput
from lob.impact import Regression, fit_price_impact, order_flow_imbalance

SIGN_LAGS: Final = (1, 2, 5, 10, 20, 50)
HORIZONS: Final = (0.1, 1.0, 10.0, 60.0)
RESPONSES: Final = (0.1, 1.0, 10.0)
LIFETIME_LEVELS: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
SIZE_LEVELS: Final = (0.25, 0.5, 0.75, 0.95, 0.99)
PLACES: Final[tuple[tuple[str, float, float], ...]] = (
    ("inside(<0)", -math.inf, -1),
    ("0", 0, 0),
    ("1", 1, 1),
    ("2-5", 2, 5),
    ("6-20", 6, 20),
    (">20", 21, math.inf),
)
"""Bands of the distance behind an order's own best price, in ticks: name, first, last."""

OFI_SECONDS: Final = 10.0
CST_LEVELS: Final = 5

Figures = dict[str, Any]


class Aggressors(NamedTuple):
    """Orders that traded on arrival: executions of one time and side, visible or hidden.

    `first` is the place of each one's first execution on the tape, `sign` +1 for a buyer.
    """

    first: Ints
    seconds: Floats
    sign: Floats
    lots: Floats
    visible_lots: Floats
    hidden_lots: Floats


def aggressors(tape: Tape) -> Aggressors:
    """Return the orders that took liquidity, in order of time."""
    at = np.flatnonzero(tape.kind >= Kind.EXECUTE)
    seconds, side = tape.seconds[at], tape.side[at]
    begins = np.ones(len(at), bool)
    begins[1:] = (np.diff(seconds) > 0) | (np.diff(side) != 0)
    group = np.cumsum(begins) - 1
    hidden = tape.kind[at] == Kind.HIDDEN
    lots = tape.lots[at].astype(np.float64)
    count = int(begins.sum())
    return Aggressors(
        first=at[begins],
        seconds=seconds[begins],
        sign=-side[begins].astype(np.float64),
        lots=_summed(group, lots, count),
        visible_lots=_summed(group, lots * ~hidden, count),
        hidden_lots=_summed(group, lots * hidden, count),
    )


def _summed(group: Ints, values: Floats, count: int) -> Floats:
    return np.asarray(np.bincount(group, values, minlength=count), np.float64)


def autocorrelation(values: Floats, lag: int) -> float:
    """Return the autocorrelation at a lag: mean product of deviations over their variance.

    NaN where there are not more values than the lag, or all are one.

    >>> autocorrelation(np.array([1.0, -1.0, 1.0, -1.0]), 1)
    -1.0
    """
    if len(values) <= lag:
        return math.nan
    off = values - values.mean()
    variance = float(np.mean(off * off))
    return float(np.mean(off[lag:] * off[:-lag])) / variance if variance > 0 else math.nan


def grid(count: int, width: float) -> Floats:
    """Return the bounds of `count` intervals of a width, from 0."""
    return np.asarray(np.arange(count + 1) * width, np.float64)


def mids(tape: Tape, at: Floats) -> Floats:
    """Return the mid in force at each time; that of the window's start before the first message."""
    place = np.searchsorted(tape.after_seconds, at, side="right")
    both = np.concatenate([tape.opening.two_sided, tape.after.two_sided])
    known = np.concatenate([tape.opening.mid, tape.after.mid])
    # Where a side is empty the last mid of both holds, or the first to come.
    last = np.maximum.accumulate(np.where(both, np.arange(len(both)), -1))
    last[last < 0] = np.argmax(both)
    return known[last][place + len(tape.opening.mid) - 1]


def measure(tape: Tape) -> Figures:
    """Return every figure as a nested mapping of plain numbers.

    Raises:
        InvalidInput: the window has no order that arrived, or fewer than 3 aggressive orders.
    """
    took = aggressors(tape)
    adds = tape.of(Kind.ADD)
    if len(took.sign) < 3 or not adds.any():  # noqa: PLR2004 - of them there is nothing to say
        raise InvalidInput(
            f"messages: {len(took.sign)} aggressive orders, {int(adds.sum())} limit orders; "
            "allowed: 3 or more of both"
        )
    counts = {kind: int(tape.of(kind).sum()) for kind in Kind}
    per_second = {
        "add": counts[Kind.ADD],
        "cancel": counts[Kind.CANCEL],
        "exec": counts[Kind.EXECUTE],
        "hidden_exec": counts[Kind.HIDDEN],
    }
    sizes = tape.lots[adds]
    found: Figures = {
        "events_per_s": {name: n / tape.duration for name, n in per_second.items()},
        "cancel_to_add": counts[Kind.CANCEL] / counts[Kind.ADD],
        "exec_msgs_to_add": counts[Kind.EXECUTE] / counts[Kind.ADD],
        "aggressive_orders_per_s": len(took.sign) / tape.duration,
        "trade_qty_median_mean": [float(np.median(took.lots)), float(took.lots.mean())],
        "trade_sign_acf": {str(lag): autocorrelation(took.sign, lag) for lag in SIGN_LAGS},
        "trade_sign_persist": float(np.mean(took.sign[1:] == took.sign[:-1])),
        "spread_ticks_timeweighted": spread(tape),
        "lifetime_cancel_s": lifetimes(tape, Kind.CANCEL),
        "lifetime_fill_s": lifetimes(tape, Kind.EXECUTE),
        "order_size": quantiles(sizes, SIZE_LEVELS),
        "order_size_mode_share": float(np.unique(sizes, return_counts=True)[1].max()) / len(sizes),
        "add_distance_from_own_best": places(tape),
        "mid_return": {f"{horizon:g}": returns(tape, horizon) for horizon in HORIZONS},
        "ofi_10s": order_flow(tape),
        "book_shape_mean_qty_by_tick_from_best": tape.shape.tolist(),
        "interarrival": interarrivals(tape.seconds),
        "fano_1s_book_events": fano(touch_changes(tape), tape.duration),
        "cst_params_unit=mean_limit_size": cst_parameters(tape, took),
        "response_ticks": {f"{horizon:g}": response(tape, took, horizon) for horizon in RESPONSES},
    }
    return found


def flatten(figures: Mapping[str, Any]) -> dict[str, float]:
    """Return one number a name: `mid_return.10.std_ticks`, `trade_qty_median_mean.0`.

    >>> flatten({"a": {"b": 1.0}, "c": [2.0, 3.0]})
    {'a.b': 1.0, 'c.0': 2.0, 'c.1': 3.0}
    """
    return dict(_flat("", figures))


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        inner: Any = value.items()
    elif isinstance(value, list | tuple):
        inner = enumerate(value)
    else:
        yield prefix[:-1], float(value)
        return
    for key, below in inner:
        yield from _flat(f"{prefix}{key}.", below)


def quantiles(values: NDArray[Any], levels: tuple[float, ...]) -> dict[str, float]:
    """Return quantiles by level, NaN of nothing; between two values linearly."""
    if not len(values):
        return {f"{level:g}": math.nan for level in levels}
    return {f"{level:g}": float(np.quantile(values, level)) for level in levels}


def spread(tape: Tape) -> dict[str, float]:
    """Return the time-weighted mean spread in ticks and the shares of time at 1 and 2 ticks."""
    held = np.diff(tape.after_seconds, append=tape.duration).clip(0)
    wide = tape.after.ask - tape.after.bid
    usable = tape.after.two_sided
    total = float(held[usable].sum())
    if not total:
        return {"mean": math.nan, "p1": math.nan, "p2": math.nan}
    return {
        "mean": float((wide * held)[usable].sum()) / total,
        "p1": float(held[usable & (wide == 1)].sum()) / total,
        "p2": float(held[usable & (wide == 2)].sum()) / total,  # noqa: PLR2004 - of two ticks
    }


def lifetimes(tape: Tape, kind: Kind) -> dict[str, float]:
    """Return quantiles of the age at which orders of the window were cancelled, or executed.

    One age for each message: an order that is executed twice counts twice.
    """
    with np.errstate(invalid="ignore"):
        known = tape.of(kind) & (tape.seconds - tape.age >= 0)
    return quantiles(tape.age[known], LIFETIME_LEVELS)


def places(tape: Tape) -> dict[str, float]:
    """Return the shares of limit orders by distance behind their own best price on arrival."""
    behind = tape.placed[tape.of(Kind.ADD)]
    return {
        name: float(np.mean((behind >= first) & (behind <= last))) for name, first, last in PLACES
    }


def returns(tape: Tape, horizon: float) -> dict[str, float]:
    """Return moments of the mid's moves over one horizon, on a grid from the window's start.

    Standard deviation and variance a second in ticks, excess kurtosis, and the autocorrelations at
    lag 1 of the moves and of their sizes. NaN in a window of fewer than 4 horizons.
    """
    count = math.floor(tape.duration / horizon + 1e-9)
    if count < 4:  # noqa: PLR2004 - as said
        names = ("std_ticks", "ex_kurt", "acf1", "acf1_abs", "var_per_s")
        return dict.fromkeys(names, math.nan)
    moves = np.diff(mids(tape, grid(count, horizon)))
    off = moves - moves.mean()
    variance = float(np.mean(off**2))
    return {
        "std_ticks": math.sqrt(variance),
        "ex_kurt": float(np.mean(off**4)) / variance**2 - 3 if variance else math.nan,
        "acf1": autocorrelation(moves, 1),
        "acf1_abs": autocorrelation(np.abs(moves), 1),
        "var_per_s": variance / horizon,
    }


def ofi_regression(tape: Tape, seconds: float = OFI_SECONDS) -> Regression:
    """Return the regression of the mid's moves on order-flow imbalance over equal intervals.

    Raises:
        InvalidInput: fewer than 3 intervals, or no imbalance.
    """
    edges = grid(math.floor(tape.duration / seconds), seconds)
    opening, after = tape.opening, tape.after
    at = np.concatenate([np.zeros(len(opening.bid)), tape.after_seconds])
    imbalance = order_flow_imbalance(
        at,
        np.concatenate([opening.bid, after.bid]),
        np.concatenate([opening.bid_lots, after.bid_lots]),
        np.concatenate([opening.ask, after.ask]),
        np.concatenate([opening.ask_lots, after.ask_lots]),
        edges,
    )
    return fit_price_impact(np.diff(mids(tape, edges)), imbalance)


def order_flow(tape: Tape) -> dict[str, float]:
    """Return slope and R^2 of `ofi_regression`, the mean depth at the best prices, and 1/(2 D)."""
    depth = float(tape.shape[0])
    try:
        fit = ofi_regression(tape)
    except InvalidInput:
        slope = explained = math.nan
    else:
        slope, explained = fit.beta, fit.r2
    return {
        "beta_ticks_per_unit": slope,
        "r2": explained,
        "avg_best_depth": depth,
        "inv_2D": 1 / (2 * depth) if depth else math.nan,
    }


def interarrivals(seconds: Floats) -> dict[str, float]:
    """Return median, mean, coefficient of variation and share below 1 ms of the times between."""
    waits = np.diff(seconds)
    if not len(waits) or not waits.any():
        return dict.fromkeys(("median_s", "mean_s", "cv", "frac_lt_1ms"), math.nan)
    return {
        "median_s": float(np.median(waits)),
        "mean_s": float(waits.mean()),
        "cv": float(waits.std() / waits.mean()),
        "frac_lt_1ms": float(np.mean(waits < 1e-3)),  # noqa: PLR2004 - as named
    }


def touch_changes(tape: Tape) -> Floats:
    """Return the times at which a best price or its lots changed."""
    after = tape.after
    changed = np.zeros(len(after.bid), bool)
    for column in (after.bid, after.bid_lots, after.ask, after.ask_lots):
        changed[1:] |= np.diff(column) != 0
    return tape.after_seconds[changed]


def fano(seconds: Floats, duration: float, width: float = 1.0) -> float:
    """Return variance over mean of the counts in intervals of a width; 1 for a Poisson process."""
    bins = int(duration / width)
    if not bins:
        return math.nan
    counts = np.bincount((seconds / width).astype(np.int64), minlength=bins)[:bins]
    return float(counts.var() / counts.mean()) if counts.any() else math.nan


def cst_parameters(tape: Tape, took: Aggressors) -> Figures:
    """Return the parameters of Cont, Stoikov and Talreja (2010), section 2.3, a side.

    In units of the mean limit order: `mu` the rate of market orders, `lam` of limit orders at 1, 2,
    .. ticks from the opposite best price, `theta` of cancels there for each unit that rests there.
    """
    adds, cancels = tape.of(Kind.ADD), tape.of(Kind.CANCEL)
    unit = float(tape.lots[adds].mean())
    opposite = np.where(tape.side > 0, tape.quotes.ask, tape.quotes.bid)
    away = (opposite - tape.price) * tape.side
    levels = range(1, CST_LEVELS + 1)
    double = 2 * tape.duration
    gone = {level: float(tape.lots[cancels & (away == level)].sum()) / double for level in levels}
    return {
        "mean_limit_size": unit,
        "mu": float(took.lots.sum()) / unit / double,
        "lam": {str(level): int((adds & (away == level)).sum()) / double for level in levels},
        "theta": {
            str(level): gone[level] / tape.near[level - 1] if tape.near[level - 1] else math.nan
            for level in levels
        },
    }


def response(tape: Tape, took: Aggressors, horizon: float) -> float:
    """Return the mean signed move of the mid from before an aggressive order to `horizon` after."""
    before = tape.quotes.mid[took.first]
    known = (took.seconds + horizon <= tape.duration) & tape.quotes.two_sided[took.first]
    moved = (mids(tape, took.seconds + horizon) - before) * took.sign
    return float(moved[known].mean()) if known.any() else math.nan
