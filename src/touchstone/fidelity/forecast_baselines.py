"""What a fill forecast has to beat: forecasts of one number, of the queue alone, and of rates.

Each is fitted on the schedule of the forecast it stands beside, to the same cases.

- `constant`: the share of all past cases that filled within the horizon.
- `exponential`: one rate of fills for all orders, fills over time at risk: 1 - exp(-rate T).
- `kaplan_meier_by_queue`: a Kaplan-Meier curve in each bucket of the queue ahead at the order's
  price; `..._by_depth`: of all that stands before it, better prices too; `..._censored`: the same
  from what really happened, each cancel taken for a censoring that says nothing.
- `erlang_trades`: what is before the order melts by trades alone, at the rate they come, as in
  hftbacktest's RiskAdverseQueueModel; P is an Erlang tail. `erlang_cancels`: and each order before
  it is cancelled at the rate at which orders are, as in its ProbQueueModels, which agree here:
  nothing is behind an order that arrives, so every cancel is ahead. `erlang_fitted`: at the
  rate that makes the past outcomes likeliest, for each horizon.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lob.bounds import Floats, as_given
from lob.fill_probability.survival import KaplanMeier, kaplan_meier

__all__ = ["BASELINES", "Queues", "baseline_forecasts"]

BASELINES: Final = (
    "constant",
    "exponential",
    "kaplan_meier_by_queue",
    "kaplan_meier_by_depth",
    "kaplan_meier_censored",
    "erlang_trades",
    "erlang_cancels",
    "erlang_fitted",
)
"""The names of the baselines, in the order in which they are shown."""

_BUCKETS: Final = 5
_STAGES_MAX: Final = 400
_FACTORS: Final = 2.0 ** np.arange(-8.0, 4.5, 0.5)
_CLIP: Final = 1e-4

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Queues:
    """What the baselines look at: of each case its wait and its queue, and the trades that came.

    `ahead` is what stands before an order at its price, `before` at its price and better ones, both
    in typical orders. `left_s` is when the real order was cancelled, infinite where it was not.
    `trade_s` and `trade_lots` are the times and sizes of all executions. Times count from the
    market's start, `fill_s` and `known_s` from the arrival.
    """

    arrival_s: Floats
    fill_s: Floats
    known_s: Floats
    ahead: Floats
    before: Floats
    order_lots: Floats
    left_s: Floats
    trade_s: Floats
    trade_lots: Floats


def baseline_forecasts(
    queues: Queues, past: Rows, now: Rows, at_s: float, horizons_s: tuple[float, ...]
) -> dict[str, Floats]:
    """Return each baseline's P(fill within each horizon) of the cases `now`; cases x horizons.

    Fitted at `at_s` to the cases `past`, of which what came after `at_s` is not looked at.
    """
    known = np.minimum(queues.known_s[past], at_s - queues.arrival_s[past])
    waits = queues.fill_s[past]
    seen = waits <= known
    spent = np.where(seen, waits, known)
    times = np.array(horizons_s)
    found = {"constant": np.empty((len(now), len(times)))}
    for column, end in enumerate(horizons_s):
        closed = known >= end
        share = (float((waits[closed] <= end).sum()) + 0.5) / (float(closed.sum()) + 1)
        found["constant"][:, column] = share
    rate = float(seen.sum()) / max(float(spent.sum()), 1e-9)
    found["exponential"] = np.broadcast_to(-np.expm1(-rate * times), (len(now), len(times)))
    ahead, before = queues.ahead, queues.before
    found["kaplan_meier_by_queue"] = _kaplan_meier(ahead[past], spent, seen, ahead[now], times)
    found["kaplan_meier_by_depth"] = _kaplan_meier(before[past], spent, seen, before[now], times)
    stay = np.minimum(spent, queues.left_s[past] - queues.arrival_s[past])
    found["kaplan_meier_censored"] = _kaplan_meier(
        before[past], stay, seen & (waits <= stay), before[now], times
    )
    return found | _erlangs(queues, past, now, at_s, times)


def _erlangs(
    queues: Queues, past: Rows, now: Rows, at_s: float, times: Floats
) -> dict[str, Floats]:
    """Return the Erlang tails: events are trades, stages what is before an order in mean trades."""
    trades = int(np.searchsorted(queues.trade_s, at_s, side="right"))
    rate = max(trades, 1) / max(at_s, 1e-9) / 2
    size = float(np.mean(queues.trade_lots[:trades])) if trades else 1.0
    size /= float(np.mean(queues.order_lots[past]))
    left = queues.left_s[past]
    at_risk = float(np.sum(np.minimum(left, at_s) - queues.arrival_s[past]))
    cancels = float((left <= at_s).sum()) / max(at_risk, 1e-9)
    stages = queues.before[now] / size
    fitted = np.empty((len(now), len(times)))
    past_stages = queues.before[past] / size
    known = np.minimum(queues.known_s[past], at_s - queues.arrival_s[past])
    for column, end in enumerate(times):
        closed = known >= end
        filled = queues.fill_s[past][closed] <= end
        best = rate * _likeliest(past_stages[closed], filled, rate * float(end))
        fitted[:, column] = _erlang(stages, best, times[column : column + 1])[:, 0]
    return {
        "erlang_trades": _erlang(stages, rate, times),
        "erlang_cancels": _erlang(stages, rate + cancels * queues.before[now] / size, times),
        "erlang_fitted": fitted,
    }


def _likeliest(stages: Floats, filled: NDArray[np.bool_], mean: float) -> float:
    """Return the factor on a mean number of events that makes the outcomes likeliest."""
    count = np.minimum(np.floor(stages).astype(np.int64), _STAGES_MAX - 1)
    fills = np.bincount(count[filled], minlength=_STAGES_MAX)
    others = np.bincount(count[~filled], minlength=_STAGES_MAX)
    losses = []
    for factor in _FACTORS:
        p = _erlang(np.arange(float(_STAGES_MAX)), mean * factor, np.ones(1))[:, 0]
        p = np.clip(p, _CLIP, 1 - _CLIP)
        losses.append(-float(np.sum(fills * np.log(p) + others * np.log1p(-p))))
    return float(_FACTORS[int(np.argmin(losses))])


def _kaplan_meier(
    past: Floats, spent: Floats, seen: NDArray[np.bool_], now: Floats, times: Floats
) -> Floats:
    """Return the curve of each case's bucket: nothing ahead, and fifths of the queues there are."""
    some = past[past > 0]
    edges = np.unique(np.quantile(some, np.arange(1, _BUCKETS) / _BUCKETS)) if len(some) else some
    bucket_of_past, bucket_of_now = _buckets(past, edges), _buckets(now, edges)
    whole = kaplan_meier(spent, seen)
    found = np.empty((len(now), len(times)))
    for bucket in np.unique(bucket_of_now):
        rows = bucket_of_past == bucket
        curve: KaplanMeier = kaplan_meier(spent[rows], seen[rows]) if rows.any() else whole
        found[bucket_of_now == bucket] = curve.cdf_at(times)
    return as_given(found)


def _buckets(values: Floats, edges: Floats) -> Rows:
    return np.where(values > 0, 1 + np.searchsorted(edges, values, side="right"), 0)


def _erlang(stages: Floats, rate: float | Floats, times: Floats) -> Floats:
    """Return P(at least floor(stages) + 1 events of a Poisson process within each time)."""
    count = np.minimum(np.floor(stages).astype(np.int64), _STAGES_MAX - 1)
    rates = np.broadcast_to(np.asarray(rate, np.float64), count.shape)
    found = np.empty((len(count), len(times)))
    for column, end in enumerate(times):
        mean = np.maximum(rates * end, 1e-12)
        # P(N > count) = 1 - sum of the Poisson law up to count, term by term.
        term, total = np.exp(-mean), np.exp(-mean)
        for k in range(1, int(count.max(initial=0)) + 1):
            term = term * mean / k
            total = total + np.where(k <= count, term, 0.0)
        found[:, column] = np.clip(1 - total, 0.0, 1.0)
    return found
