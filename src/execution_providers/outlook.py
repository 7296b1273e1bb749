"""What an order may expect within a horizon: the whole answer behind `get_fill_probability`."""

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from lob.fill_probability import FillForecast

MATCHING: Final = "matching"
"""The model's name where the given depth alone decides: nothing is left to rest, or may rest."""
_NOTHING: Final = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FillOutlook:
    """Say how likely an order is to fill within `horizon_s` seconds, and what goes with it.

    `probability` is that of all of it, `any_fill_probability` that of any of it;
    `expected_quantity` is in units of the symbol, `filled_at_once` included. `expected_wait_s` is
    the mean time to the full fill, `wait_if_filled_s` the same given that it comes within the
    horizon; None where the model does not say, or it never comes. `confidence`, 0..1, is the
    model's own (`lob.fill_probability.FillForecast`). `queue_ahead` would stand before it.
    """

    probability: float
    any_fill_probability: float
    expected_quantity: float
    expected_wait_s: float | None
    wait_if_filled_s: float | None
    horizon_s: float
    confidence: float
    model: str
    queue_ahead: Decimal = _NOTHING
    filled_at_once: Decimal = _NOTHING
    inputs: tuple[str, ...] = ()


def decided(filled_at_once: Decimal, *, whole: bool, horizon_s: float) -> FillOutlook:
    """Return the outlook of an order of which nothing comes to rest: it fills now or never."""
    return FillOutlook(
        probability=1.0 if whole else 0.0,
        any_fill_probability=1.0 if filled_at_once else 0.0,
        expected_quantity=float(filled_at_once),
        expected_wait_s=0.0 if whole else None,
        wait_if_filled_s=0.0 if whole else None,
        horizon_s=horizon_s,
        confidence=1.0,
        model=MATCHING,
        filled_at_once=filled_at_once,
    )


def expected(
    forecast: FillForecast, quantity_per_unit: float, queue_ahead: Decimal, filled_at_once: Decimal
) -> FillOutlook:
    """Return the outlook of an order whose remainder rests and is forecast by a model.

    `quantity_per_unit` is what one lot of the forecast is in units of the symbol.
    """
    wait = forecast.mean_wait_s
    return FillOutlook(
        probability=forecast.probability,
        any_fill_probability=1.0 if filled_at_once else forecast.any_fill_probability,
        expected_quantity=float(filled_at_once) + forecast.expected_lots * quantity_per_unit,
        expected_wait_s=wait if wait is not None and math.isfinite(wait) else None,
        wait_if_filled_s=forecast.conditional_wait_s,
        horizon_s=forecast.horizon_s,
        confidence=forecast.confidence,
        model=forecast.model,
        queue_ahead=queue_ahead,
        filled_at_once=filled_at_once,
        inputs=forecast.inputs,
    )
