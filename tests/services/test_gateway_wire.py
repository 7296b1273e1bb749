"""The wire: an answer, certainly not sent, or nobody knows; and never the same request twice."""

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob.errors import ConfigError
from services.order_gateway.venues.base import GateClosed, NotSent, OutcomeUnknown, Passage
from services.order_gateway.venues.http_connection import Answer, AnswerReader, Broken
from services.order_gateway.venues.wire import HttpWire
from tests.services.broken_server import BrokenServer, Exchange, Script, running_server
from touchstone.kit.leases import SendGate
from touchstone.perps.checks import Refusal, RefusalReason

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
Eventually = Callable[..., Awaitable[float]]


async def good(exchange: Exchange) -> None:
    """Answer and keep the connection."""
    await exchange.say(OK)


async def late(exchange: Exchange) -> None:
    """Answer after a while."""
    await asyncio.sleep(0.3)
    await exchange.say(OK)


async def never(_exchange: Exchange) -> None:
    """Never answer."""
    await asyncio.sleep(60)


def saying(*pieces: bytes, close: bool = False, pause: float = 0.0) -> Script:
    """Return a script that sends these pieces, and closes the connection after them."""

    async def script(exchange: Exchange) -> None:
        await exchange.say(*pieces, pause=pause)
        if close:
            exchange.writer.close()

    return script


@contextlib.asynccontextmanager
async def wired(*scripts: Script, **options: float) -> AsyncIterator[tuple[BrokenServer, HttpWire]]:
    """A server and a wire to it."""
    async with running_server(*scripts) as server:
        wire = HttpWire(f"http://127.0.0.1:{server.port}", **options)  # type: ignore[arg-type]
        try:
            yield server, wire
        finally:
            await wire.close()


async def ask(wire: HttpWire, seconds: float = 2.0, passage: Passage | None = None) -> Answer:
    """Post something small."""
    headers = [("authorization", "Bearer x")]
    return await wire.request(
        "POST", "/orders", headers, b'{"a":1}', deadline_seconds=seconds, passage=passage
    )


