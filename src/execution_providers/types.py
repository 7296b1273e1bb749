"""What goes into an execution and what comes out of it: immutable, decimal, checked once.

Every refusal is an `InvalidInput` whose text starts with the field's path in the request, such as
`market.bids[2].price`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from operator import gt, lt
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from execution_providers.decimals import (
    DecimalLike,
    all_positive,
    exact,
    not_negative,
    positive,
)
from lob.errors import InvalidInput
from lob.texts import is_printable
from lob.types import AssetClass, Side

MAX_LEVELS: Final = 1000
"""The most levels a side of `MarketState` may have."""
MAX_TEXT: Final = 128
"""The longest symbol or client order id, in characters."""
INT64_MAX: Final = 2**63 - 1

_ROWS: Final = frozenset({list, tuple})

PriceLevel = tuple[Decimal, Decimal]
"""Price and size of one level."""
LevelsLike = Iterable[tuple[DecimalLike, DecimalLike] | list[Any]]


class OrderType(StrEnum):
    """What an order asks for."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP = "STOP"
    STOP_LIMIT = "STOP_LIMIT"


class TimeInForce(StrEnum):
    """How long an order lives. One execution covers one bar, so GTC and DAY end with it."""

    GTC = "GTC"
    DAY = "DAY"
    IOC = "IOC"
    FOK = "FOK"


class FillStatus(StrEnum):
    """How an execution ended. REJECTED means that a rule refused the order whole."""

    FILLED = "FILLED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    UNFILLED = "UNFILLED"
    REJECTED = "REJECTED"


class Liquidity(StrEnum):
    """Whether a fill gave liquidity or took it."""

    MAKER = "MAKER"
    TAKER = "TAKER"


EnumT = TypeVar("EnumT", bound=StrEnum)


_BY_TEXT: Final[dict[type[StrEnum], dict[object, Any]]] = {
    kind: {each.value: each for each in kind}
    for kind in (Side, OrderType, TimeInForce, FillStatus, Liquidity, AssetClass)
}


def member(name: str, value: object, kind: type[EnumT]) -> EnumT:
    """Return the member of `kind` that `value` names; `InvalidInput` listing what is allowed."""
    if type(value) is kind:
        return value
    if type(value) is str:  # by a dict, which is five times as fast as a call of the enumeration
        found: EnumT | None = _BY_TEXT[kind].get(value) if kind in _BY_TEXT else None
        if found is not None:
            return found
    try:
        return kind(value)  # type: ignore[arg-type]
    except ValueError:
        allowed = ", ".join(kind)
        raise InvalidInput(f"{name}: {value!r}; allowed: {allowed}") from None


@dataclass(frozen=True, slots=True)
class Order:
    """An order to be executed. `quantity` is in units of the symbol, prices in quote currency.

    LIMIT and STOP_LIMIT need `limit_price`, STOP and STOP_LIMIT need `stop_price`, and the others
    must not have one.
    """

    symbol: str
    side: Side
    quantity: Decimal
    type: OrderType = OrderType.MARKET
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    display_quantity: Decimal | None = None
    client_order_id: str = ""

    def __post_init__(self) -> None:
        put = object.__setattr__
        _require_text("order.symbol", self.symbol, 1)
        _require_text("order.client_order_id", self.client_order_id, 0)
        # What is right as it stands is not put again: many orders are made.
        if type(self.side) is not Side:
            put(self, "side", member("order.side", self.side, Side))
        kind = self.type
        if type(kind) is not OrderType:
            kind = member("order.type", kind, OrderType)
            put(self, "type", kind)
        if type(self.time_in_force) is not TimeInForce:
            tif = member("order.time_in_force", self.time_in_force, TimeInForce)
            put(self, "time_in_force", tif)
        put(self, "quantity", positive("order.quantity", self.quantity))
        if type(self.post_only) is not bool:
            raise InvalidInput(f"order.post_only: {self.post_only!r}; allowed: true, false")
        stop_limit = kind is OrderType.STOP_LIMIT
        if self.limit_price is not None or stop_limit or kind is OrderType.LIMIT:
            self._price("limit_price", self.limit_price, stop_limit or kind is OrderType.LIMIT)
        if self.stop_price is not None or stop_limit or kind is OrderType.STOP:
            self._price("stop_price", self.stop_price, stop_limit or kind is OrderType.STOP)
        if self.display_quantity is not None:
            shown = positive("order.display_quantity", self.display_quantity)
            if shown > self.quantity:
                raise InvalidInput(
                    f"order.display_quantity: {shown}; allowed: at most the quantity"
                    f" {self.quantity}"
                )
            put(self, "display_quantity", shown)

    def _price(self, name: str, value: Decimal | None, needed: bool) -> None:
        if (value is not None) != needed:
            allowed = "a price above 0" if needed else "nothing"
            raise InvalidInput(
                f"order.{name}: {value}; allowed for an order of type {self.type}: {allowed}"
            )
        object.__setattr__(self, name, positive(f"order.{name}", value))


