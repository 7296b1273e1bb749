"""A request in the book's integers: which steps, bounds and times it has to keep.

Nothing here knows accounts or funds; `entry` goes on from the draft. The first broken rule is the
answer, in the order in which the rules stand here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from lob.errors import InvalidInput
from lob.types import Side, TimeInForce
from touchstone.exchange.ladders import RUNGS_MAX, Rung, rungs
from touchstone.exchange.market import Market
from touchstone.exchange.products import Product
from touchstone.exchange.quotes import lots_for_quote
from touchstone.exchange.reasons import FailureReason, Refused
from touchstone.exchange.requests import Bracket, OrderKind, OrderRequest, StopDirection

BUCKETS_MAX: Final = 10_000
"""How many slices a TWAP order may have."""

QUOTE_MAX: Final = Decimal(10) ** 15
"""The most money that an order may name; what may be bought with it is bounded by the product."""

_UNKNOWN: Final = FailureReason.UNKNOWN_FAILURE_REASON


@dataclass(frozen=True, slots=True)
class BracketTicks:
    """A bracket in ticks: the take-profit limit, and what triggers the stop leg."""

    limit_ticks: int
    trigger_ticks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A well-formed request in the book's integers; `price_ticks` None is a market order."""

    request: OrderRequest
    kind: OrderKind
    market: Market
    size_lots: int
    price_ticks: int | None
    stop_ticks: int | None = None
    stop_direction: StopDirection | None = None
    rungs: tuple[Rung, ...] = ()
    bucket_lots: int = 0
    attached: BracketTicks | None = None

    @property
    def prices(self) -> dict[str, int | None]:
        """Return every price that it names, in ticks."""
        attached = self.attached
        return {
            "limit_price": self.price_ticks,
            "stop price": self.stop_ticks,
            "min_price": self.rungs[0].price_ticks if self.rungs else None,
            "max_price": self.rungs[-1].price_ticks if self.rungs else None,
            "attached limit_price": None if attached is None else attached.limit_ticks,
            "attached stop_trigger_price": None if attached is None else attached.trigger_ticks,
        }

    @property
    def product(self) -> Product:
        """Return what it trades."""
        return self.market.product


def draft(markets: Mapping[str, Market], request: OrderRequest, now_ns: int) -> Draft:
    """Return the request in integers; raises `Refused` with the first rule that it breaks."""
    market = markets.get(request.product_id)
    if market is None:
        raise Refused(
            FailureReason.INVALID_PRODUCT_ID,
            f"product_id: {request.product_id!r}; listed: {', '.join(markets)}",
        )
    kind = request.kind
    if kind is OrderKind.BRACKET:
        # Coinbase's are for positions that are held: they only reduce, without saying so.
        request = replace(request, reduce_only=True)
    _check_terms(request, kind, now_ns)
    price_ticks = None
    if request.limit_price is not None:
        price_ticks = ticks_of(market.product, "limit_price", request.limit_price)
    elif kind in {OrderKind.STOP_LIMIT, OrderKind.BRACKET, OrderKind.TWAP}:
        raise Refused(FailureReason.INVALID_LIMIT_PRICE, f"limit_price: missing from a {kind}")
    lots = _size(market, request, kind, price_ticks)
    if kind is OrderKind.LIMIT and request.attached is None:
        return Draft(
            request=request, kind=kind, market=market, size_lots=lots, price_ticks=price_ticks
        )
    stop_ticks, direction = _stop(market, request, kind)
    return Draft(
        request=request,
        kind=kind,
        market=market,
        size_lots=lots,
        price_ticks=price_ticks,
        stop_ticks=stop_ticks,
        stop_direction=direction,
        rungs=_rungs(market.product, request, lots),
        bucket_lots=_bucket_lots(market.product, request, lots, now_ns),
        attached=_attached(market, request, kind),
    )


def ticks_of(product: Product, name: str, price: Decimal, preview_reason: str = "") -> int:
    """Return a price in ticks; raises `Refused` where it is not a whole number of them."""
    try:
        return product.instrument.to_ticks(price)
    except InvalidInput as error:
        raise Refused(
            FailureReason.INVALID_PRICE_PRECISION, f"{name}: {error}", preview_reason
        ) from None


def lots_of(product: Product, name: str, size: Decimal) -> int:
    """Return a size in lots; raises `Refused` for a fraction of one, or for too many."""
    try:
        lots = product.instrument.to_lots(size)
    except InvalidInput as error:
        raise Refused(FailureReason.INVALID_SIZE_PRECISION, f"{name}: {error}") from None
    if size > product.max_size:
        raise Refused(
            _UNKNOWN,
            f"{name}: {size}; allowed: at most {product.max_size}",
            "PREVIEW_INVALID_BASE_SIZE_TOO_LARGE",
        )
    return lots


