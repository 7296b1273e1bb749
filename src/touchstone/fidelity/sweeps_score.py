"""Score forecasts of sweeps' costs as a trader would have made them: in order, never looking ahead.

The order of each sweep is decided `latency` before the sweep traded, on what the feed had said by
then. Its realised cost is the sweep's mean price against the mid at the decision, signed so that
above 0 is a loss, in basis points of that mid. A forecast is made before the sweeps between the
decision and the trade are known, and teaches the models only once its own sweep is over.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lob.hidden.arrival import ACCOUNTS, ArrivalCosts, CostForecast, FlowMemory
from lob.hidden.liquidity import HiddenLiquidityModel
from touchstone.fidelity.market import Market
from touchstone.fidelity.sweeps_read import Decision, Met, decisions_of, sweeps_of

LATENCIES_NS: Final = (0, 1_000_000, 10_000_000, 100_000_000)
WARM_UP_SWEEPS: Final = 300
"""Sweeps that only teach; a quarter of them where a market has few."""

SWEEPS_MAX: Final = 50_000
"""Sweeps of a market that are forecast, at most: of more, so many in a row from a place that the
seed draws, because the models learn from one to the next."""

BLOCK_NS: Final = 60 * 1_000_000_000
RESAMPLES: Final = 1_000

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scored:
    """The forecasts of one latency, sweep by sweep after the warm-up, in basis points.

    `costs` has one column for each of `lob.hidden.arrival.ACCOUNTS`; `l3` is the account that the
    model went by at that moment. `chance` is the forecast chance that the sweep meets a hidden
    order in the spread or at the touch, `was_hidden` whether it traded with any. `gap_ns` is the
    time since the last sweep of its side that was over (-1 for none).
    """

    latency_ns: int
    ts_ns: NDArray[np.int64]
    realised: Floats
    costs: Floats
    l3: Floats
    chance: Floats
    was_hidden: NDArray[np.bool_]
    gap_ns: NDArray[np.int64]
    chosen: tuple[str, ...]

    @property
    def l2(self) -> Floats:
        """Return the costs by the walk of the displayed depth."""
        found: Floats = self.costs[:, 0]
        return found


@dataclass(frozen=True, slots=True)
class Study:
    """All that the sweeps of a market came to; `there` are those of the market, followed or not."""

    there: int
    sweeps: int
    hidden_sweeps: int
    hidden_lots_share: float
    left_out: int
    warm_up: int
    scored: tuple[Scored, ...]
    model: HiddenLiquidityModel


@dataclass(slots=True)
class _Lane:
    """One latency's forecaster, and where it stands."""

    costs: ArrivalCosts
    decisions: list[Decision | None]
    next: int = 0
    forecasts: dict[int, CostForecast] = field(default_factory=dict)