@dataclass(frozen=True, slots=True)
class MarketState:
    """The market as it was seen at the moment of decision.

    `bids` and `asks` are (price, size), best first, at most `MAX_LEVELS` a side, and not crossed.
    `adv_notional` is the average daily traded value in quote currency; `volatility` is the daily
    standard deviation of returns as a fraction (0.02 is 2 %).
    """

    timestamp_ms: int
    bids: tuple[PriceLevel, ...] = ()
    asks: tuple[PriceLevel, ...] = ()
    last_price: Decimal | None = None
    adv_notional: Decimal | None = None
    volatility: Decimal | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        _require_milliseconds("market.timestamp_ms", self.timestamp_ms, 0)
        bids = _levels("market.bids", self.bids, -1)
        asks = _levels("market.asks", self.asks, 1)
        if bids and asks and bids[0][0] >= asks[0][0]:
            raise InvalidInput(
                f"market.asks[0].price: {asks[0][0]}; allowed: above the best bid {bids[0][0]}"
            )
        put(self, "bids", bids)
        put(self, "asks", asks)
        if self.last_price is not None:
            put(self, "last_price", positive("market.last_price", self.last_price))
        if self.adv_notional is not None:
            put(self, "adv_notional", positive("market.adv_notional", self.adv_notional))
        if self.volatility is not None:
            put(self, "volatility", not_negative("market.volatility", self.volatility))

    def best(self, side: Side) -> PriceLevel | None:
        """Return the best bid (BUY) or the best ask (SELL); None where that side is empty."""
        levels = self.bids if side is Side.BUY else self.asks
        return levels[0] if levels else None


@dataclass(frozen=True, slots=True)
class BarData:
    """The bar during which the order lives: what traded from the decision to `duration_ms` later.

    `volume` is in units of the symbol.
    """

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    duration_ms: int

    def __post_init__(self) -> None:
        put = object.__setattr__
        prices = all_positive((self.open, self.high, self.low, self.close))
        if prices is None:
            prices = tuple(
                positive(f"bar.{name}", getattr(self, name))
                for name in ("open", "high", "low", "close")
            )
        first, high, low, last = prices
        put(self, "open", first)
        put(self, "high", high)
        put(self, "low", low)
        put(self, "close", last)
        put(self, "volume", not_negative("bar.volume", self.volume))
        _require_milliseconds("bar.duration_ms", self.duration_ms, 1)
        if high < first or high < last or high < low:
            raise InvalidInput(f"bar.high: {high}; allowed: at least open, close and low")
        if low > first or low > last:
            raise InvalidInput(f"bar.low: {low}; allowed: at most open and close")


@dataclass(frozen=True, slots=True)
class ExecutionRequest:
    """Everything one execution depends on, besides the seed and the provider's configuration."""

    order: Order
    market: MarketState
    bar: BarData | None
    asset_class: AssetClass

    def __post_init__(self) -> None:
        if type(self.asset_class) is not AssetClass:
            known = member("asset_class", self.asset_class, AssetClass)
            object.__setattr__(self, "asset_class", known)


class PartialFill(NamedTuple):
    """One price at which some of an order traded. `offset_ns` counts from the decision."""

    price: Decimal
    quantity: Decimal
    liquidity: Liquidity
    offset_ns: int = 0


