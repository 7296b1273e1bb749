"""Several models' forecasts as one: a weighted mean of probabilities, or of their log odds.

The linear pool (Stone, Annals of Mathematical Statistics 32, 1961) and the logarithmic one (Genest
and Zidek, Statistical Science 1, 1986; for a yes or no a mean of log odds), with weights of sum one
fitted by log loss on orders that the components have not been fitted on.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Self

import numpy as np

from lob.bounds import Floats, as_given, pmf
from lob.errors import InvalidInput
from lob.fill_probability.interface import (
    FillForecast,
    FillHistory,
    FillModel,
    GoodnessOfFit,
    QueueState,
    horizon_of,
    require_keys,
    score_fill_model,
)

POOLS: Final = ("linear", "logit")
_CLIP: Final = 1e-9
_ROUNDS: Final = 2_000
_ENOUGH: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositeFillModel:
    """Hold the components, their weights (of sum one), and the pool: "linear" or "logit".

    With `skip_refusals` a component that refuses a state (a field it needs is unknown) is left out
    and the others' weights are scaled up; without, its refusal is the composite's. The log odds of
    a probability are those of it clipped to 1e-9..1 - 1e-9.

    >>> from lob.fill_probability.poisson_model import PoissonFillModel
    >>> parts = (PoissonFillModel(trade_rate=1.0), PoissonFillModel(trade_rate=3.0))
    >>> model = CompositeFillModel(components=parts, weights=(0.5, 0.5), pool="linear")
    >>> round(model.predict(QueueState(lots_ahead=0, own_lots=1), 1.0).probability, 6)
    0.791167
    """

    name: ClassVar[str] = "composite"

    components: tuple[FillModel, ...]
    weights: tuple[float, ...]
    pool: str = "logit"
    skip_refusals: bool = False
    goodness: GoodnessOfFit | None = None

    def __post_init__(self) -> None:
        if self.pool not in POOLS:
            raise InvalidInput(f"pool: {self.pool!r}; allowed: {', '.join(POOLS)}")
        weights = pmf("weights", self.weights)
        if len(weights) != len(self.components):
            raise InvalidInput(
                f"weights: {len(weights)}; allowed: one for each component ({len(self.components)})"
            )
        # As they were given: scaling them anew each time would not come back to the same model.
        object.__setattr__(self, "weights", tuple(float(weight) for weight in self.weights))

    def predict(self, state: QueueState, horizon_s: float) -> FillForecast:
        """Return the pooled forecast.

        The probabilities are pooled each by the pool; waits are weighted means, the conditional
        one weighted by the probabilities too, and so are expected lots, kept between those of the
        pooled full and any fill. `confidence` is the weighted mean of the components' less 2 x the
        weighted standard deviation of their probabilities: that they disagree is an error that
        none of them knows of.
        """
        horizon = horizon_of(horizon_s)
        said, weights = self._said(state, horizon)
        full = [x.probability for x in said]
        some = [x.any_fill_probability for x in said]
        together = self._pooled(weights, full)
        disagreement = math.sqrt(
            max(0.0, _mean(weights, [p * p for p in full]) - _mean(weights, full) ** 2)
        )
        waits = [x.mean_wait_s for x in said]
        means = [x for x in waits if x is not None]
        some_lots = max(together, self._pooled(weights, some)) * state.own_lots
        lots = max(together * state.own_lots, _mean(weights, [x.expected_lots for x in said]))
        return FillForecast(
            probability=together,
            any_fill_probability=max(together, self._pooled(weights, some)),
            expected_lots=min(lots, some_lots),
            conditional_wait_s=_conditional(weights, said),
            mean_wait_s=_mean(weights, means) if len(means) == len(said) else None,
            horizon_s=horizon,
            confidence=max(0.0, _mean(weights, [x.confidence for x in said]) - 2 * disagreement),
            model=f"{self.name}({', '.join(x.model for x in said)})",
            inputs=tuple(dict.fromkeys(name for x in said for name in x.inputs)),
        )

    def _said(self, state: QueueState, horizon_s: float) -> tuple[list[FillForecast], list[float]]:
        said, weights, refusals = [], [], []
        for component, weight in zip(self.components, self.weights, strict=True):
            if not weight:
                continue
            try:
                said.append(component.predict(state, horizon_s))
            except InvalidInput as refusal:
                if not self.skip_refusals:
                    raise
                refusals.append(refusal)
            else:
                weights.append(weight)
        if not said:
            raise refusals[0]
        total = sum(weights)
        return said, [weight / total for weight in weights]

    def _pooled(self, weights: Sequence[float], said: Sequence[float]) -> float:
        if self.pool == "linear":
            return min(1.0, _mean(weights, said))
        if min(said) == max(said):
            return said[0]
        return float(_expit(np.array(weights) @ _log_odds(np.array(said))))

    @classmethod
    def fit(
        cls,
        components: Sequence[FillModel],
        held_out: FillHistory,
        horizons_s: Sequence[float],
        *,
        pool: str = "logit",
        skip_refusals: bool = False,
    ) -> Self:
        """Return the weights of least log loss, over all horizons, on orders held out.

        Both losses are convex in the weights; found on the simplex by exponentiated gradient
        (Kivinen and Warmuth 1997), for the linear pool in its EM form, until it gains nothing.
        Goodness of fit is the scores at the last horizon, on the same orders.
        """
        if not components or not horizons_s:
            raise InvalidInput("components: none, or no horizons_s; allowed: one or more of each")
        equal = cls(
            components=tuple(components),
            weights=(1 / len(components),) * len(components),
            pool=pool,
            skip_refusals=skip_refusals,
        )
        said, came = _table(components, held_out, horizons_s)
        find = _linear_weights if pool == "linear" else _logit_weights
        fitted = replace(equal, weights=tuple(find(said, came).tolist()))
        return replace(fitted, goodness=score_fill_model(fitted, held_out, horizons_s[-1]))

    def to_mapping(self) -> dict[str, Any]:
        """Return the model and its components in plain values."""
        found: dict[str, Any] = {
            "model": self.name,
            "components": [component.to_mapping() for component in self.components],
            "weights": list(self.weights),
            "pool": self.pool,
            "skip_refusals": self.skip_refusals,
        }
        if self.goodness is not None:
            found["goodness"] = self.goodness.to_mapping()
        return found

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Return the model of `to_mapping`; equal weights where none are given."""
        from lob.fill_probability.models import fill_model_from_mapping  # noqa: PLC0415 - a cycle

        names = {"model", "components", "weights", "pool", "skip_refusals", "goodness"}
        require_keys(cls.name, mapping, {"components"}, names)
        components = tuple(fill_model_from_mapping(x) for x in mapping["components"])
        if not components:
            raise InvalidInput("components: none; allowed: one or more")
        goodness = mapping.get("goodness")
        given = {name: mapping[name] for name in ("pool", "skip_refusals") if name in mapping}
        weights = mapping.get("weights", [1 / len(components)] * len(components))
        return cls(
            components=components,
            weights=tuple(weights),
            goodness=None if goodness is None else GoodnessOfFit.from_mapping(goodness),
            **given,
        )


