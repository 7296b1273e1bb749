"""A fill in a queue whose order flow depends on its size, the queue-reactive model.

Huang, Lehalle and Rosenbaum (Journal of the American Statistical Association 110, 2015), Model I:
at one price limit orders, cancels and market orders of one unit come at rates that depend on how
many units stand there. Our order splits the queue into those ahead, ours, and those behind; a
cancel takes any of the others alike, a market order the front. The rates are multiplied by factors
of what surrounds the queue (spread, volatility, imbalance), as in their Models II and III. The
price itself stays: the level is as good until the horizon.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import (
    Floats,
    as_given,
    increasing,
    not_negative,
    numbers,
    positive,
    row,
    same_length,
    whole,
)
from lob.errors import InvalidInput
from lob.fill_probability.goodness import kolmogorov_exponential
from lob.fill_probability.interface import (
    STATE_FIELDS,
    FillForecast,
    GoodnessOfFit,
    QueueState,
    conditional_wait,
    confidence_of,
    horizon_of,
    require_keys,
)
from lob.queue_reactive import QueueReactiveProfile
from lob.queueing.special import poisson_window

QUEUE_NONE, QUEUE_LIMIT, QUEUE_CANCEL, QUEUE_MARKET = range(4)
"""What ended an interval that `QueueReactiveFillModel.fit` sees: nothing (watching did), or a
limit order, a cancel or a market order at the price."""

_KINDS: Final = ("limit", "cancel", "market")
_AHEAD_MAX: Final = 128
_OWN_MAX: Final = 32
_SMALLEST: Final = 8
_STEPS_MAX: Final = 200_000
_ROUNDS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class IntensityFactor:
    """Multiply the rates by where a field of the state falls: below edges[0], ..., from the last.

    `limit`, `cancel` and `market` have one factor more than there are `edges`.
    """

    field: str
    edges: tuple[float, ...]
    limit: tuple[float, ...]
    cancel: tuple[float, ...]
    market: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.field not in STATE_FIELDS:
            raise InvalidInput(f"field: {self.field!r}; allowed: {', '.join(STATE_FIELDS)}")
        edges = increasing("edges", self.edges, at_least=1)
        object.__setattr__(self, "edges", tuple(edges.tolist()))
        for name in _KINDS:
            found = row(name, getattr(self, name), low=0)
            if len(found) != len(edges) + 1:
                raise InvalidInput(f"{name}: {len(found)} factors; allowed: {len(edges) + 1}")
            object.__setattr__(self, name, tuple(found.tolist()))

    def at(self, value: float) -> tuple[float, float, float]:
        """Return the factors of limit orders, cancels and market orders at a value of the field."""
        place = sum(value >= edge for edge in self.edges)
        return self.limit[place], self.cancel[place], self.market[place]

    def to_mapping(self) -> dict[str, Any]:
        """Return the factor in plain values."""
        kinds = {name: list(getattr(self, name)) for name in _KINDS}
        return {"field": self.field, "edges": list(self.edges), **kinds}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Return the factor of `to_mapping`."""
        names = {"field", "edges", *_KINDS}
        require_keys("factors", mapping, names, names)
        rows = {name: tuple(numbers(name, mapping[name]).tolist()) for name in ("edges", *_KINDS)}
        return cls(field=mapping["field"], **rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReactiveFillModel:
    """Hold rates a second by the units at our price, ours too: `limit_rates[n]` and its like.

    The last entry holds for longer queues. A unit is `unit_lots` lots. `behind_max` is the longest
    queue behind us that is told apart. `rate_error` is the relative standard error of the rates
    that bring us forward (0: exact). A state needs `displayed_lots` and the factors' fields.

    >>> model = QueueReactiveFillModel(limit_rates=(1.0,), cancel_rates=(0.0,), market_rates=(2.0,))
    >>> state = QueueState(lots_ahead=3, own_lots=1, displayed_lots=5)
    >>> round(model.predict(state, 1.0).probability, 6)
    0.142877
    """

    name: ClassVar[str] = "queue_reactive"

    limit_rates: tuple[float, ...]
    cancel_rates: tuple[float, ...]
    market_rates: tuple[float, ...]
    unit_lots: float = 1.0
    factors: tuple[IntensityFactor, ...] = ()
    behind_max: int = 40
    rate_error: float = 0.0
    goodness: GoodnessOfFit | None = None

    def __post_init__(self) -> None:
        for name in ("limit_rates", "cancel_rates", "market_rates"):
            object.__setattr__(self, name, tuple(row(name, getattr(self, name), low=0).tolist()))
        positive("unit_lots", self.unit_lots)
        not_negative("rate_error", self.rate_error)
        whole("behind_max", self.behind_max, 1, 500)

    @classmethod
    def from_profile(cls, profile: QueueReactiveProfile, *, level: int = 0) -> Self:
        """Return the model of one level of a generator's profile; exact where orders are one unit.

        `level` 0 is next to the reference price; only the best queue takes market orders.
        """
        at = whole("level", level, 0, len(profile.limit_rates) - 1)
        speed = profile.speed
        return cls(
            limit_rates=tuple(rate * speed for rate in profile.limit_rates[at]),
            cancel_rates=tuple(rate * speed for rate in profile.cancel_rates[at]),
            market_rates=tuple(rate * speed for rate in profile.market_rates),
            unit_lots=float(profile.average_order_lots),
        )

    def predict(self, state: QueueState, horizon_s: float) -> FillForecast:
        """Return the forecast, by uniformisation of the chain of (to go, behind); about 1e-10.

        Lots at better prices count as ahead. Parts of units ahead and behind are linear; a part of
        an own unit counts as one. Queues beyond 128 units ahead and 32 of ours are counted in
        coarser units. Cached by factors, own units and horizon.
        """
        horizon = horizon_of(horizon_s)
        displayed = state.known("displayed_lots", self.name)
        scale, inputs = self._scale(state)
        inputs = ("lots_ahead", "own_lots", "displayed_lots", *inputs)
        if state.better_lots:
            inputs = (*inputs, "better_lots")
        unit = self.unit_lots
        coarse = max(
            1,
            math.ceil(state.lots_before / unit / _AHEAD_MAX),
            math.ceil(state.own_lots / unit / _OWN_MAX),
        )
        unit *= coarse
        own = math.ceil(state.own_lots / unit)
        ahead = state.lots_before / unit
        behind = min(max(0.0, displayed - state.lots_ahead) / unit, float(self.behind_max))
        capacity = max(_SMALLEST, 1 << max(0, math.ceil(ahead) - 1).bit_length())
        table = _reactive_table(
            self._rates(scale, coarse), min(capacity, _AHEAD_MAX), own, self.behind_max, horizon
        )
        found = _between(table, ahead, behind)
        full, some, share, capped, mean, flow = (float(x) for x in found)
        return FillForecast(
            probability=full,
            any_fill_probability=some,
            expected_lots=share * state.own_lots,
            conditional_wait_s=conditional_wait(capped, full, horizon),
            mean_wait_s=mean,
            horizon_s=horizon,
            confidence=confidence_of(flow * self.rate_error),
            model=self.name,
            inputs=inputs,
        )

    def _scale(self, state: QueueState) -> tuple[tuple[float, float, float], tuple[str, ...]]:
        scale = [1.0, 1.0, 1.0]
        for factor in self.factors:
            found = factor.at(state.known(factor.field, self.name))
            scale = [one * other for one, other in zip(scale, found, strict=True)]
        return (scale[0], scale[1], scale[2]), tuple(x.field for x in self.factors)

    def _rates(
        self, scale: tuple[float, float, float], coarse: int
    ) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
        given = (self.limit_rates, self.cancel_rates, self.market_rates)
        if coarse == 1 and scale == (1.0, 1.0, 1.0):
            return given
        limit, cancel, market = (
            tuple(rate * x / coarse for rate in rates[::coarse])
            for rates, x in zip(given, scale, strict=True)
        )
        return limit, cancel, market

    @classmethod
    def fit(
        cls,
        queue_lots: ArrayLike,
        durations_s: ArrayLike,
        events: ArrayLike,
        *,
        unit_lots: float,
        covariates: Mapping[str, ArrayLike] | None = None,
        edges: Mapping[str, ArrayLike] | None = None,
        units_max: int = 30,
    ) -> Self:
        """Return the maximum a posteriori rates of intervals in which nothing happened at a price.

        Each interval had `queue_lots[i]` at the price, lasted `durations_s[i]` and was ended by
        `events[i]` (`QUEUE_NONE`, ... `QUEUE_MARKET`). `covariates` are fields of the state, an
        array each, with their `edges`; the rates are a product of one of the queue and one of each
        covariate, fitted by turns (the Poisson likelihood's iterative proportional fitting). One
        event's worth of each kind's overall rate is put to each cell, so that cells nobody saw
        have it. Goodness of fit: time-rescaled waits are exponential (Brown et al., Neural
        Computation 14, 2002), by Kolmogorov's test.
        """
        lots, waits = row("queue_lots", queue_lots, low=0), row("durations_s", durations_s, low=0)
        kinds = row("events", events, low=QUEUE_NONE, high=QUEUE_MARKET)
        same_length(queue_lots=lots, durations_s=waits, events=kinds)
        unit, most = positive("unit_lots", unit_lots), whole("units_max", units_max, 1, 1000)
        units = np.minimum(np.ceil(lots / unit), most).astype(np.intp)
        cells = [(units, most + 1)]
        cuts = {name: increasing(name, x, at_least=1) for name, x in (edges or {}).items()}
        if set(cuts) != set(covariates or {}):
            raise InvalidInput(f"edges: of {sorted(cuts)}; allowed: those of covariates, each")
        for name, values in (covariates or {}).items():
            column = row(name, values)
            same_length(queue_lots=lots, **{name: column})
            places = np.searchsorted(cuts[name], column, side="right")
            cells.append((places, len(cuts[name]) + 1))
        fitted = [_fit_kind(kinds == kind, waits, cells) for kind in (1, 2, 3)]
        total = np.sum([rate for _, rate in fitted], axis=0)
        counts = [max(1.0, float((kinds == kind).sum())) for kind in (QUEUE_CANCEL, QUEUE_MARKET)]
        limit, cancel, market = (found for found, _ in fitted)
        factors = tuple(
            IntensityFactor(
                field=name,
                edges=tuple(cuts[name].tolist()),
                limit=tuple(limit[at].tolist()),
                cancel=tuple(cancel[at].tolist()),
                market=tuple(market[at].tolist()),
            )
            for at, name in enumerate(covariates or {}, 1)
        )
        return cls(
            limit_rates=tuple(limit[0].tolist()),
            cancel_rates=tuple(cancel[0].tolist()),
            market_rates=tuple(market[0].tolist()),
            unit_lots=unit,
            factors=factors,
            rate_error=math.sqrt(sum(1 / count for count in counts)),
            goodness=kolmogorov_exponential(total * waits, kinds != QUEUE_NONE),
        )

    def to_mapping(self) -> dict[str, Any]:
        """Return the model in plain values."""
        found: dict[str, Any] = {
            "model": self.name,
            "limit_rates": list(self.limit_rates),
            "cancel_rates": list(self.cancel_rates),
            "market_rates": list(self.market_rates),
            "unit_lots": self.unit_lots,
            "factors": [factor.to_mapping() for factor in self.factors],
            "behind_max": self.behind_max,
            "rate_error": self.rate_error,
        }
        if self.goodness is not None:
            found["goodness"] = self.goodness.to_mapping()
        return found

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Return the model of `to_mapping`; only the three rates are required."""
        rates = {"limit_rates", "cancel_rates", "market_rates"}
        others = {"unit_lots", "behind_max", "rate_error"}
        require_keys(cls.name, mapping, rates, {"model", "factors", "goodness"} | rates | others)
        goodness = mapping.get("goodness")
        given: dict[str, Any] = {name: mapping[name] for name in sorted(others & set(mapping))}
        for name in sorted(rates):
            given[name] = tuple(numbers(name, mapping[name]).tolist())
        return cls(
            **given,
            factors=tuple(IntensityFactor.from_mapping(x) for x in mapping.get("factors", ())),
            goodness=None if goodness is None else GoodnessOfFit.from_mapping(goodness),
        )


@lru_cache(maxsize=256)
def _reactive_table(
    rates: tuple[tuple[float, ...], ...], ahead: int, own: int, behind: int, horizon_s: float
) -> Floats:
    """Return the answers by units ahead, units behind, and kind (6 of them, as `predict` reads)."""
    front, back = np.arange(ahead + own + 1)[:, None], np.arange(behind + 1)[None, :]
    units = front + back
    limit, cancel, market = (
        np.asarray(given)[np.minimum(units, len(given) - 1)] for given in rates
    )
    others = np.maximum(front - own, 0)
    share = np.divide(others, others + back, out=np.zeros(units.shape), where=others + back > 0)
    down = np.where(front > 0, market + cancel * share, 0.0)
    shrink = np.where((front > 0) & (others + back > 0), cancel * (1 - share), 0.0)
    grow = np.where((front > 0) & (back < behind), limit, 0.0)
    asked = np.stack([front == 0, front < own, np.maximum(own - front, 0) / own], axis=-1)
    start = np.broadcast_to(asked, (*units.shape, 3)).astype(np.float64)
    mean = _mean_wait(down, grow, shrink)
    if math.isinf(horizon_s):
        done = np.where(np.isfinite(mean), 1.0, 0.0)[..., None] * np.ones(3)
        found, capped, flow = np.where(front[..., None] == 0, start, done), mean, 0.0 * mean
        flow = np.zeros(mean.shape)
    else:
        found, capped, flow = _passed(down, grow, shrink, start, horizon_s)
    table = np.concatenate([found, np.stack([capped, mean, flow], axis=-1)], axis=-1)
    return as_given(table[own:])


def _passed(
    down: Floats, grow: Floats, shrink: Floats, start: Floats, horizon_s: float
) -> tuple[Floats, Floats, Floats]:
    """Return the three values at the horizon, E min(T, horizon), and horizon dP/dhorizon."""
    rate = float((down + grow + shrink).max())
    if rate * horizon_s == 0:
        waits = np.full(down.shape, horizon_s)
        waits[0] = 0.0
        return start, waits, np.zeros(down.shape)
    if rate * horizon_s > _STEPS_MAX:
        raise InvalidInput(
            f"horizon_s: {horizon_s} ({rate * horizon_s:.3g} events); allowed: at most "
            f"{_STEPS_MAX} events"
        )
    first, weights = poisson_window(rate * horizon_s)
    weights = weights / weights.sum()
    beyond = np.concatenate([np.ones(first), 1 - np.cumsum(weights)])
    moves = (down / rate)[..., None], (grow / rate)[..., None], (shrink / rate)[..., None]
    at, found, capped = start, np.zeros_like(start), np.zeros(down.shape)
    for step in range(first + len(weights)):
        if step >= first:
            found += weights[step - first] * at
        capped += max(0.0, beyond[step]) * (1 - at[..., 0])
        at = at + _change(at, *moves)
    found = np.clip(found, 0.0, 1.0)
    flow = horizon_s * rate * np.maximum(_change(found, *moves)[..., 0], 0.0)
    return as_given(found), as_given(capped / rate), as_given(flow)


def _change(at: Floats, down: Floats, grow: Floats, shrink: Floats) -> Floats:
    """Return what the generator makes of the values, per unit of its rates."""
    change = np.zeros_like(at)
    change[1:] = down[1:] * (at[:-1] - at[1:])
    step = at[:, 1:] - at[:, :-1]
    change[:, :-1] += grow[:, :-1] * step
    change[:, 1:] -= shrink[:, 1:] * step
    return as_given(change)


def _mean_wait(down: Floats, grow: Floats, shrink: Floats) -> Floats:
    """Return the mean time until none is to go, one front after the other; may be infinite."""
    mean = np.zeros(down.shape)
    for front in range(1, len(down)):
        leave = down[front] + grow[front] + shrink[front]
        matrix = np.diag(leave) - np.diag(grow[front, :-1], 1) - np.diag(shrink[front, 1:], -1)
        before = np.where(down[front] > 0, mean[front - 1], 0.0)
        if not np.all(np.isfinite(before)) or not np.any(down[front] > 0):
            mean[front] = np.inf
            continue
        try:
            mean[front] = np.linalg.solve(matrix, 1 + down[front] * before)
        except np.linalg.LinAlgError:
            mean[front] = np.inf
        if not np.all(mean[front] >= 0):
            mean[front] = np.inf
    return mean


def _between(table: Floats, ahead: float, behind: float) -> Floats:
    """Return the answers between whole units ahead and behind, linear in each."""
    row_low, column_low = math.floor(ahead), math.floor(behind)
    part, rest = ahead - row_low, behind - column_low

    def across(row_at: int) -> Floats:
        one = as_given(table[row_at, column_low])
        if not rest:
            return one
        return as_given(one * (1 - rest) + table[row_at, column_low + 1] * rest)

    found = across(row_low)
    return found if not part else as_given(found * (1 - part) + across(row_low + 1) * part)


def _fit_kind(
    came: Any, waits: Floats, cells: list[tuple[Any, int]]
) -> tuple[list[Floats], Floats]:
    """Return one kind's rate by queue and its factors, and the fitted rate of each interval."""
    counts, total = came.astype(np.float64), float(waits.sum())
    if not total:
        raise InvalidInput("durations_s: all 0; allowed: some time in which to watch")
    overall = max(float(counts.sum()), 0.5) / total
    found = [np.full(cells[0][1], overall)] + [np.ones(size) for _, size in cells[1:]]
    for _ in range(_ROUNDS if len(cells) > 1 else 1):
        before = [x.copy() for x in found]
        for at, (places, size) in enumerate(cells):
            others = np.prod([found[k][cells[k][0]] for k in range(len(cells)) if k != at], axis=0)
            expected = np.bincount(places, weights=waits * others, minlength=size)
            seen = np.bincount(places, weights=counts, minlength=size)
            prior = 1 / overall if at == 0 else 1.0
            found[at] = (seen + 1) / (expected + prior)
        if all(np.allclose(a, b, rtol=1e-10) for a, b in zip(found, before, strict=True)):
            break
    rate = np.prod([found[k][places] for k, (places, _) in enumerate(cells)], axis=0)
    return found, as_given(rate)
