"""One sender of the drill: begins orders as fast as it may, under the real protocol of `kit`.

It reads the kill state as any member does, checks inside a passage of the send gate, and hands
each order to a socket. Every sixteenth order awaits one turn of the event loop between check and
hand-over, as an HTTP client does inside the socket's `send`.
"""

import asyncio
import json
import os
import signal
import socket
import struct
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import uvloop

from touchstone.cli.drill.ring import OrderRing, monotonic_ns
from touchstone.kit.control import KILL_SCOPE, ControlReader, ControlRecord, ControlStore
from touchstone.kit.membership import Membership, member_name
from touchstone.perps.kill import Action, parse_state, permits

ORDER: Final = struct.Struct("<QQ")
"""An order on the wire: the worker's number and the time it was begun."""
AWAITED_EVERY: Final = 16
REFUSED_SLEEP_SECONDS: Final = 0.002


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What a worker is told on its command line, as JSON."""

    number: int
    redis_url: str
    sink_port: int
    folder: str

    @property
    def ring_path(self) -> Path:
        """Return the file of the worker's ring."""
        return Path(self.folder) / f"worker-{self.number}.ring"

    @property
    def floor_path(self) -> Path:
        """Return the file that keeps the highest generation the worker has applied."""
        return Path(self.folder) / f"worker-{self.number}.floor"

    def command(self) -> list[str]:
        """Return the command that runs the worker."""
        return [sys.executable, "-m", "touchstone.cli.drill.worker", json.dumps(asdict(self))]


class Floor:
    """The highest generation applied, kept on disk before it is acknowledged."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> int:
        """Return what was kept; 0 where nothing was."""
        try:
            return int(self._path.read_text())
        except FileNotFoundError:
            return 0

    async def keep(self, record: ControlRecord) -> None:
        """Replace the file in one step."""
        temporary = self._path.with_suffix(".tmp")
        with temporary.open("w") as file:
            file.write(str(record.generation))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)


class Worker:
    """Begin orders until told to stop."""

    def __init__(self, config: WorkerConfig, reader: ControlReader, member: Membership) -> None:
        self._number = config.number
        self._ring = OrderRing(config.ring_path)
        self._reader = reader
        self._gate = member.gate
        self._stopping = False
        self._socket = socket.create_connection(("127.0.0.1", config.sink_port))
        self._socket.setblocking(False)

    def stop(self) -> None:
        """Begin no more orders."""
        self._stopping = True

    async def run(self) -> None:
        """Try one order a turn of the event loop, for ever."""
        self._ring.restart(os.getpid())
        turn = 0
        while not self._stopping:
            turn += 1
            begun = await self._try_one(awaits=turn % AWAITED_EVERY == 0)
            await asyncio.sleep(0 if begun else REFUSED_SLEEP_SECONDS)
        self._socket.close()
        self._ring.close()

    async def _try_one(self, *, awaits: bool) -> bool:
        with self._gate.passage():
            if not self._may():
                self._ring.refuse()
                return False
            begun_ns = monotonic_ns()
            self._ring.begin(begun_ns)
            if awaits:
                self._ring.await_inside()
                await asyncio.sleep(0)
            await self._hand_over(ORDER.pack(self._number, begun_ns))
            self._ring.hand_over(monotonic_ns())
            return True

    def _may(self) -> bool:
        view = self._reader.view()
        record = view.record
        may = (
            record is not None
            and view.known
            and view.lease_seconds_left > 0
            and permits(parse_state(record.state), Action.INCREASE)
        )
        self._ring.look(
            answered=view.age_seconds != float("inf"),
            generation=0 if record is None or not view.known else record.generation,
            is_open=may,
        )
        return may

    async def _hand_over(self, order: bytes) -> None:
        try:
            sent = self._socket.send(order)
        except BlockingIOError:
            sent = 0
        if sent < len(order):
            # The sink is slow; the passage stays open until it has the order.
            await asyncio.get_running_loop().sock_sendall(self._socket, order[sent:])


async def serve(config: WorkerConfig) -> None:
    """Run one worker until SIGTERM."""
    floor = Floor(config.floor_path)
    member = Membership(member_name(f"worker{config.number}"), before_ack=floor.keep)
    async with ControlStore(config.redis_url) as store:
        reader = ControlReader(store, KILL_SCOPE, floor_generation=floor.load(), membership=member)
        async with reader:
            worker = Worker(config, reader, member)
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
            await worker.run()


def main() -> None:
    """Run the worker that the command line describes."""
    config = WorkerConfig(**json.loads(sys.argv[1]))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(config))


if __name__ == "__main__":
    main()
