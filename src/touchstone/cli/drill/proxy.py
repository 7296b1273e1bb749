"""A TCP proxy that can stop forwarding: a network that is cut without anybody being told."""

import asyncio
import contextlib
from types import TracebackType
from typing import Final, Self

from touchstone.kit.lifecycle import bind
from touchstone.kit.tasks import stop_tasks

_HOST: Final = "127.0.0.1"
_CHUNK: Final = 64 * 1024


class Proxy:
    """Forward connections to a port of this machine; use as an async context manager.

    While cut, bytes wait and new connections get no answer; nothing is closed or refused. What
    waited arrives when the cut is over, as it would after a partition.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._whole = asyncio.Event()
        self._whole.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        sock = bind(_HOST, 0)
        self.port = sock.getsockname()[1]
        self._server = await asyncio.start_server(self._connected, sock=sock)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        await stop_tasks(self._tasks)

    def cut(self) -> None:
        """Stop forwarding."""
        self._whole.clear()

    def mend(self) -> None:
        """Forward again."""
        self._whole.set()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            await self._whole.wait()
            far_reader, far_writer = await asyncio.open_connection(_HOST, self._target_port)
            with contextlib.closing(far_writer):
                await self._pump_both(reader, writer, far_reader, far_writer)

    async def _pump_both(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        pumps = {
            asyncio.create_task(self._pump(reader, far_writer)),
            asyncio.create_task(self._pump(far_reader, writer)),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await stop_tasks(pumps)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                await self._whole.wait()
                writer.write(chunk)
                await writer.drain()
