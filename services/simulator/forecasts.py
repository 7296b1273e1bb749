"""How well the fill model forecasts: what it said as an order came to rest, and what became of it.

A forecast is for a horizon, and an execution ends with its bar: only those whose order could wait
about as long as the horizon are judged, filled or not, since to keep the filled ones of a bar that
is too short would flatter the model. Mean squared error is Brier's score (Monthly Weather Review
78, 1950).
"""

from collections.abc import Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry

from execution_providers.types import ExecutionRequest, Fill, FillStatus
from execution_providers.written import forecast_of
from touchstone.kit.tallies import Counts

BINS: Final = 10
WAITED_SHARE_MIN: Final = 0.99
"""A bar as long as the horizon counts, though the way to the market takes some of it."""
_NS_PER_S: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000
_UNJUDGED: Final = ("short_bar", "moved")


class ForecastAccuracy:
    """Count forecasts by what they said, and what came of them; sums of which rates are taken."""

    def __init__(self, registry: CollectorRegistry) -> None:
        said = Counts(
            "l3_fill_forecasts",
            "Fill forecasts that were judged, by the upper edge of the tenth they fell in",
            ["bin"],
            registry,
        )
        filled = Counts(
            "l3_fill_forecasts_filled",
            "Judged forecasts whose order filled whole within the horizon",
            ["bin"],
            registry,
        )
        probability = Counts(
            "l3_fill_forecast_probability",
            "Sum of the probabilities that judged forecasts gave",
            ["bin"],
            registry,
        )
        names = [str((number + 1) / BINS) for number in range(BINS)]
        self._bins = [(said.labels(n), filled.labels(n), probability.labels(n)) for n in names]
        self._error = Counts(
            "l3_fill_forecast_squared_error",
            "Sum of the squared errors of judged forecasts: over their number, Brier's score",
            [],
            registry,
        ).labels()
        self._confidence = Counts(
            "l3_fill_forecast_confidence",
            "Sum of the confidence that judged forecasts had in themselves",
            [],
            registry,
        ).labels()
        unjudged = Counts(
            "l3_fill_forecasts_unjudged",
            "Fill forecasts without a verdict: a bar shorter than the horizon, or an order moved",
            ["reason"],
            registry,
        )
        self._unjudged = {reason: unjudged.labels(reason) for reason in _UNJUDGED}

    def observe(self, fill: Fill, request: ExecutionRequest) -> None:
        """Judge the forecast of an execution, where it has one."""
        forecast = forecast_of(fill)
        if forecast is None:
            return
        told: Mapping[str, Any] = fill.attribution
        if told.get("queue_value", {}).get("acted"):
            self._unjudged["moved"].inc()
            return
        bar = request.bar
        rested_ns = int(told.get("latency_ns", 0))
        horizon_ns = float(forecast["horizon_s"]) * _NS_PER_S
        waits_ns = 0 if bar is None else bar.duration_ms * _NS_PER_MS - rested_ns
        if waits_ns < WAITED_SHARE_MIN * horizon_ns:
            self._unjudged["short_bar"].inc()
            return
        last_ns = max((part.offset_ns for part in fill.fills), default=0)
        filled = fill.status is FillStatus.FILLED and last_ns <= rested_ns + horizon_ns
        self._count(float(forecast["probability"]), float(forecast["confidence"]), filled=filled)

    def _count(self, probability: float, confidence: float, *, filled: bool) -> None:
        said, came_true, total = self._bins[min(BINS - 1, int(probability * BINS))]
        said.inc()
        came_true.inc(filled)
        total.inc(probability)
        self._error.inc((probability - filled) ** 2)
        self._confidence.inc(confidence)
