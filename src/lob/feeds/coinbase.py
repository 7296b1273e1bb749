"""Read Coinbase Exchange's order feed (`full` and `level3` channels) and its level-3 snapshot.

Source: Coinbase Exchange documentation, "WebSocket channels" and "Get product book". A feed file
holds one JSON message a line, as it came from the socket; a snapshot file is one JSON object with
`bids` and `asks` of `[price, size, order id]` and the feed's `sequence`. Both are read plain, gzip
or Zstandard.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from lob.errors import InvalidInput
from lob.feeds.base import BLOCK_ROWS, Feed, FeedBlock, FeedSummary, Gap
from lob.feeds.coinbase_orders import CoinbaseOrders, Record
from lob.feeds.exact import iso_nanoseconds, whole_number
from lob.feeds.jsonlines import load_json, products_of, scale_of
from lob.feeds.lines import LineReader, Row, Rows, plain_head, read_head, read_whole
from lob.messages import Flag
from lob.types import AssetClass, Instrument

SEQUENCED: Final = frozenset(
    ("received", "open", "match", "change", "done", "activate", "noop"),
)
"""Messages that each take the product's next sequence number."""

SILENT: Final = frozenset(
    (
        "auction",
        "error",
        "heartbeat",
        "l2update",
        "last_match",
        "level3",
        "snapshot",
        "status",
        "subscriptions",
        "ticker",
    )
)
"""Messages that say nothing of single orders; each is counted under its own name."""

LEVEL3_SCHEMA: Final = {
    "open": ["type", "product_id", "sequence", "order_id", "side", "price", "size", "time"],
    "change": ["type", "product_id", "sequence", "order_id", "price", "size", "time"],
    "match": [
        "type",
        "product_id",
        "sequence",
        "maker_order_id",
        "taker_order_id",
        "price",
        "size",
        "time",
    ],
    "done": ["type", "product_id", "sequence", "order_id", "time"],
    "noop": ["type", "product_id", "sequence", "time"],
}
"""The fields of the level3 channel's arrays, until the file's own schema message says others."""

MAX_SNAPSHOT_BYTES: Final = 1 << 26
_MAX_PRODUCTS: Final = 20
_ORDER_FIELDS: Final = 3
_PRODUCT_IN_NAME: Final = re.compile(r"(?<![a-z0-9])([a-z0-9]{2,10})-([a-z]{3,5})(?![a-z0-9])")
_LEVEL3_BOOK: Final = re.compile(
    rb'"(?:bids|asks)"\s*:\s*\[\s*\[\s*"[^"]{1,64}"\s*,\s*"[^"]{1,64}"\s*,\s*"'
)


class Snapshot(NamedTuple):
    """A level-3 book as the venue gave it: entries of `[price, size, order id]`, best first."""

    product: str | None
    sequence: int
    time_ns: int
    bids: list[Any]
    asks: list[Any]


