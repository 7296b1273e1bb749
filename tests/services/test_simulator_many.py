"""ExecuteMany of the real simulator: the same fills, own results, order by symbol, bounds."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from execution_providers import ExecutionRequest, Fill, create_execution_provider
from lob.config import L3ExecutionConfig
from lob.errors import DeadlineExceeded, Fault, InvalidInput, NotSupported, Overloaded
from services.simulator.executions import Executions
from tests.services.simulator_harness import CONFIG, Running, request, running_simulator
from touchstone.kit.codec import encode_execution_request, encode_fill
from touchstone.kit.rpc import fault_of
from touchstone.kit.simulator_stream import SimulatorStream
from touchstone.v1 import execution_pb2 as pb


async def ask(running: Running, messages: list[pb.ExecuteManyRequest]) -> list[pb.JsonResult]:
    """Send messages on one stream and return all results in the order in which they came."""

    async def asking() -> AsyncIterator[pb.ExecuteManyRequest]:
        for message in messages:
            yield message

    answers = running.executions.ExecuteMany(asking(), timeout=20)
    return [result async for message in answers for result in message.results]


def message_of(*requests: ExecutionRequest, seconds_left: float = 0.0) -> pb.ExecuteManyRequest:
    """Return a message with requests numbered from 1."""
    return pb.ExecuteManyRequest(
        requests=[
            pb.JsonRequest(
                request_id=number,
                request=encode_execution_request(one),
                seed=5,
                seconds_left=seconds_left,
            )
            for number, one in enumerate(requests, 1)
        ]
    )


async def test_the_wire_changes_nothing() -> None:
    """A fill over the stream is the fill in process, to the last digit."""
    config = L3ExecutionConfig.from_yaml(CONFIG)
    here = create_execution_provider("EQUITY", "L3", config=config, seed=5)
    wanted = request("SELL", 50, type="LIMIT", limit_price="100.01", client_order_id="o-1")
    expected = here.execute(wanted.order, wanted.market, wanted.bar)
    async with running_simulator() as running:
        stream = SimulatorStream(running.client)
        assert expected == await stream.execute(wanted, 5)
        assert [expected] * 3 == await stream.execute_many([wanted] * 3, 5)
        await stream.close()


async def test_one_bad_request_spoils_no_other() -> None:
    """Each of a message has its own result; what cannot be read is named by its path."""
    async with running_simulator() as running:
        message = message_of(request(), request(display_quantity=1), request())
        wrong = message.requests.add(request_id=4)
        wrong.request = encode_execution_request(request()).replace(b'"10"', b'"NaN"', 1)
        message.requests.add(request_id=5, request=b"{")
        results = await ask(running, [message])
        faults = {
            one.request_id: fault_of(one.failure.code, one.failure.message)
            for one in results
            if one.HasField("failure")
        }
        assert {2: NotSupported, 4: InvalidInput, 5: InvalidInput} == {
            number: type(fault) for number, fault in faults.items()
        }
        assert str(faults[4]).startswith("order.quantity: 'NaN'")
        assert all(0 < one.provider_seconds < 1 for one in results if one.HasField("fill"))
        sample = running.components.registry.get_sample_value
        labels = {"symbol": "none", "side": "none", "result": "invalid"}
        assert 2 == sample("l3_executions_total", labels)


async def test_answers_for_one_symbol_keep_their_order_where_threads_run_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Slow executions of one symbol wait for one another; another symbol overtakes them."""
    real = Executions.execute

    async def slow(self: Executions, one: ExecutionRequest, *rest: Any) -> Fill:
        if one.order.quantity == 1:
            await asyncio.sleep(0.1)
        return await real(self, one, *rest)

    monkeypatch.setattr(Executions, "execute", slow)
    async with running_simulator(inline_seconds_max=0.0) as running:
        await running.client.execute(request(), 1)  # now the kind is known to be slow
        message = message_of(
            request(quantity=1, symbol="A"),
            request(quantity=2, symbol="A"),
            request(quantity=3, symbol="B"),
            request(quantity=4, symbol="A"),
        )
        numbers = [result.request_id for result in await ask(running, [message])]
        assert [3, 1, 2, 4] == numbers
        assert 0 == running.components.executions.in_flight


