"""ExecutionService over real gRPC."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from execution_providers import create_execution_provider
from lob.config import L3ExecutionConfig, create_l3_config
from lob.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    NotSupported,
    Overloaded,
    Unavailable,
)
from services.simulator.executions import Executions
from tests.services.simulator_harness import CONFIG, request, running_simulator
from touchstone.kit.rpc import FAULT_CODE_KEY, request_to_proto, result_from_proto
from touchstone.kit.simulator_client import SimulatorClient
from touchstone.v1 import execution_pb2


async def test_the_wire_changes_nothing() -> None:
    """A fill over gRPC is the fill in process, to the last digit."""
    config = L3ExecutionConfig.from_yaml(CONFIG)
    here = create_execution_provider("EQUITY", "L3", config=config, seed=5)
    wanted = request("SELL", 50, type="LIMIT", limit_price="100.01", client_order_id="o-1")
    expected = here.execute(wanted.order, wanted.market, wanted.bar)
    async with running_simulator() as running:
        assert expected == await running.client.execute(wanted, 5)
        assert [expected] * 3 == await running.client.execute_batch([wanted] * 3, 5)


async def test_the_wire_carries_what_every_model_says(tmp_path: Path) -> None:
    """With all models on, the explanation over gRPC is that in process, key by key."""
    config = create_l3_config("full", market_impact={"adv_notional": 5_000_000.0})
    file = tmp_path / "full.yaml"
    config.to_yaml(file)
    here = create_execution_provider("EQUITY", "L3", config=config, seed=5)
    asked = [
        request("BUY", 300, client_order_id="o-1"),
        request("SELL", 250, type="LIMIT", limit_price="100.01", client_order_id="o-2"),
    ]
    explained: set[str] = set()
    async with running_simulator(l3_config_path=file) as running:
        for wanted in asked:
            expected = here.execute(wanted.order, wanted.market, wanted.bar)
            assert expected is not None
            fill = await running.client.execute(wanted, 5)
            assert expected == fill
            assert list(expected.attribution) == list(fill.attribution)
            explained |= set(fill.attribution)
    assert {"dark", "hidden", "impact", "fill_forecast", "queue_value"} <= explained


async def test_refusals_are_fills_and_faults_are_statuses() -> None:
    """A rule's refusal is a REJECTED fill; a bad request is INVALID_ARGUMENT with its code."""
    async with running_simulator() as running:
        crossing = request(type="LIMIT", limit_price="100.01", post_only=True)
        assert "REJECTED" == (await running.client.execute(crossing, 1)).status
        with pytest.raises(NotSupported, match="icebergs"):
            await running.client.execute(request(display_quantity=1), 1)
        message = request_to_proto(request(), 1)
        message.order.quantity = "NaN"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await running.executions.Execute(message, timeout=5)
        assert grpc.StatusCode.INVALID_ARGUMENT == caught.value.code()
        details = caught.value.details()
        assert details is not None
        assert details.startswith("order.quantity: 'NaN'")
        assert (FAULT_CODE_KEY, "INVALID_ARGUMENT") in tuple(caught.value.trailing_metadata() or ())


async def test_a_stream_answers_in_order_with_a_result_each() -> None:
    """Answers keep the order of requests; one bad request does not end the stream."""
    async with running_simulator() as running:

        async def asking() -> AsyncIterator[execution_pb2.ExecuteStreamRequest]:
            for number in range(20):
                message = request_to_proto(request(symbol=f"S{number % 3}"), number)
                if number == 7:
                    message.order.quantity = "0"
                yield execution_pb2.ExecuteStreamRequest(request_id=number, request=message)

        results: dict[int, Any] = {}
        async for answer in running.executions.ExecuteStream(asking(), timeout=10):
            results[answer.request_id] = result_from_proto(answer.result)
        assert list(range(20)) == list(results)
        assert isinstance(results[7], InvalidInput)
        assert 19 == sum(not isinstance(result, Exception) for result in results.values())


async def test_a_batch_is_bounded_and_each_has_its_own_result() -> None:
    """A fault of one is its own; too many are refused as a whole."""
    async with running_simulator(max_batch=3) as running:
        good, bad = request(), request(display_quantity=1)
        results = await running.client.execute_batch([good, bad, good], 1)
        assert isinstance(results[1], NotSupported)
        assert results[0] == results[2]
        with pytest.raises(InvalidInput, match="requests: 4; allowed: at most 3"):
            await running.client.execute_batch([good] * 4, 1)


async def test_an_estimate_costs_what_the_depth_says() -> None:
    """150 of a book with 100 at the touch reach one level further."""
    async with running_simulator() as running:
        message = request_to_proto(request(quantity=150))
        asked = execution_pb2.EstimateCostRequest(
            order=message.order, market=message.market, asset_class=message.asset_class
        )
        answer = await running.executions.EstimateCost(asked, timeout=5)
        assert ("150", "1.333333333", "L3") == (
            answer.fillable_quantity,
            answer.slippage_bps,
            answer.model,
        )


