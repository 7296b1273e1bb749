"""ExecuteMany on its own address: as over the general server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from lob.errors import Fault, Unavailable
from services.simulator.stream_server import serve_stream
from tests.services.simulator_harness import Running, request, running_simulator
from touchstone.kit.simulator_client import SERVICE_NAME
from touchstone.kit.simulator_stream import SimulatorStream
from touchstone.v1 import execution_pb2 as pb


@asynccontextmanager
async def both() -> AsyncIterator[tuple[Running, int]]:
    """Run a simulator with both servers; gives it, and the port of the quicker one."""
    async with (
        # However slow the machine is, no order leaves the stream.
        running_simulator(stream_port=0, inline_seconds_max=1.0) as running,
        asyncio.timeout(30),
        serve_stream(running.components) as port,
    ):
        assert port is not None
        yield running, port


async def test_both_ways_answer_alike() -> None:
    """Fills and faults, one or many at a time."""
    orders = [request("SELL", 50, symbol=f"S{number % 7}") for number in range(150)]
    orders += [request(display_quantity=1), request(type="LIMIT", limit_price="100.01")]
    async with both() as (running, port):
        general = SimulatorStream(running.client)
        quick = SimulatorStream(running.client, address=f"127.0.0.1:{port}")
        assert await general.execute(orders[0], 5) == await quick.execute(orders[0], 5)
        expected = await general.execute_many(orders, 5)
        answered = await quick.execute_many(orders, 5)
        assert [str(one) if isinstance(one, Fault) else one for one in expected] == [
            str(one) if isinstance(one, Fault) else one for one in answered
        ]
        assert any(isinstance(one, Fault) for one in answered)
        await general.close()
        await quick.close()


async def test_nonsense_ends_its_call_only() -> None:
    """As an argument that is wrong; others are answered."""
    async with both() as (running, port):
        address = f"127.0.0.1:{port}"
        async with grpc.aio.insecure_channel(address) as channel:
            method: Any = channel.stream_stream(f"/{SERVICE_NAME}/ExecuteMany")
            call = method(iter([b"\xff\xff"]))
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call.read()
            assert grpc.StatusCode.INVALID_ARGUMENT == error.value.code()
        stream = SimulatorStream(running.client, address=address)
        await stream.execute(request(), 5)
        await stream.close()


async def test_the_end_lets_go_of_callers_and_they_know() -> None:
    """What comes after it is `Unavailable`, at once."""
    async with running_simulator(stream_port=0) as running, asyncio.timeout(30):
        async with serve_stream(running.components) as port:
            stream = SimulatorStream(running.client, address=f"127.0.0.1:{port}")
            await stream.execute(request(), 5)
        with pytest.raises(Unavailable, match="cannot connect"):
            await stream.execute(request(), 5)
        await stream.close()


async def test_without_a_port_there_is_none() -> None:
    """The general server has the method all the same."""
    async with running_simulator() as running, serve_stream(running.components) as port:
        assert port is None
        stub = running.executions
        answers = stub.ExecuteMany(iter([pb.ExecuteManyRequest()]), timeout=5)
        assert [] == [answer async for answer in answers]
