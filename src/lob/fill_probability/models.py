"""The fill-probability models by name, and their way to and from mappings of plain values."""

from collections.abc import Mapping
from typing import Any, Final

from lob.errors import InvalidInput
from lob.fill_probability.composite_model import CompositeFillModel
from lob.fill_probability.distance_model import DistanceFillModel
from lob.fill_probability.hazard_model import (
    HazardFeature,
    HazardFillModel,
    ProportionalHazard,
)
from lob.fill_probability.historical_model import HistoricalFillModel
from lob.fill_probability.interface import (
    STATE_FIELDS,
    FillForecast,
    FillHistory,
    FillModel,
    GoodnessOfFit,
    QueueState,
    score_fill_model,
)
from lob.fill_probability.poisson_model import PoissonFillModel
from lob.fill_probability.queue_reactive_model import (
    QUEUE_CANCEL,
    QUEUE_LIMIT,
    QUEUE_MARKET,
    QUEUE_NONE,
    IntensityFactor,
    QueueReactiveFillModel,
)

FILL_MODELS: Final[dict[str, type[FillModel]]] = {
    "poisson": PoissonFillModel,
    "queue_reactive": QueueReactiveFillModel,
    "historical": HistoricalFillModel,
    "distance": DistanceFillModel,
    "hazard": HazardFillModel,
    "composite": CompositeFillModel,
}
"""The models by the name that their mapping has under `model`."""


def fill_model_from_mapping(mapping: Mapping[str, Any]) -> FillModel:
    """Return the model that a mapping describes: its `model` names one of `FILL_MODELS`.

    >>> fill_model_from_mapping({"model": "poisson", "trade_rate": 2.0}).name
    'poisson'
    """
    if "model" not in mapping or mapping["model"] not in FILL_MODELS:
        given = mapping.get("model")
        raise InvalidInput(f"model: {given!r}; allowed: {', '.join(sorted(FILL_MODELS))}")
    return FILL_MODELS[mapping["model"]].from_mapping(mapping)


__all__ = [
    "FILL_MODELS",
    "QUEUE_CANCEL",
    "QUEUE_LIMIT",
    "QUEUE_MARKET",
    "QUEUE_NONE",
    "STATE_FIELDS",
    "CompositeFillModel",
    "DistanceFillModel",
    "FillForecast",
    "FillHistory",
    "FillModel",
    "GoodnessOfFit",
    "HazardFeature",
    "HazardFillModel",
    "HistoricalFillModel",
    "IntensityFactor",
    "PoissonFillModel",
    "ProportionalHazard",
    "QueueReactiveFillModel",
    "QueueState",
    "fill_model_from_mapping",
    "score_fill_model",
]
