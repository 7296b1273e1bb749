"""What an account's answers are made of: money, margin and positions at the present marks."""

from dataclasses import dataclass
from decimal import Decimal

from lob.types import Side
from services.paper_exchange.shapes_orders import hold
from touchstone.exchange import Exchange, Family, MarginType, Product
from touchstone.exchange.clearing import CROSS
from touchstone.exchange.fees import FeeTier
from touchstone.exchange.liquidation import Held, Scope, liquidation_price
from touchstone.exchange.money import ZERO
from touchstone.exchange.requests import OrderKind


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionFigures:
    """One position: prices in the settlement currency, margins as amounts; `lots` is signed.

    `buying` and `selling` are what live orders of the product still ask for, in coins or contracts;
    `scope` is what is margined, and liquidated, together with it.
    """

    product: Product
    lots: int
    mark: Decimal
    entry_price: Decimal
    settled_price: Decimal
    leverage: Decimal
    margin_type: MarginType
    notional: Decimal
    initial: Decimal
    maintenance: Decimal
    unrealised: Decimal
    aggregated: Decimal
    realised_day: Decimal
    liquidation_price: Decimal | None
    scope: Scope
    buying: Decimal
    selling: Decimal

    @property
    def isolated(self) -> bool:
        """Say whether it stands on its own collateral."""
        return self.margin_type is MarginType.ISOLATED


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFigures:
    """One account: `cash` with what isolated positions hold, margins of positions and of orders.

    `required` is what positions and orders need, `initial` and `maintenance` what positions alone
    need; `free` may open more, `withdrawable` may be moved away. `cross` is what is on cross
    margin: isolated positions, whose collateral is theirs alone, neither help nor burden it.
    """

    cash: Decimal
    unrealised: Decimal
    equity: Decimal
    required: Decimal
    initial: Decimal
    maintenance: Decimal
    notional: Decimal
    order_holds: Decimal
    realised_day: Decimal
    free: Decimal
    withdrawable: Decimal
    cross: Scope
    liquidating: bool


def liquidation_percentage(scope: Scope) -> Decimal:
    """Return maintenance margin as a percentage of equity; beyond 100 it is liquidated."""
    if scope.equity <= 0:
        return Decimal(100 if scope.maintenance else 0)
    return scope.maintenance / scope.equity * 100


def liquidation_buffer(scope: Scope) -> Decimal:
    """Return equity less maintenance margin; below 0 it is liquidated."""
    return scope.equity - scope.maintenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Fees:
    """What an account pays: its tier, where the next starts, its thirty days' volume, what it paid.

    `usd_to` is None in the last tier.
    """

    tier: FeeTier
    usd_to: Decimal | None
    volume: Decimal
    paid: Decimal


def fees_of(exchange: Exchange, account: str, family: Family) -> Fees:
    """Return what an account pays for products of a family."""
    schedule = exchange.clearing.schedules[family]
    books, now_ns = exchange.accounts[account], exchange.now_ns
    tier = schedule.tier(books.recent.tier_volume(now_ns))
    return Fees(
        tier=tier,
        usd_to=schedule.usd_to(tier),
        volume=books.recent.total(now_ns),
        paid=books.fees_paid,
    )


def account_figures(exchange: Exchange, account: str) -> AccountFigures:
    """Return an account's money and margin. O(products + open orders)."""
    clearing = exchange.clearing
    held = [figures for figures in position_figures(exchange, account) if figures.lots]
    equity = clearing.equity(account)
    required = clearing.requirement(account)
    isolated = sum((one.initial for one in held if one.isolated), ZERO)
    unrealised = sum((one.unrealised for one in held), ZERO)
    return AccountFigures(
        cash=equity - unrealised,
        unrealised=unrealised,
        equity=equity,
        required=required + isolated,
        initial=sum((one.initial for one in held), ZERO),
        maintenance=sum((one.maintenance for one in held), ZERO),
        notional=sum((one.notional for one in held), ZERO),
        order_holds=sum((hold(order) for order in exchange.open_orders(account)), ZERO),
        realised_day=sum(
            (one.realised_day for one in exchange.accounts[account].positions.values()), ZERO
        ),
        free=max(ZERO, clearing.cross_equity(account) - required),
        withdrawable=clearing.withdrawable(account),
        cross=clearing.scope(account),
        liquidating=bool(exchange.accounts[account].liquidating),
    )


def position_figures(
    exchange: Exchange, account: str, family: Family | None = None
) -> list[PositionFigures]:
    """Return every product's position of an account, flat ones with 0 lots."""
    return [
        one_position(exchange, account, product)
        for product in exchange.products.values()
        if family is None or product.family is family
    ]


def one_position(exchange: Exchange, account: str, product: Product) -> PositionFigures:
    """Return one product's position of an account."""
    clearing = exchange.clearing
    position = exchange.accounts[account].position(product.product_id)
    mark = clearing.mark(product.product_id)
    leverage = clearing.leverage(account, product)
    held = Held(product=product, lots=position.lots, mark=mark, leverage=leverage)
    scope = clearing.scope(account, product.product_id if position.isolated else CROSS)
    asked = dict.fromkeys(Side, ZERO)
    for order in exchange.open_orders(account, product.product_id):
        # What a scaled order asks for is asked for by its children.
        if order.kind is not OrderKind.SCALED:
            asked[order.side] += order.leaves
    return PositionFigures(
        product=product,
        lots=position.lots,
        mark=mark,
        entry_price=position.original_entry_price(product) or ZERO,
        settled_price=position.entry_price(product) or ZERO,
        leverage=leverage,
        margin_type=position.margin_type,
        notional=held.notional,
        initial=held.initial,
        maintenance=clearing.rule.maintenance_of(held.initial),
        unrealised=position.unrealised(product, mark),
        aggregated=position.aggregated(product, mark),
        realised_day=position.realised_day,
        liquidation_price=liquidation_price(held, scope) if held.lots else None,
        scope=scope,
        buying=asked[Side.BUY],
        selling=asked[Side.SELL],
    )
