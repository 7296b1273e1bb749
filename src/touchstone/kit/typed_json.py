"""The execution contract read from well-formed JSON in one typed pass.

Nothing here refuses: a function returns None for what it does not take, and `touchstone.kit.codec`
reads that again by the rules, to find the number that is no text or the words of the refusal.
What is taken here means the same there.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from execution_providers.types import (
    INT64_MAX,
    MAX_LEVELS,
    MAX_TEXT,
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
    Side,
    TimeInForce,
)
from lob.errors import InvalidInput
from touchstone.kit.plain_levels import touches
from touchstone.kit.received import ReceivedFill, ReceivedMarket, ReceivedRequest

Number = str | int
"""A number as text, or a whole one; one with a point would lose digits as a float."""
Level = tuple[Number, Number]
_NO_LEVELS: Final = msgspec.Raw(b"[]")
_MILLISECONDS_MAX: Final = INT64_MAX // 1_000_000

# The digits that an answer may have (execution_providers.decimals), without an exponent.
_NUMBERS: Final[Callable[[str], object]] = re.compile(
    r"-?[0-9]{1,80}(?:\.[0-9]{1,80})?(?:\|-?[0-9]{1,80}(?:\.[0-9]{1,80})?)*"
).fullmatch
# A number without a sign, within the bounds of a request.
_SHORT: Final[Callable[[str], object]] = re.compile(r"[0-9]{1,21}(?:\.[0-9]{1,20})?").fullmatch
_MARKET: Final = OrderType.MARKET
_LIMIT: Final = OrderType.LIMIT
_GTC: Final = TimeInForce.GTC

_new: Final = object.__new__
_slots: Final = vars(Order)
_put_symbol: Final = _slots["symbol"].__set__
_put_side: Final = _slots["side"].__set__
_put_quantity: Final = _slots["quantity"].__set__
_put_type: Final = _slots["type"].__set__
_put_limit_price: Final = _slots["limit_price"].__set__
_put_stop_price: Final = _slots["stop_price"].__set__
_put_time_in_force: Final = _slots["time_in_force"].__set__
_put_post_only: Final = _slots["post_only"].__set__
_put_display_quantity: Final = _slots["display_quantity"].__set__
_put_own_id: Final = _slots["client_order_id"].__set__
_put_timestamp: Final = vars(MarketState)["timestamp_ms"].__set__
_put_last_price: Final = vars(MarketState)["last_price"].__set__
_put_adv: Final = vars(MarketState)["adv_notional"].__set__
_put_volatility: Final = vars(MarketState)["volatility"].__set__
_put_best_bid: Final = vars(ReceivedMarket)["best_bid"].__set__
_put_best_ask: Final = vars(ReceivedMarket)["best_ask"].__set__
_put_sides: Final = vars(ReceivedMarket)["_sides"].__set__
_put_read: Final = vars(ReceivedMarket)["_read"].__set__
encode: Final[Callable[[object], bytes]] = msgspec.json.Encoder().encode


class _Order(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    symbol: str
    side: Side
    quantity: Number
    type: OrderType | None = None
    limit_price: Number | None = None
    stop_price: Number | None = None
    time_in_force: TimeInForce | None = None
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
    asset_class: AssetClass
    bar: _Bar | None = None


class _Received(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A request of which only the order is read."""

    order: _Order
    market: msgspec.Raw
    asset_class: AssetClass
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
    attribution: msgspec.Raw
    fills: list[_Part]


class _Models(msgspec.Struct, gc=False):
    config: str | None = None


class _Named(msgspec.Struct, gc=False):
    """What a decision records of a fill's attribution."""

    seed: int | None = None
    models: _Models | None = None


_REQUEST: Final = msgspec.json.Decoder(_Request)
_RECEIVED: Final = msgspec.json.Decoder(_Received)
_MARKET_STATE: Final = msgspec.json.Decoder(_Market)
_BAR: Final = msgspec.json.Decoder(_Bar | None)
_DECIMAL_LEVELS: Final = msgspec.json.Decoder(list[tuple[Decimal, Decimal]])
_LEVELS: Final = msgspec.json.Decoder(list[Level] | None)
_BATCH: Final = msgspec.json.Decoder(_Batch)
_FILL: Final = msgspec.json.Decoder(_Fill)
_NAMED: Final = msgspec.json.Decoder(_Named)
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])
# A defect of UTF-8 is an error of its own kind.
# What is nested too deeply is one too.
_NOT_TAKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidInput)