def check_distance(
    product: Product, mark: Decimal, collar: Decimal, prices: Mapping[str, int | None]
) -> None:
    """Raise `Refused` for a price in ticks that no market near the mark could mean."""
    low, high = mark / collar, mark * collar
    for name, ticks in prices.items():
        price = None if ticks is None else product.instrument.price(ticks)
        if price is not None and not low <= price <= high:
            raise Refused(
                FailureReason.LIMIT_PRICE_TOO_FAR_FROM_MARKET,
                f"{name}: {price}; allowed: {low:.2f}..{high:.2f}, around the mark",
            )


def check_notional(product: Product, price_ticks: int, lots: int) -> None:
    """Raise `Refused` for a limit order that is worth less than the product's minimum."""
    if product.min_notional:
        notional = product.notional(price_ticks, lots)
        if notional < product.min_notional:
            raise Refused(
                _UNKNOWN,
                f"base_size x limit_price: {notional}; allowed: {product.min_notional} or more",
                "PREVIEW_INVALID_QUOTE_SIZE_TOO_SMALL",
            )


# -------------------------------------------------------------------- terms


def _check_terms(request: OrderRequest, kind: OrderKind, now_ns: int) -> None:
    """Check what the request says about time and about resting."""
    time_in_force = request.time_in_force
    if time_in_force is TimeInForce.DAY:
        raise Refused(FailureReason.INVALID_REQUEST, "time_in_force: there is no DAY here")
    if time_in_force is TimeInForce.GTD and request.end_time_ns is None:
        raise Refused(FailureReason.GTD_ORDERS_MUST_HAVE_END_TIME, "end_time: missing")
    if request.end_time_ns is not None and request.end_time_ns <= now_ns:
        raise Refused(
            FailureReason.END_TIME_IS_IN_THE_PAST,
            f"end_time: {request.end_time_ns} ns; allowed: after {now_ns} ns, the exchange's time",
        )
    if request.post_only and time_in_force is TimeInForce.FOK:
        raise Refused(FailureReason.POST_ONLY_NOT_ALLOWED_WITH_FOK, "post_only: not with FOK")
    if request.post_only and not (request.rests or kind is OrderKind.SCALED):
        raise Refused(FailureReason.INVALID_REQUEST, "post_only: only with orders that rest")
    if request.size is not None and request.quote_size is not None:
        raise Refused(FailureReason.INVALID_REQUEST, "base_size, quote_size: give one of them")
    if request.attached is not None and kind not in {
        OrderKind.MARKET,
        OrderKind.LIMIT,
        OrderKind.STOP_LIMIT,
    }:
        raise Refused(
            FailureReason.UNSUPPORTED_ORDER_CONFIGURATION,
            f"attached_order_configuration: not with a {kind} order",
        )


def _size(market: Market, request: OrderRequest, kind: OrderKind, price_ticks: int | None) -> int:
    """Return the size in lots, from coins, contracts or money."""
    product = market.product
    if request.quote_size is not None:
        return _quote_lots(market, request, kind, price_ticks)
    if request.size is None:
        raise Refused(FailureReason.INVALID_REQUEST, "base_size: missing")
    lots = lots_of(product, "base_size", request.size)
    if price_ticks is not None and not request.reduce_only:
        check_notional(product, price_ticks, lots)
    return lots


