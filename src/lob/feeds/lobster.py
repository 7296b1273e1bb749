"""Read LOBSTER message and orderbook files (lobsterdata.com, "LOBSTER Output Structure").

A message line is `time,type,order id,size,price,direction`: seconds after midnight, prices in
dollars x 10,000, direction 1 for a buy *order* and -1 for a sell order. An orderbook line is
`ask price, ask size, bid price, bid size` for each level. Neither file has a header.

`LobsterReader` goes line by line and says exactly what is wrong with one; `lob.feeds.lobster_feed`
reads whole blocks, and comes back to it where a block is not plain.
"""

from collections import Counter
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

from lob.errors import InvalidInput
from lob.feeds.base import file_size
from lob.feeds.text import MAX_LINE_BYTES
from lob.types import INT64_MAX, Level, Side

PRICE_UNITS_PER_TICK: Final = 100
"""Of 0.0001 dollars: the tick of a US share above one dollar is 0.01."""

NO_LEVEL: Final = 9_999_999_999
"""The price, with either sign, of a level that is not there."""

_FIELDS: Final = 6
_NANOSECOND_DIGITS: Final = 9
_VALUES_PER_LEVEL: Final = 4


class MessageType(IntEnum):
    """What a message says; a partial cancel removes its size, it does not replace."""

    ADD = 1
    REDUCE = 2
    DELETE = 3
    EXECUTE = 4
    EXECUTE_HIDDEN = 5
    CROSS = 6
    HALT = 7


UNUSABLE: Final = {
    MessageType.EXECUTE_HIDDEN: "hidden_execution",
    MessageType.CROSS: "cross_trade",
    MessageType.HALT: "trading_halt",
}
"""Message types that say nothing of the visible book, and the reason they are counted under."""


class LobsterMessage(NamedTuple):
    """One line; `price_ticks` is 0 where the type is none of the visible book's."""

    line: int
    time_ns: int
    kind: MessageType
    order_id: int
    quantity_lots: int
    price_ticks: int
    side: Side


class BookRow(NamedTuple):
    """One line of an orderbook file: bids and asks, best first (order counts are unknown: 0)."""

    line: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class LobsterReader:
    """Yield a file's messages in order, one line in memory at a time.

    `unusable` counts by reason the messages that say nothing of the visible book; they are yielded
    all the same, because an orderbook file has rows for them. A line that cannot be read is
    `InvalidInput` with the file and the line.
    """

    def __init__(self, path: str | Path, units_per_tick: int = PRICE_UNITS_PER_TICK) -> None:
        self.path = Path(path)
        self._units_per_tick = units_per_tick
        self.by_type: Counter[str] = Counter()
        self.unusable: Counter[str] = Counter()

    def __iter__(self) -> Iterator[LobsterMessage]:
        """Read the file from its start; the counts start again too."""
        self.by_type.clear()
        self.unusable.clear()
        before_ns = 0
        for number, text in _lines(self.path):
            try:
                message = read_message(number, text, self._units_per_tick)
                before_ns = _not_before(before_ns, message.time_ns)
            except (InvalidInput, ValueError) as error:
                raise InvalidInput(f"{self.path}:{number}: {error}") from error
            self.by_type[message.kind.name] += 1
            if message.kind in UNUSABLE:
                self.unusable[UNUSABLE[message.kind]] += 1
            yield message


def read_book_rows(
    path: str | Path, units_per_tick: int = PRICE_UNITS_PER_TICK
) -> Iterator[BookRow]:
    """Yield the rows of an orderbook file; `InvalidInput` names the file and the line."""
    for number, text in _lines(Path(path)):
        try:
            row = _row(number, text.split(","), units_per_tick)
        except (InvalidInput, ValueError) as error:
            raise InvalidInput(f"{path}:{number}: {error}") from error
        yield row


def count_lines(path: str | Path) -> int:
    """Return how many lines a file has, a last one without a line feed included."""
    lines, last = 0, b"\n"
    file_size(Path(path))
    try:
        with Path(path).open("rb") as file:
            while block := file.read(1 << 20):
                lines += block.count(b"\n")
                last = block[-1:]
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}") from error
    return lines + (last != b"\n")