def read_request(encoded: bytes) -> ExecutionRequest | None:
    """Return the request, whole; None for what is not taken here."""
    try:
        found = _REQUEST.decode(encoded)
        return ExecutionRequest(
            _order(found.order),
            _market(found.market),
            _bar(found.bar),
            found.asset_class,
        )
    except _NOT_TAKEN:
        return None


def receive_request(
    encoded: bytes, read: Callable[[bytes, Any], tuple[MarketState, BarData | None]]
) -> ReceivedRequest | None:
    """Return the request with only its order read; None for what is not taken here.

    `read` is what reads the rest, later: it is given all that came, and what `read_rest` takes.
    """
    try:
        found = _RECEIVED.decode(encoded)
        return ReceivedRequest(_order(found.order), found.asset_class, encoded, found, read)
    except _NOT_TAKEN:
        return None


def read_rest(found: Any) -> tuple[MarketState, BarData | None] | None:
    """Return market and bar of what `receive_request` found; None for what is not taken here."""
    try:
        return _market(_MARKET_STATE.decode(found.market)), _bar(_BAR.decode(found.bar))
    except _NOT_TAKEN:
        return None


def split_batch(encoded: bytes) -> list[bytes] | None:
    """Return the JSON of each of `{"requests": [...]}`; None for what is not taken here."""
    try:
        return [bytes(raw) for raw in _BATCH.decode(encoded).requests]
    except _NOT_TAKEN:
        return None


def receive_fill(
    encoded: bytes, read_reasons: Callable[[bytes], Mapping[str, Any]]
) -> ReceivedFill | None:
    """Return the fill, checked, its numbers read when they are looked at; None if not taken.

    `read_reasons` is what reads the attribution, later, of its own JSON.
    """
    try:
        found = _FILL.decode(encoded)
        if not encoded.isascii():
            encoded.decode()  # of what is passed over here, UTF-8 is not checked yet
    except _NOT_TAKEN:
        return None
    reasons = bytes(found.attribution)
    if not reasons.startswith(b"{"):
        return None
    average, slippage = found.average_price, found.slippage_bps
    numbers = [found.filled_quantity, found.fees]
    if average is not None:
        numbers.append(average)
    if slippage is not None:
        numbers.append(slippage)
    for part in found.fills:
        numbers.append(part.price)
        numbers.append(part.quantity)
    joined = "|".join(numbers)
    if not _NUMBERS(joined) or joined.count("|") >= len(numbers):
        return None
    return ReceivedFill(
        encoded,
        found.status,
        reasons,
        read_reasons,
        None if slippage is None else float(slippage),
        None if average is None else float(average) * float(found.filled_quantity),
        found,
        _rest_of_fill,
    )


def read_object(encoded: bytes) -> dict[str, Any] | None:
    """Return the object that JSON says; None for what is not taken here."""
    try:
        found: dict[str, Any] = _OBJECT.decode(encoded)
    except _NOT_TAKEN:
        return None
    return found


def named_in(reasons: bytes) -> tuple[int | None, str | None] | None:
    """Return seed and L3 configuration that an attribution names; None for what is not taken."""
    try:
        found = _NAMED.decode(reasons)
    except _NOT_TAKEN:
        return None
    return found.seed, None if found.models is None else found.models.config


def _rest_of_fill(found: _Fill) -> tuple[Any, ...]:
    """Return the fields of a `Fill` that have decimals, in their order; they are checked."""
    average, slippage = found.average_price, found.slippage_bps
    return (
        Decimal(found.filled_quantity),
        None if average is None else Decimal(average),
        Decimal(found.fees),
        None if slippage is None else Decimal(slippage),
        tuple(
            PartialFill(Decimal(part.price), Decimal(part.quantity), part.liquidity, part.offset_ns)
            for part in found.fills
        ),
    )


