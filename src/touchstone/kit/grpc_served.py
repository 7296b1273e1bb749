"""Answer one bidirectional gRPC call for each connection, on the event loop itself.

The general server reads and writes on threads of its own, and wakes the event loop for each message
and again when it has gone: two wake-ups of some 100 us on a machine that is idle. This listens on
an address of its own, where whoever connects makes one call of the one method (`GrpcCall` does).
"""

import asyncio
import socket
import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from google.protobuf.message import DecodeError

from touchstone.kit.grpc_call import (
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES_MAX,
    HEADERS,
    INITIAL_WINDOW,
    MAX_FRAME,
    PREFACE,
    RESET,
    SETTINGS,
    STREAM,
    GrpcConnection,
    frame,
    text,
)
from touchstone.kit.tasks import stop_tasks

CONNECTIONS_MAX: Final = 64
BEGIN_SECONDS_MAX: Final = 5.0
"""Who connects and makes no call in this time is let go."""
LINGER_SECONDS_MAX: Final = 1.0
"""How long the other side has to close after the end of the call, and to take what was sent."""
WAITING_MAX: Final = 16
"""Messages that were read and not taken yet; beyond these nothing is read without need."""
WINDOW_BYTES: Final = 16 * 1024 * 1024
"""How much may come that was not taken yet, whatever is read."""
TURN_SECONDS: Final = 0.002
"""How long one call takes message after message before others get a turn."""
# Who is gone without a word takes no place for longer than a minute.
_KEEP_ALIVE: Final = (
    *(("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)),
    ("TCP_USER_TIMEOUT", 60_000),
)
_now = time.perf_counter
_OK, _INVALID_ARGUMENT, _INTERNAL, _UNAVAILABLE = "0", "3", "13", "14"
_LOG: Final = structlog.get_logger("touchstone.kit")

Answering = Callable[["ServedCall"], Awaitable[None]]


class ServedCall(GrpcConnection):
    """One call that somebody makes: an iterator of messages, and `write` for the answers."""

    window_bytes = WINDOW_BYTES

    def __init__(self, answer: Answering, calls: "set[ServedCall]", message_bytes_max: int) -> None:
        super().__init__(message_bytes_max)
        self._answer = answer
        self._calls = calls
        self._preface = PREFACE
        self._waiting: deque[bytes] = deque()
        self._wanted = asyncio.Event()
        self._free = asyncio.Event()
        self._no_more = False
        self._holding = False
        self._blocked = False
        self._turn_at = _now()
        self._status = _OK
        self._begun: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None
        self.on_message = self._keep
        self.on_free = self._free.set
        self.on_end = self._over

    # ------------------------------------------------------------------------ what answers

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return the messages of the call, to its end."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next message."""
        if self._waiting and _now() - self._turn_at > TURN_SECONDS:
            await asyncio.sleep(0)
            self._turn_at = _now()
        while self.ended or not self._waiting:
            if self.ended or self._no_more:
                raise StopAsyncIteration
            self._wanted.clear()
            await self._wanted.wait()
            self._turn_at = _now()
        message = self._waiting.popleft()
        self._kept -= len(message)
        self._say_what_was_taken()
        if len(self._waiting) < WAITING_MAX:
            self._hold(now=False)
        return message

    async def write(self, message: bytes) -> None:
        """Send an answer; wait while the other side takes none."""
        await self._sent()
        if not self.ended:
            self.send(message)

    def stop(self) -> None:
        """Take no more messages; the call ends when those that came are answered."""
        self._status = _UNAVAILABLE
        self._take_end()

    # ------------------------------------------------------------------------ the connection

    def connection_made(self, transport: Any) -> None:
        """Say what this side takes; the call begins with its head."""
        self._transport = transport
        if len(self._calls) >= CONNECTIONS_MAX:
            transport.close()
            return
        self._calls.add(self)
        self._begun = asyncio.get_running_loop().call_later(BEGIN_SECONDS_MAX, self._give_up)
        settings = struct.pack(
            ">HIHIHI", *(1, 0), *(INITIAL_WINDOW, self.window_bytes), *(MAX_FRAME, FRAME_BYTES_MAX)
        )
        self._write(frame(SETTINGS, 0, 0, settings) + self._more_window())

    def data_received(self, data: bytes) -> None:
        """Take the preface, then frames; nothing after the call's end."""
        if self.ended:
            return
        if self._preface:
            begun, data = data[: len(self._preface)], data[len(self._preface) :]
            if not self._preface.startswith(begun):
                self._fail("no HTTP/2")
                return
            self._preface = self._preface[len(begun) :]
        if data:
            super().data_received(data)

    def _take_head(self, flags: int, stream: int) -> None:
        if stream != STREAM or self.task is not None:
            # One call a connection; another is refused, and the first goes on.
            if stream != STREAM:
                self._reply(frame(RESET, 0, stream, (7).to_bytes(4, "big")))
            return
        self._write(frame(HEADERS, END_HEADERS, STREAM, b"\x88\x0f\x10" + text("application/grpc")))
        self.task = asyncio.get_running_loop().create_task(self._run())
        if flags & END_STREAM:
            self._take_end()

    def _take_end(self) -> None:
        self._no_more = True
        self._wanted.set()

    async def _run(self) -> None:
        try:
            await self._answer(self)
            await self._sent()
            self._finish(self._status)
        except asyncio.CancelledError:
            self._finish(_UNAVAILABLE)
            raise
        except DecodeError:
            self._finish(_INVALID_ARGUMENT)
        except Exception as error:  # noqa: BLE001 - logged with its trace
            _LOG.error("defect", exc_info=error)
            self._finish(_INTERNAL)

    def _finish(self, status: str) -> None:
        """End the call with a status of gRPC's, and the connection."""
        transport = self._transport
        if transport is not None:
            trailers = b"\x00" + text("grpc-status") + text(status)
            self._write(frame(HEADERS, END_HEADERS | END_STREAM, STREAM, trailers))
            self._end("over")
            # To close while something comes takes back what was just sent (RFC 1122, 4.2.2.13).
            if transport.can_write_eof():
                transport.write_eof()
            asyncio.get_running_loop().call_later(LINGER_SECONDS_MAX, self._hang_up, transport)

    def _hang_up(self, transport: asyncio.Transport) -> None:
        """Close, and let go of what the other side does not take."""
        transport.close()
        asyncio.get_running_loop().call_later(LINGER_SECONDS_MAX, transport.abort)

    async def _sent(self) -> None:
        """Wait until what was handed over is on its way, or nobody takes it any more."""
        while not (self.is_free or self.ended):
            # The word that there is room again comes behind messages; the window bounds those.
            self._blocked = True
            self._hold(now=False)
            self._free.clear()
            await self._free.wait()
        self._blocked = False

    def _keep(self, message: bytes) -> None:
        if self._no_more:
            return  # too late: whoever sent it learns so by the end of the call
        self._waiting.append(message)
        self._kept += len(message)
        self._wanted.set()
        if len(self._waiting) >= WAITING_MAX and not self._blocked:
            self._hold(now=True)

    def _hold(self, *, now: bool) -> None:
        """Read nothing more for now, or go on reading."""
        transport = self._transport
        if now is not self._holding and transport is not None:
            self._holding = now
            if now:
                transport.pause_reading()
            else:
                transport.resume_reading()

    def _give_up(self) -> None:
        if self.task is None:
            self._fail("no call was made")

    def _over(self, _why: str) -> None:
        if self.task is None:
            self._calls.discard(self)
        else:
            # Whoever answers may not be through with it yet, and has to be when the block ends.
            self.task.add_done_callback(lambda _: self._calls.discard(self))
        if self._begun is not None:
            self._begun.cancel()
        self._wanted.set()
        self._free.set()


@asynccontextmanager
async def serving_calls(
    sock: socket.socket, answer: Answering, *, message_bytes_max: int, drain_seconds: float
) -> AsyncIterator[None]:
    """Answer calls that come to a bound socket until the block ends.

    When it ends nobody else gets in, and what was asked is answered, for so long.
    """
    calls: set[ServedCall] = set()
    loop = asyncio.get_running_loop()
    # Connections have it from whom they come to.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE:
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    server = await loop.create_server(
        lambda: ServedCall(answer, calls, message_bytes_max), sock=sock
    )
    try:
        yield
    finally:
        server.close()
        for call in list(calls):
            call.stop()
        tasks = [call.task for call in calls if call.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=drain_seconds)
            await stop_tasks(list(late))
        for call in list(calls):
            call.close()
