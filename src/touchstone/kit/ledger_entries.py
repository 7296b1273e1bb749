"""What one record of a gateway's journal says, as JSON: what happened, and what it came to.

An entry is one change that happens wholly or not at all. Its parts say what is so *after* it (the
order as it then stands, the position as it then is), so that reading one twice changes nothing.
Fields that a later version added read as their defaults from older records.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import msgspec

from lob.types import Side
from touchstone.perps.orders import Order
from touchstone.perps.positions import Position

VERSION: Final = 1


class Record(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One event to append; `payload` holds only what JSON can say (decimals as strings)."""

    type: str
    symbol: str | None = None
    client_order_id: str | None = None
    ts_event_ns: int | None = None
    payload: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One trade of one order, as the venue names it; `quantity` in coins."""

    venue_order_id: str
    trade_id: str
    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    liquidity: str = ""
    ts_event_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingPayment:
    """What one funding time cost one symbol's position: `amount` is paid, below zero received.

    Signed `quantity` in coins, `amount` in quote currency; `funding_time_ns` is of the venue's
    clock, and together with the symbol it names the payment.
    """

    symbol: str
    funding_time_ns: int
    quantity: Decimal
    mark_price: Decimal
    rate: Decimal
    amount: Decimal
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyMetrics:
    """What one day of the venue's clock (UTC, `YYYY-MM-DD`) came to, in quote currency.

    Shares are fractions; None is what cannot be known (no equity, nothing closed, one day only).
    """

    day: str
    equity_open: Decimal | None = None
    equity_close: Decimal | None = None
    return_ratio: Decimal | None = None
    realized_pnl: Decimal = Decimal(0)
    unrealized_pnl: Decimal | None = None
    fees: Decimal = Decimal(0)
    funding_paid: Decimal = Decimal(0)
    trades: int = 0
    closed_trades: int = 0
    wins: int = 0
    win_rate: Decimal | None = None
    drawdown: Decimal | None = None
    sharpe: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Watermark:
    """The highest control generation ever applied to a scope, and the state it had."""

    generation: int
    state: str


@dataclass(frozen=True, slots=True)
class Opened:
    """The first entry of every file: which journal this is, and whose."""

    journal_id: str
    bot_id: str


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One change: events to append, and what stands after it; `at_ns` is of the local clock."""

    version: int
    at_ns: int
    records: tuple[Record, ...] = ()
    order: Order | None = None
    fill: Fill | None = None
    position: Position | None = None
    cause: str = ""
    """Why the position changed: `fill`, `funding`, `adopted`."""
    funding: FundingPayment | None = None
    watermark: tuple[str, Watermark] | None = None
    """A control scope and its new watermark."""
    day: DailyMetrics | None = None
    opened: Opened | None = None


class UnknownEntryError(ValueError):
    """Say that a record is not of a form that this version knows."""


encode_entry: Final = msgspec.json.Encoder().encode
"""Return an entry's payload in the journal."""

_ENTRY: Final = msgspec.json.Decoder(Entry)


def decode_entry(payload: bytes) -> Entry:
    """Return what a record says.

    Raises:
        UnknownEntryError: it is of another form, or of a newer version.
    """
    try:
        entry = _ENTRY.decode(payload)
    except msgspec.MsgspecError as error:
        raise UnknownEntryError(f"journal record: {error}") from None
    if entry.version > VERSION:
        raise UnknownEntryError(f"journal record: version {entry.version}; known: up to {VERSION}")
    return entry


encode_order: Final = msgspec.json.Encoder().encode
"""Return an order as JSON, with every field."""


def order_from(document: Any) -> Order:
    """Return the order of a document of `encode_order` that was read as JSON already."""
    return msgspec.convert(document, Order)