class CoinbaseFeed(Feed):
    """Read the order messages of one product; `snapshot` is a level-3 book to start from.

    `received`, `activate`, and orders that are done without ever coming to rest are no messages for
    a book: they are counted by reason. Every sequence number that is missing is a gap; a message
    that comes with one seen before, or a lower one, is refused and counted. After a snapshot the
    messages up to its sequence are left out (`in_snapshot`).

    A file of several products is read for one: `symbol`, or else the instrument's own.
    """

    format = "coinbase"

    def __init__(
        self,
        path: str | Path,
        instrument: Instrument,
        *,
        symbol: str | None = None,
        snapshot: str | Path | None = None,
        block_rows: int = BLOCK_ROWS,
    ) -> None:
        super().__init__(path, instrument, block_rows=block_rows)
        self.symbol = symbol or instrument.symbol
        self.snapshot = None if snapshot is None else Path(snapshot)
        self._orders = CoinbaseOrders(instrument)
        self._schema = LEVEL3_SCHEMA
        self._sequence: int | None = None
        self._snapshot_sequence = -1

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> bool:
        """Say whether the first line is one of the channel's messages."""
        line = plain_head(path, head).lstrip().split(b"\n", 1)[0].strip()
        compact = line.startswith(b"[") and re.match(rb'\[\s*"(open|change|match|done|noop)"', line)
        return bool(compact) or (
            line.startswith(b"{")
            and b'"type"' in line
            and any(b'"%b"' % kind.encode() in line for kind in SEQUENCED | SILENT)
        )

    @classmethod
    def default_instrument(cls, path: Path, *, symbol: str | None = None) -> Instrument | None:
        """Return the first product of the file, or the one named, with the scale of its prices.

        Sizes are in 0.00000001; the tick is 0.01, or as fine as the finest price among the first
        64 KiB.
        """
        head = read_head(path)
        found = products_of(head)
        product = symbol or (found[0] if found else None)
        return None if product is None else _instrument(product, head)

    def order_ids(self) -> dict[int, str]:
        """Return the venue's id of each order number that is live where the reading now stands."""
        live = self._orders.table.open.items()
        return {order.order_id: venue_id for venue_id, order in live}

    def blocks(self) -> Iterator[FeedBlock]:
        """Yield the snapshot's orders, if there is one, and then the file's messages."""
        self.restart()
        self._orders = CoinbaseOrders(self.instrument)
        self._schema = LEVEL3_SCHEMA
        self._sequence, self._snapshot_sequence = None, -1
        if self.snapshot is not None:
            book = read_snapshot(self.snapshot)
            _require_product(self.snapshot, book, self.symbol)
            self._sequence = self._snapshot_sequence = book.sequence
            yield from _snapshot_blocks(
                self.snapshot, book, self._orders, self.summary, self.block_rows
            )
        reader, rows = LineReader(self.path), Rows()
        others: list[str] = []
        for number, line in reader:
            if not line.strip():
                continue
            try:
                row = self._message(number, line, others)
            except InvalidInput as fault:
                raise InvalidInput(f"{self.path}:{number}: {fault}") from fault
            if row is not None:
                rows.add(row, number, sequence=self._sequence or 0)
            if len(rows) == self.block_rows:
                self.bytes_done = reader.bytes_done
                yield self._counted(rows)
        self.bytes_done = self.bytes_total
        if others and self.summary.records == self.summary.unusable["other_product"]:
            raise InvalidInput(
                f"{self.path}: symbol: {self.symbol!r} is in no record; allowed: "
                f"{', '.join(others)}"
            )
        if len(rows):
            yield self._counted(rows)

    def _counted(self, rows: Rows) -> FeedBlock:
        self.summary.messages += len(rows)
        return rows.take()

    def _message(self, number: int, line: bytes, others: list[str]) -> Row | None:
        """Return the row of a line, or count why it is none."""
        record, compact = self._record(load_json(line))
        kind = record.get("type")
        if type(kind) is not str:
            raise InvalidInput(f"type: {str(kind)[:40]!r}; allowed: the type of a message")
        self.summary.records += 1
        known = kind in SEQUENCED or kind in SILENT
        self.summary.by_type[kind if known else "unknown"] += 1
        reason = self._foreign(record, others)
        if reason is None and kind == "level3":
            self._schema = _schema(record.get("schema"))
        if reason is None and kind not in SEQUENCED:
            reason = kind if known else "unknown_type"
        # The documented activate message has no sequence; one that has takes part.
        if reason is None and (kind != "activate" or "sequence" in record):
            reason = self._out_of_sequence(number, kind, record)
        if reason is None:
            row = self._orders.translate(kind, record, compact=compact)
            if not isinstance(row, str):
                return row
            reason = row
        self.summary.note_unusable(reason, number)
        return None

    def _record(self, value: object) -> tuple[Record, bool]:
        """Return a message by field name, and whether it came as one of level3's arrays."""
        if isinstance(value, dict):
            return value, False
        if not isinstance(value, list) or not value or type(value[0]) is not str:
            raise InvalidInput("not a message; allowed: a JSON object, or an array of level3")
        fields = self._schema.get(value[0])
        if fields is None:
            return {"type": value[0]}, True
        if len(fields) != len(value):
            raise InvalidInput(f"{value[0]}: {len(value)} values; allowed: {len(fields)}")
        return dict(zip(fields, value, strict=True)) | {"type": value[0]}, True

    def _foreign(self, record: Record, others: list[str]) -> str | None:
        product = record.get("product_id")
        if product is None or product == self.symbol:
            return None
        if type(product) is not str:
            raise InvalidInput(f"product_id: {str(product)[:40]!r}; allowed: a text")
        if product not in others and len(others) < _MAX_PRODUCTS:
            others.append(product[:40])
        return "other_product"

    def _out_of_sequence(self, number: int, kind: str, record: Record) -> str | None:
        """Follow the sequence; return a reason where a message cannot be a new one."""
        if record.get("product_id") is None:
            raise InvalidInput(f"product_id: missing in {kind}; allowed: a product's name")
        found = whole_number("sequence", record.get("sequence"))
        last = self._sequence
        if last is None or found == last + 1:
            self._sequence = found
            return None
        if found <= self._snapshot_sequence:
            self._orders.before_snapshot(kind, record)
            return "in_snapshot"
        if found <= last:
            return "sequence_repeated" if found == last else "sequence_out_of_order"
        self.summary.note_gap(Gap(number, last + 1, found))
        self._sequence = found
        return None


