"""FillProbability over real gRPC: the provider's own forecast, and what goes with it."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest

from execution_providers import create_execution_provider
from execution_providers.l3 import L3Provider
from execution_providers.types import ExecutionRequest
from lob.config import L3ExecutionConfig
from lob.errors import InvalidInput, NotSupported
from tests.services.simulator_harness import request, running_simulator
from touchstone.kit.rpc import FAULT_FIELD_KEY, outlook_request_to_proto


@pytest.fixture(name="forecasting")
def forecasting_config(tmp_path: Path) -> Path:
    """A configuration that forecasts fills."""
    file = tmp_path / "forecasting.yaml"
    file.write_text("latency: {enabled: false}\nfill_probability: {enabled: true}\n")
    return file


def waiting(quantity: int = 10, **fields: Any) -> ExecutionRequest:
    """Return a request whose order joins the best bid."""
    return request("BUY", quantity, **({"type": "LIMIT", "limit_price": "99.99"} | fields))


async def test_the_forecast_is_the_providers(forecasting: Path) -> None:
    """Probability, quantity, wait, horizon, confidence and model are those given in process."""
    config = L3ExecutionConfig.from_yaml(forecasting)
    here = create_execution_provider("EQUITY", "L3", config=config)
    assert isinstance(here, L3Provider)
    asked = waiting(900)
    async with running_simulator(l3_config_path=forecasting) as running:
        for horizon in (0.0, 1.0, 60.0):
            expected = here.fill_outlook(asked.order, asked.market, horizon)
            assert expected == await running.client.fill_probability(asked, horizon)
            chance = here.get_fill_probability(asked.order, asked.market, horizon)
            assert expected.probability == chance
        answer = await running.executions.FillProbability(
            outlook_request_to_proto(asked, 3.0), timeout=5
        )
        assert running.components.executions.current.digest == answer.config_hash
    assert "poisson" == answer.model
    assert Decimal(answer.queue_ahead) == asked.market.bids[0][1]
    assert 0 < answer.probability < answer.any_fill_probability < 1
    assert 0 < answer.expected_quantity < 900
    assert 0 < answer.wait_if_filled_seconds < 3 < answer.expected_wait_seconds
    assert 3.0 == answer.horizon_seconds
    assert 1.0 == answer.confidence
    assert "lots_ahead" in answer.inputs


async def test_what_does_not_rest_is_decided_by_the_depth(forecasting: Path) -> None:
    """A market order fills now; an IOC beyond the touch never; a part at once counts as filled."""
    async with running_simulator(l3_config_path=forecasting) as running:
        ask = running.client.fill_probability
        whole = await ask(request("BUY", 10), 1.0)
        assert (1.0, 1.0, 10.0, 0.0, "matching") == (
            whole.probability,
            whole.any_fill_probability,
            whole.expected_quantity,
            whole.expected_wait_s,
            whole.model,
        )
        never = await ask(waiting(time_in_force="IOC"), 60.0)
        assert (0.0, 0.0, 0.0, None) == (
            never.probability,
            never.any_fill_probability,
            never.expected_quantity,
            never.expected_wait_s,
        )
        best = request().market.asks[0]
        more = int(best[1]) + 5
        part = await ask(request("BUY", more, type="LIMIT", limit_price=str(best[0])), 60.0)
        assert best[1] == part.filled_at_once
        assert 1.0 == part.any_fill_probability
        assert float(best[1]) < part.expected_quantity < more
        assert part.probability < 1.0


async def test_a_forecast_that_cannot_be_made_is_refused(forecasting: Path) -> None:
    """Without a model it is UNIMPLEMENTED; a wrong horizon is INVALID_ARGUMENT with its field."""
    async with running_simulator() as running:
        with pytest.raises(NotSupported, match=r"fill_probability\.enabled: false"):
            await running.client.fill_probability(waiting(), 1.0)
    async with running_simulator(l3_config_path=forecasting) as running:
        for horizon in (-1.0, float("nan"), float("inf")):
            with pytest.raises(InvalidInput, match="horizon_seconds"):
                await running.client.fill_probability(waiting(), horizon)
        message = outlook_request_to_proto(waiting(), 1.0)
        message.ClearField("market")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await running.executions.FillProbability(message, timeout=5)
        assert grpc.StatusCode.INVALID_ARGUMENT == caught.value.code()
        metadata = dict(tuple(pair) for pair in caught.value.trailing_metadata() or ())
        assert "market" == metadata[FAULT_FIELD_KEY]
