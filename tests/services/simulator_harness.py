"""A simulator in this process on free ports, and what to send it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from execution_providers import ExecutionRequest, Order
from services.simulator.app import serve_rpc
from services.simulator.settings import SimulatorSettings
from services.simulator.wiring import Components, wire
from tests.execution_providers.scenes import bar, ladder
from touchstone.kit.settings import load
from touchstone.kit.simulator_client import SimulatorClient
from touchstone.v1 import book_pb2_grpc, execution_pb2_grpc

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs" / "execution_l3.yaml"


@dataclass(frozen=True, slots=True)
class Running:
    """A simulator that serves: its parts, its address and ways to call it."""

    components: Components
    address: str
    client: SimulatorClient
    executions: Any
    books: Any


@asynccontextmanager
async def running_simulator(**changes: Any) -> AsyncIterator[Running]:
    """Serve gRPC on a free port with these settings."""
    settings = load(SimulatorSettings, **({"port": 0, "l3_config_path": CONFIG} | changes))
    async with wire(settings) as components, serve_rpc(components) as server:
        address = f"127.0.0.1:{server.port}"
        async with (
            SimulatorClient(address, deadline_seconds=5.0) as client,
            grpc.aio.insecure_channel(address) as channel,
        ):
            executions = execution_pb2_grpc.ExecutionServiceStub(channel)  # type: ignore[no-untyped-call]
            books = book_pb2_grpc.BookServiceStub(channel)  # type: ignore[no-untyped-call]
            yield Running(components, address, client, executions, books)


def request(side: str = "BUY", quantity: int = 10, **fields: Any) -> ExecutionRequest:
    """Return a request around 100 with a minute's bar."""
    symbol = fields.pop("symbol", "ABC")
    order = Order(symbol, side, quantity, **fields)  # type: ignore[arg-type]
    return ExecutionRequest(order, ladder(), bar(), "EQUITY")  # type: ignore[arg-type]
