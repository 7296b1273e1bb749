"""What an order or an edit would do if it were entered now, worked out without changing anything.

The rules are those of entry, in the same code; the money is what the book would give as it stands,
at the fee rates and the margin that would hold.
"""

from dataclasses import dataclass, replace
from decimal import Decimal

from lob.types import Side, TimeInForce
from touchstone.exchange.desk import OrderDesk
from touchstone.exchange.drafts import Draft, draft
from touchstone.exchange.editing import EditRefused, check_edit
from touchstone.exchange.entry import admit, risk_of
from touchstone.exchange.fees import FeeTier
from touchstone.exchange.identifiers import derived_uuid
from touchstone.exchange.market import Market
from touchstone.exchange.money import ZERO, rounded
from touchstone.exchange.orders import EditPreview, Preview
from touchstone.exchange.products import Product
from touchstone.exchange.reasons import Refusal, Refused
from touchstone.exchange.requests import EditRequest, OrderKind, OrderRequest


@dataclass(frozen=True, slots=True)
class Outcome:
    """What would trade: `taken` at once against the book, `waiting` later at its own prices."""

    taken_lots: int = 0
    taken: Decimal = ZERO
    waiting_lots: int = 0
    waiting: Decimal = ZERO
    waits_as_taker: bool = False

    @property
    def value(self) -> Decimal:
        """Return the notional of all of it."""
        return self.taken + self.waiting

    def average(self, product: Product) -> Decimal:
        """Return the average price; 0 where nothing would trade."""
        lots = self.taken_lots + self.waiting_lots
        return self.value / (product.lot_value_per_price * lots) if lots else ZERO

    def commission(self, tier: FeeTier) -> Decimal:
        """Return the fees on all of it."""
        waiting_rate = tier.taker_rate if self.waits_as_taker else tier.maker_rate
        return rounded(self.taken * tier.taker_rate) + rounded(self.waiting * waiting_rate)

    def slippage(self, product: Product, side: Side, touch: Decimal) -> Decimal:
        """Return how much worse than the touch what is taken at once trades, as a part of it."""
        if not self.taken_lots or not touch:
            return ZERO
        average = self.taken / (product.lot_value_per_price * self.taken_lots)
        return side.sign * (average - touch) / touch


def preview_order(desk: OrderDesk, name: str, request: OrderRequest, now_ns: int) -> Preview:
    """Return what an order would do, with the refusal that it would meet."""
    preview_id = derived_uuid("preview", name, now_ns, repr(request))
    try:
        wanted = draft(desk.markets, request, now_ns)
    except Refused as refused:
        market = desk.markets.get(request.product_id)
        bid, ask = (ZERO, ZERO) if market is None else _touch(market)
        return Preview(preview_id=preview_id, errors=(refused.refusal,), best_bid=bid, best_ask=ask)
    errors: tuple[Refusal, ...] = ()
    product, side = wanted.product, request.side
    leverage = request.leverage or desk.clearing.leverage(name, product)
    try:
        leverage = admit(desk, name, request, now_ns).leverage
    except Refused as refused:
        errors = (refused.refusal,)
    outcome = _outcome(wanted)
    commission = outcome.commission(desk.clearing.fee_tier(name, product))
    bid, ask = _touch(wanted.market)
    short = wanted.kind is OrderKind.MARKET and outcome.taken_lots < wanted.size_lots
    preview = Preview(
        preview_id=preview_id,
        errors=errors,
        warnings=("BIG_ORDER",) if short else (),
        order_total=outcome.value + side.sign * commission,
        commission_total=commission,
        quote_size=outcome.value,
        base_size=product.instrument.quantity(wanted.size_lots),
        best_bid=bid,
        best_ask=ask,
        leverage=leverage,
        max_leverage=product.max_leverage,
        slippage=outcome.slippage(product, side, ask if side is Side.BUY else bid),
        average_price=outcome.average(product),
    )
    return _with_margin(desk, name, wanted, preview)


def preview_edit(desk: OrderDesk, name: str, request: EditRequest) -> EditPreview:
    """Return what an edit would do to what is left of its order, with the refusal it would meet."""
    try:
        change = check_edit(desk, name, request)
    except EditRefused as refused:
        return EditPreview(errors=(refused.refusal,))
    order = change.order
    product, side = order.product, order.side
    market = desk.markets[product.product_id]
    if order.in_book:
        outcome = _crossing(market, side, change.leaves_lots, change.price_ticks, rests=True)
    else:
        value = product.notional(change.price_ticks, change.leaves_lots)
        outcome = Outcome(waiting_lots=change.leaves_lots, waiting=value, waits_as_taker=True)
    commission = outcome.commission(desk.clearing.fee_tier(name, product))
    bid, ask = _touch(market)
    return EditPreview(
        order_total=outcome.value + side.sign * commission,
        commission_total=commission,
        quote_size=outcome.value,
        base_size=product.instrument.quantity(change.size_lots),
        best_bid=bid,
        best_ask=ask,
        slippage=outcome.slippage(product, side, ask if side is Side.BUY else bid),
        average_price=outcome.average(product),
    )


def _outcome(wanted: Draft) -> Outcome:
    product, lots = wanted.product, wanted.size_lots
    if wanted.rungs:
        value = sum((product.notional(*rung) for rung in wanted.rungs), ZERO)
        return Outcome(waiting_lots=lots, waiting=value)
    if wanted.kind in {OrderKind.MARKET, OrderKind.LIMIT}:
        outcome = _crossing(
            wanted.market,
            wanted.request.side,
            lots,
            wanted.price_ticks,
            rests=wanted.request.rests,
        )
        fok = wanted.request.time_in_force is TimeInForce.FOK
        return Outcome() if fok and outcome.taken_lots < lots else outcome
    assert wanted.price_ticks is not None  # noqa: S101 - all other kinds have a limit
    return Outcome(
        waiting_lots=lots,
        waiting=product.notional(wanted.price_ticks, lots),
        waits_as_taker=wanted.kind is not OrderKind.BRACKET,
    )


def _crossing(
    market: Market, side: Side, lots: int, price_ticks: int | None, *, rests: bool
) -> Outcome:
    """Return what trades at once within the limit, and what then rests at it."""
    product = market.product
    walk = market.book.walk(side, lots, price_ticks)
    taken = product.notional(1, walk.cost_tick_lots)
    if price_ticks is None or not rests:
        return Outcome(walk.quantity_lots, taken)
    left = lots - walk.quantity_lots
    return Outcome(walk.quantity_lots, taken, left, product.notional(price_ticks, left))


def _with_margin(desk: OrderDesk, name: str, wanted: Draft, preview: Preview) -> Preview:
    """Add what the order would do to the margin; without a price to reckon with, nothing."""
    try:
        risk = risk_of(wanted)
    except Refused:
        return preview
    projection = desk.clearing.project(
        name, wanted.product, risk, preview.leverage, wanted.request.margin_type
    )
    return replace(
        preview,
        order_margin_total=projection.margin,
        current_liquidation_buffer=projection.buffer,
        projected_liquidation_buffer=projection.projected_buffer,
        predicted_liquidation_price=projection.liquidation_price,
    )


def _touch(market: Market) -> tuple[Decimal, Decimal]:
    """Return the best bid and ask; 0 where there is none."""
    instrument = market.product.instrument
    bid, ask = market.book.best_bid(), market.book.best_ask()
    return (
        ZERO if bid is None else instrument.price(bid.price_ticks),
        ZERO if ask is None else instrument.price(ask.price_ticks),
    )