def study_sweeps(
    market: Market,
    *,
    progress: Callable[[str], None],
    latencies_ns: tuple[int, ...] = LATENCIES_NS,
    seed: int = 0,
) -> Study:
    """Replay a market's sweeps once and score the forecasts of all latencies.

    Sweeps that met a crossed or one-sided book are left out, of the teaching too.
    """
    progress(f"{market.name}: finding sweeps")
    sweeps = sweeps_of(market)
    there = len(sweeps)
    if there > SWEEPS_MAX:
        first = int(np.random.default_rng(seed).integers(there - SWEEPS_MAX + 1))
        sweeps = sweeps[first : first + SWEEPS_MAX]
    before = decisions_of(market, sweeps, 0)
    hidden, flow = HiddenLiquidityModel(), FlowMemory()
    lanes = [
        _Lane(
            ArrivalCosts(hidden, flow, latency_ns),
            before if latency_ns == 0 else decisions_of(market, sweeps, latency_ns),
        )
        for latency_ns in latencies_ns
    ]
    for over, met in enumerate(sweeps):
        if over % 1_000 == 0:
            progress(f"{market.name}: forecasting sweep {over} of {len(sweeps)}")
        for lane in lanes:
            _decide(lane, sweeps, over)
        seen = before[over]
        if seen is None:
            continue
        hidden.update(met.sweep, seen.depth)
        flow.note(met.sweep)
        for lane in lanes:
            decision = lane.decisions[over]
            if decision is not None:
                lane.costs.learn(lane.forecasts[over], _cost_ticks(met, decision))
    left_out = before.count(None)
    warm_up = min(WARM_UP_SWEEPS, len(sweeps) // 4)
    parts = [part for met in sweeps for part in met.sweep.executions]
    lots = sum(part.quantity_lots for part in parts)
    unseen = sum(part.quantity_lots for part in parts if part.hidden)
    return Study(
        there,
        len(sweeps),
        sum(_was_hidden(met) for met in sweeps),
        unseen / lots if lots else 0.0,
        left_out,
        warm_up,
        tuple(_scored(lane, sweeps, before, warm_up) for lane in lanes),
        hidden,
    )


def rmse(errors: Floats) -> float:
    """Return the root of the mean squared error; 0 of none."""
    return float(np.sqrt(np.mean(errors**2))) if len(errors) else 0.0


def ratio_of(l3: float, l2: float) -> float:
    """Return an RMSE by another; two that are 0 are equal."""
    if l2 > 0:
        return l3 / l2
    return 1.0 if l3 == 0 else float("inf")


def ratio_interval(scored: Scored, rng: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % interval of RMSE L3 by RMSE L2, resampling blocks of 60 s.

    Sweeps come in bursts whose errors go together, so that whole minutes are drawn (a block
    bootstrap; H. R. Künsch, Annals of Statistics 17, 1989).
    """
    if not len(scored.ts_ns):
        return 1.0, 1.0
    blocks = (scored.ts_ns - scored.ts_ns[0]) // BLOCK_NS
    places = np.unique(blocks, return_inverse=True)[1]
    sums = [
        np.bincount(places, weights=(costs - scored.realised) ** 2)
        for costs in (scored.l2, scored.l3)
    ]
    count = len(sums[0])
    drawn = rng.integers(0, count, (RESAMPLES, count))
    l2, l3 = (of[drawn].sum(axis=1) for of in sums)
    ratios = np.sqrt(np.divide(l3, l2, out=np.ones_like(l3), where=l2 > 0))
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(low), float(high)


def _decide(lane: _Lane, sweeps: list[Met], over: int) -> None:
    """Make the forecasts that were decided when so many sweeps were over."""
    while lane.next < len(sweeps):
        decision = lane.decisions[lane.next]
        if decision is not None:
            if decision.sweeps_known > over:
                return
            sweep = sweeps[lane.next].sweep
            lane.forecasts[lane.next] = lane.costs.forecast(
                decision.depth, sweep.aggressor, sweep.quantity_lots, decision.now_ns
            )
        lane.next += 1


def _cost_ticks(met: Met, decision: Decision) -> float:
    sweep = met.sweep
    return sweep.aggressor.sign * (sweep.vwap_ticks - decision.depth.mid_ticks)


def _was_hidden(met: Met) -> bool:
    return any(part.hidden for part in met.sweep.executions)


def _scored(lane: _Lane, sweeps: list[Met], before: list[Decision | None], warm_up: int) -> Scored:
    rows: list[tuple[float, ...]] = []
    costs: list[tuple[float, ...]] = []
    places = [
        place for place in sorted(lane.forecasts) if place >= warm_up and before[place] is not None
    ]
    for place in places:
        decision, forecast, met = lane.decisions[place], lane.forecasts[place], sweeps[place]
        if decision is None:
            continue
        bps = 10_000 / decision.depth.mid_ticks
        costs.append(tuple(cost * bps for cost in forecast.costs))
        rows.append(
            (
                _cost_ticks(met, decision) * bps,
                forecast.cost_ticks * bps,
                forecast.hidden.probability,
                _was_hidden(met),
            )
        )
    table = np.array(rows).reshape(len(rows), 4)
    return Scored(
        lane.costs.latency_ns,
        np.array([sweeps[place].sweep.ts_event_ns for place in places], np.int64),
        table[:, 0],
        np.array(costs).reshape(len(costs), len(ACCOUNTS)),
        table[:, 1],
        table[:, 2],
        table[:, 3].astype(bool),
        _gaps(sweeps)[places],
        tuple(lane.forecasts[place].chosen for place in places),
    )


def _gaps(sweeps: list[Met]) -> NDArray[np.int64]:
    """Return the time from the last sweep of the same side to each, -1 for none."""
    last: dict[str, int] = {}
    found = np.full(len(sweeps), -1, np.int64)
    for place, met in enumerate(sweeps):
        side, ts_ns = met.sweep.aggressor.value, met.sweep.ts_event_ns
        if side in last:
            found[place] = ts_ns - last[side]
        last[side] = ts_ns
    return found