def _mean(weights: Sequence[float], values: Sequence[float]) -> float:
    # A weight times infinity is infinite; none is 0 here.
    return float(sum(w * v for w, v in zip(weights, values, strict=True)))


def _conditional(weights: Sequence[float], said: Sequence[FillForecast]) -> float | None:
    known = [
        (w * x.probability, x.conditional_wait_s)
        for w, x in zip(weights, said, strict=True)
        if x.conditional_wait_s is not None
    ]
    total = sum(weight for weight, _ in known)
    return sum(weight * wait for weight, wait in known) / total if total else None


def _log_odds(p: Floats) -> Floats:
    kept = np.clip(p, _CLIP, 1 - _CLIP)
    return as_given(np.log(kept) - np.log1p(-kept))


def _expit(x: Any) -> Floats:
    return as_given(1 / (1 + np.exp(-x)))


def _table(
    components: Sequence[FillModel], history: FillHistory, horizons_s: Sequence[float]
) -> tuple[Floats, Floats]:
    """Return what each component said (column) of each order and horizon, and what came."""
    rows, outcomes = [], []
    for horizon in horizons_s:
        at, came = history.outcomes(horizon)
        for i in at:
            state = history.states[i]
            rows.append([x.predict(state, horizon).probability for x in components])
        outcomes.append(came)
    if not rows:
        raise InvalidInput("horizons_s: no order was watched so long; allowed: shorter ones")
    return np.array(rows), np.concatenate(outcomes)


def _linear_weights(said: Floats, came: Floats) -> Floats:
    """Return the mixture weights of greatest likelihood, by EM."""
    chance = np.clip(np.where(came[:, None] == 1, said, 1 - said), _CLIP, 1.0)
    weights = np.full(said.shape[1], 1 / said.shape[1])
    for _ in range(_ROUNDS):
        parts = chance * weights
        after = (parts / parts.sum(axis=1, keepdims=True)).mean(axis=0)
        moved = float(np.abs(after - weights).max())
        weights = after
        if moved < _ENOUGH:
            break
    return as_given(weights / weights.sum())


def _logit_weights(said: Floats, came: Floats) -> Floats:
    """Return the weights of least log loss of the mean of log odds, by exponentiated gradient."""
    odds = _log_odds(said)
    weights = np.full(said.shape[1], 1 / said.shape[1])
    rate = 1.0

    def loss(tried: Floats) -> float:
        x = odds @ tried
        return float(np.mean(np.logaddexp(0.0, x) - came * x))

    at = loss(as_given(weights))
    for _ in range(_ROUNDS):
        gradient = odds.T @ (_expit(odds @ weights) - came) / len(came)
        step = weights * np.exp(-rate * (gradient - gradient.min()))
        tried = step / step.sum()
        now = loss(as_given(tried))
        if now > at:
            rate /= 2
            if rate < _ENOUGH:
                break
            continue
        gained, at, weights = at - now, now, tried
        rate *= 1.1
        if gained < _ENOUGH:
            break
    return as_given(weights / weights.sum())
