"""The shadow process: `python -m services.router.shadow_process TASK`, started by the router.

It reads mirrored orders from a socket that it was given, runs the candidate on them, and writes
outcomes back. The candidate is the simulator, or what `shadow_candidate` names: `module:factory`,
whose `factory()` returns something with `execute(request, seed)`, which returns a fill or an
awaitable of one. Whatever happens here ends here: see `shadow_confine`.
"""

import asyncio
import contextlib
import importlib
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from services.router.shadow_confine import confine

if TYPE_CHECKING:
    from services.router.shadow_work import ControlAgain
    from touchstone.kit.simulator_client import SimulatorClient

STREAM_BYTES_MAX: Final = 1024 * 1024
REST_SECONDS: Final = 0.002
RETRY_SECONDS: Final = 0.05
CONNECT_SECONDS_MAX: Final = 2.0
_FAILED: Final = 1


@dataclass(frozen=True, slots=True)
class Task:
    """What a shadow process is to do; it holds no secret, for anybody may see it."""

    descriptor: int
    parent: int
    candidate: str
    simulator_address: str
    simulator_deadline_seconds: float
    deadline_seconds: float
    workers: int
    memory_bytes_max: int

    def to_text(self) -> str:
        """Return it as an argument of the command line."""
        return json.dumps(asdict(self))


def main(arguments: list[str]) -> int:
    """Confine this process, then serve until the router is gone; return the exit code."""
    task = Task(**json.loads(arguments[0]))
    missing = confine(task.parent, task.memory_bytes_max, network=not task.candidate)
    connection = socket.socket(fileno=task.descriptor)
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        return asyncio.run(_serve(task, connection, missing))
    return 0


async def _serve(task: Task, connection: socket.socket, missing: tuple[str, ...]) -> int:
    # Only now: whatever these start is confined. And before it is ready: no order waits for them.
    from services.router.shadow_frames import message_frame, one_line  # noqa: PLC0415
    from services.router.shadow_work import ControlAgain  # noqa: PLC0415

    reader, writer = await asyncio.open_connection(sock=connection, limit=STREAM_BYTES_MAX)
    try:
        async with contextlib.AsyncExitStack() as stack:
            try:
                candidate = await stack.enter_async_context(_candidate(task))
            except BaseException as error:  # noqa: BLE001 - its reason is the router's to show
                text = f"{task.candidate or task.simulator_address}: {type(error).__name__}"
                writer.write(message_frame(["failed", one_line(f"{text}: {error}")]))
                await writer.drain()
                return _FAILED
            again = ControlAgain()
            writer.write(message_frame(["ready", list(missing)]))
            await _work(task, candidate, again, reader, writer)
    finally:
        writer.close()
    return 0


@contextlib.asynccontextmanager
async def _candidate(task: Task) -> AsyncIterator[Any]:
    if task.candidate:
        module, _, name = task.candidate.partition(":")
        yield getattr(importlib.import_module(module), name)()
        return
    from touchstone.kit.simulator_client import SimulatorClient  # noqa: PLC0415

    deadline = task.simulator_deadline_seconds
    async with SimulatorClient(task.simulator_address, deadline) as client:
        await _connect(client)
        yield client


async def _connect(client: "SimulatorClient") -> None:
    """Have the connection before the first order, or go on without one: its faults are told then.

    At the lowest priority connecting can take longer than an order waits for it, which is no fault
    of the candidate's.
    """
    from lob.errors import Fault  # noqa: PLC0415

    until = time.monotonic() + CONNECT_SECONDS_MAX
    while time.monotonic() < until:
        with contextlib.suppress(Fault):
            await client.check()
            return
        await asyncio.sleep(RETRY_SECONDS)


async def _work(
    task: Task,
    candidate: Any,
    again: "ControlAgain",
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Take order after order, several at a time; returns by `IncompleteReadError`."""
    from services.router import shadow_frames, shadow_work  # noqa: PLC0415
    from touchstone.kit.codec import decode_execution_request  # noqa: PLC0415

    orders: asyncio.Queue[tuple[int, int, bytes]] = asyncio.Queue(task.workers)

    async def work() -> None:
        while True:
            number, seed, encoded = await orders.get()
            request = decode_execution_request(encoded)
            repeat = again.execute(request, seed) if number % again.every == 0 else None
            outcome = await shadow_work.run_candidate(
                candidate,
                request,
                seed,
                digest=shadow_work.digest_of(encoded),
                deadline_seconds=task.deadline_seconds,
                repeat=repeat,
            )
            writer.write(shadow_work.frame_of(number, outcome, request.order.quantity))
            await writer.drain()

    workers = [asyncio.create_task(work()) for _ in range(task.workers)]
    feeding = asyncio.create_task(_feed(reader, orders, shadow_frames))
    done, _ = await asyncio.wait([feeding, *workers], return_when=asyncio.FIRST_COMPLETED)
    for task_done in done:
        task_done.result()


async def _feed(
    reader: asyncio.StreamReader, orders: asyncio.Queue[tuple[int, int, bytes]], frames: Any
) -> None:
    while True:
        header = await reader.readexactly(frames.ORDER_HEADER_BYTES)
        length, number, seed = frames.order_header(header)
        await orders.put((number, seed, await reader.readexactly(length)))
        # Linux lets even a process of the least priority finish what it is at once it has its
        # turn: so its turns are of one order.
        await asyncio.sleep(REST_SECONDS)


if __name__ == "__main__":
    # Whatever threads and handlers a candidate leaves behind must not hold up the end.
    code = _FAILED
    try:
        code = main(sys.argv[1:])
    finally:
        os._exit(code)