class CoinbaseSnapshotFeed(Feed):
    """Read a level-3 snapshot (JSON) as orders to add; each counts as one record.

    Positions count orders from 1, bids before asks. The whole snapshot is in memory while it is
    read; more than 64 MiB of it are refused.
    """

    format = "coinbase-snapshot"

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> bool:
        """Say whether it is an object with bids or asks of three texts each."""
        text = plain_head(path, head).lstrip()
        return text.startswith(b"{") and _LEVEL3_BOOK.search(text) is not None

    @classmethod
    def default_instrument(cls, path: Path) -> Instrument | None:
        """Return the product that the file, or its name, says, with the scale of its prices."""
        head = read_head(path)
        found = products_of(head)
        named = _PRODUCT_IN_NAME.search(path.name.lower())
        if found or named:
            product = found[0] if found else "-".join(named.groups()).upper() if named else ""
            return _instrument(product, head)
        return None

    def blocks(self) -> Iterator[FeedBlock]:
        """Yield the snapshot's orders, best price first, bids then asks."""
        self.restart()
        book = read_snapshot(self.path)
        self.bytes_done = self.bytes_total
        orders = CoinbaseOrders(self.instrument)
        yield from _snapshot_blocks(self.path, book, orders, self.summary, self.block_rows)
        self._orders = orders

    def order_ids(self) -> dict[int, str]:
        """Return the venue's id of each order number, once the snapshot has been read."""
        live = self._orders.table.open.items()
        return {order.order_id: venue_id for venue_id, order in live}


def read_snapshot(path: Path) -> Snapshot:
    """Read a level-3 snapshot file.

    Raises:
        InvalidInput: it cannot be read, is larger than `MAX_SNAPSHOT_BYTES` unpacked, or has no
            bids, asks and sequence.
    """
    text = read_whole(path, MAX_SNAPSHOT_BYTES)
    try:
        return _parsed(load_json(text))
    except InvalidInput as fault:
        raise InvalidInput(f"{path}:1: {fault}") from fault


def _parsed(value: object) -> Snapshot:
    if not isinstance(value, dict):
        raise InvalidInput("not a JSON object with bids and asks")
    for name in ("bids", "asks"):
        if not isinstance(value.get(name), list):
            raise InvalidInput(f"{name}: missing; allowed: a list of [price, size, order id]")
    time = value.get("time", value.get("captured_at"))
    product = value.get("product_id", value.get("product"))
    return Snapshot(
        product if isinstance(product, str) else None,
        whole_number("sequence", value.get("sequence")),
        0 if time is None else iso_nanoseconds(time),
        value["bids"],
        value["asks"],
    )


def _snapshot_blocks(
    path: Path, book: Snapshot, orders: CoinbaseOrders, summary: FeedSummary, block_rows: int
) -> Iterator[FeedBlock]:
    """Yield the orders of a snapshot; the last one ends the event that a snapshot is."""
    rows, position = Rows(), 0
    total = len(book.bids) + len(book.asks)
    for name, sign, entries in (("bids", 1, book.bids), ("asks", -1, book.asks)):
        for index, entry in enumerate(entries):
            position += 1
            try:
                row = orders.snapshot_order(sign, *_three(entry))
            except InvalidInput as fault:
                raise InvalidInput(f"{path}:{position}: {name}[{index}]: {fault}") from fault
            summary.records += 1
            summary.by_type["snapshot_order"] += 1
            if isinstance(row, str):
                summary.note_unusable(row, position)
                continue
            flags = row[-1] | (Flag.LAST if position == total else 0)
            rows.add((book.time_ns, *row[1:-1], flags), position, sequence=book.sequence)
            if len(rows) == block_rows:
                summary.messages += len(rows)
                yield rows.take()
    if len(rows):
        summary.messages += len(rows)
        yield rows.take()


def _three(entry: object) -> list[Any]:
    if not isinstance(entry, list) or len(entry) != _ORDER_FIELDS:
        raise InvalidInput("not an order; allowed: [price, size, order id]")
    return entry


def _require_product(path: Path, book: Snapshot, symbol: str) -> None:
    if book.product is not None and book.product != symbol:
        raise InvalidInput(f"{path}: product: {book.product[:40]!r}; allowed: {symbol!r}")


def _schema(value: object) -> dict[str, list[str]]:
    """Return the level3 channel's own list of fields, in place of the documented one."""
    if not isinstance(value, dict):
        raise InvalidInput("schema: missing; allowed: the fields of each type of array")
    for kind, fields in value.items():
        if not isinstance(fields, list) or not all(type(field) is str for field in fields):
            raise InvalidInput(f"schema: {kind[:40]!r} has no list of field names")
    return value


def _instrument(product: str, head: bytes) -> Instrument:
    return Instrument(
        symbol=product,
        asset_class=AssetClass.CRYPTO,
        tick_size=scale_of(head),
        lot_size=Decimal("0.00000001"),
    )
