"""Requests and fills that came over a wire and still know the bytes they came in.

Handing such a one on costs nothing: neither are its numbers read nor are they written again.
"""

from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError
from typing import Any, Final

from execution_providers.types import (
    AssetClass,
    BarData,
    ExecutionRequest,
    Fill,
    FillStatus,
    MarketState,
    Order,
    PriceLevel,
    Side,
)

_put = object.__setattr__
_READ_LATER: Final = (
    "filled_quantity",
    "average_price",
    "fees",
    "slippage_bps",
    "fills",
)


class ReceivedRequest(ExecutionRequest):
    """A request whose order is read; market and bar are read when somebody looks at them.

    `received` is JSON, as it came, `_rest` what of it is not read yet. Looking raises
    `InvalidInput` where the market or the bar is wrong: `touchstone.kit.codec.complete` is the
    place to find out.
    """

    __slots__ = ("_read", "_rest", "received")

    received: bytes
    _rest: Any
    _read: Callable[[bytes, Any], tuple[MarketState, BarData | None]]

    def __init__(
        self,
        order: Order,
        asset_class: AssetClass,
        received: bytes,
        rest: Any,
        read: Callable[[bytes, Any], tuple[MarketState, BarData | None]],
    ) -> None:
        _put_order(self, order)
        _put_asset_class(self, asset_class)
        _put_received(self, received)
        _put_rest(self, rest)
        _put_request_read(self, read)

    def __getattr__(self, name: str) -> Any:
        """Read what is not read yet; called only for attributes that are not there."""
        if name not in {"market", "bar"}:
            raise AttributeError(name)
        self.read_all()
        return getattr(self, name)

    def read_all(self) -> None:
        """Read every part; `InvalidInput` where one is wrong."""
        market, bar = self._read(self.received, self._rest)
        _put_market(self, market)
        _put_bar(self, bar)

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ExecutionRequest):
            return NotImplemented
        return _parts(self) == _parts(other)

    def __hash__(self) -> int:
        return hash(_parts(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return ExecutionRequest, _parts(self)


class ReceivedMarket(MarketState):
    """A market, checked, whose levels behind the touch are made when somebody looks at them.

    Most orders never do. `_sides` is what `_read` makes bids and asks of.
    """

    __slots__ = ("_read", "_sides", "best_ask", "best_bid")

    best_bid: PriceLevel | None
    best_ask: PriceLevel | None
    _sides: Any
    _read: Callable[[Any], tuple[tuple[PriceLevel, ...], tuple[PriceLevel, ...]]]

    def best(self, side: Side) -> PriceLevel | None:
        """Return the best bid (BUY) or the best ask (SELL); None where that side is empty."""
        return self.best_bid if side is Side.BUY else self.best_ask

    def __getattr__(self, name: str) -> Any:
        """Make what is not made yet; called only for attributes that are not there."""
        if name not in {"bids", "asks"}:
            raise AttributeError(name)
        bids, asks = self._read(self._sides)
        _put(self, "bids", bids)
        _put(self, "asks", asks)
        return bids if name == "bids" else asks

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MarketState):
            return NotImplemented
        return _market_parts(self) == _market_parts(other)

    def __hash__(self) -> int:
        return hash(_market_parts(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return MarketState, _market_parts(self)


class ReceivedFill(Fill):
    """A fill, checked, with the JSON that it came in as `encoded`.

    Its status and the figures that are counted are there at once, its decimals and its attribution
    when somebody looks at them. `reasons` is the attribution as it came, `bps` the slippage and
    `notional` the filled value as they are counted, None where nothing filled. `provider_seconds`
    is what its provider took to execute, where that came along.
    """

    __slots__ = ("_found", "_read", "bps", "encoded", "notional", "provider_seconds", "reasons")

    encoded: bytes
    reasons: bytes
    bps: float | None
    notional: float | None
    provider_seconds: float | None
    _found: Any
    _read: Callable[[Any], tuple[Any, ...]]

    def __init__(
        self,
        encoded: bytes,
        status: FillStatus,
        reasons: bytes,
        read_reasons: Callable[[bytes], Mapping[str, Any]],
        bps: float | None,
        notional: float | None,
        found: Any,
        read: Callable[[Any], tuple[Any, ...]],
    ) -> None:
        """Keep what was found; `read` gives the other fields of a `Fill` for it, in their order."""
        _put_status(self, status)
        _put_reasons(self, reasons)
        _put_why(self, (read_reasons, (reasons,)))
        _put_encoded(self, encoded)
        _put_bps(self, bps)
        _put_notional(self, notional)
        _put_found(self, found)
        _put_read(self, read)
        _put_seconds(self, None)

    def __getattr__(self, name: str) -> Any:
        """Read what is not read yet; called only for attributes that are not there."""
        if name not in _READ_LATER:
            return super().__getattr__(name)  # type: ignore[misc] # the attribution, or nothing
        for field, value in zip(_READ_LATER, self._read(self._found), strict=True):
            _put(self, field, value)
        return getattr(self, name)

    def timed(self, provider_seconds: float) -> None:
        """Note what the provider took."""
        _put_seconds(self, provider_seconds)

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Fill):
            return NotImplemented
        return _fields(self) == _fields(other)

    __hash__ = None  # type: ignore[assignment] # as a Fill: it has a mapping

    def __reduce__(self) -> tuple[Any, ...]:
        return Fill, _fields(self)


# What a frozen instance is filled through: half the time of `object.__setattr__`.
_put_order: Final = vars(ExecutionRequest)["order"].__set__
_put_asset_class: Final = vars(ExecutionRequest)["asset_class"].__set__
_put_market: Final = vars(ExecutionRequest)["market"].__set__
_put_bar: Final = vars(ExecutionRequest)["bar"].__set__
_put_rest: Final = vars(ReceivedRequest)["_rest"].__set__
_put_received: Final = vars(ReceivedRequest)["received"].__set__
_put_request_read: Final = vars(ReceivedRequest)["_read"].__set__
_put_status: Final = vars(Fill)["status"].__set__
_put_why: Final = vars(Fill.__base__)["_why"].__set__
_put_reasons: Final = vars(ReceivedFill)["reasons"].__set__
_put_encoded: Final = vars(ReceivedFill)["encoded"].__set__
_put_bps: Final = vars(ReceivedFill)["bps"].__set__
_put_notional: Final = vars(ReceivedFill)["notional"].__set__
_put_found: Final = vars(ReceivedFill)["_found"].__set__
_put_read: Final = vars(ReceivedFill)["_read"].__set__
_put_seconds: Final = vars(ReceivedFill)["provider_seconds"].__set__


def bps_of(fill: Fill) -> float | None:
    """Return the slippage as it is counted; None where nothing filled."""
    if type(fill) is ReceivedFill:
        return fill.bps
    return None if fill.slippage_bps is None else float(fill.slippage_bps)


def notional_of(fill: Fill) -> float | None:
    """Return the filled value in quote currency as it is counted; None where nothing filled."""
    if type(fill) is ReceivedFill:
        return fill.notional
    average = fill.average_price
    return None if average is None else float(average) * float(fill.filled_quantity)


def _parts(request: ExecutionRequest) -> tuple[Any, ...]:
    return request.order, request.market, request.bar, request.asset_class


def _market_parts(market: MarketState) -> tuple[Any, ...]:
    return (
        market.timestamp_ms,
        market.bids,
        market.asks,
        market.last_price,
        market.adv_notional,
        market.volatility,
    )


def _fields(fill: Fill) -> tuple[Any, ...]:
    return (
        fill.status,
        fill.filled_quantity,
        fill.average_price,
        fill.fees,
        fill.slippage_bps,
        fill.attribution,
        fill.fills,
    )