class _Told:
    """Where the reasons of a fill come from: they are written down when somebody looks."""

    __slots__ = ("_why",)

    _why: tuple[Callable[..., Mapping[str, Any]], tuple[Any, ...]]
    """A function and its arguments, in place of an `attribution` that is not there yet."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            """Return the attribution, made now and kept; nothing else is ever missing."""
            if name != "attribution":
                raise AttributeError(name)
            function, arguments = self._why
            told = function(*arguments)
            object.__setattr__(self, "attribution", told)
            # What it was made of, a whole market for one, need not live as long as the fill; who
            # looks at the same time in another thread finds either.
            object.__setattr__(self, "_why", (_itself, (told,)))
            return told


def _itself(told: Mapping[str, Any]) -> Mapping[str, Any]:
    return told


@dataclass(frozen=True, slots=True)
class Fill(_Told):
    """What became of an order.

    `fees` are in quote currency (negative is a rebate). `slippage_bps` is signed, against the mid
    at the decision, and positive is a cost; it leaves fees out. `average_price` and
    `slippage_bps` are None when nothing filled. `attribution` says why, in values that JSON has; a
    provider's is made when it is first looked at, of what was known at the execution.
    """

    status: FillStatus
    filled_quantity: Decimal
    average_price: Decimal | None
    fees: Decimal
    slippage_bps: Decimal | None
    attribution: Mapping[str, Any] = field(default_factory=dict)
    fills: tuple[PartialFill, ...] = ()


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """What an order is expected to cost now, before latency and what others do meanwhile.

    `fillable_quantity` is what could fill at once; the other figures are for that part, and None
    when it is 0. `slippage_bps` and `fees_bps` are against the reference price.
    """

    fillable_quantity: Decimal
    average_price: Decimal | None
    slippage_bps: Decimal | None
    fees: Decimal
    fees_bps: Decimal | None
    model: str


def _require_text(name: str, value: object, shortest: int) -> None:
    if not isinstance(value, str) or not shortest <= len(value) <= MAX_TEXT:
        raise InvalidInput(f"{name}: {value!r}; allowed: {shortest} to {MAX_TEXT} characters")
    if not is_printable(value):
        raise InvalidInput(f"{name}: {value!r}; allowed: printable characters only")


def _require_milliseconds(name: str, value: object, smallest: int) -> None:
    if type(value) is not int or not smallest <= value <= INT64_MAX // 1_000_000:
        raise InvalidInput(f"{name}: {value!r}; allowed: whole milliseconds, {smallest} or more")


def _levels(name: str, levels: LevelsLike, direction: int) -> tuple[PriceLevel, ...]:
    """Return levels with exact numbers; `direction` is the sign of a step away from the touch."""
    plain = _plain_levels(levels, direction)
    if plain is not None:
        return plain
    if isinstance(levels, str | Mapping) or not isinstance(levels, Iterable):
        raise InvalidInput(f"{name}: {levels!r}; allowed: a list of [price, size]")
    found: list[PriceLevel] = []
    for index, level in enumerate(levels):
        if index >= MAX_LEVELS:
            raise InvalidInput(f"{name}: more than {MAX_LEVELS} levels; allowed: {MAX_LEVELS}")
        if not isinstance(level, list | tuple) or len(level) != 2:  # noqa: PLR2004 - a pair
            raise InvalidInput(f"{name}[{index}]: {level!r}; allowed: [price, size]")
        price = positive(f"{name}[{index}].price", level[0])
        size = positive(f"{name}[{index}].size", level[1])
        if found and not (price > found[-1][0] if direction > 0 else price < found[-1][0]):
            order = "ascending" if direction > 0 else "descending"
            raise InvalidInput(
                f"{name}[{index}].price: {price}; allowed: best first, strictly {order}"
            )
        found.append((price, size))
    return tuple(found)


def _plain_levels(levels: LevelsLike, direction: int) -> tuple[PriceLevel, ...] | None:
    """Return levels that are right at first sight; None where one needs a closer look."""
    if type(levels) not in _ROWS or not len(levels) <= MAX_LEVELS:  # type: ignore[arg-type]
        return None
    if not levels:
        return ()
    if not set(map(type, levels)) <= _ROWS:
        return None
    try:
        prices, sizes = zip(*levels, strict=True)
    except ValueError:  # not pairs
        return None
    count = len(prices)
    numbers = all_positive(prices + sizes)
    if numbers is None:
        return None
    found = numbers[:count]
    in_order = map(lt if direction > 0 else gt, found, found[1:])
    return tuple(zip(found, numbers[count:], strict=True)) if all(in_order) else None


__all__ = [
    "MAX_LEVELS",
    "AssetClass",
    "BarData",
    "CostEstimate",
    "ExecutionRequest",
    "Fill",
    "FillStatus",
    "InvalidInput",
    "Liquidity",
    "MarketState",
    "Order",
    "OrderType",
    "PartialFill",
    "PriceLevel",
    "Side",
    "TimeInForce",
    "exact",
]