def count_levels(path: str | Path) -> int:
    """Return how many levels a side the rows of an orderbook file have, by its first line."""
    _, text = next(_lines(Path(path)), (0, ""))
    return (text.count(",") + 1) // _VALUES_PER_LEVEL


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    file_size(path)
    try:
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(MAX_LINE_BYTES):
                number += 1
                if len(raw) == MAX_LINE_BYTES and not raw.endswith(b"\n"):
                    raise InvalidInput(f"{path}:{number}: longer than {MAX_LINE_BYTES} bytes")
                yield number, raw.decode("ascii").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}:{number}: not ASCII text") from error
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}") from error


def read_message(
    number: int, text: str, units_per_tick: int = PRICE_UNITS_PER_TICK
) -> LobsterMessage:
    """Return the message of one line; `units_per_tick` is the tick in 0.0001 dollars.

    Raises:
        InvalidInput, ValueError: it is none; the caller knows the file.
    """
    fields = text.split(",")
    if len(fields) != _FIELDS:
        raise InvalidInput(f"{len(fields)} fields in {text[:80]!r}; allowed: {_FIELDS}")
    time_ns = _nanoseconds(fields[0])
    try:
        kind = MessageType(_integer(fields[1]))
    except ValueError as error:
        raise InvalidInput(f"type: {fields[1]!r}; allowed: 1..7") from error
    order_id, size, price, direction = (_integer(field) for field in fields[2:])
    if kind in UNUSABLE:
        side = Side.BUY if direction == 1 else Side.SELL
        return LobsterMessage(number, time_ns, kind, order_id, size, 0, side)
    if direction not in (1, -1):
        raise InvalidInput(f"direction: {direction}; allowed: 1, -1")
    if price % units_per_tick:
        raise InvalidInput(f"price: {price}; allowed: a multiple of {units_per_tick}")
    ticks = price // units_per_tick
    for name, value in (("order id", order_id), ("size", size), ("price", ticks)):
        if not 1 <= value <= INT64_MAX:
            raise InvalidInput(f"{name}: {value}; allowed: 1..{INT64_MAX}")
    side = Side.BUY if direction == 1 else Side.SELL
    return LobsterMessage(number, time_ns, kind, order_id, size, ticks, side)


def _integer(text: str) -> int:
    """Return a whole number written in plain digits: `int` would take "1_0" and " 1" too."""
    if not text.removeprefix("-").isdigit():
        raise InvalidInput(f"invalid literal {text[:80]!r}; allowed: a whole number")
    return int(text)


def _nanoseconds(text: str) -> int:
    """Return seconds with up to nine decimals as whole nanoseconds, without a float between."""
    seconds, _, fraction = text.partition(".")
    digits = fraction[:_NANOSECOND_DIGITS].ljust(_NANOSECOND_DIGITS, "0")
    if not (seconds.isdigit() and digits.isdigit()):
        raise InvalidInput(f"time: {text!r}; allowed: seconds after midnight")
    return int(seconds) * 1_000_000_000 + int(digits)


def _not_before(before_ns: int, time_ns: int) -> int:
    if time_ns < before_ns:
        raise InvalidInput(f"time: {time_ns} ns; allowed: {before_ns} or later")
    return time_ns


def _row(number: int, fields: list[str], units: int) -> BookRow:
    if len(fields) % _VALUES_PER_LEVEL:
        raise InvalidInput(f"{len(fields)} values; allowed: a multiple of {_VALUES_PER_LEVEL}")
    values = [_integer(field) for field in fields]
    asks = _levels(values[0::4], values[1::4], units)
    return BookRow(number, _levels(values[2::4], values[3::4], units), asks)


def _levels(prices: list[int], sizes: list[int], units: int) -> tuple[Level, ...]:
    there = [pair for pair in zip(prices, sizes, strict=True) if abs(pair[0]) != NO_LEVEL]
    for price, size in there:
        if price % units or price <= 0 or size <= 0:
            raise InvalidInput(f"level: {price} x {size}; allowed: whole ticks and lots above 0")
    return tuple(Level(price // units, size, 0) for price, size in there)
