"""The execution contract read from well-formed JSON in one typed pass.

Nothing here refuses: a function returns None for what it does not take, and `touchstone.kit.codec`
reads that again by the rules, to find the number that is no text or the words of the refusal.
What is taken here means the same there.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from operator import gt, lt
from typing import Any, Final

import msgspec

from execution_providers.types import (
    MAX_LEVELS,
    AssetClass,
    BarData,
    ExecutionRequest,
    FillStatus,
    Liquidity,
    MarketState,
    Order,
    OrderType,
    PartialFill,
    PriceLevel,
    TimeInForce,
)
from lob.errors import InvalidInput
from touchstone.kit.received import ReceivedFill, ReceivedRequest

Number = str | int
"""A number as text, or a whole one; one with a point would lose digits as a float."""
Level = tuple[Number, Number]
_NO_LEVELS: Final = msgspec.Raw(b"[]")
# Levels as most callers write them: no blanks, digits as text, within the bounds of a request.
_PLAIN_LEVELS: Final[Callable[[msgspec.Raw], object]] = re.compile(
    rb'\[(?:\["[0-9]{1,21}(?:\.[0-9]{1,20})?","[0-9]{1,21}(?:\.[0-9]{1,20})?"\],?)*\]'
).fullmatch

# The digits that an answer may have (execution_providers.decimals), without an exponent.
_NUMBER: Final[Callable[[str], object]] = re.compile(r"-?[0-9]{1,80}(?:\.[0-9]{1,80})?").fullmatch

_put = object.__setattr__
encode: Final[Callable[[object], bytes]] = msgspec.json.Encoder().encode


class _Order(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    symbol: str
    side: str
    quantity: Number
    type: str | None = None
    limit_price: Number | None = None
    stop_price: Number | None = None
    time_in_force: str | None = None
    post_only: bool | None = None
    display_quantity: Number | None = None
    client_order_id: str | None = None


class _Market(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    timestamp_ms: int
    bids: msgspec.Raw = _NO_LEVELS
    asks: msgspec.Raw = _NO_LEVELS
    last_price: Number | None = None
    adv_notional: Number | None = None
    volatility: Number | None = None


class _Bar(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    duration_ms: int


class _Request(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    order: _Order
    market: _Market
    asset_class: str
    bar: _Bar | None = None


class _Received(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A request of which only the order is read."""

    order: _Order
    market: msgspec.Raw
    asset_class: str
    bar: msgspec.Raw = msgspec.Raw(b"null")


