"""The feed's own WebSocket client: frames cut anywhere, what no server may send, slow readers."""

import asyncio
import base64
import contextlib
import hashlib
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve

from lob.errors import ConfigError
from services.order_gateway.venues import websocket
from services.order_gateway.venues.websocket import FeedBroken, WebSocket, connect

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Sink:
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.aborted = False

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written += data

    def is_closing(self) -> bool:
        """Say whether it is over."""
        return self.aborted

    def abort(self) -> None:
        """End."""
        self.aborted = True

    close = abort


def accepted(request: bytes, extra: bytes = b"") -> bytes:
    """Return the answer to a handshake."""
    key = request.split(b"sec-websocket-key: ")[1].split(b"\r\n")[0]
    digest = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        b"Sec-WebSocket-Accept: " + digest + b"\r\n" + extra + b"\r\n"
    )


def frame(payload: bytes, opcode: int = 1, *, final: bool = True) -> bytes:
    """Return a server's frame."""
    first, size = opcode | (0x80 if final else 0), len(payload)
    if size < 126:
        return struct.pack(">BB", first, size) + payload
    if size < 1 << 16:
        return struct.pack(">BBH", first, 126, size) + payload
    return struct.pack(">BBQ", first, 127, size) + payload


def opened(loop: asyncio.AbstractEventLoop) -> tuple[WebSocket, Sink]:
    """Return a connection whose handshake is over."""
    made, sink = WebSocket(loop, "h", "/"), Sink()
    made.connection_made(sink)  # type: ignore[arg-type] # all of a transport that is used
    made.data_received(accepted(bytes(sink.written)))
    assert made.opened.done()
    sink.written.clear()
    return made, sink


@pytest.fixture
def ws() -> Any:
    """A connection and its transport, on a loop that never runs."""
    loop = asyncio.new_event_loop()
    yield opened(loop)
    loop.close()


def received(made: WebSocket) -> list[bytes]:
    """Return the messages that have arrived."""
    with contextlib.suppress(FeedBroken):
        coroutine = made.receive()
        try:
            coroutine.send(None)
        except StopIteration as end:
            return [one.payload for one in end.value]
        finally:
            coroutine.close()
    return []


@given(
    st.lists(st.binary(max_size=300) | st.sampled_from([b"x" * 126, b"y" * 70_000]), max_size=6),
    st.data(),
)
@settings(max_examples=80, deadline=None)
def test_messages_are_the_same_wherever_they_are_cut(
    payloads: list[bytes], data: st.DataObject
) -> None:
    """In pieces of any size, in fragments, with pings and pongs between."""
    loop = asyncio.new_event_loop()
    made, sink = opened(loop)
    stream = b""
    for payload in payloads:
        at = data.draw(st.integers(0, len(payload)))
        parts = data.draw(st.booleans())
        if parts:
            stream += frame(payload[:at], final=False) + frame(b"p", 9) + frame(payload[at:], 0)
        else:
            stream += frame(b"", 10) + frame(payload)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8)))
    found = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        made.data_received(stream[begin:end])
        found += received(made)
    assert payloads == found
    assert not sink.aborted
    assert sink.written.count(b"\x8a\x81") == stream.count(frame(b"p", 9))
    loop.close()


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=6))
@settings(max_examples=150, deadline=None)
def test_nonsense_ends_the_connection_or_waits(pieces: list[bytes]) -> None:
    """Whatever bytes come, nothing but `FeedBroken` comes of them."""
    loop = asyncio.new_event_loop()
    made, _ = opened(loop)
    for piece in pieces:
        made.data_received(piece)
        received(made)
    loop.close()


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (frame(b"x", 2), "no text"),
        (frame(b"x", 0), "no text"),
        (frame(b"a", final=False) + frame(b"b"), "no text"),
        (frame(b"x", 3), "unknown kind"),
        (b"\xc1\x01x", "no server may send"),
        (b"\x81\x81abcdx", "no server may send"),
        (frame(b"x" * 126, 9), "too long"),
        (frame(b"x", 9, final=False), "too long"),
        (frame(struct.pack(">H", 1012) + b"restart", 8), "1012 restart"),
        (frame(b"", 8), "closed"),
        (struct.pack(">BBQ", 0x81, 127, 1 << 40), "beyond"),
    ],
)
def test_what_no_server_may_send_ends_the_connection(ws: Any, sent: bytes, why: str) -> None:
    """What came whole before it can still be read; then the reason is told."""
    made, sink = ws
    made.data_received(frame(b"before") + sent)
    assert [b"before"] == received(made)
    coroutine = made.receive()
    with pytest.raises(FeedBroken, match=why):
        coroutine.send(None)
    assert sink.aborted


def test_who_reads_too_slowly_is_told(ws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """More waits than is kept: the market it tells of is over, and reading it would be wrong."""
    monkeypatch.setattr(websocket, "WAITING_BYTES_MAX", 1_000)
    made, sink = ws
    made.data_received(frame(b"x" * 600))
    assert not sink.aborted
    made.data_received(frame(b"y" * 600))
    with pytest.raises(FeedBroken, match="too slow"):
        made.receive().send(None)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 429 Too Many\r\n\r\n", "429"),
        (b"HTTP/1.1 200 OK\r\nupgrade: websocket\r\n\r\n", "200"),
        (b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n", "WebSocket"),
        (b"SSH-2.0\r\n\r\n", "answered"),
        (b"x" * 20_000, "no end"),
    ],
)
def test_a_handshake_that_fails(answer: bytes, why: str) -> None:
    """Refused, of another protocol, for another key, or without an end."""
    loop = asyncio.new_event_loop()
    made, sink = WebSocket(loop, "h", "/"), Sink()
    made.connection_made(sink)  # type: ignore[arg-type]
    made.data_received(answer)
    with pytest.raises(FeedBroken, match=why):
        made.opened.result()
    loop.close()


def test_an_extension_that_nobody_asked_for_is_refused() -> None:
    """Compressed messages would not be what they look like."""
    loop = asyncio.new_event_loop()
    made, sink = WebSocket(loop, "h", "/"), Sink()
    made.connection_made(sink)  # type: ignore[arg-type]
    extra = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
    made.data_received(accepted(bytes(sink.written), extra))
    with pytest.raises(FeedBroken, match="extension"):
        made.opened.result()
    loop.close()


@pytest.fixture
async def echo() -> AsyncIterator[str]:
    """Another implementation's server that sends back what it is sent."""

    async def back(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)
            await socket.ping()

    async with serve(back, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 300_000])
async def test_texts_of_every_length_there_and_back(echo: str, size: int) -> None:
    """Masked as RFC 6455 wants it, read by another implementation, and closed in order."""
    connection = await connect(echo)
    await connection.send("é" * size)
    frames = await connection.receive()
    assert ["é" * size] == [one.payload.decode() for one in frames]
    await connection.close()
    with pytest.raises(FeedBroken):
        await connection.receive()
    with pytest.raises(FeedBroken):
        await connection.send("late")


async def test_addresses() -> None:
    """Nobody listens there; or it is no address of a feed."""
    with pytest.raises(FeedBroken):
        await connect("ws://127.0.0.1:1")
    with pytest.raises(ConfigError, match="feed"):
        await connect("http://127.0.0.1:1")
