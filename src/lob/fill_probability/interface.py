"""What a fill-probability model is asked, and what it answers.

A model sees a `QueueState`: an order that rests, or is about to, and its surroundings. It says by
`predict(state, horizon_s)` how likely the order is to fill within the horizon. Everything is seen
from the order's own side, so that one model serves bids and asks. What is not known is None; a
model that cannot do without refuses with `InvalidInput` and names the field.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lob.bounds import Floats, numbers, same_length
from lob.errors import InvalidInput
from lob.fill_probability.scores import (
    auc,
    brier_score,
    brier_skill_score,
    expected_calibration_error,
    log_loss,
)

LOTS_MAX: Final = 2**53
_KNOWN_WAIT: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """Describe one order's place; times in seconds, distances in ticks, sizes in lots.

    `lots_ahead` are those before ours at our own price, `better_lots` those at better prices of
    our side. `displayed_lots` is all that others show at our price (ahead and behind),
    `opposite_lots` what stands at the opposite touch. `distance_ticks` is how far our price is
    behind our side's best (0: at the touch, below 0: it would improve it);
    `opposite_distance_ticks` how far from the opposite best. `imbalance` is (own - opposite) /
    (own + opposite) of the sizes at the touch, in -1..1. `volatility_ticks` is the mid's standard
    deviation in ticks per square root of a second, `drift_ticks_per_s` its drift away from our
    order. `trade_lots_per_s` is what trades at our price a second, `cancel_rate` the rate at which
    a lot ahead is cancelled, a second. `time_of_day_s` counts from midnight, `age_s` since the
    order came.

    >>> QueueState(lots_ahead=3, own_lots=1, better_lots=2).lots_before
    5
    """

    lots_ahead: float
    own_lots: float
    better_lots: float = 0.0
    displayed_lots: float | None = None
    opposite_lots: float | None = None
    distance_ticks: float | None = None
    opposite_distance_ticks: float | None = None
    spread_ticks: float | None = None
    imbalance: float | None = None
    volatility_ticks: float | None = None
    drift_ticks_per_s: float | None = None
    trade_lots_per_s: float | None = None
    cancel_rate: float | None = None
    time_of_day_s: float | None = None
    age_s: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in _BOUNDS:
            value = getattr(self, name)
            if value is None and name not in _REQUIRED:
                continue
            # A state is made for each forecast: the check is inline, and exact about what it takes.
            if not (isinstance(value, _NUMBERS) and low <= value <= high) or value is True:
                raise InvalidInput(f"{name}: {value!r}; allowed: {_allowed(low, high)}")
        if self.own_lots <= 0:
            raise InvalidInput(f"own_lots: {self.own_lots}; allowed: above 0")

    @property
    def lots_before(self) -> float:
        """Return the lots that trade before ours: at better prices, and ahead at our own."""
        return self.lots_ahead + self.better_lots

    def known(self, name: str, model: str) -> float:
        """Return a field that `model` needs; `InvalidInput` by name where it is unknown."""
        value = getattr(self, name)
        if value is None:
            raise InvalidInput(f"{name}: unknown; allowed: a number, which the {model} model needs")
        return float(value)


_NUMBERS: Final = (int, float, np.integer, np.floating)
_REQUIRED: Final = frozenset({"lots_ahead", "own_lots", "better_lots", "age_s"})
_TICKS_MAX: Final = 1e12
_BOUNDS: Final = (
    ("lots_ahead", 0.0, LOTS_MAX),
    ("own_lots", 0.0, LOTS_MAX),
    ("better_lots", 0.0, LOTS_MAX),
    ("displayed_lots", 0.0, LOTS_MAX),
    ("opposite_lots", 0.0, LOTS_MAX),
    ("distance_ticks", -_TICKS_MAX, _TICKS_MAX),
    ("opposite_distance_ticks", 0.0, _TICKS_MAX),
    ("spread_ticks", 0.0, _TICKS_MAX),
    ("imbalance", -1.0, 1.0),
    ("volatility_ticks", 0.0, _TICKS_MAX),
    ("drift_ticks_per_s", -_TICKS_MAX, _TICKS_MAX),
    ("trade_lots_per_s", 0.0, LOTS_MAX),
    ("cancel_rate", 0.0, LOTS_MAX),
    ("time_of_day_s", 0.0, 86_400.0),
    ("age_s", 0.0, LOTS_MAX),
)
STATE_FIELDS: Final = tuple(name for name, _, _ in _BOUNDS)
"""The fields of a `QueueState`, by which models name their inputs."""


def _allowed(low: float, high: float) -> str:
    return f"{low:g}..{high:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FillForecast:
    """Say how an order is expected to fill within `horizon_s` seconds.

    `probability` is that of a full fill, `any_fill_probability` that of at least one lot;
    `expected_lots` the mean number of lots filled by the horizon. `conditional_wait_s` is the mean
    time to the full fill given that it comes within the horizon, None where that is all but
    impossible (below 1e-9); `mean_wait_s` the mean time to the full fill without a horizon, which
    may be infinite, and None where the model says nothing beyond its horizon.

    `confidence` is 1 - 2 x the standard error of `probability` that comes from the model's own
    estimated parameters, in 0..1: 1 for inputs taken as exact, 0 where the error is as large as
    that of a coin whose chance nobody knows. It says nothing of whether the model is the right one:
    scores on data do. `inputs` are the state's fields that were used.
    """

    probability: float
    any_fill_probability: float
    expected_lots: float
    conditional_wait_s: float | None
    mean_wait_s: float | None
    horizon_s: float
    confidence: float
    model: str
    inputs: tuple[str, ...]


@runtime_checkable
class FillModel(Protocol):
    """Forecast fills, and be written to and read from a mapping of plain values."""

    @property
    def name(self) -> str:
        """Return the model's name, as `model` in its mapping."""

    def predict(self, state: QueueState, horizon_s: float) -> FillForecast:
        """Return the forecast for `horizon_s` seconds from now; 0 and infinity are allowed."""

    def to_mapping(self) -> dict[str, Any]:
        """Return the model in numbers, texts, lists and dicts, as `from_mapping` reads it."""

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Return the model; `InvalidInput` for a key that is unknown or missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodnessOfFit:
    """Say how well a fitted model met its data; a figure that does not apply is None.

    `observations` is what was counted; `statistic` and `p_value` belong to `test` (a high p-value:
    nothing speaks against the model); the scores are those of forecasts of full fills.
    """

    observations: int
    test: str = ""
    statistic: float | None = None
    p_value: float | None = None
    log_loss: float | None = None
    brier: float | None = None
    brier_skill: float | None = None
    auc: float | None = None
    calibration_error: float | None = None

    def to_mapping(self) -> dict[str, Any]:
        """Return the figures that are known."""
        found = {x.name: getattr(self, x.name) for x in fields(self)}
        return {name: value for name, value in found.items() if value not in {None, ""}}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Return the figures of `to_mapping`."""
        require_keys("goodness", mapping, {"observations"}, {x.name for x in fields(cls)})
        return cls(**mapping)


@dataclass(frozen=True, slots=True, eq=False)
class FillHistory:
    """Hold orders that were seen: their state at arrival, and when they filled.

    `full_fill_s[i]` and `first_fill_s[i]` are seconds from the state to the full and to the first
    fill, infinite where it was not seen; `observed_s[i]` how long the order was followed (then it
    was cancelled or the data ended: what would have come is unknown). `first_fill_s` left out is
    `full_fill_s`.
    """

    states: tuple[QueueState, ...]
    full_fill_s: Floats
    observed_s: Floats
    first_fill_s: Floats

    @classmethod
    def of(
        cls,
        states: Sequence[QueueState],
        full_fill_s: ArrayLike,
        observed_s: ArrayLike,
        first_fill_s: ArrayLike | None = None,
    ) -> Self:
        """Return the history, checked: a fill comes when it was watched, the first not after."""
        full = np.atleast_1d(numbers("full_fill_s", full_fill_s, low=0, infinite=True))
        watched = np.atleast_1d(numbers("observed_s", observed_s, low=0, infinite=True))
        first = (
            full
            if first_fill_s is None
            else np.atleast_1d(numbers("first_fill_s", first_fill_s, low=0, infinite=True))
        )
        same_length(full_fill_s=full, observed_s=watched, first_fill_s=first)
        if len(states) != len(full) or not len(full):
            raise InvalidInput(f"states: {len(states)}; allowed: one for each fill ({len(full)})")
        if np.any(first > full):
            raise InvalidInput("first_fill_s: after full_fill_s; allowed: not after it")
        if np.any(np.isfinite(first) & (first > watched)):
            raise InvalidInput("first_fill_s: after observed_s; allowed: while it was watched")
        full = np.where(full > watched, np.inf, full)
        return cls(tuple(states), full, np.where(np.isfinite(full), full, watched), first)

    def __len__(self) -> int:
        """Return the number of orders."""
        return len(self.states)

    def column(self, name: str, model: str) -> Floats:
        """Return one field of every state; `InvalidInput` where one is unknown."""
        return np.array([state.known(name, model) for state in self.states])

    def taken(self, which: Any) -> "FillHistory":
        """Return the orders at these indices (or where true), in their order."""
        at = np.arange(len(self))[which]
        return FillHistory(
            tuple(self.states[i] for i in at),
            self.full_fill_s[at],
            self.observed_s[at],
            self.first_fill_s[at],
        )

    def outcomes(self, horizon_s: float) -> tuple[NDArray[np.intp], Floats]:
        """Return where the outcome by `horizon_s` is known (indices), and 1 where it was full."""
        filled = self.full_fill_s <= horizon_s
        at = np.flatnonzero(filled | (self.observed_s >= horizon_s))
        return at, filled[at].astype(np.float64)


def score_fill_model(model: FillModel, history: FillHistory, horizon_s: float) -> GoodnessOfFit:
    """Return the scores of a model's forecasts of full fills; orders of unknown outcome left out.

    Skill and AUC are None where all outcomes are alike. Leaving out what was cancelled before the
    horizon is fair only where cancelling tells nothing of the fill to come.
    """
    at, came = history.outcomes(horizon_s)
    if not len(came):
        raise InvalidInput(f"horizon_s: {horizon_s}; allowed: one that some order was watched for")
    said = np.array([model.predict(history.states[i], horizon_s).probability for i in at])
    mixed = 0 < came.mean() < 1
    return GoodnessOfFit(
        observations=len(came),
        log_loss=log_loss(said, came),
        brier=brier_score(said, came),
        brier_skill=brier_skill_score(said, came) if mixed else None,
        auc=auc(said, came) if mixed else None,
        calibration_error=expected_calibration_error(said, came),
    )


def confidence_of(standard_error: float) -> float:
    """Return 1 - 2 x the standard error of a probability, within 0..1.

    >>> confidence_of(0.0), confidence_of(0.1), confidence_of(0.7)
    (1.0, 0.8, 0.0)
    """
    return max(0.0, 1.0 - 2.0 * standard_error)


def conditional_wait(capped_mean_s: float, probability: float, horizon_s: float) -> float | None:
    """Return E[T | T <= h] from E[min(T, h)] and P(T <= h); None below a probability of 1e-9."""
    if probability < _KNOWN_WAIT or math.isinf(horizon_s):
        return capped_mean_s if math.isinf(horizon_s) and probability >= 1 else None
    wait = (capped_mean_s - horizon_s * (1 - probability)) / probability
    return min(horizon_s, max(0.0, wait))


def horizon_of(horizon_s: float) -> float:
    """Return a horizon in seconds, 0 or more, which may be infinite."""
    if not isinstance(horizon_s, _NUMBERS) or not horizon_s >= 0 or horizon_s is True:
        raise InvalidInput(f"horizon_s: {horizon_s!r}; allowed: a number of 0 or more, or inf")
    return float(horizon_s)


def require_keys(
    name: str, mapping: Mapping[str, Any], required: set[str], allowed: set[str]
) -> None:
    """Refuse a mapping that lacks a required key or has one that is not allowed."""
    missing, unknown = sorted(required - set(mapping)), sorted(set(mapping) - allowed, key=str)
    if missing:
        raise InvalidInput(f"{name}: no key {missing[0]!r}; allowed: {', '.join(sorted(allowed))}")
    if unknown:
        raise InvalidInput(f"{name}: {unknown[0]!r}; allowed: {', '.join(sorted(allowed))}")
