"""What the router and its shadow process say to one another, and how it is checked.

To the process: a header of 20 bytes (length, number of the order, seed) and the request in JSON.
From it: a header of 4 bytes (length) and a JSON list:

    ["ready", [name of a bound that the system does not give, ...]]
    ["failed", "one line"]
    ["outcome", number, seconds, digest, error or null, fill or null, control again or null]

The process runs what may be hostile, so the router believes nothing that it says: the order, the
control's fill and the time are the router's own, and of the candidate only figures are taken that
an execution of that order can have. What is left as text is shown and never computed with.
"""

import json
import re
import struct
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from execution_providers import Fill, FillStatus
from lob.errors import InvalidInput
from touchstone.kit.codec import decode_fill, encode_fill
from touchstone.kit.received import ReceivedFill

REQUEST_BYTES_MAX: Final = 256 * 1024
"""A larger request is not mirrored."""
FRAME_BYTES_MAX: Final = 256 * 1024
FILL_CHARACTERS_MAX: Final = 128 * 1024
PARTS_MAX: Final = 2_000
TEXT_CHARACTERS_MAX: Final = 500
SECONDS_MAX: Final = 3_600.0
GARBAGE: Final = "GARBAGE"
"""The error code of an answer that no execution of the order can give."""

_ORDER: Final = struct.Struct("<IQq")
_LENGTH: Final = struct.Struct("<I")
_DIGEST: Final = re.compile(r"[0-9a-f]{32}").fullmatch
_CODE: Final = re.compile(r"[A-Z_]{1,32}").fullmatch
# JSON can write half a character this way, which no UTF-8 text can hold.
_HALF_CHARACTER: Final = re.compile(rb"\\u[dD][89a-fA-F]").search
_ADJUSTED_MAX: Final = 40
_EXPONENT_MIN: Final = -60
_ZERO: Final = Decimal(0)
_FIGURES: Final = ("status", "filled_quantity", "average_price", "fees", "slippage_bps")
_INT64_MAX: Final = 2**63 - 1
_OUTCOME_FIELDS: Final = 7


_put: Final = object.__setattr__


class Garbage(Exception):  # noqa: N818 - it says what was sent
    """What was said is not in the protocol, or no possible answer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one mirrored order: the candidate's fill, or the code of its error.

    `seconds` is what the candidate took; `repeat` is the control's fill under another seed, where
    that was asked for; `digest` is of the request.
    """

    fill: Fill | None
    error: str | None
    seconds: float
    digest: str
    repeat: Fill | None = None


class LateFill(ReceivedFill):
    """A fill whose figures are read, and its attribution and parts when somebody looks at them.

    To the garbage collector it is one object with nothing behind it, and thousands are kept: with
    dictionaries and tuples of their own they would stop the router for 10 ms and more now and then.
    """

    __slots__ = ()

    def __init__(self, encoded: bytes, fill: Fill) -> None:
        for name in _FIGURES:
            _put(self, name, getattr(fill, name))
        _put(self, "encoded", encoded)

    def __getattr__(self, name: str) -> Any:
        """Read what is not kept as an object; called only for attributes that are not there."""
        if name not in {"attribution", "fills"}:
            raise AttributeError(name)
        return getattr(decode_fill(self.encoded), name)


def kept(fill: Fill) -> Fill:
    """Return a fill of the router's own in the form in which it is kept."""
    return LateFill(encode_fill(fill), fill)


def size_of(fill: Fill | None) -> int:
    """Return the bytes of a fill that is kept, as they were said."""
    return len(fill.encoded) if isinstance(fill, LateFill) else 0


def order_frame(number: int, seed: int, request: bytes) -> bytes:
    """Return the frame of an order: `number` is given back with its outcome."""
    return _ORDER.pack(len(request), number, seed) + request


ORDER_HEADER_BYTES: Final = _ORDER.size


def order_header(header: bytes) -> tuple[int, int, int]:
    """Return the length of the request, the order's number, and the seed."""
    length, number, seed = _ORDER.unpack(header)
    return length, number, seed


