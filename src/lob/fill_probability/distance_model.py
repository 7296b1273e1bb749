"""A fill away from the touch: the mid first has to come, and then the queue has to go.

Lo, MacKinlay and Zhang (Journal of Financial Economics 65, 2002): the time until a diffusing price
first reaches the limit. Once our price is the best of its side, the order waits in the Poisson
model's queue, and fills at the latest when the mid goes `through_ticks` further. The touch time
without drift is (distance / (sigma Z))^2 for a standard normal Z, which makes the integral over it
smooth; a drift weighs it by Girsanov's factor.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, Final, Self

import numpy as np

from lob.bounds import Floats, as_given, not_negative, positive
from lob.errors import InvalidInput
from lob.fill_probability.first_passage import (
    first_passage_density,
    first_passage_fill_probability,
)
from lob.fill_probability.interface import (
    FillForecast,
    FillHistory,
    GoodnessOfFit,
    QueueState,
    conditional_wait,
    confidence_of,
    horizon_of,
    require_keys,
    score_fill_model,
)
from lob.fill_probability.poisson_model import PoissonFillModel
from lob.fill_probability.queue_chain import AHEAD_MAX, OWN_MAX, generator, moved
from lob.queueing.special import panels_between

_SIGMAS: Final = 8.5
_GRID: Final = (32, 2048)
_STEP: Final = 1e-3
_NO_TIME_S: Final = 1e-9  # squares and cubes of shorter ones vanish in floats
_GOLDEN: Final = (math.sqrt(5) - 1) / 2
_SEARCHES: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class DistanceFillModel:
    """Hold the queue at the touch, and how the state's volatility is to be read.

    The mid's standard deviation is `volatility_scale` x the state's `volatility_ticks`, its drift
    away from us the state's `drift_ticks_per_s` (unknown: none). The mid comes by the state's
    `distance_ticks`, at once where it is 0 or below. `through_ticks` None: going through the price
    does not fill. `volatility_error` is the relative standard error of the volatility (0: exact).

    >>> model = DistanceFillModel(queue=PoissonFillModel(trade_rate=1e6), through_ticks=None)
    >>> state = QueueState(lots_ahead=0, own_lots=1, distance_ticks=1, volatility_ticks=1.0)
    >>> round(model.predict(state, 1.0).probability, 4)  # the first passage alone
    0.3173
    """

    name: ClassVar[str] = "distance"

    queue: PoissonFillModel
    volatility_scale: float = 1.0
    through_ticks: float | None = 1.0
    volatility_error: float = 0.0
    goodness: GoodnessOfFit | None = None

    def __post_init__(self) -> None:
        positive("volatility_scale", self.volatility_scale)
        not_negative("volatility_error", self.volatility_error)
        if self.through_ticks is not None:
            positive("through_ticks", self.through_ticks)

    def predict(self, state: QueueState, horizon_s: float) -> FillForecast:
        """Return the forecast by quadrature; absolute accuracy about 1e-6. The horizon is finite.

        `mean_wait_s` is None: without drift the mean of a first passage is infinite. The standard
        error behind `confidence` is T dP/dT x the root sum of squares of the relative errors of
        the rates and of the variance, as by the scaling of time.
        """
        horizon = horizon_of(horizon_s)
        if math.isinf(horizon):
            raise InvalidInput("horizon_s: inf; allowed: a finite time for the distance model")
        inputs = ["lots_ahead", "own_lots", "distance_ticks", "volatility_ticks"]
        inputs += [
            name
            for name in ("drift_ticks_per_s", "trade_lots_per_s", "cancel_rate")
            if getattr(state, name) is not None
        ]
        full, some, share, waited = self._answers(state, horizon)
        error = math.hypot(
            0.0 if state.trade_lots_per_s is not None else self.queue.trade_rate_error,
            0.0 if state.cancel_rate is not None else self.queue.cancel_rate_error,
            2 * self.volatility_error,
        )
        confidence = 1.0
        if error and horizon:
            earlier = self._answers(state, horizon * (1 - _STEP))[0]
            confidence = confidence_of(max(0.0, full - earlier) / _STEP * error)
        return FillForecast(
            probability=full,
            any_fill_probability=some,
            expected_lots=share * state.own_lots,
            conditional_wait_s=conditional_wait(horizon - waited, full, horizon),
            mean_wait_s=None,
            horizon_s=horizon,
            confidence=confidence,
            model=self.name,
            inputs=tuple(inputs),
        )

    def _answers(self, state: QueueState, horizon_s: float) -> tuple[float, float, float, float]:
        """Return P(full), P(any), the share filled, and the integral of P(full) to the horizon."""
        distance = max(0.0, state.known("distance_ticks", self.name))
        sigma = self.volatility_scale * state.known("volatility_ticks", self.name)
        drift = state.drift_ticks_per_s or 0.0
        if horizon_s < _NO_TIME_S:
            return 0.0, 0.0, 0.0, 0.0
        if distance and not sigma:
            arrival = distance / -drift if drift < 0 else math.inf
            if arrival > horizon_s - _NO_TIME_S:
                return 0.0, 0.0, 0.0, 0.0
            return self._after(state, horizon_s - arrival, sigma, drift).last()
        after = self._after(state, horizon_s, sigma, drift)
        if not distance:
            return after.last()
        times, weights = _touch_times(distance, sigma, drift, horizon_s)
        found = after.at(horizon_s - times).T @ weights
        full, some, share, waited = (float(x) for x in found)
        some = min(1.0, max(some, 0.0))
        return min(some, max(full, 0.0)), some, min(some, max(share, 0.0)), max(waited, 0.0)

    def _after(
        self, state: QueueState, horizon_s: float, sigma: float, drift: float
    ) -> "_AfterTouch":
        queue = self.queue
        mean_size = sum(lots * chance for lots, chance in enumerate(queue.trade_sizes, 1))
        known = state.trade_lots_per_s
        mu = queue.trade_rate if known is None else known / (queue.unit_lots * mean_size)
        theta = queue.cancel_rate if state.cancel_rate is None else state.cancel_rate
        ahead, own = state.lots_ahead / queue.unit_lots, state.own_lots / queue.unit_lots
        # Coarser units where the queue is long: the price's part of the wait is the larger then.
        coarse = max(1, math.ceil(ahead / AHEAD_MAX), math.ceil(own / OWN_MAX))
        own_units, ahead = math.ceil(own / coarse), ahead / coarse
        low = math.floor(ahead)
        curve = _queue_curve(mu / coarse, theta, queue.trade_sizes, low, own_units, horizon_s)
        if ahead > low:
            higher = _queue_curve(
                mu / coarse, theta, queue.trade_sizes, low + 1, own_units, horizon_s
            )
            curve = as_given(
                curve * (1 - (ahead - low)) + _fitted(higher, len(curve)) * (ahead - low)
            )
        return _AfterTouch.of(curve, horizon_s, self.through_ticks, sigma, drift)

    @classmethod
    def fit(
        cls,
        history: FillHistory,
        horizon_s: float,
        *,
        queue: PoissonFillModel,
        through_ticks: float | None = 1.0,
        orders_max: int = 200,
    ) -> Self:
        """Return the model of the scale of volatility that the outcomes by `horizon_s` have likely.

        Maximum likelihood over 0.1..10 by golden section on at most `orders_max` orders, evenly
        taken; its error from the curvature of the likelihood. `goodness` has the scores on all.
        """
        at, came = history.outcomes(horizon_of(horizon_s))
        if not len(at):
            raise InvalidInput(f"horizon_s: {horizon_s}; allowed: one that some order was watched")
        picked = np.unique(np.linspace(0, len(at) - 1, min(len(at), orders_max)).astype(np.intp))
        states, came = [history.states[i] for i in at[picked]], came[picked]
        model = cls(queue=queue, through_ticks=through_ticks)

        def loss(log_scale: float) -> float:
            tried = replace(model, volatility_scale=math.exp(log_scale))
            said = np.array([tried.predict(state, horizon_s).probability for state in states])
            said = np.clip(said, 1e-12, 1 - 1e-12)
            return -float(np.sum(came * np.log(said) + (1 - came) * np.log1p(-said)))

        best = _golden(loss, math.log(0.1), math.log(10.0))
        step = 0.05
        bend = (loss(best + step) - 2 * loss(best) + loss(best - step)) / step**2
        found = replace(
            model,
            volatility_scale=math.exp(best),
            volatility_error=min(1.0, bend**-0.5) if bend > 0 else 1.0,
        )
        return replace(found, goodness=score_fill_model(found, history, horizon_s))

    def to_mapping(self) -> dict[str, Any]:
        """Return the model in plain values."""
        found: dict[str, Any] = {
            "model": self.name,
            "queue": self.queue.to_mapping(),
            "volatility_scale": self.volatility_scale,
            "through_ticks": self.through_ticks,
            "volatility_error": self.volatility_error,
        }
        if self.goodness is not None:
            found["goodness"] = self.goodness.to_mapping()
        return found

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Return the model of `to_mapping`; only `queue` is required."""
        others = {"volatility_scale", "through_ticks", "volatility_error"}
        require_keys(cls.name, mapping, {"queue"}, {"model", "queue", "goodness"} | others)
        goodness = mapping.get("goodness")
        given: dict[str, Any] = {name: mapping[name] for name in sorted(others & set(mapping))}
        return cls(
            queue=PoissonFillModel.from_mapping(mapping["queue"]),
            **given,
            goodness=None if goodness is None else GoodnessOfFit.from_mapping(goodness),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _AfterTouch:
    """P(full), P(any), share and the integral of P(full), on a grid from the touch on."""

    values: Floats
    slopes: Floats
    step_s: float

    @classmethod
    def of(
        cls, curve: Floats, horizon_s: float, through: float | None, sigma: float, drift: float
    ) -> "_AfterTouch":
        values, slopes = curve[:, :3], curve[:, 3:]
        step = horizon_s / (len(curve) - 1)
        if through is not None and sigma:
            times = np.arange(len(curve)) * step
            gone = first_passage_fill_probability(
                times, distance=through, sigma=sigma, drift=drift
            )[:, None]
            rate = np.zeros((len(curve), 1))
            rate[1:, 0] = first_passage_density(
                times[1:], distance=through, sigma=sigma, drift=drift
            )
            slopes = slopes * (1 - gone) + (1 - values) * rate
            values = 1 - (1 - values) * (1 - gone)
        # Slopes within thrice the neighbouring rises keep the cubics monotone (Fritsch and Carlson
        # 1980), where the queue is too fast for the grid.
        rises = 3 * np.diff(values, axis=0) / step
        slopes = np.minimum(slopes, np.vstack([rises, rises[-1:]]))
        slopes = np.maximum(0.0, np.minimum(slopes, np.vstack([rises[:1], rises])))
        # Hermite's cubic between the grid's points has this integral.
        full, slope = values[:, 0], slopes[:, 0]
        pieces = step * (full[1:] + full[:-1]) / 2 + step**2 * (slope[:-1] - slope[1:]) / 12
        integral = np.concatenate([[0.0], np.cumsum(pieces)])
        return cls(np.column_stack([values, integral]), np.column_stack([slopes, full]), step)

    def last(self) -> tuple[float, float, float, float]:
        full, some, share, waited = self.values[-1].tolist()
        return full, some, share, waited

    def at(self, times_s: Floats) -> Floats:
        """Return the four values at times, by Hermite's cubics."""
        place = np.clip(times_s / self.step_s, 0, len(self.values) - 1)
        low = np.minimum(place.astype(np.intp), len(self.values) - 2)
        x = (place - low)[:, None]
        y0, y1 = self.values[low], self.values[low + 1]
        d0, d1 = self.slopes[low] * self.step_s, self.slopes[low + 1] * self.step_s
        return as_given(
            y0 * (1 + 2 * x) * (1 - x) ** 2
            + d0 * x * (1 - x) ** 2
            + y1 * x**2 * (3 - 2 * x)
            + d1 * x**2 * (x - 1)
        )


@lru_cache(maxsize=512)
def _queue_curve(
    mu: float, theta: float, sizes: tuple[float, ...], ahead: int, own: int, horizon_s: float
) -> Floats:
    """Return P(full), P(any), the share filled, and their slopes, on an even grid of times."""
    rates = generator(mu, theta, sizes, ahead=ahead, own=own)
    left = np.arange(ahead + own + 1)
    at = np.column_stack([left == 0, left < own, np.maximum(own - left, 0) / own])
    at = at.astype(np.float64)
    events = float(-rates.diagonal().min()) * horizon_s
    points = int(min(max(_GRID[0], 4 * events), _GRID[1]))
    kernel = moved(rates, horizon_s / points, np.eye(len(rates)))
    found = np.empty((points + 1, 6))
    for k in range(points + 1):
        found[k, :3] = at[-1]
        found[k, 3:] = rates[-1] @ at
        at = kernel @ at
    return found


def _fitted(curve: Floats, points: int) -> Floats:
    """Return a curve on a grid of another number of points over the same time."""
    if len(curve) == points:
        return curve
    new, old = np.linspace(0, 1, points), np.linspace(0, 1, len(curve))
    return np.column_stack([np.interp(new, old, column) for column in curve.T])


def _touch_times(
    distance: float, sigma: float, drift: float, horizon_s: float
) -> tuple[Floats, Floats]:
    """Return quadrature nodes of the touch time before the horizon, and weights of its law."""
    first = distance / (sigma * math.sqrt(horizon_s))
    middle = max(first, math.sqrt(abs(drift) * distance) / sigma)
    start, end = max(first, middle - _SIGMAS), middle + _SIGMAS
    # Near the first the touch time falls fast: panels that double from there, then even ones.
    edges = [start]
    width = start
    while edges[-1] + width < min(start + 1.0, end):
        edges.append(edges[-1] + width)
        width *= 2
    even = np.linspace(edges[-1], end, max(2, math.ceil((end - edges[-1]) / 3)) + 1)
    nodes, lengths = panels_between(np.concatenate([edges, even[1:]]))
    times = (distance / (sigma * nodes)) ** 2
    tilt = -drift * distance / sigma**2 - drift**2 * times / (2 * sigma**2)
    return as_given(times), as_given(
        lengths * 2 / math.sqrt(2 * math.pi) * np.exp(tilt - nodes**2 / 2)
    )


def _golden(loss: Any, low: float, high: float) -> float:
    """Return where a function of one valley is least, by golden sections."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    for _ in range(_SEARCHES):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = loss(right)
    return (low + high) / 2
