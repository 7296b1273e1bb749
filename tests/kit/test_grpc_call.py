"""One gRPC call as HTTP/2 frames: what goes out, what comes in, how it ends."""

import struct

import pytest

from lob.errors import Unavailable
from touchstone.kit import grpc_call
from touchstone.kit.grpc_call import FRAME_BYTES_MAX, PREFACE, WINDOW_BYTES, GrpcCall, open_call

DATA, HEADERS, RESET, SETTINGS, PING, GO_AWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
Frame = tuple[int, int, int, bytes]


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closed = False

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written += data

    def close(self) -> None:
        """Note it."""
        self.closed = True

    def frames(self) -> list[Frame]:
        """Return what was written since the last time, as kind, flags, stream and payload."""
        found, written = [], bytes(self.written).removeprefix(PREFACE)
        while written:
            length = int.from_bytes(written[:3], "big")
            kind, flags, stream = struct.unpack_from(">BBI", written, 3)
            found.append((kind, flags, stream, written[9 : 9 + length]))
            written = written[9 + length :]
        self.written.clear()
        return found

    def sent(self) -> bytes:
        """Return the payloads of all data since the last time."""
        return b"".join(payload for kind, _, _, payload in self.frames() if kind == DATA)


class Caller:
    """A call on a kept wire, and everything it says."""

    def __init__(self, message_bytes_max: int = 1_000) -> None:
        self.wire = Wire()
        self.messages: list[bytes] = []
        self.ends: list[str] = []
        self.free = 0
        self.call = GrpcCall("/package.Service/Method", "there:1", message_bytes_max)
        self.call.on_message = self.messages.append
        self.call.on_end = self.ends.append
        self.call.on_free = self._on_free
        self.call.connection_made(self.wire)

    def _on_free(self) -> None:
        self.free += 1


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 1) -> bytes:
    """Return a frame as the other side sends it."""
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def message(content: bytes, compressed: int = 0) -> bytes:
    """Return a message as gRPC frames it."""
    return struct.pack(">BI", compressed, len(content)) + content


def test_a_call_begins_as_http2_says() -> None:
    """Preface, settings, the window of the connection, and the fields of the call."""
    caller = Caller()
    assert caller.wire.written.startswith(PREFACE)
    settings, window, headers = caller.wire.frames()
    assert (SETTINGS, 0, 0) == settings[:3]
    assert (4, WINDOW_BYTES) in list(struct.iter_unpack(">HI", settings[3]))
    assert (WINDOW, 0, 0, (WINDOW_BYTES - 65_535).to_bytes(4, "big")) == window
    assert (HEADERS, 4, 1) == headers[:3]
    for text in (b"\x17/package.Service/Method", b"\x07there:1", b"\x10application/grpc"):
        assert text in headers[3]


def test_a_long_field_has_its_length_in_several_bytes() -> None:
    """127 and more, by RFC 7541 section 5.1."""
    for length, told in ((126, b"\x7e"), (127, b"\x7f\x00"), (255, b"\x7f\x80\x01")):
        assert told + b"x" * length == grpc_call.text("x" * length)


@pytest.mark.parametrize("step", [1, 2, 7, 10_000])
def test_messages_are_whole_however_they_come(step: int) -> None:
    """Two messages over three frames, one of them padded, in pieces of any size."""
    caller = Caller()
    told = message(b"one") + message(b"") + message(b"three")
    came = frame(SETTINGS, stream=0) + frame(HEADERS, b"\x88", 4) + frame(DATA, told[:6])
    came += frame(DATA, b"\x02" + told[6:9] + b"\0\0", 8) + frame(250, b"?") + frame(DATA, told[9:])
    for start in range(0, len(came), step):
        caller.call.data_received(came[start : start + step])
    assert [b"one", b"", b"three"] == caller.messages
    assert [] == caller.ends


def test_settings_and_pings_are_answered() -> None:
    """Each once; an answer is not answered."""
    caller = Caller()
    caller.wire.frames()
    caller.call.data_received(frame(PING, b"12345678", stream=0) + frame(SETTINGS, stream=0))
    assert [(PING, 1, 0, b"12345678"), (SETTINGS, 1, 0, b"")] == caller.wire.frames()
    caller.call.data_received(frame(PING, b"12345678", 1, 0) + frame(SETTINGS, b"", 1, 0))
    assert [] == caller.wire.frames()


def test_no_more_is_sent_than_the_windows_take() -> None:
    """The stream's own and the connection's, changed by settings, also to below nothing."""
    caller = Caller()
    caller.wire.frames()
    first, second = message(b"x" * 50_000), message(b"y" * 40_000)
    caller.call.send(first[5:])
    assert first == caller.wire.sent()
    assert caller.call.is_free
    caller.call.send(second[5:])
    went = 65_535 - len(first)
    assert second[:went] == caller.wire.sent()
    assert not caller.call.is_free
    smaller = struct.pack(">HI", 4, 65_435)
    caller.call.data_received(frame(SETTINGS, smaller, stream=0))
    caller.call.data_received(frame(WINDOW, (100).to_bytes(4, "big")))
    caller.call.data_received(frame(WINDOW, (90_000).to_bytes(4, "big"), stream=0))
    assert b"" == caller.wire.sent()
    caller.call.data_received(frame(WINDOW, (10).to_bytes(4, "big")))
    assert second[went : went + 10] == caller.wire.sent()
    assert 0 == caller.free
    caller.call.data_received(frame(WINDOW, (90_000).to_bytes(4, "big")))
    assert second[went + 10 :] == caller.wire.sent()
    assert 1 == caller.free


