"""A fill as the end of a life: hazards by age, in proportion to what the order's place is.

The hazard of a fill is rate(age) x exp(b . x), its baseline constant between ages (Holford,
Biometrics 36, 1980), fitted by maximum likelihood on orders that filled or were censored; Lo,
MacKinlay and Zhang (Journal of Financial Economics 65, 2002) fit limit orders so. Two such laws are
kept, of the full and of the first fill.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, increasing, not_negative, number, numbers, positive, row
from lob.errors import InvalidInput
from lob.fill_probability.goodness import kolmogorov_exponential
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
)
from lob.fill_probability.piecewise import (
    capped_mean,
    event_counts,
    exposures,
    fit_proportional,
    spans_until,
)

DEFAULT_EDGES_S: Final = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0)
DEFAULT_FEATURES: Final = ("lots_ahead", "own_lots")
_SHAPES: Final = ("log1p", "linear")
_SIZED: Final = ("lots", "rate", "volatility", "per_s")
_FALLING: Final = ("lots_ahead", "better_lots", "own_lots")
_EXPONENT_MAX: Final = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HazardFeature:
    """Read one field of the state as (shape(field) - centre) / scale; shape log1p or linear."""

    field: str
    shape: str = "linear"
    centre: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.field not in STATE_FIELDS or self.field == "age_s":
            allowed = ", ".join(x for x in STATE_FIELDS if x != "age_s")
            raise InvalidInput(f"field: {self.field!r}; allowed: {allowed}")
        if self.shape not in _SHAPES:
            raise InvalidInput(f"shape: {self.shape!r}; allowed: {', '.join(_SHAPES)}")
        number("centre", self.centre)
        positive("scale", self.scale)

    def of(self, value: float) -> float:
        """Return what the hazard sees of a value of the field."""
        shaped = math.log1p(value) if self.shape == "log1p" else value
        return (shaped - self.centre) / self.scale


@dataclass(frozen=True, slots=True, kw_only=True)
class ProportionalHazard:
    """Hold rates a second between ages, coefficients, and the covariance of (log rates, both).

    `covariance` is by rows; an empty one means that all is exact.
    """

    rates: tuple[float, ...]
    coefficients: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates", tuple(row("rates", self.rates, low=0).tolist()))
        found = tuple(numbers("coefficients", self.coefficients).tolist())
        object.__setattr__(self, "coefficients", found)
        size = len(self.rates) + len(self.coefficients)
        rows = tuple(tuple(numbers("covariance", line).tolist()) for line in self.covariance)
        if rows and (len(rows) != size or any(len(line) != size for line in rows)):
            raise InvalidInput(f"covariance: {len(rows)} rows; allowed: {size} x {size}, or none")
        object.__setattr__(self, "covariance", rows)

    def to_mapping(self) -> dict[str, Any]:
        """Return the hazard in plain values."""
        return {
            "rates": list(self.rates),
            "coefficients": list(self.coefficients),
            "covariance": [list(line) for line in self.covariance],
        }

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Return the hazard of `to_mapping`; without a covariance it is exact."""
        names = {"rates", "coefficients"}
        require_keys("hazard", mapping, names, names | {"covariance"})
        return cls(
            rates=tuple(mapping["rates"]),
            coefficients=tuple(mapping["coefficients"]),
            covariance=tuple(tuple(line) for line in mapping.get("covariance", ())),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HazardFillModel:
    """Hold the hazards of the full and of the first fill by age and features.

    `edges_s` are the ages between which the rates hold, from 0; the last rate goes on beyond. An
    order of a state's `age_s` is taken as unfilled so far. The mean number of lots takes a first
    fill that is not the full one as half of the order.

    >>> full = ProportionalHazard(rates=(0.5,), coefficients=(-1.0,))
    >>> model = HazardFillModel(edges_s=(0.0, 60.0), full=full,
    ...                         features=(HazardFeature(field="lots_ahead"),))
    >>> round(model.predict(QueueState(lots_ahead=0, own_lots=1), 2.0).probability, 6)
    0.632121
    """

    name: ClassVar[str] = "hazard"

    edges_s: tuple[float, ...]
    features: tuple[HazardFeature, ...]
    full: ProportionalHazard
    first: ProportionalHazard | None = None
    goodness: GoodnessOfFit | None = None

    def __post_init__(self) -> None:
        edges = increasing("edges_s", self.edges_s, low=0, at_least=2)
        if edges[0] != 0:
            raise InvalidInput(f"edges_s: {edges[0]:g} first; allowed: 0")
        object.__setattr__(self, "edges_s", tuple(edges.tolist()))
        for part in (self.full, self.first):
            if part is None:
                continue
            if len(part.rates) != len(edges) - 1 or len(part.coefficients) != len(self.features):
                raise InvalidInput(
                    f"rates: {len(part.rates)} and {len(part.coefficients)} coefficients; allowed: "
                    f"{len(edges) - 1} and {len(self.features)}"
                )

    def predict(self, state: QueueState, horizon_s: float) -> FillForecast:
        """Return the forecast: 1 - exp(-(H(age + horizon) - H(age))). The error is the delta's."""
        horizon = horizon_of(horizon_s)
        seen = np.array(
            [x.of(state.known(x.field, self.name)) for x in self.features], dtype=np.float64
        )
        full, error, rates = self._filled(self.full, seen, state.age_s, horizon)
        some = full
        if self.first is not None:
            some = max(full, self._filled(self.first, seen, state.age_s, horizon)[0])
        edges = np.array(self.edges_s)
        mean = capped_mean(edges, rates, state.age_s, math.inf)
        capped = mean if math.isinf(horizon) else capped_mean(edges, rates, state.age_s, horizon)
        fields = ("lots_ahead", "own_lots", *(x.field for x in self.features))
        return FillForecast(
            probability=full,
            any_fill_probability=some,
            expected_lots=state.own_lots * (full + some) / 2,
            conditional_wait_s=conditional_wait(capped, full, horizon),
            mean_wait_s=mean,
            horizon_s=horizon,
            confidence=confidence_of(error),
            model=self.name,
            inputs=tuple(dict.fromkeys((*fields[2:], "own_lots", "age_s"))),
        )

    def _filled(
        self, part: ProportionalHazard, seen: Floats, age_s: float, horizon_s: float
    ) -> tuple[float, float, Floats]:
        """Return P(fill), its standard error, and the order's own rates."""
        exponent = float(np.dot(part.coefficients, seen)) if len(seen) else 0.0
        rates = np.array(part.rates) * math.exp(min(exponent, _EXPONENT_MAX))
        if math.isinf(horizon_s):
            return float(rates[-1] > 0), 0.0, rates
        edges = np.array(self.edges_s)
        spans = spans_until(edges, age_s + horizon_s) - spans_until(edges, age_s)
        parts = rates * spans
        total = float(parts.sum())
        filled = -math.expm1(-total)
        if not part.covariance:
            return filled, 0.0, rates
        slope = np.concatenate([parts, total * seen])
        variance = float(slope @ np.array(part.covariance) @ slope)
        return filled, math.exp(-total) * math.sqrt(max(0.0, variance)), rates

    @classmethod
    def fit(
        cls,
        history: FillHistory,
        *,
        features: Sequence[str] = DEFAULT_FEATURES,
        edges_s: ArrayLike = DEFAULT_EDGES_S,
        ridge: float = 1.0,
        falling: Sequence[str] = _FALLING,
    ) -> Self:
        """Return the model that the history makes likely; `features` are fields of the state.

        Sizes, rates and volatilities are seen by log1p, the others as they are; all are centred and
        scaled. `ridge` is the weight of a normal prior on the coefficients; those of `falling`
        fields are not let above 0, so that P never rises with the queue or the quantity. Orders
        are watched up to the last edge. Goodness of fit: hazards integrated to the full fills are
        exponential, by Kolmogorov's test (Cox and Snell 1968), on the data of the fit.
        """
        edges = increasing("edges_s", edges_s, low=0, at_least=2)
        not_negative("ridge", ridge)
        seen, made = _seen(history, features)
        negative = np.array([name in falling for name in features], dtype=bool)
        parts = []
        laws = ((history.full_fill_s, history.observed_s), (history.first_fill_s, None))
        for filled, watched in laws:
            until = np.minimum(history.observed_s if watched is None else watched, filled)
            exposed, counts = exposures(edges, until), event_counts(edges, filled)
            rates, slopes, covariance = fit_proportional(
                seen, counts, exposed, ridge=ridge, negative=negative
            )
            parts.append((rates, slopes, covariance, exposed, counts))
        rates, slopes, _, exposed, counts = parts[0]
        integrated = np.exp(seen @ slopes) * (exposed @ rates)
        hazards = [
            ProportionalHazard(
                rates=tuple(part[0].tolist()),
                coefficients=tuple(part[1].tolist()),
                covariance=tuple(tuple(line) for line in part[2].tolist()),
            )
            for part in parts
        ]
        same = bool(np.array_equal(history.first_fill_s, history.full_fill_s))
        return cls(
            edges_s=tuple(edges.tolist()),
            features=made,
            full=hazards[0],
            first=None if same else hazards[1],
            goodness=kolmogorov_exponential(integrated, counts.sum(axis=1)),
        )

    def to_mapping(self) -> dict[str, Any]:
        """Return the model in plain values."""
        found: dict[str, Any] = {
            "model": self.name,
            "edges_s": list(self.edges_s),
            "features": [
                {"field": x.field, "shape": x.shape, "centre": x.centre, "scale": x.scale}
                for x in self.features
            ],
            "full": self.full.to_mapping(),
        }
        if self.first is not None:
            found["first"] = self.first.to_mapping()
        if self.goodness is not None:
            found["goodness"] = self.goodness.to_mapping()
        return found

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Return the model of `to_mapping`; `first` may be left out."""
        required = {"edges_s", "features", "full"}
        require_keys(cls.name, mapping, required, required | {"model", "first", "goodness"})
        features = []
        for given in mapping["features"]:
            require_keys("features", given, {"field"}, {"field", "shape", "centre", "scale"})
            features.append(HazardFeature(**given))
        first, goodness = mapping.get("first"), mapping.get("goodness")
        return cls(
            edges_s=tuple(mapping["edges_s"]),
            features=tuple(features),
            full=ProportionalHazard.from_mapping(mapping["full"]),
            first=None if first is None else ProportionalHazard.from_mapping(first),
            goodness=None if goodness is None else GoodnessOfFit.from_mapping(goodness),
        )


def _seen(history: FillHistory, names: Sequence[str]) -> tuple[Floats, tuple[HazardFeature, ...]]:
    """Return the features of each order, centred and scaled, and how they are read."""
    columns, made = [], []
    for name in names:
        sized = any(part in name for part in _SIZED) and name != "drift_ticks_per_s"
        shape = "log1p" if sized else "linear"
        plain = HazardFeature(field=name, shape=shape)
        values = np.array([plain.of(x) for x in history.column(name, "hazard").tolist()])
        spread = float(values.std())
        # A field that never varies tells nothing: left at its scale, its coefficient stays 0.
        scale = spread if spread > 1e-12 else 1.0  # noqa: PLR2004
        made.append(
            HazardFeature(field=name, shape=shape, centre=float(values.mean()), scale=scale)
        )
        columns.append((values - values.mean()) / scale)
    stacked = np.column_stack(columns) if columns else np.zeros((len(history), 0))
    return stacked, tuple(made)
