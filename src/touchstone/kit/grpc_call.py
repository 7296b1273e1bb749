"""One bidirectional gRPC call on a connection of its own, written for asyncio.

The general client hands every message over to threads of its own and back, some 300 us of CPU for
a request and its answer; for one long call between two services this is a tenth of it. It speaks
gRPC over HTTP/2 (RFC 9113, without TLS) as far as one call needs: both flow controls, settings,
pings, the end in every form. Header fields that come are not read: how the call ended matters, and
whoever asks again finds out why. Bounded: what is received by the size of a message, what is sent
by `is_free`, which says when there is room for the next.
"""

import asyncio
import struct
from collections.abc import Callable
from typing import Any, Final

from lob.errors import Unavailable

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WINDOW_BYTES: Final = 64 * 1024 * 1024
"""How much may come before this side says that it has read it."""
FRAME_BYTES_MAX: Final = 1024 * 1024
ANSWERS_MAX: Final = 1_000
"""How many pings and the like are answered to somebody who reads nothing; then it is let go."""
FIRST_WINDOW_BYTES: Final = 65_535
"""What may be sent before the other side says otherwise, by the RFC."""
FIRST_FRAME_BYTES: Final = 16_384
STREAM: Final = 1
DATA, HEADERS, RESET, SETTINGS = 0, 1, 3, 4
_PING, _GO_AWAY, WINDOW = 6, 7, 8
END_STREAM, _ACK, END_HEADERS, _PADDED = 1, 1, 4, 8
INITIAL_WINDOW, MAX_FRAME = 4, 5
_CANCEL: Final = 8
_pack_head: Final = struct.Struct(">BHBBI").pack
_unpack_head: Final = struct.Struct(">BHBBI").unpack_from
_pack_prefix: Final = struct.Struct(">BI").pack
_unpack_prefix: Final = struct.Struct(">BI").unpack_from
_HEAD_BYTES: Final = 9
_PREFIX_BYTES: Final = 5
_NUMBER: Final = 0x7FFF_FFFF


