"""Read Bitstamp's order events: its `live_orders` messages, as CSV of a recorder or JSON lines.

Source: Bitstamp "WebSocket API v2", channel `live_orders_[currency_pair]`. An event says what is
left of an order: `created`, `changed`, `deleted`. A trade is no event of its own: it is two events
side by side, of one moment, that take the same amount off a bid and an ask.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Final

from lob.errors import InvalidInput
from lob.feeds.base import BLOCK_ROWS, Feed, FeedBlock
from lob.feeds.bitstamp_orders import BitstampOrders, Event
from lob.feeds.exact import whole_number
from lob.feeds.jsonlines import load_json, scale_of
from lob.feeds.lines import LineReader, Rows, plain_head, read_head
from lob.types import INT64_MAX, AssetClass, Instrument

HEADER: Final = "id,timestamp,exchange_timestamp,price,volume,action,direction"
_SIGNS: Final = {"bid": 1, "ask": -1}
_ORDER_TYPES: Final = {0: 1, 1: -1}
_ACTIONS: Final = ("created", "changed", "deleted")
_MAX_CHANNELS: Final = 20
_NS_PER_MS: Final = 1_000_000
_NS_PER_US: Final = 1_000
_PAIR_IN_NAME: Final = re.compile(
    r"(?<![a-z])([a-z0-9]{2,6})[-_]?(usd|usdt|usdc|eur|gbp|btc)(?![a-z])"
)
_CHANNEL: Final = re.compile(rb'"(?:live_orders)_([a-z0-9]{4,12})"')
_CSV_PRICES: Final = re.compile(rb"\n[0-9]+,[0-9]+,[0-9]+,[0-9]+\.([0-9]+),")


class BitstampFeed(Feed):
    """Read order events; the two of a trade become an execution of the order that was there first.

    The taker's lots go without a second execution. An order without a price (a market order, which
    comes with price 0 or 999999999) is never in a book: it is counted as `no_price`. Events of one
    venue timestamp are one event of the venue: the last of them carries `Flag.LAST`.

    The channel publishes differences from an unknown state, and some are missing: books made of it
    are crossed at times and meet orders that nobody created. Both are counted where it is replayed.
    """

    format = "bitstamp"

    def __init__(
        self,
        path: str | Path,
        instrument: Instrument,
        *,
        symbol: str | None = None,
        block_rows: int = BLOCK_ROWS,
    ) -> None:
        super().__init__(path, instrument, block_rows=block_rows)
        self.pair = _plain(symbol or instrument.symbol)
        self._orders = BitstampOrders(instrument)
        self._others: list[str] = []

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> bool:
        """Say whether it begins with the CSV's header, or with a message of a live channel."""
        text = plain_head(path, head).lstrip()
        return text.startswith(HEADER.encode()) or (
            text.startswith(b"{") and b'"event"' in text and b'"live_orders_' in text
        )

    @classmethod
    def default_instrument(cls, path: Path, *, symbol: str | None = None) -> Instrument | None:
        """Return the pair named, or that the file or its name says, sizes in 0.00000001.

        The tick is 0.01, or as fine as the finest price among the first 64 KiB.
        """
        head = read_head(path)
        channel = _CHANNEL.search(head)
        name = _PAIR_IN_NAME.search(path.name.lower())
        if symbol is None and channel is not None:
            symbol = channel[1].decode()
        elif symbol is None and name is not None:
            symbol = "".join(name.groups())
        if symbol is None:
            return None
        places = [len(part.rstrip(b"0")) for part in _CSV_PRICES.findall(head)]
        finest = min(max(places, default=0), 12)
        return Instrument(
            symbol=symbol.upper(),
            asset_class=AssetClass.CRYPTO,
            tick_size=min(scale_of(head), Decimal(1).scaleb(-finest)),
            lot_size=Decimal("0.00000001"),
        )

    def blocks(self) -> Iterator[FeedBlock]:
        """Yield the file's messages; an event waits for the next, which may be of one trade."""
        self.restart()
        self._orders = orders = BitstampOrders(self.instrument)
        self._others = []
        reader, rows = LineReader(self.path), Rows()
        for event in self.events(reader):
            self.summary.records += 1
            self.summary.by_type[event.action] += 1
            try:
                orders.take(event, rows, self.summary)
            except InvalidInput as fault:
                raise InvalidInput(f"{self.path}:{event.position}: {fault}") from fault
            # A trade's two events give at most four messages.
            if len(rows) >= max(1, self.block_rows - 3):
                self.bytes_done = reader.bytes_done
                self.summary.messages += len(rows)
                yield rows.take()
        if self._others and not self.summary.records - self.summary.by_type["other"]:
            raise InvalidInput(
                f"{self.path}: symbol: no order event of {self.pair!r}; allowed: "
                f"{', '.join(self._others)}"
            )
        orders.finish(rows, self.summary)
        self.bytes_done = self.bytes_total
        if len(rows):
            self.summary.messages += len(rows)
            yield rows.take()

    def events(self, reader: LineReader | None = None) -> Iterator[Event]:
        """Yield the file's order events as they are; other records are counted here."""
        reader = reader or LineReader(self.path)
        is_csv: bool | None = None
        for number, line in reader:
            if not line.strip():
                continue
            if is_csv is None:
                is_csv = not line.lstrip().startswith(b"{")
                if is_csv:
                    if line.decode("ascii", "replace") != HEADER:
                        raise InvalidInput(f"{self.path}:{number}: header; allowed: {HEADER}")
                    continue
            try:
                event = _of_csv(number, line) if is_csv else self._of_json(number, line)
            except InvalidInput as fault:
                raise InvalidInput(f"{self.path}:{number}: {fault}") from fault
            if event is not None:
                yield event

    def _of_json(self, number: int, line: bytes) -> Event | None:
        message = load_json(line)
        if not isinstance(message, dict) or type(message.get("event")) is not str:
            raise InvalidInput("not a message; allowed: a JSON object with an event")
        action = message["event"].removeprefix("order_")
        reason = None
        if action not in _ACTIONS or action == message["event"]:
            reason = "no_order_event"
        elif message.get("channel") not in (None, f"live_orders_{self.pair}"):
            reason = "other_channel"
            self._note_other(message["channel"])
        if reason is not None:
            self.summary.records += 1
            self.summary.by_type["other"] += 1
            self.summary.note_unusable(reason, number)
            return None
        order = message.get("data")
        if not isinstance(order, dict):
            raise InvalidInput("data: missing; allowed: an order")
        kind = order.get("order_type")
        sign = _ORDER_TYPES.get(kind) if type(kind) is int else None
        if sign is None:
            raise InvalidInput(f"order_type: {str(kind)[:40]!r}; allowed: 0 (buy), 1 (sell)")
        return Event(
            number,
            whole_number("id", order.get("id_str", order.get("id")), low=1),
            action,
            sign,
            order.get("price_str", order.get("price")),
            order.get("amount_str", order.get("amount")),
            _nanoseconds("microtimestamp", order.get("microtimestamp"), _NS_PER_US),
            0,
        )

    def _note_other(self, channel: object) -> None:
        if type(channel) is not str:
            raise InvalidInput(f"channel: {str(channel)[:40]!r}; allowed: a text")
        pair = channel.removeprefix("live_orders_")[:40]
        if pair not in self._others and len(self._others) < _MAX_CHANNELS:
            self._others.append(pair)