def _order(found: _Order) -> Order:
    kind = _MARKET if found.type is None else found.type
    quantity, limit = found.quantity, found.limit_price
    plain = limit is None if kind is _MARKET else kind is _LIMIT and _is_short(limit)
    if plain and _is_short(quantity) and found.stop_price is None:
        order = _plain_order(found, kind)
        if order is not None:
            return order
    return Order(
        found.symbol,
        found.side,
        quantity,  # type: ignore[arg-type] # checked there
        kind,
        limit,  # type: ignore[arg-type]
        found.stop_price,  # type: ignore[arg-type]
        _GTC if found.time_in_force is None else found.time_in_force,
        found.post_only or False,
        found.display_quantity,  # type: ignore[arg-type]
        found.client_order_id or "",
    )


def _plain_order(found: _Order, kind: OrderType) -> Order | None:
    """Return a market or limit order that is right at first sight; None for a closer look.

    What is checked is what `Order` checks, in a third of the time.
    """
    symbol, own_id = found.symbol, found.client_order_id or ""
    if (
        not 0 < len(symbol) <= MAX_TEXT >= len(own_id)
        or not symbol.isprintable()
        or not own_id.isprintable()
        or found.display_quantity is not None
    ):
        return None
    limit, quantity = found.limit_price, Decimal(found.quantity)
    price = None if limit is None else Decimal(limit)
    if not quantity or (price is not None and not price):  # 0 is no quantity and no price
        return None
    order = _new(Order)
    _put_symbol(order, symbol)
    _put_side(order, found.side)
    _put_quantity(order, quantity)
    _put_type(order, kind)
    _put_limit_price(order, price)
    _put_stop_price(order, None)
    _put_time_in_force(order, _GTC if found.time_in_force is None else found.time_in_force)
    _put_post_only(order, found.post_only or False)
    _put_display_quantity(order, None)
    _put_own_id(order, own_id)
    return order


def _is_short(number: Number | None) -> bool:
    return type(number) is str and _SHORT(number) is not None


def _market(found: _Market) -> MarketState:
    best = touches(found.bids, found.asks, MAX_LEVELS)
    if best is not None:
        market = _plain_market(found, *best)
        if market is not None:
            return market
    return MarketState(
        found.timestamp_ms,
        _LEVELS.decode(found.bids) or (),
        _LEVELS.decode(found.asks) or (),
        found.last_price,  # type: ignore[arg-type]
        found.adv_notional,  # type: ignore[arg-type]
        found.volatility,  # type: ignore[arg-type]
    )


def _plain_market(
    found: _Market,
    bid: str | None,
    bid_size: str | None,
    ask: str | None,
    ask_size: str | None,
) -> MarketState | None:
    """Return a market of which both sides are right; None where the rest needs a closer look."""
    last = found.last_price
    if (
        not 0 <= found.timestamp_ms <= _MILLISECONDS_MAX
        or (last is not None and not _is_short(last))
        or found.adv_notional is not None
        or found.volatility is not None
    ):
        return None
    last_price = None if last is None else Decimal(last)
    if last_price is not None and not last_price:
        return None
    market = _new(ReceivedMarket)
    _put_timestamp(market, found.timestamp_ms)
    _put_best_bid(market, None if bid is None else (Decimal(bid), Decimal(bid_size)))  # type: ignore[arg-type]
    _put_best_ask(market, None if ask is None else (Decimal(ask), Decimal(ask_size)))  # type: ignore[arg-type]
    _put_last_price(market, last_price)
    _put_adv(market, None)
    _put_volatility(market, None)
    _put_sides(market, (found.bids, found.asks))
    _put_read(market, _all_levels)
    return market


def _all_levels(
    sides: tuple[msgspec.Raw, msgspec.Raw],
) -> tuple[tuple[PriceLevel, ...], tuple[PriceLevel, ...]]:
    bids, asks = map(_DECIMAL_LEVELS.decode, sides)
    return tuple(bids), tuple(asks)


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