async def test_a_full_simulator_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the answer is RESOURCE_EXHAUSTED at once, and places come back."""
    release = asyncio.Event()
    real = Executions.execute

    async def slow(self: Executions, *arguments: Any) -> Any:
        await release.wait()
        return await real(self, *arguments)

    monkeypatch.setattr(Executions, "execute", slow)
    async with running_simulator(max_in_flight=2) as running:
        waiting = [asyncio.create_task(running.client.execute(request(), 1)) for _ in range(2)]
        while running.components.executions.in_flight < 2:  # noqa: ASYNC110 - it is no event
            await asyncio.sleep(0.001)
        with pytest.raises(Overloaded, match="allowed: 2"):
            await running.client.execute(request(), 1)
        release.set()
        await asyncio.gather(*waiting)
        assert 0 == running.components.executions.in_flight


async def test_deadlines_are_kept_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client stops waiting at its deadline with a fault of its own kind."""

    async def never(*_: Any) -> Any:
        await asyncio.sleep(30)

    monkeypatch.setattr(Executions, "execute", never)
    async with (
        running_simulator(drain_seconds=0.1) as running,
        SimulatorClient(running.address, deadline_seconds=0.2) as hurried,
    ):
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await hurried.execute(request(), 1)
        assert time.monotonic() - started < 2


async def test_slow_executions_leave_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where inline is not allowed, the same fills come from a thread."""
    async with running_simulator() as inline, running_simulator(inline_seconds_max=0.0) as other:
        for number in range(3):
            expected = await inline.client.execute(request(), number)
            assert expected == await other.client.execute(request(), number)


async def test_one_execution_that_was_held_up_makes_no_kind_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A machine may stop for 50 ms; two such in a row are the kind's own doing."""
    real, seconds = Executions._run, 0.05

    def held_up(self: Executions, *arguments: Any) -> Any:
        time.sleep(seconds)
        return real(self, *arguments)

    async with running_simulator(inline_seconds_max=0.005) as running:
        executions = running.components.executions
        executions.execute_now(request(), 1)
        assert executions.is_quick(request())
        monkeypatch.setattr(Executions, "_run", held_up)
        executions.execute_now(request(), 1)
        assert executions.is_quick(request())
        executions.execute_now(request(), 1)
        assert not executions.is_quick(request())


async def test_a_kind_that_was_slow_for_a_moment_is_quick_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However long the others keep it waiting for a thread: what counts is its own time."""
    real = Executions._run

    def held_up(self: Executions, *arguments: Any) -> Any:
        time.sleep(0.05)
        return real(self, *arguments)

    async with running_simulator(inline_seconds_max=0.005) as running:
        executions = running.components.executions
        monkeypatch.setattr(Executions, "_run", held_up)
        for _ in range(2):
            executions.execute_now(request(), 1)
        assert not executions.is_quick(request())
        monkeypatch.setattr(Executions, "_run", real)
        threads = executions._executor
        for _ in range(6):
            for _ in range(threads._max_workers):
                threads.submit(time.sleep, 0.02)
            await executions.execute(request(), 1, lambda: None)
        assert executions.is_quick(request())


async def test_a_disabled_simulator_refuses(tmp_path: Any) -> None:
    """`enabled: false` reaches the caller as a fault, and the gauge says 0."""
    off = tmp_path / "off.yaml"
    off.write_text("enabled: false\n")
    async with running_simulator(l3_config_path=off) as running:
        with pytest.raises(Conflict, match="enabled: false"):
            await running.client.execute(request(), 1)
        assert 0 == running.components.registry.get_sample_value("l3_enabled")


async def test_a_dead_simulator_fails_fast_and_a_returning_one_is_found() -> None:
    """Nobody there is Unavailable within a fraction of a second; afterwards calls succeed again."""
    async with running_simulator() as first:
        port = int(first.address.rpartition(":")[2])
    async with SimulatorClient(f"127.0.0.1:{port}", deadline_seconds=5.0) as client:
        for _ in range(3):
            started = time.monotonic()
            with pytest.raises(Unavailable):
                await client.execute(request(), 1)
            assert time.monotonic() - started < 0.5
        with pytest.raises(Unavailable):
            await client.check()
        async with running_simulator(port=port):
            give_up = time.monotonic() + 10
            while True:
                try:
                    await client.execute(request(), 1)
                    break
                except Unavailable:
                    assert time.monotonic() < give_up
                    await asyncio.sleep(0.05)
            assert (await client.check()).endswith("SERVING")


async def test_health_and_reflection_answer() -> None:
    """Standard health per service; reflection lists both services."""
    async with (
        running_simulator() as running,
        grpc.aio.insecure_channel(running.address) as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "touchstone.v1.ExecutionService", "touchstone.v1.BookService"):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
            assert health_pb2.HealthCheckResponse.SERVING == answer.status
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        listing = reflection_pb2_grpc.ServerReflectionStub(channel)
        answers = listing.ServerReflectionInfo(iter([question]), timeout=5)
        listed = await answers.read()
        services = [service.name for service in listed.list_services_response.service]
        assert "touchstone.v1.ExecutionService" in services
        assert "touchstone.v1.BookService" in services


async def test_what_happens_is_counted() -> None:
    """Results by symbol and side; faults by their metric result; symbols are bounded."""
    async with running_simulator() as running:
        await running.client.execute(request(), 1)
        with pytest.raises(NotSupported):
            await running.client.execute(request(display_quantity=1), 1)
        for number in range(230):
            await running.client.execute(request(symbol=f"X{number}", quantity=1), 1)
        sample = running.components.registry.get_sample_value
        labels = {"symbol": "ABC", "side": "BUY"}
        assert 1 == sample("l3_executions_total", labels | {"result": "filled"})
        assert 1 == sample("l3_executions_total", labels | {"result": "not_supported"})
        rest = {"symbol": "other", "side": "BUY", "result": "filled"}
        assert 31 == sample("l3_executions_total", rest)
        assert 0 == sample(
            "l3_executions_total", {"symbol": "none", "side": "none", "result": "error"}
        )
        assert 231 == sample("l3_latency_seconds_count")
        squares = sample("l3_slippage_bps_squared_total")
        assert squares is not None
        assert squares > 0