async def test_head_and_body_arrive_as_written_and_connections_are_kept() -> None:
    """One connection serves requests that follow one another; each has its length and host."""
    async with wired(good) as (server, wire):
        for _ in range(3):
            assert (200, b"ok") == (await ask(wire))[::2]
        await wire.request("GET", "/x?y=1", [], b"", deadline_seconds=2)
    assert 1 == server.connections
    head, body = server.requests[0]
    assert head.startswith(b"POST /orders HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"content-length: 7\r\n" in head
    assert b'{"a":1}' == body
    assert server.requests[3][0].startswith(b"GET /x?y=1 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("closed at once", saying(close=True)),
        ("half a head", saying(b"HTTP/1.1 200 OK\r\ncontent-le", close=True)),
        ("head only", saying(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", close=True)),
        ("half a body", saying(OK[:-1], close=True)),
        ("half a chunk", saying(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nab",
                                close=True)),
        ("no end of chunks", saying(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
                                    b"2\r\nab\r\n", close=True)),
        ("length too long", saying(OK.replace(b": 2", b": 3"))),
        ("two lengths", saying(OK.replace(b"\r\n\r\n", b"\r\ncontent-length: 3\r\n\r\n"))),
        ("length of nonsense", saying(OK.replace(b": 2", b": two"))),
        ("garbage", saying(b"\x00\x01\x02SSH-2.0\r\n\r\n")),
        ("a page of another protocol", saying(b"220 mail.example ESMTP\r\n\r\n")),
        ("endless head", saying(b"HTTP/1.1 200 OK\r\nx: ", *[b"y" * 9_000] * 9)),
        ("oversized body", saying(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n",
                                  b"z" * 5_000)),
        ("oversized chunks", saying(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                                    *[b"400\r\n" + b"z" * 1_024 + b"\r\n"] * 5)),
        ("switching", saying(b"HTTP/1.1 101 X\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n")),
        ("slow drip", saying(*[OK[i : i + 1] for i in range(len(OK))], pause=0.05)),
        ("never", never),
    ],
)  # fmt: skip
async def test_every_way_to_break_after_the_write_is_an_unknown_outcome(
    name: str, script: Script
) -> None:
    """Sent once, never again; the connection is not used again, and the next request is served."""
    async with wired(script, good, answer_bytes_max=4_096) as (server, wire):
        with pytest.raises(OutcomeUnknown):
            await ask(wire, 0.4)
        assert 1 == len(server.requests), name
        assert b"ok" == (await ask(wire)).body
        assert (2, 2) == (len(server.requests), server.connections)


@pytest.mark.parametrize(
    ("pieces", "close", "body"),
    [
        ([OK], False, b"ok"),
        ([OK[i : i + 1] for i in range(len(OK))], False, b"ok"),
        ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\no\r\n", b"1\r\nk\r\n",
          b"0\r\nx-check: 1\r\n\r\n"], False, b"ok"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", OK], False, b"ok"),
        ([b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK], False, b"ok"),
        ([b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", b"o", b"k"], True, b"ok"),
        ([b"HTTP/1.0 200 OK\r\n\r\nok"], True, b"ok"),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], False, b""),
        ([b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\nno"], False, b"no"),
    ],
)  # fmt: skip
async def test_whole_answers_however_they_come(
    pieces: list[bytes], close: bool, body: bytes
) -> None:
    """Cut anywhere, chunked, after informational ones, or until the end of the connection."""
    async with wired(saying(*pieces, close=close)) as (_, wire):
        assert body == (await ask(wire)).body


async def test_nobody_listens() -> None:
    """Without a connection nothing has left."""
    wire = HttpWire("http://127.0.0.1:1")
    with pytest.raises(NotSent):
        await ask(wire)


async def test_no_connection_in_time_is_not_sent() -> None:
    """All connections wait for a venue that says nothing: the next request never left."""
    async with wired(never, connections_max=1) as (server, wire):
        first = asyncio.create_task(ask(wire, 1.0))
        await asyncio.sleep(0.05)
        with pytest.raises(NotSent):
            await ask(wire, 0.2)
        assert 1 == len(server.requests)
        with pytest.raises(OutcomeUnknown):
            await first


async def test_without_time_for_an_answer_nothing_is_sent() -> None:
    """Its turn came at the deadline: an outcome that nobody would wait for is not begun."""
    async with wired(good) as (server, wire):
        await ask(wire)
        with pytest.raises(NotSent, match="no time"):
            await ask(wire, 0)
        assert (1, b"ok") == (len(server.requests), (await ask(wire)).body)


async def test_a_cancel_gets_a_connection_when_all_others_wait() -> None:
    """What is urgent may open more connections than the rest."""
    async with wired(never, good, connections_max=1) as (_, wire):
        first = asyncio.create_task(ask(wire, 1.0))
        await asyncio.sleep(0.05)
        found = await wire.request("POST", "/c", [], b"{}", deadline_seconds=0.5, urgent=True)
        assert b"ok" == found.body
        first.cancel()


async def test_whoever_waits_for_a_connection_gets_the_next_free_one() -> None:
    """A bounded pool hands its connections on, and none is lost to a caller that went away."""
    async with wired(saying(OK, pause=0.02), connections_max=2) as (server, wire):
        asked = [asyncio.create_task(ask(wire)) for _ in range(12)]
        await asyncio.sleep(0.01)
        asked[7].cancel()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert 11 == sum(isinstance(one, Answer) for one in found)
        assert 2 >= server.connections


async def test_a_kept_connection_that_the_venue_closed_is_not_used(eventually: Eventually) -> None:
    """Its end was seen before the write: a new connection, one request."""
    async with wired(good) as (server, wire):
        await ask(wire)
        next(iter(server.open)).close()
        await eventually(lambda: not server.open)
        await asyncio.sleep(0.02)
        assert b"ok" == (await ask(wire)).body
        assert (2, 2) == (len(server.requests), server.connections)


async def test_a_connection_that_closes_as_the_request_comes_is_unknown() -> None:
    """Kept, and closed by the venue upon the second request: nothing is sent a second time."""
    async with wired(good, saying(close=True)) as (server, wire):
        await ask(wire)
        with pytest.raises(OutcomeUnknown):
            await ask(wire)
        assert (2, 1) == (len(server.requests), server.connections)


async def test_bytes_that_nobody_asked_for_end_a_kept_connection(eventually: Eventually) -> None:
    """An answer to nothing must not become the answer to the next order."""
    async with wired(good) as (server, wire):
        await ask(wire)
        next(iter(server.open)).write(b"HTTP/1.1 408 Too Late\r\ncontent-length: 0\r\n\r\n")
        await eventually(lambda: not server.open)
        assert 200 == (await ask(wire)).status


async def test_two_answers_to_one_request_are_no_answer() -> None:
    """Out of step: which of them was meant, nobody knows."""
    async with wired(saying(OK + OK), good) as (server, wire):
        with pytest.raises(OutcomeUnknown, match="behind the end"):
            await ask(wire)
        await ask(wire)
        assert 2 == server.connections


async def test_a_half_closed_connection_is_not_used_again(eventually: Eventually) -> None:
    """A venue that only reads would take an order and could not say so."""

    async def shut(exchange: Exchange) -> None:
        await exchange.say(OK)
        exchange.writer.write_eof()
        await asyncio.sleep(0.5)

    async with wired(shut, good) as (server, wire):
        await ask(wire)
        await asyncio.sleep(0.05)
        await ask(wire)
        assert 2 == server.connections


async def test_idle_connections_are_given_up_before_servers_do() -> None:
    """Whoever writes into a connection that is just being closed learns nothing of the request."""
    async with wired(good, idle_seconds_max=0.05) as (server, wire):
        await ask(wire)
        await asyncio.sleep(0.1)
        await ask(wire)
        assert 2 == server.connections


@pytest.mark.parametrize(("told", "connections"), [(b"timeout=9", 1), (b"timeout=1", 2)])
async def test_the_venue_says_how_long_it_keeps_a_connection(told: bytes, connections: int) -> None:
    """Its `Keep-Alive` header counts for more than what is usual."""
    kept = OK.replace(b"\r\n\r\n", b"\r\nkeep-alive: " + told + b", max=100\r\n\r\n")
    async with wired(saying(kept), idle_seconds_max=0.05) as (server, wire):
        await ask(wire)
        await asyncio.sleep(0.1)
        await ask(wire)
        assert connections == server.connections


async def test_a_caller_that_goes_away_takes_the_connection_with_it(
    eventually: Eventually,
) -> None:
    """Its answer would else be the next request's."""
    async with wired(late, good) as (server, wire):
        task = asyncio.create_task(ask(wire))
        await eventually(lambda: server.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert b"ok" == (await ask(wire)).body
        assert 2 == server.connections


async def test_a_closed_gate_leaves_the_connection_clean() -> None:
    """Not a byte was written: the connection serves the next request."""
    refusal = Refusal(RefusalReason.HALTED, "halted")
    async with wired(good) as (server, wire):
        await ask(wire)
        gate = SendGate()
        with pytest.raises(GateClosed):
            await ask(wire, passage=Passage(gate, lambda: refusal))
        assert 0 == gate.open_passages
        await ask(wire)
        assert (2, 1) == (len(server.requests), server.connections)


async def test_closing_the_wire_ends_what_waits() -> None:
    """Whoever waits for an answer is told at once; later requests are not sent."""
    async with wired(never) as (_, wire):
        task = asyncio.create_task(ask(wire))
        await asyncio.sleep(0.05)
        await wire.close()
        with pytest.raises(OutcomeUnknown):
            await task
        with pytest.raises(NotSent):
            await ask(wire)


async def test_certificates_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown authority means not sent; `SSL_CERT_FILE` names the one that is trusted."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(  # noqa: ASYNC221 - nothing else runs yet
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=v", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    async with running_server(good, tls=tls) as server:
        base_url = f"https://127.0.0.1:{server.port}"
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        stranger = HttpWire(base_url)
        with pytest.raises(NotSent, match="certificate"):
            await ask(stranger)
        assert [] == server.requests
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        wire = HttpWire(base_url)
        assert b"ok" == (await ask(wire)).body
        other = HttpWire(base_url.replace("127.0.0.1", "localhost"))
        with pytest.raises(NotSent, match="certificate"):
            await ask(other)
        await asyncio.gather(wire.close(), other.close(), stranger.close())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent.pem"))
    with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
        HttpWire(base_url)


@pytest.mark.parametrize("base_url", ["ftp://x", "http://", "127.0.0.1:8090"])
def test_an_address_that_is_none_is_a_configuration_error(base_url: str) -> None:
    """Before anything is sent anywhere."""
    with pytest.raises(ConfigError, match="base_url"):
        HttpWire(base_url)


ANSWERS = st.builds(
    lambda status, body, chunks: (status, body, chunks),
    st.sampled_from([200, 201, 400, 429, 500]),
    st.binary(max_size=200),
    st.lists(st.integers(1, 60), max_size=5),
)


def written(status: int, body: bytes, chunks: list[int]) -> bytes:
    """Return an answer's bytes: with a length, or in chunks of these sizes."""
    head = b"HTTP/1.1 %d X\r\nX-One: 1\r\n" % status
    if not chunks:
        return head + b"content-length: %d\r\n\r\n%b" % (len(body), body)
    parts, rest = [], body
    for size in [*chunks, max(len(body), 1)]:
        part, rest = rest[:size], rest[size:]
        if part:
            parts.append(b"%x\r\n%b\r\n" % (len(part), part))
    return head + b"transfer-encoding: chunked\r\n\r\n" + b"".join(parts) + b"0\r\n\r\n"


@given(st.lists(ANSWERS, min_size=1, max_size=4), st.data())
@settings(max_examples=120, deadline=None)
def test_answers_are_read_the_same_wherever_they_are_cut(
    answers: list[tuple[int, bytes, list[int]]], data: st.DataObject
) -> None:
    """Each answer ends with its last byte, never before, and the next one begins afresh."""
    reader = AnswerReader(10_000)
    for status, body, chunks in answers:
        whole = written(status, body, chunks)
        cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=6)))
        pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        for piece in pieces[:-1]:
            assert reader.feed(piece) is None
        found = reader.feed(pieces[-1])
        assert found is not None
        assert (status, body, "1") == (found.status, found.body, found.headers["x-one"])
        assert reader.reusable


@given(st.lists(st.binary(min_size=1, max_size=80), max_size=8))
@settings(max_examples=150, deadline=None)
def test_nonsense_is_never_an_answer_nor_another_exception(pieces: list[bytes]) -> None:
    """Whatever comes is an answer that is whole, no answer yet, or `Broken`."""
    reader = AnswerReader(1_000)
    with contextlib.suppress(Broken):
        for piece in pieces:
            found = reader.feed(piece)
            assert found is None or piece.strip() != b""
        reader.end()


@given(st.binary(min_size=1, max_size=60), st.integers(0, 200))
@settings(max_examples=150, deadline=None)
def test_a_damaged_answer_is_broken_or_whole(damage: bytes, at: int) -> None:
    """Bytes put anywhere into an answer: it ends well or is `Broken`; the body keeps its bound."""
    good_one = written(200, b"0123456789" * 5, [])
    at %= len(good_one)
    reader = AnswerReader(64)
    with contextlib.suppress(Broken):
        found = reader.feed(good_one[:at] + damage + good_one[at:])
        assert found is None or len(found.body) <= 64
        reader.end()
