"""A TCP server that answers as scripted, byte by byte if need be, and breaks where it is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

Script = Callable[["Exchange"], Coroutine[Any, Any, None]]


@dataclass
class Exchange:
    """One request that came, and the connection it came on."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: bytes
    body: bytes

    async def say(self, *pieces: bytes, pause: float = 0.0) -> None:
        """Send pieces one by one."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(pause)


@dataclass
class BrokenServer:
    """Requests so far, and what to do with the next ones (the last script repeats)."""

    scripts: Sequence[Script] = ()
    port: int = 0
    connections: int = 0
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection: a script for each request, until one closes it."""
        self.connections += 1
        self.open.add(writer)
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.lower().split(b"\r\n")
                lengths = [line for line in lines if line.startswith(b"content-length:")]
                size = int(lengths[0].split(b":")[1]) if lengths else 0
                body = await reader.readexactly(size)
                self.requests.append((head, body))
                script = self.scripts[min(len(self.requests), len(self.scripts)) - 1]
                await script(Exchange(reader, writer, head, body))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()


@contextlib.asynccontextmanager
async def running_server(*scripts: Script, tls: Any = None) -> AsyncIterator[BrokenServer]:
    """Serve on a free port for a `with` block."""
    made = BrokenServer(scripts)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for writer in list(made.open):
            writer.transport.abort()