def _quote_lots(
    market: Market, request: OrderRequest, kind: OrderKind, price_ticks: int | None
) -> int:
    product, quote = market.product, request.quote_size
    assert quote is not None  # noqa: S101 - the caller has seen it
    if kind is OrderKind.BRACKET:
        raise Refused(
            FailureReason.UNSUPPORTED_ORDER_CONFIGURATION,
            "quote_size: not with a bracket",
            "PREVIEW_QUOTE_SIZE_NOT_ALLOWED_FOR_BRACKET",
        )
    if kind is OrderKind.SCALED:
        raise Refused(
            FailureReason.UNSUPPORTED_ORDER_CONFIGURATION, "quote_size: not with a scaled order"
        )
    if price_ticks is None and not market.book.depth(1)[request.side is Side.BUY]:
        raise Refused(FailureReason.INVALID_NO_LIQUIDITY, "no order rests on the other side")
    if not quote.is_finite() or quote > QUOTE_MAX:
        raise Refused(
            FailureReason.INVALID_REQUEST,
            f"quote_size: {quote}; allowed: at most {QUOTE_MAX}",
            "PREVIEW_INVALID_QUOTE_SIZE_TOO_LARGE",
        )
    crosses = kind in {OrderKind.MARKET, OrderKind.LIMIT}
    lots = lots_for_quote(
        product, quote, price_ticks, market.book if crosses else None, request.side
    )
    if lots == 0 or quote < product.min_notional:
        raise Refused(
            _UNKNOWN,
            f"quote_size: {quote}; allowed: {product.min_notional} or more, and a lot or more",
            "PREVIEW_INVALID_QUOTE_SIZE_TOO_SMALL",
        )
    size = product.instrument.quantity(lots)
    if size > product.max_size:
        raise Refused(
            _UNKNOWN,
            f"quote_size: {quote} is a size of {size}; allowed: at most {product.max_size}",
            "PREVIEW_INVALID_QUOTE_SIZE_TOO_LARGE",
        )
    return lots


# -------------------------------------------------------------------- kinds


def _stop(
    market: Market, request: OrderRequest, kind: OrderKind
) -> tuple[int | None, StopDirection | None]:
    """Return what the last trade has to reach, and from where."""
    if kind is OrderKind.STOP_LIMIT:
        assert request.stop_price is not None  # noqa: S101 - the kind says so
        direction = request.stop_direction or (
            StopDirection.UP if request.side is Side.BUY else StopDirection.DOWN
        )
        check_stop(market, request.stop_price, direction)
        name, price = "stop_price", request.stop_price
    elif kind is OrderKind.BRACKET:
        assert request.stop_trigger_price is not None  # noqa: S101 - the kind says so
        assert request.limit_price is not None  # noqa: S101 - checked before
        name, price = "stop_trigger_price", request.stop_trigger_price
        direction = stop_leg_direction(request.side)
        if (request.limit_price - price) * request.side.sign >= 0:
            raise Refused(
                _UNKNOWN,
                f"limit_price: {request.limit_price}, stop_trigger_price: {price}; allowed: a"
                f" {request.side} bracket takes profit on the other side of its stop",
                "PREVIEW_INVALID_BRACKET_PRICES",
            )
        check_stop(market, price, direction)
    else:
        return None, None
    ticks = ticks_of(market.product, name, price, "PREVIEW_INVALID_STOP_PRICE_PRECISION")
    if kind is OrderKind.STOP_LIMIT:
        assert request.limit_price is not None  # noqa: S101 - checked before
        check_stop_limit(request.side, price, request.limit_price, direction)
    return ticks, direction


def stop_leg_direction(side: Side) -> StopDirection:
    """Return which way the market goes against the position that a bracket of `side` closes."""
    return StopDirection.UP if side is Side.BUY else StopDirection.DOWN


def check_stop(market: Market, price: Decimal, direction: StopDirection) -> None:
    """Raise `Refused` for a stop that the last trade has reached already."""
    last = market.last_price()
    if direction is StopDirection.UP and price <= last:
        below, allowed = "BELOW", f"above {last}"
    elif direction is StopDirection.DOWN and price >= last:
        below, allowed = "ABOVE", f"below {last}"
    else:
        return
    raise Refused(
        _UNKNOWN,
        f"stop price: {price}; allowed: {allowed}, the last trade",
        f"PREVIEW_STOP_PRICE_{below}_LAST_TRADE_PRICE",
    )


def check_stop_limit(side: Side, stop: Decimal, limit: Decimal, direction: StopDirection) -> None:
    """Raise `Refused` for a stop that could not trade where it triggers.

    One that waits for a better price instead (a buy that waits for a fall) may have any limit.
    """
    if direction is not stop_leg_direction(side) or (limit - stop) * side.sign >= 0:
        return
    above, allowed = ("ABOVE", "or above") if side is Side.BUY else ("BELOW", "or below")
    raise Refused(
        _UNKNOWN,
        f"limit_price: {limit}; allowed: {stop}, the stop price, {allowed}",
        f"PREVIEW_STOP_PRICE_{above}_LIMIT_PRICE",
    )


