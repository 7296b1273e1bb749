"""Answers in one piece over a real connection: small, streamed, empty, and closed."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from touchstone.kit.corked import HEAD_BYTES_MAX, Corked, CorkedProtocol
from touchstone.kit.lifecycle import serve_web


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer by the path: a body, a stream of pieces, or none."""
    if scope["type"] != "http":
        raise RuntimeError
    head = {"type": "http.response.start", "status": 200, "headers": []}
    if scope["path"] == "/small":
        head["headers"] = [(b"content-length", b"5")]
        await send(head)
        await send({"type": "http.response.body", "body": b"small"})
    elif scope["path"] == "/stream":
        await send(head)
        for number in range(50):
            piece = b"%d," % number
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            if number % 7 == 0:
                await asyncio.sleep(0)
        await send({"type": "http.response.body"})
    else:
        head["headers"] = [(b"content-length", b"0")]
        await send(head)
        await send({"type": "http.response.body"})


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Serve the application with corked connections, and connect to it."""
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    options: dict[str, Any] = {"on_started": started.set_result, "lifespan": "off"}
    serving = asyncio.create_task(serve_web(app, "127.0.0.1", 0, http=CorkedProtocol, **options))
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", await started)
        try:
            yield reader, writer
        finally:
            writer.close()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("GET /small HTTP/1.1", b"small"),
        ("GET /stream HTTP/1.1", b"48,\r\n3\r\n49,\r\n0\r\n\r\n"),
        ("GET /empty HTTP/1.1", b"\r\n\r\n"),
        ("HEAD /small HTTP/1.1", b"\r\n\r\n"),
    ],
)
async def test_answers_are_whole_and_connections_are_kept(line: str, expected: bytes) -> None:
    """Twice on one connection: nothing is held back, and nothing is mixed up."""
    async with connected() as (reader, writer):
        for _ in range(2):
            writer.write(f"{line}\r\nHost: x\r\n\r\n".encode())
            found = b""
            while not found.endswith(expected):
                found += await reader.read(65_536)
            assert found.startswith(b"HTTP/1.1 200")


async def test_a_connection_that_is_to_be_closed_gets_its_answer_first() -> None:
    """`Connection: close`: the whole answer, then the end."""
    async with connected() as (reader, writer):
        writer.write(b"GET /small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.read(-1)).endswith(b"small")


async def test_two_writes_of_a_moment_are_one() -> None:
    """The second takes the first along; one alone goes when the loop goes on."""
    sent: list[bytes] = []

    class Transport:
        def write(self, data: bytes) -> None:
            sent.append(data)

        def close(self) -> None:
            sent.append(b"closed")

    corked = Corked(Transport(), asyncio.get_running_loop())
    corked.write(b"head")
    assert [] == sent
    corked.write(b"body")
    assert [b"headbody"] == sent
    corked.write(b"alone")
    await asyncio.sleep(0)
    assert [b"headbody", b"alone"] == sent
    corked.write(b"last")
    corked.close()
    await asyncio.sleep(0)
    assert [b"headbody", b"alone", b"last", b"closed"] == sent


@pytest.mark.parametrize(
    "sent",
    [
        b"NONSENSE\r\n\r\n",
        b"GET /small HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n",
        b"POST /small HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    ],
)
async def test_what_is_no_http_is_refused_as_everything_else_is(sent: bytes) -> None:
    """400 with the one shape that refusals have, and the connection is closed."""
    async with connected() as (reader, writer):
        writer.write(sent)
        head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"content-type: application/json" in head
        assert "INVALID_ARGUMENT" == json.loads(body)["error"]["code"]


async def test_a_head_that_does_not_end_is_not_kept() -> None:
    """It is refused within its bound, however slowly it comes; a body may be larger."""
    async with connected() as (reader, writer):
        body = b"x" * (2 * HEAD_BYTES_MAX)
        writer.write(b"POST /small HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        found = b""
        while not found.endswith(b"small"):
            found += await reader.read(65_536)
        writer.write(b"GET /small HTTP/1.1\r\nX: ")
        closed = False
        try:
            for _ in range(64):
                writer.write(b"x" * 16_384)
                await writer.drain()
                await asyncio.sleep(0.001)
            closed = b" 400 Bad Request" in await reader.read(-1)
        except ConnectionError:  # closed while more was being written
            closed = True
        assert closed