async def test_slow_executions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound in flight the answer is OVERLOADED at once; places come back."""
    real = Executions.execute

    async def slow(self: Executions, *arguments: Any) -> Fill:
        await asyncio.sleep(0.1)
        return await real(self, *arguments)

    async with running_simulator(inline_seconds_max=0.0, max_in_flight=2) as running:
        await running.client.execute(request(), 1)
        monkeypatch.setattr(Executions, "execute", slow)
        results = await ask(running, [message_of(*(request(symbol=f"S{n}") for n in range(4)))])
        codes = {one.request_id: one.failure.code for one in results}
        assert {1: "", 2: "", 3: Overloaded.code, 4: Overloaded.code} == codes
        assert 0 == running.components.executions.in_flight


async def test_what_is_too_late_is_not_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the callers' time has run out behind others, the rest is not executed any more."""
    real = Executions.execute_now
    executed = []

    def slow(self: Executions, one: ExecutionRequest, seed: int | None) -> tuple[Fill, float]:
        time.sleep(0.03)
        executed.append(one)
        return real(self, one, seed)

    monkeypatch.setattr(Executions, "execute_now", slow)
    async with running_simulator() as running:
        results = await ask(running, [message_of(*[request()] * 6, seconds_left=0.05)])
        codes = [one.failure.code for one in results]
        assert ["", "", DeadlineExceeded.code] == codes[:3]
        assert {DeadlineExceeded.code} == set(codes[2:])
        assert 2 == len(executed)


async def test_a_defect_is_one_orders_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that is no fault is INTERNAL for that order, and the stream goes on."""
    real = Executions.execute_now

    def broken(self: Executions, one: ExecutionRequest, seed: int | None) -> tuple[Fill, float]:
        if one.order.quantity == 2:
            raise ZeroDivisionError
        return real(self, one, seed)

    monkeypatch.setattr(Executions, "execute_now", broken)
    async with running_simulator() as running:
        message = message_of(request(quantity=1), request(quantity=2), request(quantity=3))
        results = await ask(running, [message])
        assert ["", Fault.code, ""] == [one.failure.code for one in results]


async def test_long_messages_are_answered_in_parts() -> None:
    """Answers go out about every millisecond, so that the first does not wait for the last."""
    async with running_simulator() as running:
        stream = running.executions.ExecuteMany(timeout=20)
        await stream.write(message_of(*[request(quantity=n + 1) for n in range(200)]))
        await stream.done_writing()
        sizes = [len(message.results) async for message in stream]
        assert 200 == sum(sizes)
        assert len(sizes) > 1


async def test_requests_that_come_together_are_answered_together() -> None:
    """Fills of following numbers share a result; a refusal between them has its own."""
    config = L3ExecutionConfig.from_yaml(CONFIG)
    here = create_execution_provider("EQUITY", "L3", config=config, seed=5)
    wanted = [request(quantity=n + 1) for n in range(6)]
    expected = [encode_fill(here.execute(one.order, one.market, one.bar)) for one in wanted]  # type: ignore[arg-type]
    encoded = [encode_execution_request(one) for one in wanted]
    encoded[3] = b"{"
    async with running_simulator() as running:
        together = pb.JsonRequest(request_id=10, request=encoded[0], seed=5, more=encoded[1:])
        alone = pb.JsonRequest(request_id=90, request=encoded[5], seed=5)
        results = await ask(running, [pb.ExecuteManyRequest(requests=[together, alone])])
    found: dict[int, bytes] = {}
    for result in results:
        if result.HasField("failure"):
            assert (13, "INVALID_ARGUMENT") == (result.request_id, result.failure.code)
            assert not result.more
            continue
        assert 0 < result.provider_seconds < 1
        found |= dict(enumerate((result.fill, *result.more), result.request_id))
    numbers = (10, 11, 12, 14, 15)
    assert dict(zip(numbers, [*expected[:3], *expected[4:]], strict=True)) | {90: expected[5]} == (
        found
    )
    assert next(result for result in results if result.request_id == 90).more == []
