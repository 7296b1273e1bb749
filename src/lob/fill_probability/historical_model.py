"""A fill as often as orders in the same place filled before: rates by bucket, shrunk.

Within a bucket of places the hazard of a fill is constant between ages: fills over the time that
orders were watched, so that a cancelled order counts for as long as it was there (Kaplan and Meier
1958 in steps). A thin bucket leans on all orders: the rates have a gamma prior about the overall
one, of a weight in events that makes the counts likeliest (empirical Bayes; Robbins 1956).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, as_given, increasing, numbers, positive
from lob.errors import InvalidInput
from lob.fill_probability.interface import (
    STATE_FIELDS,
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
from lob.fill_probability.piecewise import (
    capped_mean,
    event_counts,
    exposures,
    spans_until,
)

DEFAULT_EDGES_S: Final = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0)
_CELLS_MAX: Final = 100_000
_PRIORS: Final = tuple(0.1 * 1.5**k for k in range(28))

Table = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoricalFillModel:
    """Hold fills and time at risk by bucket and age.

    A bucket is a place of each field between its `buckets` edges (below edges[0], ..., from the
    last), the last field changing fastest. `full_fills[bucket][age]`, `first_fills` and `at_risk_s`
    (seconds, until the full fill; until the first in `first_at_risk_s`) are what was seen between
    the ages `edges_s`, the last rate going on beyond; the rates lean on the overall ones with the
    weight of `prior_fills` fills. Where the first field is the queue ahead, `falling` makes rates
    that rise with it equal (pooled neighbours). A first fill that is not the full one counts as
    half of the order in the mean number of lots.

    >>> model = HistoricalFillModel(
    ...     buckets={"lots_ahead": (1.0,)}, edges_s=(0.0, 10.0), prior_fills=1.0,
    ...     full_fills=((9.0,), (1.0,)), at_risk_s=((10.0,), (20.0,)))
    >>> [round(model.predict(QueueState(lots_ahead=n, own_lots=1), 1.0).probability, 3)
    ...  for n in (0, 5)]
    [0.537, 0.083]
    """

    name: ClassVar[str] = "historical"

    buckets: Mapping[str, tuple[float, ...]]
    edges_s: tuple[float, ...]
    full_fills: Table
    at_risk_s: Table
    first_fills: Table | None = None
    first_at_risk_s: Table | None = None
    prior_fills: float = 5.0
    falling: bool = True
    goodness: GoodnessOfFit | None = None
    _full: "_Rates" = field(init=False, repr=False, compare=False)
    _first: "_Rates | None" = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        positive("prior_fills", self.prior_fills)
        for name in self.buckets:
            if name not in STATE_FIELDS:
                raise InvalidInput(f"buckets: {name!r}; allowed: {', '.join(STATE_FIELDS)}")
        cuts = {
            name: tuple(increasing(name, x, at_least=1).tolist())
            for name, x in self.buckets.items()
        }
        object.__setattr__(self, "buckets", cuts)
        edges = increasing("edges_s", self.edges_s, low=0, at_least=2)
        if edges[0] != 0:
            raise InvalidInput(f"edges_s: {edges[0]:g} first; allowed: 0")
        object.__setattr__(self, "edges_s", tuple(edges.tolist()))
        object.__setattr__(self, "_full", self._shrunk(self.full_fills, self.at_risk_s))
        if (self.first_fills is None) != (self.first_at_risk_s is None):
            raise InvalidInput("first_fills: without first_at_risk_s; allowed: both or none")
        if self.first_fills is not None and self.first_at_risk_s is not None:
            first = self._shrunk(self.first_fills, self.first_at_risk_s)
            object.__setattr__(self, "_first", first)

    def _shrunk(self, fills: Table, at_risk: Table) -> "_Rates":
        sizes = [len(edges) + 1 for edges in self.buckets.values()]
        shape = (math.prod(sizes), len(self.edges_s) - 1)
        seen, risk = numbers("full_fills", fills, low=0), numbers("at_risk_s", at_risk, low=0)
        for name, table in (("full_fills", seen), ("at_risk_s", risk)):
            if table.shape != shape:
                raise InvalidInput(f"{name}: shape {table.shape}; allowed: {shape}")
        overall = _overall(seen, risk)
        weight = self.prior_fills
        shape_, scale = seen + weight, risk + weight / overall
        rates = shape_ / scale
        if self.falling and next(iter(self.buckets), "") == "lots_ahead":
            grid = rates.reshape(sizes[0], -1), scale.reshape(sizes[0], -1)
            rates = _falling(*grid).reshape(shape)
        return _Rates(as_given(rates), as_given(shape_ / scale**2))

    def predict(self, state: QueueState, horizon_s: float) -> FillForecast:
        """Return the forecast of the state's bucket; its error is the posterior's (delta method).

        An order of a state's `age_s` is taken as unfilled so far.
        """
        horizon = horizon_of(horizon_s)
        place = 0
        for name, edges in self.buckets.items():
            value = state.known(name, self.name)
            place = place * (len(edges) + 1) + sum(value >= edge for edge in edges)
        full, error = self._filled(self._full, place, state.age_s, horizon)
        some = full
        if self._first is not None:
            some = max(full, self._filled(self._first, place, state.age_s, horizon)[0])
        edges_s, rates = np.array(self.edges_s), self._full.rates[place]
        mean = capped_mean(edges_s, rates, state.age_s, math.inf)
        capped = mean if math.isinf(horizon) else capped_mean(edges_s, rates, state.age_s, horizon)
        return FillForecast(
            probability=full,
            any_fill_probability=some,
            expected_lots=state.own_lots * (full + some) / 2,
            conditional_wait_s=conditional_wait(capped, full, horizon),
            mean_wait_s=mean,
            horizon_s=horizon,
            confidence=confidence_of(error),
            model=self.name,
            inputs=tuple(dict.fromkeys((*self.buckets, "own_lots", "age_s"))),
        )

    def _filled(
        self, part: "_Rates", place: int, age_s: float, horizon_s: float
    ) -> tuple[float, float]:
        rates = part.rates[place]
        if math.isinf(horizon_s):
            return float(rates[-1] > 0), 0.0
        edges = np.array(self.edges_s)
        spans = spans_until(edges, age_s + horizon_s) - spans_until(edges, age_s)
        total = float(rates @ spans)
        deviation = math.sqrt(float(part.variances[place] @ spans**2))
        return -math.expm1(-total), math.exp(-total) * deviation

    @classmethod
    def fit(
        cls,
        history: FillHistory,
        *,
        buckets: Mapping[str, ArrayLike],
        edges_s: ArrayLike = DEFAULT_EDGES_S,
        prior_fills: float | None = None,
        falling: bool = True,
        score_horizon_s: float | None = None,
    ) -> Self:
        """Return the model of a history; `buckets` gives the edges of each field of the state.

        `prior_fills` is found from the full fills unless given: the weight at which their counts
        are likeliest, negative binomial given the times at risk. With `score_horizon_s`, goodness
        of fit is the scores there on the data of the fit, by which it flatters.
        """
        edges = increasing("edges_s", edges_s, low=0, at_least=2)
        cuts = {name: increasing(name, x, at_least=1) for name, x in buckets.items()}
        place, cells = np.zeros(len(history), dtype=np.intp), 1
        for name, cut in cuts.items():
            column = history.column(name, cls.name)
            place = place * (len(cut) + 1) + np.searchsorted(cut, column, side="right")
            cells *= len(cut) + 1
        if cells > _CELLS_MAX:
            raise InvalidInput(f"buckets: {cells} of them; allowed: at most {_CELLS_MAX}")
        tables = []
        for filled in (history.full_fill_s, history.first_fill_s):
            until = np.minimum(history.observed_s, filled)
            seen = np.zeros((cells, len(edges) - 1))
            risk = np.zeros_like(seen)
            np.add.at(seen, place, event_counts(edges, filled))
            np.add.at(risk, place, exposures(edges, until))
            tables.append((seen, risk))
        (full, full_risk), (first, first_risk) = tables
        weight = _likeliest_prior(full, full_risk) if prior_fills is None else prior_fills
        same = bool(np.array_equal(history.first_fill_s, history.full_fill_s))
        found = cls(
            buckets={name: tuple(cut.tolist()) for name, cut in cuts.items()},
            edges_s=tuple(edges.tolist()),
            full_fills=_table(full),
            at_risk_s=_table(full_risk),
            first_fills=None if same else _table(first),
            first_at_risk_s=None if same else _table(first_risk),
            prior_fills=weight,
            falling=falling,
        )
        if score_horizon_s is None:
            return found
        return cls.from_mapping(
            found.to_mapping()
            | {"goodness": score_fill_model(found, history, score_horizon_s).to_mapping()}
        )

    def to_mapping(self) -> dict[str, Any]:
        """Return the model in plain values."""
        found: dict[str, Any] = {
            "model": self.name,
            "buckets": {name: list(edges) for name, edges in self.buckets.items()},
            "edges_s": list(self.edges_s),
            "prior_fills": self.prior_fills,
            "falling": self.falling,
        }
        for name in _TABLES:
            if getattr(self, name) is not None:
                found[name] = [list(line) for line in getattr(self, name)]
        if self.goodness is not None:
            found["goodness"] = self.goodness.to_mapping()
        return found

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Return the model of `to_mapping`."""
        required = {"buckets", "edges_s", "full_fills", "at_risk_s"}
        others = {"model", "goodness", "prior_fills", "falling", *_TABLES}
        require_keys(cls.name, mapping, required, required | others)
        given = {name: mapping[name] for name in ("prior_fills", "falling") if name in mapping}
        for name in _TABLES:
            if name in mapping:
                given[name] = _table(numbers(name, mapping[name]))
        goodness = mapping.get("goodness")
        return cls(
            buckets={name: tuple(edges) for name, edges in mapping["buckets"].items()},
            edges_s=tuple(mapping["edges_s"]),
            goodness=None if goodness is None else GoodnessOfFit.from_mapping(goodness),
            **given,
        )


