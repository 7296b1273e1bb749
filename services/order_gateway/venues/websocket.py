"""A WebSocket client (RFC 6455) for a feed: text messages, stamped when they arrive.

No compression and no extension is asked for, so a message is its bytes. What arrives is kept until
it is taken, up to a bound: who cannot keep up is told so, instead of reading an old market. Pings
are answered where they are read; the feed's own heartbeats say more than ours would.
"""

import asyncio
import base64
import hashlib
import os
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from lob.errors import ConfigError, Unavailable
from services.order_gateway.venues.wire import tls_context

MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
WAITING_BYTES_MAX: Final = 32 * 1024 * 1024
HEAD_BYTES_MAX: Final = 16_384
CLOSE_SECONDS: Final = 1.0
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_FINAL: Final = 0x80
_MASKED: Final = 0x80
_RESERVED: Final = 0x70
_LENGTH_16: Final = 126
_LENGTH_64: Final = 127
_CONTROL_BYTES_MAX: Final = 125


class FeedBroken(Unavailable):
    """Say that this connection can no longer be trusted."""


class Frame(NamedTuple):
    """One text message, and when it arrived (the loop's time)."""

    arrived_at: float
    payload: bytes


class FeedConnection(Protocol):
    """A connection of a feed: a WebSocket, or a simulated one."""

    async def send(self, text: str) -> None:
        """Send a text message."""
        ...

    async def receive(self) -> Sequence[Frame]:
        """Return what has arrived, at least one message; raises `FeedBroken` at the end."""
        ...

    async def close(self) -> None:
        """Close it, in bounded time."""
        ...


Connect = Callable[[str], Awaitable[FeedConnection]]