def _of_csv(number: int, line: bytes) -> Event:
    try:
        fields = line.decode("ascii").split(",")
    except UnicodeDecodeError as error:
        raise InvalidInput("not ASCII text") from error
    if len(fields) != HEADER.count(",") + 1:
        raise InvalidInput(f"{len(fields)} fields; allowed: {HEADER}")
    order_id, received, happened, price, volume, action, direction = fields
    if action not in _ACTIONS:
        raise InvalidInput(f"action: {action[:40]!r}; allowed: {', '.join(_ACTIONS)}")
    if direction not in _SIGNS:
        raise InvalidInput(f"direction: {direction[:40]!r}; allowed: bid, ask")
    return Event(
        number,
        whole_number("id", order_id, low=1),
        action,
        _SIGNS[direction],
        price,
        volume,
        _nanoseconds(
            "exchange_timestamp", whole_number("exchange_timestamp", happened), _NS_PER_MS
        ),
        _nanoseconds("timestamp", whole_number("timestamp", received), _NS_PER_MS),
    )


@lru_cache(maxsize=4096)
def _nanoseconds(name: str, value: object, factor: int) -> int:
    """Return a venue's time in nanoseconds; the same comes again and again."""
    return whole_number(name, value, high=INT64_MAX // factor) * factor


def _plain(symbol: str) -> str:
    return re.sub(r"[^a-z0-9]", "", symbol.lower())
