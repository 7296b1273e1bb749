"""What an aggressive order sent now will cost when it arrives, in ticks beyond the mid of now.

Three accounts of it, each with what the one before lacks: the walk of the displayed depth; the walk
with hidden orders (`HiddenLiquidityModel`); and that one with what usually becomes of the price and
the touch until such an order arrives, a ridge regression on imbalance, recent order flow, gaps
behind the touch and what was last met. Each sweep scores the forecasts made of it, and then
teaches them; a later account is gone by only where it has clearly erred less so far, so that a
market in which they do not pay gets the plain walk.
"""

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Final, NamedTuple

import numpy as np

from lob.bounds import Floats, number, whole
from lob.hidden.cells import SECOND_NS
from lob.hidden.liquidity import HiddenForecast, HiddenLiquidityModel
from lob.hidden.sweeps import Depth, Sweep
from lob.types import Side

ACCOUNTS: Final = ("walk", "hidden", "arrival")
"""The accounts of a cost, the plainest first."""

_FLOW_DECAYS_NS: Final = (0.002 * SECOND_NS, 0.1 * SECOND_NS, 5.0 * SECOND_NS)
_MEMORY_DECAYS_NS: Final = np.array([0.0005, 0.02, 1.0, 20.0]) * SECOND_NS
_FEATURES: Final = 12 + len(_FLOW_DECAYS_NS) + 3 * len(_MEMORY_DECAYS_NS)
_RIDGE: Final = 20.0
"""The weight of the ridge, in sweeps: each coefficient is drawn to 0 as by so many."""
_CORRECTION_SPREADS: Final = 4
"""How many spreads the regression may move a cost at most."""
_REAL: Final = 1.5
"""A later account is taken where it is better by so many standard errors."""
_REGRESSION: Final = ACCOUNTS.index("arrival")
_APPRENTICESHIP: Final = 100
"""Sweeps that the regression learns from before it is compared."""


class FlowMemory:
    """Signed counts of sweeps, each decaying at its own pace: what pushes the price."""

    __slots__ = ("_counts", "_last_ns")

    def __init__(self) -> None:
        self._counts = [0.0] * len(_FLOW_DECAYS_NS)
        self._last_ns = 0

    def note(self, sweep: Sweep) -> None:
        """Count a sweep; they come in order of time."""
        self._counts = self.at(whole("ts_event_ns", sweep.ts_event_ns, self._last_ns))
        self._last_ns = sweep.ts_event_ns
        self._counts = [count + sweep.aggressor.sign for count in self._counts]

    def at(self, now_ns: int) -> list[float]:
        """Return the counts at a time, bought less sold."""
        passed = max(0, now_ns - self._last_ns)
        return [
            count * math.exp(-passed / decay)
            for count, decay in zip(self._counts, _FLOW_DECAYS_NS, strict=True)
        ]


class CostForecast(NamedTuple):
    """One order's cost beyond the mid at its decision, in ticks a lot; above 0 is a loss.

    `costs` has one figure for each of `ACCOUNTS`, `chosen` is the one to go by. The features are
    for `ArrivalCosts.learn`.
    """

    costs: tuple[float, ...]
    chosen: str
    hidden: HiddenForecast
    features: Floats

    @property
    def cost_ticks(self) -> float:
        """Return the cost by the chosen account."""
        return self.costs[ACCOUNTS.index(self.chosen)]


@dataclass(slots=True)
class _Advantage:
    """By how much one account's squared errors were smaller than another's, so far."""

    total: float = 0.0
    squares: float = 0.0

    def note(self, less: float) -> None:
        self.total += less
        self.squares += less * less

    @property
    def is_real(self) -> bool:
        """Say whether it is larger than its own scatter explains; one sweep never is enough."""
        return self.total > _REAL * math.sqrt(self.squares)