async def connect(url: str) -> FeedConnection:
    """Open a WebSocket; the caller bounds the time.

    Raises:
        FeedBroken: nobody listens there, or it is no WebSocket.
        ConfigError: the address is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ConfigError(f"feed: {url!r}; allowed: ws[s]://host[:port][/path]")
    secure = parts.scheme == "wss"
    loop = asyncio.get_running_loop()
    try:
        _, connection = await loop.create_connection(
            lambda: WebSocket(loop, parts.netloc, parts.path or "/"),
            parts.hostname,
            parts.port or (443 if secure else 80),
            ssl=tls_context() if secure else None,
        )
    except OSError as error:
        raise FeedBroken(f"venue feed: {parts.netloc}: {error.strerror or error}") from None
    try:
        await connection.opened
    except BaseException:
        connection.abort()
        raise
    return connection


class WebSocket(asyncio.Protocol):
    """One connection; implements `FeedConnection`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, path: str) -> None:
        self._loop = loop
        self._host = host
        self._path = path
        self._key = base64.b64encode(os.urandom(16))
        self._transport: asyncio.Transport | None = None
        self._rest = bytearray()
        self._needed = 0
        self._in_head = True
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._frames: list[Frame] = []
        self._frames_bytes = 0
        self._arrived: asyncio.Future[None] | None = None
        self._over: FeedBroken | None = None
        self.opened: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the WebSocket."""
        self._transport = transport  # type: ignore[assignment] # TCP and TLS ones can write
        self._write(
            b"GET %b HTTP/1.1\r\nhost: %b\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            b"sec-websocket-key: %b\r\nsec-websocket-version: 13\r\n\r\n"
            % (self._path.encode(), self._host.encode(), self._key)
        )

    async def send(self, text: str) -> None:
        """Send a text message."""
        if self._over is not None:
            raise self._over
        self._send_frame(_TEXT, text.encode())

    async def receive(self) -> Sequence[Frame]:
        """Return what has arrived since, at least one message."""
        while not self._frames:
            if self._over is not None:
                raise self._over
            self._arrived = self._loop.create_future()
            try:
                await self._arrived
            finally:
                self._arrived = None
        frames, self._frames = self._frames, []
        self._frames_bytes = 0
        return frames

    async def close(self) -> None:
        """Say so, and close; what the venue says to it is not waited for."""
        if self._over is None and self._transport is not None:
            self._send_frame(_CLOSE, struct.pack(">H", 1000))
            self._transport.close()
            self._loop.call_later(CLOSE_SECONDS, self.abort)
        self._end("closed")

    def abort(self) -> None:
        """End at once."""
        if self._transport is not None:
            self._transport.abort()
        self._end("closed")

    def data_received(self, data: bytes) -> None:
        """Take what came: the rest of the handshake, then frames."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest.clear()
        try:
            at = self._read_head(data) if self._in_head else 0
            if not self._in_head:
                at = self._read_frames(data, at)
        except FeedBroken as broken:
            self._fail(broken)
            return
        if at < len(data):
            self._rest += memoryview(data)[at:]
        if self._frames and self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    def eof_received(self) -> bool:
        """End: the venue says nothing more."""
        self._fail(FeedBroken("venue feed: the venue closed the connection"))
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """End: the transport is gone."""
        self._end(str(error) if error else "the connection is lost")

    def _read_head(self, data: bytes) -> int:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > HEAD_BYTES_MAX:
                raise FeedBroken("venue feed: no end of the handshake")
            return 0
        status, *lines = data[:end].split(b"\r\n")
        fields = dict(line.lower().split(b":", 1)[:2] for line in lines if b":" in line)
        words = status.split(b" ", 2)
        if not words[0].startswith(b"HTTP/1.1") or words[1:2] != [b"101"]:
            shown = status[:80].decode("latin-1")
            raise FeedBroken(f"venue feed: the handshake was answered: {shown}")
        digest = hashlib.sha1(self._key + _GUID, usedforsecurity=False).digest()
        given = next((line.split(b":", 1)[1] for line in lines if _is_accept(line)), b"").strip()
        if b"websocket" not in fields.get(b"upgrade", b"") or given != base64.b64encode(digest):
            raise FeedBroken("venue feed: the handshake's answer is no WebSocket's")
        if fields.get(b"sec-websocket-extensions", b"").strip():
            raise FeedBroken("venue feed: an extension that nobody asked for")
        self._in_head = False
        if not self.opened.done():
            self.opened.set_result(None)
        return end + 4

    def _read_frames(self, data: bytes, at: int) -> int:
        """Read the whole frames from `at` on; return where the first that is not whole begins."""
        now, size = self._loop.time(), len(data)
        self._needed = 0
        while size - at >= 2:  # noqa: PLR2004 - the shortest frame's head
            first, length = data[at], data[at + 1]
            if first & _RESERVED or length & _MASKED:
                raise FeedBroken("venue feed: a frame that no server may send")
            start = at + 2
            if length == _LENGTH_16:
                start += 2
                length = int.from_bytes(data[at + 2 : start], "big")
            elif length == _LENGTH_64:
                start += 8
                length = int.from_bytes(data[at + 2 : start], "big")
            if length > MESSAGE_BYTES_MAX and start <= size:
                raise FeedBroken(f"venue feed: a message beyond {MESSAGE_BYTES_MAX} bytes")
            end = start + length
            if size < start or size < end:
                self._needed = max(end, start) - at if size >= start else start - at
                break
            self._take(first, data[start:end], now)
            at = end
        return at

    def _take(self, first: int, payload: bytes, now: float) -> None:
        opcode = first & 0x0F
        if opcode == _TEXT and first & _FINAL and not self._parts:
            self._keep(Frame(now, payload))
        elif opcode in (_TEXT, _BINARY, _CONTINUATION):
            self._take_part(opcode, final=bool(first & _FINAL), payload=payload, now=now)
        elif len(payload) > _CONTROL_BYTES_MAX or not first & _FINAL:
            raise FeedBroken("venue feed: a control frame that is too long")
        elif opcode == _PING:
            self._send_frame(_PONG, payload)
        elif opcode == _CLOSE:
            raise FeedBroken(f"venue feed: the venue closed it{_close_reason(payload)}")
        elif opcode != _PONG:
            raise FeedBroken(f"venue feed: a frame of an unknown kind {opcode}")

    def _take_part(self, opcode: int, *, final: bool, payload: bytes, now: float) -> None:
        """Take a piece of a message that comes in several; only texts are expected."""
        if opcode == _BINARY or (opcode == _CONTINUATION) != bool(self._parts):
            raise FeedBroken("venue feed: a piece of no text message")
        self._parts.append(payload)
        self._parts_bytes += len(payload)
        if self._parts_bytes > MESSAGE_BYTES_MAX:
            raise FeedBroken(f"venue feed: a message beyond {MESSAGE_BYTES_MAX} bytes")
        if final:
            whole = b"".join(self._parts)
            self._parts = []
            self._parts_bytes = 0
            self._keep(Frame(now, whole))

    def _keep(self, frame: Frame) -> None:
        self._frames.append(frame)
        self._frames_bytes += len(frame.payload)
        if self._frames_bytes > WAITING_BYTES_MAX:
            self._frames.clear()
            raise FeedBroken("venue feed: too slow: more waits to be read than is kept")

    def _send_frame(self, opcode: int, payload: bytes) -> None:
        """Send one frame; a client's are masked, so that no proxy takes them for a request."""
        size, mask = len(payload), os.urandom(4)
        if size < _LENGTH_16:
            head = struct.pack(">BB", _FINAL | opcode, _MASKED | size)
        elif size < 1 << 16:
            head = struct.pack(">BBH", _FINAL | opcode, _MASKED | _LENGTH_16, size)
        else:
            head = struct.pack(">BBQ", _FINAL | opcode, _MASKED | _LENGTH_64, size)
        repeated = (mask * (size // 4 + 1))[:size]
        masked = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
        self._write(head + mask + masked.to_bytes(size, "big"))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _fail(self, broken: FeedBroken) -> None:
        """End because of what came; what came whole before it can still be taken."""
        self._end(str(broken).removeprefix("venue feed: "))
        if self._transport is not None:
            self._transport.abort()

    def _end(self, why: str) -> None:
        if self._over is None:
            self._over = FeedBroken(f"venue feed: {why}")
        if not self.opened.done():
            self.opened.set_exception(self._over)
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)


def _is_accept(line: bytes) -> bool:
    return line.lower().startswith(b"sec-websocket-accept:")


def _close_reason(payload: bytes) -> str:
    if len(payload) < 2:  # noqa: PLR2004 - a code has two bytes
        return ""
    (code,) = struct.unpack(">H", payload[:2])
    text = payload[2:].decode("utf-8", "replace")
    return f": {code} {text}".rstrip()