def message_frame(message: list[Any]) -> bytes:
    """Return the frame of a message of the process.

    Raises:
        Garbage: it is larger than the router takes, or is no JSON.
    """
    try:
        body = json.dumps(
            message, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise Garbage(f"no JSON: {error}") from None
    if len(body) > FRAME_BYTES_MAX:
        raise Garbage(f"{len(body)} bytes; allowed: {FRAME_BYTES_MAX}")
    return _LENGTH.pack(len(body)) + body


def take_message(buffer: bytearray) -> list[Any] | None:
    """Remove one message from the front of `buffer` and return it; None while it is not whole.

    Raises:
        Garbage: what is there cannot become a message.
    """
    if len(buffer) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack_from(buffer)
    if length > FRAME_BYTES_MAX:
        raise Garbage(f"a message of {length} bytes; allowed: {FRAME_BYTES_MAX}")
    end = _LENGTH.size + length
    if len(buffer) < end:
        return None
    body = bytes(buffer[_LENGTH.size : end])
    del buffer[:end]
    if _HALF_CHARACTER(body):
        raise Garbage("half a character")
    try:
        message = _read_json(body.decode())
    except (ValueError, RecursionError) as error:
        raise Garbage(f"no JSON: {error}") from None
    if not isinstance(message, list) or not message or not isinstance(message[0], str):
        raise Garbage("no message")
    return message


def outcome_message(number: int, outcome: Outcome, quantity: Decimal) -> bytes:
    """Return the frame of an outcome, checked as the router will check it.

    Raises:
        Garbage: a fill is none, or none that an order of `quantity` can have.
    """
    fill = None if outcome.fill is None else _said(outcome.fill)
    repeat = None if outcome.repeat is None else _said(outcome.repeat)
    row = ["outcome", number, outcome.seconds, outcome.digest, outcome.error, fill, repeat]
    outcome_of(row, quantity)
    return message_frame(row)


def outcome_of(message: list[Any], quantity: Decimal) -> Outcome:
    """Return the outcome that a message says, for an order of `quantity`.

    Raises:
        Garbage: a figure is none, or none that such an order can have.
    """
    if len(message) != _OUTCOME_FIELDS:
        raise Garbage(f"{len(message)} fields; allowed: {_OUTCOME_FIELDS}")
    _, _, seconds, digest, error, fill, repeat = message
    if type(seconds) is not float or not 0.0 <= seconds <= SECONDS_MAX:
        raise Garbage("seconds")
    if type(digest) is not str or not _DIGEST(digest):
        raise Garbage("digest")
    if error is not None and (type(error) is not str or not _CODE(error)):
        raise Garbage("error")
    if (fill is None) == (error is None):
        raise Garbage("neither fill nor error, or both")
    return Outcome(
        None if fill is None else _fill(fill, quantity),
        error,
        seconds,
        digest,
        None if repeat is None else _fill(repeat, quantity),
    )


def one_line(text: object) -> str:
    """Return a text as one printable line of bounded length."""
    shown = text if isinstance(text, str) else repr(text)
    line = " ".join(shown[: 4 * TEXT_CHARACTERS_MAX].split())
    return "".join(c if c.isprintable() else "?" for c in line)[:TEXT_CHARACTERS_MAX]


def _fill(text: object, quantity: Decimal) -> Fill:
    """Return the fill that a text says; `Garbage` where no order of `quantity` has such a fill."""
    if type(text) is not str or len(text) > FILL_CHARACTERS_MAX or "\n" in text:
        raise Garbage("a fill's text")
    encoded = text.encode()
    try:
        fill = decode_fill(encoded)
    except InvalidInput as error:
        raise Garbage(str(error)) from None
    _require_possible(fill, quantity)
    return LateFill(encoded, fill)


def _require_possible(fill: Fill, quantity: Decimal) -> None:
    """Refuse a fill that no order of `quantity` has."""
    filled, average = fill.filled_quantity, fill.average_price
    if not _agrees(fill.status, filled, quantity):
        raise Garbage("status and filled quantity")
    if (average is None) != (filled == _ZERO) or (average is not None and average <= _ZERO):
        raise Garbage("average price")
    for figure in (filled, average, fill.fees, fill.slippage_bps):
        if figure is not None and not _EXPONENT_MIN <= figure.adjusted() <= _ADJUSTED_MAX:
            raise Garbage("a figure's size")
    if len(fill.fills) > PARTS_MAX:
        raise Garbage("fills")
    for part in fill.fills:
        if part.price <= _ZERO or not _ZERO < part.quantity <= filled:
            raise Garbage("a part's figures")
        if not 0 <= part.offset_ns <= _INT64_MAX:
            raise Garbage("a part's time")


def _agrees(status: FillStatus, filled: Decimal, quantity: Decimal) -> bool:
    if status is FillStatus.FILLED:
        return filled == quantity
    if status is FillStatus.PARTIALLY_FILLED:
        return _ZERO < filled < quantity
    return filled == _ZERO


def _said(fill: object) -> str:
    """Return a fill as a text; `Garbage` where it is none."""
    if type(fill) is not Fill and type(fill) is not ReceivedFill:
        raise Garbage(f"{type(fill).__name__}; allowed: Fill")
    if type(fill.fills) is not tuple or len(fill.fills) > PARTS_MAX:
        raise Garbage("fills")
    try:
        figures = [fill.filled_quantity, fill.fees]
        figures += [f for f in (fill.average_price, fill.slippage_bps) if f is not None]
        for part in fill.fills:
            figures += [part.price, part.quantity]
        for figure in figures:
            _require_plain(figure)
        # By the rules of JSON itself, which a faster encoder may take more freely.
        json.dumps(dict(fill.attribution), allow_nan=False)
        return encode_fill(fill).decode()
    except (AttributeError, TypeError, ValueError, RecursionError, OverflowError) as error:
        raise Garbage(f"a fill: {error}") from None


def _require_plain(value: object) -> None:
    """Refuse what is no number, or one that nobody would write out."""
    if type(value) is not Decimal or not value.is_finite():
        raise Garbage("a figure")
    exponent = int(value.as_tuple().exponent)
    if exponent < _EXPONENT_MIN or (value and value.adjusted() > _ADJUSTED_MAX):
        raise Garbage("a figure's size")


def _no_constant(name: str) -> float:
    raise ValueError(name)


_read_json: Final = json.JSONDecoder(parse_constant=_no_constant).decode