class ArrivalCosts:
    """Forecast costs of orders that take `latency_ns` to arrive; learn from the sweeps that did.

    The hidden-liquidity model and the flow are shared by the forecasters of several latencies, and
    whoever owns them updates them with each sweep; `learn` is told afterwards what it cost.
    """

    def __init__(self, hidden: HiddenLiquidityModel, flow: FlowMemory, latency_ns: int = 0) -> None:
        self.hidden = hidden
        self.flow = flow
        self.latency_ns = whole("latency_ns", latency_ns, 0)
        self._learnt = 0
        self._advantages = {pair: _Advantage() for pair in combinations(range(len(ACCOUNTS)), 2)}
        self._squares = np.zeros((_FEATURES, _FEATURES))
        self._products = np.zeros(_FEATURES)
        self._seen = np.zeros(_FEATURES)
        self._weights: Floats = np.zeros(_FEATURES)

    @property
    def chosen(self) -> str:
        """Return the account to go by: a later one where it has really erred less so far."""
        found = 0
        for place in range(1, len(ACCOUNTS)):
            if self._advantages[found, place].is_real:
                found = place
        return ACCOUNTS[found]

    def forecast(self, depth: Depth, aggressor: Side, lots: int, now_ns: int) -> CostForecast:
        """Return what an order of `lots` decided at `now_ns`, where `depth` is seen, should cost.

        Raises:
            InvalidInput: a side of the book is empty, or a time before the last sweep's.
        """
        arrival_ns = whole("now_ns", now_ns, 0) + self.latency_ns
        met = self.hidden.forecast(depth, aggressor, lots, arrival_ns)
        sign, mid = aggressor.sign, depth.mid_ticks
        features = self._features(depth, aggressor, lots, now_ns, met)
        hidden = sign * (met.cost_ticks - mid)
        most = _CORRECTION_SPREADS * depth.spread_ticks
        correction = min(max(float(features @ self._weights), -most), most)
        costs = sign * (met.walk_ticks - mid), hidden, hidden + correction
        return CostForecast(costs, self.chosen, met, features)

    def learn(self, forecast: CostForecast, cost_ticks: float) -> None:
        """Score a forecast by what the order did cost, then learn from it. O(features^3)."""
        number("cost_ticks", cost_ticks)
        self._learnt += 1
        missed_by = [(cost - cost_ticks) ** 2 for cost in forecast.costs]
        for (plain, later), advantage in self._advantages.items():
            # An apprentice's errors are not held against it.
            if later < _REGRESSION or self._learnt > _APPRENTICESHIP:
                advantage.note(missed_by[plain] - missed_by[later])
        missed = cost_ticks - forecast.costs[1]
        self._squares += np.outer(forecast.features, forecast.features)
        self._products += forecast.features * missed
        # What is seldom anything but 0 is not believed before it was so as often as the rest.
        self._seen += forecast.features != 0
        scale = np.diag(self._squares) / np.maximum(self._seen, 1)
        ridged = self._squares + np.diag(_RIDGE * scale + 1e-9)
        self._weights = np.asarray(np.linalg.solve(ridged, self._products), np.float64)

    def _features(
        self, depth: Depth, aggressor: Side, lots: int, now_ns: int, met: HiddenForecast
    ) -> Floats:
        """Return what the regression knows, all of it in ticks, on the aggressor's side."""
        sign, spread = aggressor.sign, float(depth.spread_ticks)
        opposite, behind = depth.met_by(aggressor), depth.behind(aggressor)
        touch, shown = opposite[0]
        imbalance = (behind[0][1] - shown) / (behind[0][1] + shown)
        size = min(max(math.log(lots / self.hidden.usual_lots), -4.0), 4.0)
        values = [
            1.0,
            spread,
            met.walk_ticks * sign - met.cost_ticks * sign,
            met.walk_ticks * sign - touch * sign,
            spread * met.probability,
            spread * met.hidden_lots / lots,
            spread * imbalance,
            spread * size,
            spread * min(1.0, lots / shown),
            size,
            _gap(opposite, spread),
            _gap(behind, spread),
        ]
        values += [sign * spread * math.tanh(count) for count in self.flow.at(now_ns)]
        found = np.zeros(_FEATURES)
        found[: len(values)] = values
        own = self.hidden.memory(aggressor)
        if own.last_ns is not None:
            decays = np.exp((own.last_ns - now_ns) / _MEMORY_DECAYS_NS)
            better = min(max(sign * (touch - own.last_ticks), 0.0), spread)
            parts = spread, better * (not own.last_hidden), better * own.last_hidden
            found[len(values) :] = np.outer(parts, decays).ravel()
        return found


def _gap(levels: tuple[tuple[int, int], ...], spread: float) -> float:
    """Return the ticks between the touch and the next level, four spreads at most."""
    if levels[1:]:
        return min(float(abs(levels[1][0] - levels[0][0])), 4 * spread)
    return spread
