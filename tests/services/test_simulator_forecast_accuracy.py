"""What the simulator exports of its fill forecasts is what it said, against what happened."""

from decimal import Decimal
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from execution_providers.types import (
    ExecutionRequest,
    Fill,
    FillStatus,
    Liquidity,
    Order,
    PartialFill,
)
from services.simulator.forecasts import ForecastAccuracy
from tests.execution_providers.scenes import bar, ladder
from tests.services.simulator_harness import running_simulator

MINUTE_NS = 60_000_000_000


def request(
    number: int = 0, limit: str = "99.99", quantity: int = 10, **changes: object
) -> ExecutionRequest:
    """Return an order that waits at its limit for a minute."""
    order = Order(
        *("ABC", "BUY", quantity),  # type: ignore[arg-type]
        type="LIMIT",  # type: ignore[arg-type]
        limit_price=limit,  # type: ignore[arg-type]
        client_order_id=f"o{number}",
    )
    return ExecutionRequest(order, ladder(), bar(**changes), "EQUITY")  # type: ignore[arg-type]


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    """Return one sample."""
    found = registry.get_sample_value(name, labels)
    assert found is not None, name
    return found


def total(registry: CollectorRegistry, name: str) -> float:
    """Return the sum over the ten bins."""
    return sum(value(registry, name, bin=str(n / 10)) for n in range(1, 11))


async def test_counts_add_up_to_what_the_fills_say(tmp_path: Path) -> None:
    """Number, sum of probabilities, hits and Brier's sum are those of the fills themselves."""
    config = tmp_path / "forecasting.yaml"
    config.write_text("latency: {enabled: false}\nfill_probability: {enabled: true}\n")
    requests = [request(n, f"99.9{9 - n % 4}", 10 + 400 * (n % 3)) for n in range(60)]
    async with running_simulator(l3_config_path=config) as running:
        fills = [await running.client.execute(r, 7) for r in requests]
        registry = running.components.registry
        said = [float(f.attribution["fill_forecast"]["probability"]) for f in fills]
        came = [float(f.status is FillStatus.FILLED) for f in fills]
        assert 0 < sum(came) < len(came)
        assert len(fills) == total(registry, "l3_fill_forecasts_total")
        assert sum(came) == total(registry, "l3_fill_forecasts_filled_total")
        probability = total(registry, "l3_fill_forecast_probability_total")
        assert pytest.approx(sum(said)) == probability
        squares = sum((p - c) ** 2 for p, c in zip(said, came, strict=True))
        assert pytest.approx(squares) == value(registry, "l3_fill_forecast_squared_error_total")
        confidence = sum(f.attribution["fill_forecast"]["confidence"] for f in fills)
        assert confidence == value(registry, "l3_fill_forecast_confidence_total")


def told(filled_at_ns: int | None, **more: object) -> Fill:
    """Return a fill whose forecast gave it 75 % within a minute."""
    forecast = {"horizon_s": 60.0, "probability": 0.75, "confidence": 0.5}
    done = filled_at_ns is not None
    part = PartialFill(Decimal("99.99"), Decimal(10), Liquidity.MAKER, filled_at_ns or 0)
    return Fill(
        FillStatus.FILLED if done else FillStatus.UNFILLED,
        Decimal(10 if done else 0),
        Decimal("99.99") if done else None,
        Decimal(0),
        Decimal(-1) if done else None,
        {"latency_ns": 1_000, "fill_forecast": forecast, **more},
        (part,) if done else (),
    )


@pytest.mark.parametrize(
    ("filled_at_ns", "hits", "error"),
    [(MINUTE_NS, 1.0, 0.0625), (None, 0.0, 0.5625), (2 * MINUTE_NS, 0.0, 0.5625)],
)
def test_a_fill_after_the_horizon_is_none(
    filled_at_ns: int | None, hits: float, error: float
) -> None:
    """A bar of two minutes fills the order in time, never, or too late for the forecast."""
    registry = CollectorRegistry()
    ForecastAccuracy(registry).observe(told(filled_at_ns), request(duration_ms=120_000))
    assert 1 == value(registry, "l3_fill_forecasts_total", bin="0.8")
    assert hits == value(registry, "l3_fill_forecasts_filled_total", bin="0.8")
    assert error == value(registry, "l3_fill_forecast_squared_error_total")


def test_what_cannot_be_judged_is_counted_apart() -> None:
    """A short bar says nothing, not even where the order filled; a repriced order is another."""
    registry = CollectorRegistry()
    accuracy = ForecastAccuracy(registry)
    accuracy.observe(told(1_000_000), request(duration_ms=30_000))
    accuracy.observe(told(1_000_000, queue_value={"acted": True}), request())
    assert 0 == total(registry, "l3_fill_forecasts_total")
    assert 1 == value(registry, "l3_fill_forecasts_unjudged_total", reason="short_bar")
    assert 1 == value(registry, "l3_fill_forecasts_unjudged_total", reason="moved")
