"""The Poisson model of a fill: so many trades, and cancels ahead, as must come before ours is done.

Trades at our price come as a Poisson process of random sizes and take the front of the queue; each
unit ahead of us is cancelled at a rate of its own. P(fill within T) is the probability that those
ahead and then all of ours have gone: Erlang's tail for trades of one unit without cancels (Cont,
Stoikov and Talreja, Operations Research 58, 2010, section 3.3; Panjer 1981 for the sizes).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, increasing, not_negative, number, numbers, pmf, positive, row, whole
from lob.errors import InvalidInput
from lob.fill_probability.goodness import chi_squared_tail
from lob.fill_probability.interface import (
    LOTS_MAX,
    FillForecast,
    GoodnessOfFit,
    QueueState,
    conditional_wait,
    confidence_of,
    horizon_of,
    require_keys,
)
from lob.fill_probability.queue_chain import chain_answer

_SIZES_MAX: Final = 512
_WINDOWS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PoissonFillModel:
    """Hold the rates at our price, per second.

    Trades come at `trade_rate` and take `k` units with probability `trade_sizes[k - 1]`; each unit
    ahead is cancelled at `cancel_rate`. A unit is `unit_lots` lots: the average order makes a good
    one, 1 keeps lots exact. A state's own `trade_lots_per_s` and `cancel_rate`, where it has them,
    take the place of the model's. `trade_rate_error` and `cancel_rate_error` are the rates'
    relative standard errors (0: exact), from which the forecast's confidence comes: the standard
    error of P is at most T dP/dT times their root sum of squares.

    >>> model = PoissonFillModel(trade_rate=2.0)
    >>> found = model.predict(QueueState(lots_ahead=3, own_lots=1), 1.0)
    >>> round(found.probability, 6), found.mean_wait_s, found.confidence
    (0.142877, 2.0, 1.0)
    """

    name: ClassVar[str] = "poisson"

    trade_rate: float
    cancel_rate: float = 0.0
    trade_sizes: tuple[float, ...] = (1.0,)
    unit_lots: float = 1.0
    trade_rate_error: float = 0.0
    cancel_rate_error: float = 0.0
    goodness: GoodnessOfFit | None = None
    _mean_size: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("trade_rate", "cancel_rate", "trade_rate_error", "cancel_rate_error"):
            not_negative(name, getattr(self, name))
        positive("unit_lots", self.unit_lots)
        pmf("trade_sizes", self.trade_sizes)
        # As they were given: scaling them anew each time would not come back to the same model.
        sizes = tuple(float(chance) for chance in self.trade_sizes)
        if len(sizes) > _SIZES_MAX:
            raise InvalidInput(f"trade_sizes: {len(sizes)} sizes; allowed: at most {_SIZES_MAX}")
        object.__setattr__(self, "trade_sizes", sizes)
        mean_size = sum(units * chance for units, chance in enumerate(sizes, 1))
        object.__setattr__(self, "_mean_size", mean_size)

    def predict(self, state: QueueState, horizon_s: float) -> FillForecast:
        """Return the forecast; exact up to 1e-12 for whole units (see `chain_answer` for others).

        Lots at better prices count as ahead. Cached by units, rates and horizon.
        """
        horizon = horizon_of(horizon_s)
        inputs = ["lots_ahead", "own_lots"]
        if state.better_lots:
            inputs.append("better_lots")
        mu, mu_error = self.trade_rate, self.trade_rate_error
        if state.trade_lots_per_s is not None:
            mu, mu_error = state.trade_lots_per_s / (self.unit_lots * self._mean_size), 0.0
            inputs.append("trade_lots_per_s")
        theta, theta_error = self.cancel_rate, self.cancel_rate_error
        if state.cancel_rate is not None:
            theta, theta_error = state.cancel_rate, 0.0
            inputs.append("cancel_rate")
        found = chain_answer(
            mu,
            theta,
            self.trade_sizes,
            ahead=state.lots_before / self.unit_lots,
            own=state.own_lots / self.unit_lots,
            horizon_s=horizon,
        )
        error = found.sensitivity * math.hypot(mu_error, theta_error)
        return FillForecast(
            probability=found.full,
            any_fill_probability=found.any,
            expected_lots=found.own_share * state.own_lots,
            conditional_wait_s=conditional_wait(found.capped_mean_s, found.full, horizon),
            mean_wait_s=found.mean_s,
            horizon_s=horizon,
            confidence=confidence_of(error),
            model=self.name,
            inputs=tuple(inputs),
        )

    @classmethod
    def fit(
        cls,
        trade_lots: ArrayLike,
        seconds: float,
        *,
        cancelled_lots: float = 0.0,
        resting_lot_seconds: float = 0.0,
        cancels: int | None = None,
        unit_lots: float | None = None,
        trade_times_s: ArrayLike | None = None,
    ) -> Self:
        """Return the model of what was seen at one price level, or at the touch, in `seconds`.

        `trade_lots` are the sizes of the trades; `cancelled_lots` is what was cancelled (in
        `cancels` cancels, for its standard error) while `resting_lot_seconds` (lots x seconds)
        rested. The maximum likelihood rates are counts over exposure, with relative errors of one
        over the root of the count. `unit_lots` is the median trade unless given; sizes are rounded
        up to units. With `trade_times_s`, in order, the goodness of fit is Fisher's dispersion test
        of the counts in twenty equal windows.
        """
        lots, span = row("trade_lots", trade_lots, above=0), positive("seconds", seconds)
        unit = float(np.median(lots)) if unit_lots is None else positive("unit_lots", unit_lots)
        units = np.minimum(np.ceil(lots / unit), _SIZES_MAX).astype(np.int64)
        gone = not_negative("cancelled_lots", cancelled_lots)
        rested = number("resting_lot_seconds", resting_lot_seconds, low=0, high=float(LOTS_MAX))
        if gone and not rested:
            raise InvalidInput("resting_lot_seconds: 0; allowed: above 0 where lots were cancelled")
        times = math.ceil(gone / unit) if cancels is None else whole("cancels", cancels, 0)
        return cls(
            trade_rate=len(lots) / span,
            cancel_rate=gone / rested if rested else 0.0,
            trade_sizes=tuple((np.bincount(units)[1:] / len(units)).tolist()),
            unit_lots=unit,
            trade_rate_error=len(lots) ** -0.5,
            cancel_rate_error=times**-0.5 if times else 0.0,
            goodness=None if trade_times_s is None else _dispersion(trade_times_s, span),
        )

    def to_mapping(self) -> dict[str, Any]:
        """Return the model in plain values."""
        found: dict[str, Any] = {
            "model": self.name,
            "trade_rate": self.trade_rate,
            "cancel_rate": self.cancel_rate,
            "trade_sizes": list(self.trade_sizes),
            "unit_lots": self.unit_lots,
            "trade_rate_error": self.trade_rate_error,
            "cancel_rate_error": self.cancel_rate_error,
        }
        if self.goodness is not None:
            found["goodness"] = self.goodness.to_mapping()
        return found

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Return the model of `to_mapping`; only `trade_rate` is required."""
        allowed = {"model", "trade_rate", "cancel_rate", "trade_sizes", "unit_lots"} | {
            "trade_rate_error",
            "cancel_rate_error",
            "goodness",
        }
        require_keys(cls.name, mapping, {"trade_rate"}, allowed)
        given = {key: value for key, value in mapping.items() if key not in {"model", "goodness"}}
        if "trade_sizes" in given:
            given["trade_sizes"] = tuple(numbers("trade_sizes", given["trade_sizes"]).tolist())
        goodness = mapping.get("goodness")
        return cls(
            **given, goodness=None if goodness is None else GoodnessOfFit.from_mapping(goodness)
        )


def _dispersion(trade_times_s: ArrayLike, seconds: float) -> GoodnessOfFit:
    """Return Fisher's index of dispersion of counts in equal windows, chi-squared if Poisson."""
    times: Floats = increasing("trade_times_s", trade_times_s, low=0, at_least=1)
    counts, _ = np.histogram(times, bins=_WINDOWS, range=(0.0, seconds))
    mean = float(counts.mean())
    statistic = float(((counts - mean) ** 2).sum() / mean) if mean else 0.0
    return GoodnessOfFit(
        observations=len(times),
        test="dispersion",
        statistic=statistic,
        p_value=chi_squared_tail(statistic, _WINDOWS - 1),
    )