class _Batch(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    requests: list[msgspec.Raw]


class _Part(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    price: str
    quantity: str
    liquidity: Liquidity
    offset_ns: int


class _Fill(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    status: FillStatus
    filled_quantity: str
    average_price: str | None
    fees: str
    slippage_bps: str | None
    attribution: dict[str, Any]
    fills: list[_Part]


_REQUEST: Final = msgspec.json.Decoder(_Request)
_RECEIVED: Final = msgspec.json.Decoder(_Received)
_DECIMAL_LEVELS: Final = msgspec.json.Decoder(list[tuple[Decimal, Decimal]])
_LEVELS: Final = msgspec.json.Decoder(list[Level] | None)
_BATCH: Final = msgspec.json.Decoder(_Batch)
_FILL: Final = msgspec.json.Decoder(_Fill)
# A defect of UTF-8 is an error of its own kind.
_NOT_TAKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, InvalidInput)


def read_request(encoded: bytes) -> ExecutionRequest | None:
    """Return the request, whole; None for what is not taken here."""
    try:
        found = _REQUEST.decode(encoded)
        return ExecutionRequest(
            _order(found.order),
            _market(found.market),
            _bar(found.bar),
            AssetClass(found.asset_class),
        )
    except (*_NOT_TAKEN, ValueError):  # no asset class
        return None


def receive_request(
    encoded: bytes, read: Callable[[bytes], ExecutionRequest]
) -> ReceivedRequest | None:
    """Return the request with only its order read; None for what is not taken here.

    `read` is what reads all of it, later.
    """
    try:
        found = _RECEIVED.decode(encoded)
        return ReceivedRequest(_order(found.order), AssetClass(found.asset_class), encoded, read)
    except (*_NOT_TAKEN, ValueError):
        return None


def split_batch(encoded: bytes) -> list[bytes] | None:
    """Return the JSON of each of `{"requests": [...]}`; None for what is not taken here."""
    try:
        return [bytes(raw) for raw in _BATCH.decode(encoded).requests]
    except _NOT_TAKEN:
        return None


def receive_fill(encoded: bytes) -> ReceivedFill | None:
    """Return the fill, whole; None for what is not taken here."""
    try:
        found = _FILL.decode(encoded)
        average, slippage = found.average_price, found.slippage_bps
        return ReceivedFill(
            encoded,
            found.status,
            _number(found.filled_quantity),
            None if average is None else _number(average),
            _number(found.fees),
            None if slippage is None else _number(slippage),
            found.attribution,
            tuple(
                PartialFill(
                    _number(part.price), _number(part.quantity), part.liquidity, part.offset_ns
                )
                for part in found.fills
            ),
        )
    except _NOT_TAKEN:
        return None


def _order(found: _Order) -> Order:
    return Order(
        found.symbol,
        found.side,  # type: ignore[arg-type] # checked there
        found.quantity,  # type: ignore[arg-type]
        OrderType.MARKET if found.type is None else found.type,  # type: ignore[arg-type]
        found.limit_price,  # type: ignore[arg-type]
        found.stop_price,  # type: ignore[arg-type]
        TimeInForce.GTC if found.time_in_force is None else found.time_in_force,  # type: ignore[arg-type]
        found.post_only or False,
        found.display_quantity,  # type: ignore[arg-type]
        found.client_order_id or "",
    )


def _market(found: _Market) -> MarketState:
    bids, asks = _plain_levels(found.bids, gt), _plain_levels(found.asks, lt)
    if bids is None or asks is None:
        bids = _LEVELS.decode(found.bids) or ()
        asks = _LEVELS.decode(found.asks) or ()
    elif not bids or not asks or bids[0][0] < asks[0][0]:
        # Both sides are as they have to be: only the rest is left to check.
        market = MarketState(
            found.timestamp_ms,
            last_price=found.last_price,  # type: ignore[arg-type]
            adv_notional=found.adv_notional,  # type: ignore[arg-type]
            volatility=found.volatility,  # type: ignore[arg-type]
        )
        _put(market, "bids", bids)
        _put(market, "asks", asks)
        return market
    return MarketState(
        found.timestamp_ms,
        bids,
        asks,
        found.last_price,  # type: ignore[arg-type]
        found.adv_notional,  # type: ignore[arg-type]
        found.volatility,  # type: ignore[arg-type]
    )


def _plain_levels(
    raw: msgspec.Raw, beyond: Callable[[Decimal, Decimal], bool]
) -> tuple[PriceLevel, ...] | None:
    """Return levels that are right at first sight, by the rules of `MarketState`; else None.

    `beyond` says of two prices whether the first is nearer to the touch than the second.
    """
    if not _PLAIN_LEVELS(raw):
        return None
    levels = _DECIMAL_LEVELS.decode(raw)
    if len(levels) > MAX_LEVELS or not all(map(all, levels)):  # a 0 is no price and no size
        return None
    prices = [price for price, _ in levels]
    return tuple(levels) if all(map(beyond, prices, prices[1:])) else None


def _bar(found: _Bar | None) -> BarData | None:
    if found is None:
        return None
    return BarData(
        found.open,  # type: ignore[arg-type]
        found.high,  # type: ignore[arg-type]
        found.low,  # type: ignore[arg-type]
        found.close,  # type: ignore[arg-type]
        found.volume,  # type: ignore[arg-type]
        found.duration_ms,
    )


def _number(text: str) -> Decimal:
    if not _NUMBER(text):
        raise InvalidInput("a number")
    return Decimal(text)