class GrpcConnection(asyncio.Protocol):
    """One call on a connection, from either side: messages in frames, and both flow controls."""

    window_bytes = WINDOW_BYTES

    def __init__(self, message_bytes_max: int) -> None:
        self._message_bytes_max = message_bytes_max
        self._transport: asyncio.Transport | None = None
        self._came = bytearray()
        self._message = bytearray()
        self._unsaid = 0
        self._kept = 0
        self._answers = 0
        self._to_send = memoryview(b"")
        self._connection_window = FIRST_WINDOW_BYTES
        self._stream_window = FIRST_WINDOW_BYTES
        self._first_window = FIRST_WINDOW_BYTES
        self._frame_bytes = FIRST_FRAME_BYTES
        self._paused = False
        self.ended = False
        self.on_message: Callable[[bytes], None] = lambda _message: None
        self.on_free: Callable[[], None] = lambda: None
        self.on_end: Callable[[str], None] = lambda _why: None

    # ------------------------------------------------------------------------ what callers do

    @property
    def is_free(self) -> bool:
        """Say whether everything handed over is on its way, so that more may be."""
        return not (self._to_send or self._paused or self.ended)

    def send(self, message: bytes) -> None:
        """Send a message, after what still waits for the other side to take it."""
        framed = _pack_prefix(0, len(message)) + message
        waits = bytes(self._to_send) + framed if self._to_send else framed
        self._to_send = memoryview(waits)
        self._send_what_may_go()

    def close(self) -> None:
        """Cancel the call and close the connection; `on_end` is not called any more."""
        transport, self._transport = self._transport, None
        self.ended = True
        if transport is not None:
            transport.write(frame(RESET, 0, STREAM, _CANCEL.to_bytes(4, "big")))
            self._hang_up(transport)

    # ------------------------------------------------------------------------ the connection

    def connection_lost(self, exc: Exception | None) -> None:
        """End the call."""
        self._end("the connection was lost" if exc is None else f"the connection was lost: {exc}")

    def pause_writing(self) -> None:
        """Hold back what is to be sent: the other side does not read."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on sending."""
        self._paused = False
        self._send_what_may_go()
        self._tell_if_free()

    def data_received(self, data: bytes) -> None:
        """Take what came, as many whole frames as there are."""
        came = self._came
        came += data
        at, size = 0, len(came)
        while size - at >= _HEAD_BYTES and not self.ended:
            high, low, kind, flags, stream = _unpack_head(came, at)
            length = high << 16 | low
            if length > FRAME_BYTES_MAX:
                self._fail(f"a frame of {length} bytes")
                return
            end = at + _HEAD_BYTES + length
            if end > size:
                break
            self._take(kind, flags, stream & _NUMBER, bytes(came[at + _HEAD_BYTES : end]))
            at = end
        del came[:at]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if stream > STREAM and kind != HEADERS:
            self._pass_over(kind, payload)
            return
        if kind == DATA:
            self._take_data(flags, payload)
        elif kind == WINDOW and len(payload) == 4:  # noqa: PLR2004 - its size by the RFC
            more = int.from_bytes(payload, "big") & _NUMBER
            if stream == 0:
                self._connection_window += more
            else:
                self._stream_window += more
            self._send_what_may_go()
            self._tell_if_free()
        elif kind == _PING and not flags & _ACK:
            self._reply(frame(_PING, _ACK, 0, payload))
        elif kind == SETTINGS and not flags & _ACK:
            self._take_settings(payload)
        elif kind == HEADERS:
            self._take_head(flags, stream)
        elif kind == RESET:
            self._fail(f"the other side reset the call, code {int.from_bytes(payload, 'big')}")
        elif kind == _GO_AWAY and int.from_bytes(payload[:4], "big") & _NUMBER < STREAM:
            self._fail("the other side takes no calls")

    def _pass_over(self, kind: int, payload: bytes) -> None:
        """Give back what another call, which was refused, took of the connection's window."""
        if kind == DATA and payload:
            self._reply(frame(WINDOW, 0, 0, len(payload).to_bytes(4, "big")))

    def _take_head(self, flags: int, stream: int) -> None:
        """Take the head of the call, or what its end says."""

    def _take_end(self) -> None:
        """Take that the other side sends no more."""

    def _more_window(self) -> bytes:
        """Return what lets the other side send as much as this one takes."""
        more = self.window_bytes - FIRST_WINDOW_BYTES
        return frame(WINDOW, 0, 0, more.to_bytes(4, "big"))

    def _take_data(self, flags: int, payload: bytes) -> None:
        self._unsaid += len(payload)
        if self._unsaid > self.window_bytes:
            self._fail("more than the window takes")
            return
        if flags & _PADDED and payload:
            payload = payload[1 : max(1, len(payload) - payload[0])]
        message = self._message
        message += payload
        at, size = 0, len(message)
        while size - at >= _PREFIX_BYTES and not self.ended:
            compressed, length = _unpack_prefix(message, at)
            if compressed or length > self._message_bytes_max:
                self._fail(f"a message of {length} bytes, compressed: {compressed}")
                return
            end = at + _PREFIX_BYTES + length
            if end > size:
                break
            self.on_message(bytes(message[at + _PREFIX_BYTES : end]))
            at = end
        del message[:at]
        self._say_what_was_taken()
        if flags & END_STREAM:
            self._take_end()

    def _say_what_was_taken(self) -> None:
        """Let the other side send on: all that came, but for the bytes that are kept here."""
        taken = self._unsaid - self._kept
        if taken > self.window_bytes // 2:
            self._unsaid = self._kept
            more = taken.to_bytes(4, "big")
            self._write(frame(WINDOW, 0, 0, more) + frame(WINDOW, 0, STREAM, more))

    def _take_settings(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", payload[: len(payload) // 6 * 6]):
            if name == INITIAL_WINDOW:
                self._stream_window += value - self._first_window
                self._first_window = value
            elif name == MAX_FRAME:
                self._frame_bytes = min(max(value, FIRST_FRAME_BYTES), FRAME_BYTES_MAX)
        self._reply(frame(SETTINGS, _ACK, 0, b""))
        self._send_what_may_go()
        self._tell_if_free()

    def _send_what_may_go(self) -> None:
        """Send as much as the other side's windows take, in frames of the size that it takes."""
        parts: list[bytes | memoryview] = []
        left = self._to_send
        while left and not self._paused:
            window = min(self._connection_window, self._stream_window, self._frame_bytes)
            if window <= 0:
                break
            piece = left[:window]
            parts += (_head(DATA, 0, STREAM, len(piece)), piece)
            self._connection_window -= len(piece)
            self._stream_window -= len(piece)
            left = left[window:]
        self._to_send = left
        if parts:
            self._write(b"".join(parts))

    def _tell_if_free(self) -> None:
        if self.is_free:
            self.on_free()

    def _write(self, encoded: bytes) -> None:
        if self._transport is not None:
            self._transport.write(encoded)

    def _reply(self, encoded: bytes) -> None:
        """Answer what HTTP/2 wants answered, within bounds where the answers are not read."""
        self._answers = self._answers + 1 if self._paused else 0
        if self._answers > ANSWERS_MAX:
            self._fail("it asks on and on, and reads no answers")
        else:
            self._write(encoded)

    def _fail(self, why: str) -> None:
        transport = self._transport
        self._end(why)
        if transport is not None:
            self._hang_up(transport)

    def _hang_up(self, transport: asyncio.Transport) -> None:
        transport.close()

    def _end(self, why: str) -> None:
        self._transport = None
        if not self.ended:
            self.ended = True
            self.on_end(why)


class GrpcCall(GrpcConnection):
    """Send and receive messages of a call of one's own; made by `open_call`.

    Args:
        path: `/package.Service/Method`.
        authority: the address, as the other side is called.
        message_bytes_max: a longer message that comes ends the call.
    """

    def __init__(self, path: str, authority: str, message_bytes_max: int) -> None:
        super().__init__(message_bytes_max)
        self._path = path
        self._authority = authority

    def connection_made(self, transport: Any) -> None:
        """Open the call: everything it begins with goes out at once."""
        self._transport = transport
        settings = struct.pack(
            ">HIHIHIHI",
            *(1, 0),  # no table of header fields
            *(2, 0),  # no pushing
            *(INITIAL_WINDOW, self.window_bytes),
            *(MAX_FRAME, FRAME_BYTES_MAX),
        )
        transport.write(
            PREFACE
            + frame(SETTINGS, 0, 0, settings)
            + self._more_window()
            + frame(HEADERS, END_HEADERS, STREAM, _fields(self._path, self._authority))
        )

    def _take_head(self, flags: int, stream: int) -> None:  # noqa: ARG002 - there is one stream
        if flags & END_STREAM:
            self._take_end()

    def _take_end(self) -> None:
        self._fail("the simulator ended the call")


async def open_call(
    address: str, path: str, *, message_bytes_max: int, seconds_max: float
) -> GrpcCall:
    """Connect to `address` (host:port) and open a call.

    Raises:
        Unavailable: nobody takes the connection in time.
    """
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    call = GrpcCall(path, address, message_bytes_max)
    try:
        async with asyncio.timeout(seconds_max):
            await loop.create_connection(lambda: call, host.strip("[]"), int(port))
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise Unavailable(f"simulator at {address}: cannot connect: {error}") from None
    return call


def _head(kind: int, flags: int, stream: int, length: int) -> bytes:
    return _pack_head(length >> 16, length & 0xFFFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a frame of HTTP/2."""
    return _head(kind, flags, stream, len(payload)) + payload


def _fields(path: str, authority: str) -> bytes:
    """Return the header fields of a call (RFC 7541), literals without an index, uncompressed."""
    return b"".join(
        (
            b"\x83\x86",  # :method POST, :scheme http
            b"\x04" + text(path),
            b"\x01" + text(authority),
            b"\x00" + text("te") + text("trailers"),
            b"\x0f\x10" + text("application/grpc"),  # content-type
            b"\x0f\x2b" + text("touchstone"),  # user-agent
        )
    )


def text(value: str) -> bytes:
    """Return a text with its length before it, seven bits to a byte after the first."""
    encoded = value.encode()
    length, first = len(encoded), 0x7F
    if length < first:
        return bytes((length,)) + encoded
    rest = length - first
    told = bytearray((first,))
    while rest >= 0x80:  # noqa: PLR2004 - seven bits
        told.append(rest & 0x7F | 0x80)
        rest >>= 7
    told.append(rest)
    return bytes(told) + encoded
