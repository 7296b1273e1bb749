"""P(fill within T) of an order as it arrives, fitted to orders whose outcome is known.

A discrete-time hazard (Cox 1972; Allison, Sociological Methodology 13, 1982): the horizons cut time
into stages, and in each stage a logistic regression says how likely a fill is, given none before.

    P(fill within T_k) = 1 - (1 - h_1) ... (1 - h_k),   h_j = 1 / (1 + exp(-w_j . x))

So the forecasts of one order never contradict each other: P is between 0 and 1 and grows with T.
Features are standardised and clipped at four deviations; weights are found by Newton's method on
the penalised likelihood (ridge, le Cessie and van Houwelingen 1992), the intercept free but for a
trace that keeps it finite. No penalty is chosen: the weights are the mean of those under a few of
them, from light to heavy, which is a forecast by the geometric mean of their odds.

`fit_recalibration` is Platt's (1999) correction of forecasts by how past ones came out, drawn to no
correction where there were few.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lob.bounds import Floats, as_given, flags, increasing, numbers, positive, row
from lob.errors import InvalidInput

HORIZONS_S: Final = (1.0, 10.0, 60.0)
"""The horizons that forecasts are made for unless others are named, in seconds."""

RIDGES: Final = (100.0, 300.0, 1_000.0)
"""The penalties that are averaged over: of half the squared weights of standardised features, in
the first stage; longer ones have a greater penalty, see `fit_arrival_forecast`. They are for orders
that follow one another in a feed; cases that have nothing to do with one another bear less."""

_CLIP: Final = 4.0
_LOGIT_MAX: Final = 12.0
_INTERCEPT_RIDGE: Final = 0.01
_NEWTON_STEPS: Final = 25
_STEP_MAX: Final = 4.0
_STEP_DONE: Final = 1e-4
_STEADY: Final = 1e-9
_MIN_EVENTS: Final = 20
_PRIOR_CASES: Final = 0.5
_VERSION: Final = 1


@dataclass(frozen=True, slots=True, eq=False)
class ArrivalForecast:
    """A fitted forecast; `fit_arrival_forecast` makes one.

    `weights` has a row for each stage: the intercept, then one weight for each feature. `ridges`
    are the penalties (of the first stage) that they are the mean over, `cases` says from how many
    orders each stage was fitted.
    """

    horizons_s: tuple[float, ...]
    centre: Floats
    spread: Floats
    weights: Floats
    ridges: tuple[float, ...]
    cases: tuple[int, ...]

    def stage_logits(self, features: ArrayLike) -> Floats:
        """Return the log odds of a fill in each stage, given none before; orders x stages."""
        return as_given(
            np.clip(self._standardised(features) @ self.weights.T, -_LOGIT_MAX, _LOGIT_MAX)
        )

    def predict(self, features: ArrayLike) -> Floats:
        """Return P(fill within each horizon); orders x horizons.

        Raises:
            InvalidInput: features that are no table of this model's columns.
        """
        return fill_probabilities(self.stage_logits(features))

    def predict_within(self, features: ArrayLike, within_s: float) -> Floats:
        """Return P(fill within `within_s` seconds) of each order, up to the last horizon.

        Between horizons the hazard is held constant, so that log survival is linear in time.
        """
        longest = self.horizons_s[-1]
        if not 0 <= within_s <= longest:
            raise InvalidInput(f"within_s: {within_s}; allowed: 0..{longest:g}")
        survival = np.log1p(-self.predict(features))
        logs = np.column_stack([np.zeros(len(survival)), survival])
        times = np.array([0.0, *self.horizons_s])
        at = min(int(np.searchsorted(times, within_s, side="right")) - 1, len(times) - 2)
        part = (within_s - times[at]) / (times[at + 1] - times[at])
        return as_given(-np.expm1(logs[:, at] + part * (logs[:, at + 1] - logs[:, at])))

    def to_json(self) -> str:
        """Return all of it as JSON, from which `from_json` makes the very same forecast."""
        return json.dumps(
            {
                "version": _VERSION,
                "horizons_s": list(self.horizons_s),
                "centre": self.centre.tolist(),
                "spread": self.spread.tolist(),
                "weights": self.weights.tolist(),
                "ridges": list(self.ridges),
                "cases": list(self.cases),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "ArrivalForecast":
        """Return the forecast that `to_json` wrote.

        Raises:
            InvalidInput: it is no such text.
        """
        try:
            found: dict[str, Any] = json.loads(text)
            if found["version"] != _VERSION:
                raise InvalidInput(f"version: {found['version']}; allowed: {_VERSION}")
            made = cls(
                tuple(increasing("horizons_s", found["horizons_s"], low=0, at_least=1).tolist()),
                row("centre", found["centre"]),
                row("spread", found["spread"], above=0),
                numbers("weights", found["weights"]),
                tuple(float(x) for x in found["ridges"]),
                tuple(int(x) for x in found["cases"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InvalidInput):
                raise
            raise InvalidInput(f"text: no fill forecast ({error!r})") from error
        shape = (len(made.horizons_s), len(made.centre) + 1)
        if made.weights.shape != shape or made.spread.shape != made.centre.shape:
            raise InvalidInput(f"weights: {made.weights.shape}; allowed: {shape}")
        return made

    def _standardised(self, features: ArrayLike) -> Floats:
        table = _table(features)
        if table.shape[1] != len(self.centre):
            raise InvalidInput(
                f"features: {table.shape[1]} columns; allowed: {len(self.centre)}, as fitted"
            )
        return _with_ones(table, self.centre, self.spread)


def fill_probabilities(stage_logits: Floats) -> Floats:
    """Return P(fill by the end of each stage) from the log odds of a fill in each; same shape.

    Where log odds are NaN, so are the probabilities from there on.
    """
    with np.errstate(invalid="ignore"):
        # log(1 - h) = -log(1 + e^z), summed: exact where h is small.
        return as_given(-np.expm1(-np.cumsum(np.logaddexp(0.0, stage_logits), axis=1)))


def fit_arrival_forecast(
    features: ArrayLike,
    fill_s: ArrayLike,
    known_s: ArrayLike,
    *,
    horizons_s: ArrayLike = HORIZONS_S,
    ridges: Sequence[float] = RIDGES,
    start: ArrivalForecast | None = None,
) -> ArrivalForecast:
    """Fit P(fill within T) to orders whose outcome is known.

    `features` is orders x features; `fill_s` are the orders' waits, infinite where no fill was seen
    in the `known_s` seconds that they were watched. A stage is fitted to the orders that were
    watched to its end and were unfilled at its start: those watched for less would bring in only
    their early fills. Where a stage saw fewer than 20 fills, or fewer than 20 orders without one,
    its rate alone is fitted. The longer a stage's window, the more the outcomes of neighbours are
    one, and the less each tells: the penalty grows with the root of its end. `start` is an earlier
    fit to go on from, which saves steps and changes nothing else. O(orders x features^2).

    Raises:
        InvalidInput: lengths or values that do not go together, or no order watched to the end of
            the first stage.
    """
    table = _table(features)
    times = row("horizons_s", horizons_s, above=0)
    increasing("horizons_s", times, at_least=1)
    waits, known = numbers("fill_s", fill_s, low=0, infinite=True), row("known_s", known_s, low=0)
    for name, values in (("fill_s", waits), ("known_s", known)):
        if values.shape != (len(table),):
            raise InvalidInput(
                f"{name}: {values.shape}; allowed: one for each order ({len(table)})"
            )
    if not (known >= times[0]).any():
        raise InvalidInput(f"known_s: none of {times[0]:g} or more; allowed: at least one")
    penalties = tuple(positive("ridges", ridge) for ridge in ridges)
    if not penalties:
        raise InvalidInput("ridges: none; allowed: at least one")
    centre, spread = table.mean(axis=0), table.std(axis=0)
    spread[spread < _STEADY] = 1.0
    design = _with_ones(table, centre, spread)
    weights = np.zeros((len(times), design.shape[1]))
    cases = []
    for stage, end in enumerate(times):
        begin = times[stage - 1] if stage else -1.0
        rows = np.flatnonzero((known >= end) & (waits > begin))
        before = None if start is None else start.weights[stage]
        weights[stage] = _mean_weights(
            design[rows],
            waits[rows] <= end,
            tuple(ridge * math.sqrt(end / times[0]) for ridge in penalties),
            before,
        )
        cases.append(len(rows))
    return ArrivalForecast(
        tuple(times.tolist()), as_given(centre), as_given(spread), weights, penalties, tuple(cases)
    )


@dataclass(frozen=True, slots=True)
class Recalibration:
    """A correction of log odds, `shift + slope x` them; (0, 1) corrects nothing."""

    shift: float = 0.0
    slope: float = 1.0

    def apply(self, logits: ArrayLike) -> Floats:
        """Return the corrected log odds, in their shape."""
        return as_given(
            np.clip(self.shift + self.slope * np.asarray(logits), -_LOGIT_MAX, _LOGIT_MAX)
        )


def fit_recalibration(
    logits: ArrayLike, outcomes: ArrayLike, weights: ArrayLike, *, strength: float = 20.0
) -> Recalibration:
    """Return the correction that past forecasts, by how they came out, ask for (Platt 1999).

    `weights` say how much each past forecast counts. `strength` draws the correction to none: it is
    the precision of a normal prior on the shift, and on the slope about 1, so that a few outcomes
    hardly move it. Four Newton steps, O(forecasts).
    """
    said, came = row("logits", logits), flags("outcomes", outcomes)
    counts = row("weights", weights, low=0)
    if not len(said) == len(came) == len(counts):
        raise InvalidInput("outcomes: of another length; allowed: one for each forecast")
    design = np.column_stack([np.ones(len(said)), said])
    prior, found = np.array([0.0, 1.0]), np.array([0.0, 1.0])
    for _ in range(4):
        p = _sigmoid(design @ found)
        slope = design.T @ (counts * (came - p)) - strength * (found - prior)
        curve = design.T @ (design * (counts * p * (1 - p))[:, None]) + strength * np.eye(2)
        found = found + np.linalg.solve(curve, slope)
    # A correction that turns the order of forecasts round is none.
    shift, slope_found = float(found[0]), float(found[1])
    if not (math.isfinite(shift) and slope_found > 0):
        return Recalibration()
    return Recalibration(shift, slope_found)


def _table(features: ArrayLike) -> Floats:
    table = numbers("features", features)
    if table.ndim != 2 or not table.shape[1]:  # noqa: PLR2004 - orders x features
        raise InvalidInput(f"features: of shape {table.shape}; allowed: orders x features")
    return table


def _with_ones(table: Floats, centre: Floats, spread: Floats) -> Floats:
    design = np.empty((len(table), table.shape[1] + 1))
    design[:, 0] = 1.0
    np.subtract(table, centre, out=design[:, 1:])
    design[:, 1:] /= spread
    np.clip(design[:, 1:], -_CLIP, _CLIP, out=design[:, 1:])
    return design


def _sigmoid(logits: Floats) -> Floats:
    return as_given(1 / (1 + np.exp(-np.clip(logits, -_LOGIT_MAX, _LOGIT_MAX))))


def _too_few(filled: Floats) -> bool:
    fills = float(filled.sum())
    return min(fills, len(filled) - fills) < _MIN_EVENTS


def _mean_weights(
    design: Floats, came: NDArray[np.bool_], ridges: tuple[float, ...], start: Floats | None
) -> Floats:
    filled = as_given(came)
    if _too_few(filled):
        weights = np.zeros(design.shape[1])
        fills = float(filled.sum())
        weights[0] = math.log((fills + _PRIOR_CASES) / (len(filled) - fills + _PRIOR_CASES))
        return weights
    total = np.zeros(design.shape[1])
    weights = total if start is None else start
    for ridge in sorted(ridges, reverse=True):
        weights = _logistic(design, filled, ridge, weights)
        total = total + weights
    return as_given(total / len(ridges))


def _logistic(design: Floats, filled: Floats, ridge: float, start: Floats) -> Floats:
    """Return the weights of least penalised loss, by Newton's method from `start`."""
    weights = start
    penalty = np.full(len(weights), ridge)
    penalty[0] = _INTERCEPT_RIDGE
    for _ in range(_NEWTON_STEPS):
        p = _sigmoid(design @ weights)
        slope = design.T @ (filled - p) - penalty * weights
        curve = design.T @ (design * (p * (1 - p))[:, None])
        curve[np.diag_indices(len(weights))] += penalty
        step = np.linalg.solve(curve, slope)
        # A longer step may leave the region where the curve tells anything.
        step *= min(1.0, _STEP_MAX / float(np.abs(step).max() + 1e-300))
        weights = weights + step
        if float(np.abs(step).max()) < _STEP_DONE:
            break
    return weights
