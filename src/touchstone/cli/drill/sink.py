"""The other end of the workers' sockets: takes orders, counts them, keeps the newest begin time."""

import asyncio
import sys
from pathlib import Path

import uvloop

from touchstone.cli.drill.ring import OrderRing
from touchstone.cli.drill.worker import ORDER
from touchstone.kit.lifecycle import bind


class Sink(asyncio.Protocol):
    """Take whole orders off one connection and count each in the sink's own ring."""

    def __init__(self, ring: OrderRing) -> None:
        self._ring = ring
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        """Count what has arrived whole."""
        data = self._rest + data
        whole = len(data) - len(data) % ORDER.size
        for _, begun_ns in ORDER.iter_unpack(data[:whole]):
            self._ring.begin(begun_ns)
        self._rest = data[whole:]


async def serve(ring_path: Path) -> None:
    """Listen on a free port, say which on standard output, and count until ended."""
    ring = OrderRing(ring_path)
    with bind("127.0.0.1", 0) as listening:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Sink(ring), sock=listening)
        sys.stdout.write(f"{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve_forever()


def main() -> None:
    """Run the sink for the ring that the command line names."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
