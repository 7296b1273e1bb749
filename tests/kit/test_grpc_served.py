"""Calls that are answered on the event loop itself: whole, bounded, and to their end."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from touchstone.kit import grpc_served
from touchstone.kit.grpc_call import PREFACE, GrpcCall, open_call
from touchstone.kit.grpc_served import Answering, ServedCall, serving_calls
from touchstone.kit.lifecycle import bind

MEGABYTE = 1024 * 1024
PATH = "/a.Service/Method"


async def echo(call: ServedCall) -> None:
    """Answer every message with itself."""
    async for message in call:
        await call.write(message)


@asynccontextmanager
async def serving(answer: Answering = echo, drain_seconds: float = 1.0) -> AsyncIterator[str]:
    """Serve calls; gives the address."""
    with bind("127.0.0.1", 0) as sock:
        address = f"127.0.0.1:{sock.getsockname()[1]}"
        async with (
            asyncio.timeout(20),
            serving_calls(
                sock, answer, message_bytes_max=8 * MEGABYTE, drain_seconds=drain_seconds
            ),
        ):
            yield address


class Caller:
    """A call with what came of it."""

    def __init__(self, call: GrpcCall) -> None:
        self.call = call
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        call.on_message = self.messages.put_nowait
        call.on_end = self.ended.set_result

    async def ask(self, message: bytes) -> bytes:
        """Send a message and return the next that comes."""
        self.call.send(message)
        return await self.messages.get()


async def calling(address: str) -> Caller:
    """Open a call."""
    return Caller(await open_call(address, PATH, message_bytes_max=8 * MEGABYTE, seconds_max=1))


async def test_messages_come_back_whole_and_in_order() -> None:
    """Small ones, empty ones, and such as no window takes at once."""
    async with serving() as address:
        caller = await calling(address)
        for message in (b"a", b"", b"b" * 70_000, b"c" * 7 * MEGABYTE):
            assert message == await caller.ask(message)
        sent = [b"%d" % number * 10_000 for number in range(300)]
        for message in sent:
            caller.call.send(message)
        assert sent == [await caller.messages.get() for _ in sent]
        caller.call.close()


async def test_the_general_client_is_answered_too() -> None:
    """It speaks the same gRPC; its compressed head is not read."""
    async with serving() as address, grpc.aio.insecure_channel(address) as channel:
        method: Any = channel.stream_stream(PATH)
        call = method(iter([b"one", b"two" * 100_000]))
        assert [b"one", b"two" * 100_000] == [message async for message in call]
        assert grpc.StatusCode.OK == await call.code()


async def test_many_callers_do_not_mix() -> None:
    """Each has its own answers."""
    async with serving() as address:
        callers = [await calling(address) for _ in range(8)]
        answers = await asyncio.gather(
            *(caller.ask(b"%d" % number * 1_000) for number, caller in enumerate(callers))
        )
        assert [b"%d" % number * 1_000 for number in range(8)] == answers
        for caller in callers:
            caller.call.close()


async def test_a_caller_who_goes_ends_his_call() -> None:
    """Whoever answers finds the end, and what is still written goes nowhere."""
    over = asyncio.Event()

    async def answer(call: ServedCall) -> None:
        await echo(call)
        await call.write(b"nobody reads this")
        over.set()

    async with serving(answer) as address:
        caller = await calling(address)
        await caller.ask(b"x")
        caller.call.close()
        await over.wait()


async def test_what_is_not_taken_holds_the_caller_up() -> None:
    """So many messages wait at most, beside what the sockets hold."""
    taken: list[int] = []
    calls: list[ServedCall] = []
    go, done = asyncio.Event(), asyncio.Event()

    async def slow(call: ServedCall) -> None:
        calls.append(call)
        await go.wait()
        async for message in call:
            taken.append(len(message))
            if len(taken) == 80:
                done.set()

    async with serving(slow) as address:
        caller = await calling(address)
        for _ in range(80):
            caller.call.send(b"x" * 300_000)
        await asyncio.sleep(0.3)
        (call,) = calls
        assert grpc_served.WAITING_MAX <= len(call._waiting) <= grpc_served.WAITING_MAX + 2
        assert not caller.call.is_free
        go.set()
        await done.wait()
        assert [300_000] * 80 == taken
        caller.call.close()


async def test_the_end_lets_what_was_asked_be_answered() -> None:
    """Then the call ends, and nobody else gets in."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(call: ServedCall) -> None:
        async for message in call:
            begun.set()
            await go.wait()
            await call.write(message)

    async with serving(slow) as address:
        caller = await calling(address)
        caller.call.send(b"under way")
        await begun.wait()
        asyncio.get_running_loop().call_later(0.1, go.set)
    assert b"under way" == await caller.messages.get()
    await caller.ended
    with pytest.raises(Exception, match="cannot connect"):
        await calling(address)