def test_frames_have_the_size_that_the_other_side_takes() -> None:
    """16 KiB until it says more."""
    caller = Caller()
    caller.wire.frames()
    caller.call.send(b"x" * 40_000)
    assert [16_384, 16_384, 7_237] == [len(payload) for *_, payload in caller.wire.frames()]
    caller.call.data_received(frame(SETTINGS, struct.pack(">HI", 5, 30_000), stream=0))
    caller.wire.frames()
    caller.call.data_received(frame(WINDOW, (90_000).to_bytes(4, "big"), stream=0))
    caller.call.data_received(frame(WINDOW, (90_000).to_bytes(4, "big")))
    caller.call.send(b"x" * 40_000)
    assert [30_000, 10_005] == [len(payload) for *_, payload in caller.wire.frames()]


def test_nothing_is_sent_while_the_connection_is_full() -> None:
    """It goes when there is room, and whoever waits for room is told."""
    caller = Caller()
    caller.wire.frames()
    caller.call.pause_writing()
    assert not caller.call.is_free
    caller.call.send(b"held")
    assert b"" == caller.wire.sent()
    caller.call.resume_writing()
    assert message(b"held") == caller.wire.sent()
    assert 1 == caller.free


def test_what_was_read_is_said() -> None:
    """Once for half a window, for the stream and for the connection."""
    caller = Caller(message_bytes_max=FRAME_BYTES_MAX)
    caller.wire.frames()
    piece = message(b"x" * (FRAME_BYTES_MAX - 5))
    count = WINDOW_BYTES // 2 // FRAME_BYTES_MAX
    for _ in range(count):
        caller.call.data_received(frame(DATA, piece))
    assert [] == caller.wire.frames()
    caller.call.data_received(frame(DATA, piece))
    more = ((count + 1) * FRAME_BYTES_MAX).to_bytes(4, "big")
    assert [(WINDOW, 0, 0, more), (WINDOW, 0, 1, more)] == caller.wire.frames()


@pytest.mark.parametrize(
    ("came", "why"),
    [
        (frame(HEADERS, b"\x88", 5), "ended the call"),
        (frame(DATA, message(b"last"), 1), "ended the call"),
        (frame(RESET, (8).to_bytes(4, "big")), "reset the call, code 8"),
        (frame(GO_AWAY, bytes(8), stream=0), "takes no calls"),
        (frame(DATA, message(b"x", compressed=1)), "compressed: 1"),
        (frame(DATA, message(b"x" * 1_001)[:9]), "a message of 1001 bytes"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a frame of 4740180 bytes"),
    ],
)
def test_every_end_is_told_once_and_closes(came: bytes, why: str) -> None:
    """In the words of what happened; nothing that follows counts."""
    caller = Caller()
    caller.call.data_received(came + frame(DATA, message(b"after")))
    caller.call.connection_lost(None)
    (told,) = caller.ends
    assert why in told
    assert caller.wire.closed
    assert caller.call.ended
    assert not caller.call.is_free
    assert b"after" not in caller.messages


def test_a_simulator_that_goes_soon_still_answers() -> None:
    """A notice that covers this call does not end it; the loss of the connection does."""
    caller = Caller()
    notice = frame(GO_AWAY, (2**31 - 1).to_bytes(4, "big") + bytes(4), stream=0)
    caller.call.data_received(notice + frame(DATA, message(b"answer")))
    assert [b"answer"] == caller.messages
    assert [] == caller.ends
    caller.call.connection_lost(OSError("gone"))
    assert ["the connection was lost: gone"] == caller.ends


def test_closing_cancels_the_call_and_says_nothing() -> None:
    """The other side learns of it; whoever closed knows."""
    caller = Caller()
    caller.wire.frames()
    caller.call.close()
    assert [(RESET, 0, 1, (8).to_bytes(4, "big"))] == caller.wire.frames()
    caller.call.connection_lost(None)
    assert [] == caller.ends


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:port", "nowhere"])
async def test_nobody_there_is_unavailable(address: str) -> None:
    """Also where the address is none."""
    with pytest.raises(Unavailable, match="cannot connect"):
        await open_call(address, "/a/b", message_bytes_max=1, seconds_max=0.5)


@pytest.mark.parametrize("kind", [PING, SETTINGS])
def test_who_asks_on_and_on_and_reads_nothing_is_let_go(kind: int) -> None:
    """Answers that nobody reads are bounded; somebody who reads may ask for ever."""
    asked = frame(kind, bytes(8 if kind == PING else 0), stream=0)
    caller = Caller()
    caller.call.data_received(asked * 3_000)
    assert [] == caller.ends
    caller.call.pause_writing()
    caller.call.data_received(asked * 3_000)
    assert ["it asks on and on, and reads no answers"] == caller.ends
    assert caller.wire.closed


def test_data_of_a_refused_call_costs_the_first_no_window() -> None:
    """It is given back for the connection, at once."""
    caller = Caller()
    caller.wire.frames()
    caller.call.data_received(frame(DATA, b"x" * 700, stream=3))
    assert [(WINDOW, 0, 0, (700).to_bytes(4, "big"))] == caller.wire.frames()
    assert [] == caller.messages


def test_more_than_the_window_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not keep to it is not read any more."""
    monkeypatch.setattr(GrpcCall, "window_bytes", 100_000)
    caller = Caller(message_bytes_max=10_000)
    caller.call._kept = 90_000
    for _ in range(10):
        caller.call.data_received(frame(DATA, message(b"x" * 9_990)))
    assert [] == caller.ends
    caller.call.data_received(frame(DATA, message(b"x" * 9_990)))
    assert ["more than the window takes"] == caller.ends