_TABLES: Final = ("full_fills", "at_risk_s", "first_fills", "first_at_risk_s")


@dataclass(frozen=True, slots=True, eq=False)
class _Rates:
    """Rates a second by bucket and age, and the variances of their posterior."""

    rates: Floats
    variances: Floats


def _table(values: Floats) -> Table:
    return tuple(tuple(line) for line in values.tolist())


def _overall(seen: Floats, risk: Floats) -> Floats:
    """Return the rate of each age over all buckets; half a fill where none was seen."""
    time = risk.sum(axis=0)
    total = float(time.sum())
    if not total:
        raise InvalidInput("at_risk_s: all 0; allowed: some time in which to watch")
    # An age nobody lived to has the rate of all ages.
    fallback = max(0.5, float(seen.sum())) / total
    found = np.maximum(seen.sum(axis=0), 0.5) / np.where(time > 0, time, 1.0)
    return as_given(np.where(time > 0, found, fallback))


def _likeliest_prior(seen: Floats, risk: Floats) -> float:
    """Return the prior weight, of a grid, at which negative binomial counts are likeliest."""
    means = _overall(seen, risk) * risk
    used = means > 0
    counts, expected = seen[used], means[used]
    terms = np.array([math.lgamma(x + 1) for x in counts.tolist()])

    def likelihood(weight: float) -> float:
        gammas = np.array([math.lgamma(x + weight) for x in counts.tolist()])
        part = gammas - math.lgamma(weight) - terms
        part += weight * np.log(weight / (weight + expected))
        return float(np.sum(part + counts * np.log(expected / (weight + expected))))

    return max(_PRIORS, key=likelihood)


def _falling(rates: Floats, weights: Floats) -> Floats:
    """Return the nearest rates, by weighted squares, that do not rise down the columns.

    Pool adjacent violators (Ayer et al., Annals of Mathematical Statistics 26, 1955).
    """
    found = np.empty_like(rates)
    for column in range(rates.shape[1]):
        blocks: list[tuple[float, float, int]] = []
        for value, weight in zip(rates[:, column], weights[:, column], strict=True):
            mean, total, length = float(value), float(weight), 1
            while blocks and blocks[-1][0] < mean:
                before, held, many = blocks.pop()
                mean = (before * held + mean * total) / (held + total)
                total, length = held + total, length + many
            blocks.append((mean, total, length))
        found[:, column] = [mean for mean, _, length in blocks for _ in range(length)]
    return found