async def test_the_end_does_not_wait_for_ever() -> None:
    """What is not answered in the drain time is cut off."""

    async def stuck(call: ServedCall) -> None:
        async for _ in call:
            await asyncio.Event().wait()

    async with serving(stuck, drain_seconds=0.1) as address:
        caller = await calling(address)
        caller.call.send(b"x")
        await asyncio.sleep(0.05)
    await caller.ended


async def test_the_end_ends_what_was_begun_for_somebody_who_left() -> None:
    """Nothing that answers outlives the block."""
    begun = asyncio.Event()
    left: list[str] = []

    async def stuck(call: ServedCall) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.append("cancelled" if call.ended else "still there")

    async with serving(stuck, drain_seconds=0.05) as address:
        caller = await calling(address)
        await begun.wait()
        caller.call.close()
        await asyncio.sleep(0.1)
        assert [] == left
    assert ["cancelled"] == left


async def test_a_defect_ends_its_call_only() -> None:
    """The next call is answered."""

    async def odd(call: ServedCall) -> None:
        async for message in call:
            if message == b"defect":
                raise RuntimeError
            await call.write(message)

    async with serving(odd) as address:
        caller, other = await calling(address), await calling(address)
        await caller.ask(b"x")
        caller.call.send(b"defect")
        await caller.ended
        assert b"y" == await other.ask(b"y")
        other.call.close()


def framed(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame of HTTP/2."""
    return struct.pack(">BHBBI", 0, len(payload), kind, flags, stream) + payload


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        PREFACE[:10] + b"x",
        PREFACE + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
        PREFACE + framed(1, 4, 1) + framed(0, 0, 1, b"\x01\x00\x00\x00\x01x"),
        PREFACE + framed(1, 4, 1) + framed(0, 0, 1, b"\x00\xff\xff\xff\xff"),
    ],
    ids=["another protocol", "half a preface", "a frame too large", "compressed", "too long"],
)
async def test_what_is_no_call_of_ours_is_hung_up_on(sent: bytes) -> None:
    """At once, and the next caller is answered."""
    async with serving() as address:
        host, _, port = address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        await reader.read()
        writer.close()
        caller = await calling(address)
        assert b"x" == await caller.ask(b"x")
        caller.call.close()


async def test_who_makes_no_call_is_let_go_and_many_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Idle connections take no places for long; beyond the bound nobody gets in."""
    monkeypatch.setattr(grpc_served, "BEGIN_SECONDS_MAX", 0.3)
    monkeypatch.setattr(grpc_served, "CONNECTIONS_MAX", 2)
    async with serving() as address:
        host, _, port = address.partition(":")
        idle: list[Any] = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
        refused = await calling(address)
        await refused.ended
        for reader, writer in idle:
            await reader.read()
            writer.close()
        caller = await calling(address)
        assert b"x" == await caller.ask(b"x")
        caller.call.close()


async def test_a_second_call_on_a_connection_is_refused() -> None:
    """The first goes on."""
    async with serving() as address:
        caller = await calling(address)
        await caller.ask(b"x")
        caller.call._write(framed(1, 4, 3))
        assert b"y" == await caller.ask(b"y")
        caller.call.close()


async def test_room_that_comes_behind_messages_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller with a small window, who sends much before he reads, is answered all the same."""
    monkeypatch.setattr(GrpcCall, "window_bytes", 65_535)
    async with serving() as address, asyncio.timeout(10):
        caller = await calling(address)
        sent = [b"%02d" % number * 30_000 for number in range(2 * grpc_served.WAITING_MAX)]
        for message in sent:
            caller.call.send(message)
        assert sent == [await caller.messages.get() for _ in sent]
        caller.call.close()


async def test_what_waits_is_within_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody is waited for, more than the window is neither granted nor taken."""
    monkeypatch.setattr(ServedCall, "window_bytes", 300_000)
    monkeypatch.setattr(grpc_served, "WAITING_MAX", 1_000)
    calls: list[ServedCall] = []
    go = asyncio.Event()

    async def slow(call: ServedCall) -> None:
        calls.append(call)
        await go.wait()
        await echo(call)

    async with serving(slow) as address, asyncio.timeout(10):
        caller = await calling(address)
        for _ in range(50):
            caller.call.send(b"x" * 20_000)
        while not calls or len(calls[0]._waiting) < 14:  # noqa: ASYNC110 - it is no event
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.1)
        assert calls[0]._kept <= 300_000
        go.set()
        assert [20_000] * 50 == [len(await caller.messages.get()) for _ in range(50)]
        caller.call.close()
        go.clear()
        reader, writer = await asyncio.open_connection(*address.split(":"))
        piece = framed(0, 0, 1, b"\x00\x00\x00\x27\x10" + b"x" * 10_000)
        writer.write(PREFACE + framed(1, 4, 1) + piece * 40)
        await ended(reader)
        writer.close()