def _rungs(product: Product, request: OrderRequest, lots: int) -> tuple[Rung, ...]:
    scaled = request.scaled
    if scaled is None:
        return ()
    if not 2 <= scaled.order_count <= RUNGS_MAX:  # noqa: PLR2004 - one order is no ladder
        raise Refused(
            FailureReason.INVALID_REQUEST,
            f"num_orders: {scaled.order_count}; allowed: 2..{RUNGS_MAX}",
        )
    low = ticks_of(product, "min_price", scaled.min_price)
    high = ticks_of(product, "max_price", scaled.max_price)
    if low >= high:
        raise Refused(
            FailureReason.INVALID_REQUEST,
            f"min_price: {scaled.min_price}; allowed: below max_price {scaled.max_price}",
            "PREVIEW_SCALED_PARAM_INFEASIBLE",
        )
    ladder = rungs(
        scaled.order_count, lots, (low, high), scaled.price_distribution, scaled.size_distribution
    )
    for rung in ladder:
        notional = product.notional(rung.price_ticks, rung.lots)
        if not rung.lots or notional < product.min_notional:
            raise Refused(
                _UNKNOWN,
                f"base_size: its smallest part is worth {notional}; allowed: a lot and"
                f" {product.min_notional} or more",
                "PREVIEW_SCALED_MIN_ORDER_VIOLATION",
            )
    return ladder


def _bucket_lots(product: Product, request: OrderRequest, lots: int, now_ns: int) -> int:
    twap = request.twap
    if twap is None:
        return 0
    bucket_lots = lots_of(product, "bucket_size", twap.bucket_size)
    if not 1 <= twap.bucket_count <= BUCKETS_MAX or twap.bucket_ns <= 0:
        raise Refused(
            FailureReason.INVALID_REQUEST,
            f"number_buckets: {twap.bucket_count}; allowed: 1..{BUCKETS_MAX}, each of some time",
        )
    assert request.limit_price is not None  # noqa: S101 - every TWAP order has one
    notional = product.value(request.limit_price, bucket_lots)
    if notional < product.min_notional and not request.reduce_only:
        raise Refused(
            _UNKNOWN,
            f"bucket_size x limit_price: {notional}; allowed: {product.min_notional} or more",
            "PREVIEW_BUCKET_SIZE_SMALLER_THAN_QUOTE_MIN",
        )
    if bucket_lots * twap.bucket_count < lots:
        raise Refused(
            FailureReason.INVALID_REQUEST,
            f"bucket_size x number_buckets: {twap.bucket_size * twap.bucket_count}; allowed:"
            f" {product.instrument.quantity(lots)}, the size of the order, or more",
        )
    if request.end_time_ns is None:
        raise Refused(FailureReason.GTD_ORDERS_MUST_HAVE_END_TIME, "end_time: missing")
    last_ns = max(twap.start_ns, now_ns) + (twap.bucket_count - 1) * twap.bucket_ns
    if last_ns >= request.end_time_ns:
        raise Refused(
            FailureReason.INVALID_REQUEST,
            f"end_time: {request.end_time_ns} ns; allowed: after {last_ns} ns, when the last bucket"
            " starts",
            "PREVIEW_INVALID_END_TIME",
        )
    return bucket_lots


def _attached(market: Market, request: OrderRequest, kind: OrderKind) -> BracketTicks | None:
    """Return the bracket that closes what the order will have traded."""
    bracket = request.attached
    if bracket is None:
        return None
    entry = request.limit_price if kind is not OrderKind.MARKET else market.last_price()
    assert entry is not None  # noqa: S101 - checked with the kind
    return attached_ticks(market.product, request.side, bracket, entry)


def attached_ticks(product: Product, side: Side, bracket: Bracket, entry: Decimal) -> BracketTicks:
    """Return a bracket in ticks; `side` and `entry` are those of the order it is attached to.

    It has to take profit beyond the entry's price and to stop before it.
    """
    for name, price, sign in (
        ("TAKE_PROFIT", bracket.limit_price, side.sign),
        ("STOP_LOSS", bracket.stop_trigger_price, -side.sign),
    ):
        if (price - entry) * sign <= 0:
            raise Refused(
                _UNKNOWN,
                f"attached {name.lower()} price: {price}; allowed: "
                f"{'above' if sign > 0 else 'below'} {entry}",
                f"PREVIEW_INVALID_ATTACHED_{name}_PRICE",
            )
    reason = "PREVIEW_INVALID_ATTACHED_{}_PRICE_PRECISION"
    return BracketTicks(
        ticks_of(
            product, "attached limit_price", bracket.limit_price, reason.format("TAKE_PROFIT")
        ),
        ticks_of(
            product,
            "attached stop_trigger_price",
            bracket.stop_trigger_price,
            reason.format("STOP_LOSS"),
        ),
    )