async def test_the_end_takes_nothing_more() -> None:
    """Somebody who goes on asking does not make it wait: he learns by the end of his call."""
    begun = asyncio.Event()

    async def slow(call: ServedCall) -> None:
        async for message in call:
            begun.set()
            await asyncio.sleep(0.01)
            await call.write(message)

    async def ask_on(caller: Caller) -> None:
        while not caller.ended.done():
            caller.call.send(b"more")
            await asyncio.sleep(0.002)

    loop = asyncio.get_running_loop()
    async with serving(slow, drain_seconds=15.0) as address:
        caller = await calling(address)
        asking = asyncio.create_task(ask_on(caller))
        await begun.wait()
        await asyncio.sleep(0.1)
        began = loop.time()
    assert loop.time() - began < 10.0
    await asking


async def test_who_takes_nothing_is_let_go_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What he does not read is not kept for him."""
    monkeypatch.setattr(grpc_served, "LINGER_SECONDS_MAX", 0.05)
    begun = asyncio.Event()

    async def wordy(call: ServedCall) -> None:
        await call.write(b"x" * 8 * MEGABYTE)
        begun.set()

    settings = framed(4, 0, 0, struct.pack(">HI", 4, 16 * MEGABYTE))
    window = framed(8, 0, 0, struct.pack(">I", 16 * MEGABYTE))
    async with serving(wordy, drain_seconds=0.05) as address:
        reader, writer = await asyncio.open_connection(*address.split(":"))
        writer.write(PREFACE + settings + window + framed(1, 4, 1))
        await begun.wait()
    for _ in range(15):  # what is begun at one end of a pause is over by the next but two
        await asyncio.sleep(0.02)
    assert await ended(reader) < 8 * MEGABYTE
    writer.close()


async def test_a_call_that_has_much_to_take_lets_others_have_a_turn() -> None:
    """However much waits, and however quickly each message is answered."""
    turns = 0
    seen: set[int] = set()
    done = asyncio.Event()

    async def busy(call: ServedCall) -> None:
        count = 0
        async for _ in call:
            time.sleep(0.001)  # noqa: ASYNC251 - this is what is tested
            seen.add(turns)
            count += 1
            if count == 100:
                done.set()

    async with serving(busy) as address:
        caller = await calling(address)
        prefixed = struct.pack(">BI", 0, 1) + b"x"
        caller.call._write(framed(0, 0, 1, prefixed * 100))
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)
        caller.call.close()
    assert len(seen) > 10


async def test_connections_notice_that_nobody_is_there_any_more() -> None:
    """The system asks now and then, and gives up on what is not acknowledged."""
    options: list[int] = []

    async def look(call: ServedCall) -> None:
        assert call._transport is not None
        sock = call._transport.get_extra_info("socket")
        options.append(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    async with serving(look) as address:
        caller = await calling(address)
        await caller.ended
    assert [1] == options


async def ended(reader: asyncio.StreamReader) -> int:
    """Read to the end, in whatever way it comes; return how many bytes came."""
    count = 0
    try:
        while some := await reader.read(MEGABYTE):
            count += len(some)
    except ConnectionError:
        pass
    return count
