"""What Coinbase says of money: the account in one answer, and each product's funding.

`GET /portfolios/{uuid}` states equity, positions and their marks together, so that nothing in it
can be out of step; it is what profit is compared with, and what funding is booked from.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from services.order_gateway.venues.base import VenuePosition
from services.order_gateway.venues.coinbase_rest import CoinbaseRest, readable
from services.order_gateway.venues.coinbase_wire import nanoseconds, number, optional
from touchstone.perps.funding import FundingFigures
from touchstone.perps.guards import derived_liquidation_price
from touchstone.perps.pnl import StatedPosition, Statement
from touchstone.perps.products import ProductRules

_SECOND_NS: Final = 1_000_000_000
_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Stated:
    """The account's statement, and its `positions` by symbol with all that is told of them."""

    statement: Statement
    positions: Mapping[str, VenuePosition]


class CoinbaseMoney:
    """Read statements and funding through the adapter's connection, at its lowest priority."""

    def __init__(self, rest: CoinbaseRest, symbols: Mapping[str, str]) -> None:
        self._rest = rest
        self._symbols = dict(symbols)
        self._portfolios: tuple[str, ...] = ()

    async def statement(self) -> Stated:
        """Return the account as it stands; raises `Unavailable` where it cannot be known.

        An account whose two families stand in two portfolios takes two answers.
        """
        answers = [
            await self._rest.get(f"/portfolios/{uuid}") for uuid in await self._portfolio_ids()
        ]
        with readable("portfolio"):
            breakdowns = [answer["breakdown"] for answer in answers]
            return stated_from(breakdowns, self._rest.rules_for_product)

    async def liquidation_prices(self, stated: Stated) -> dict[str, Decimal]:
        """Return the liquidation price of each position; 0 where there is none.

        Where the venue tells only the account's buffer (CDE) they are worked out from that.
        """
        told = {
            symbol: one.liquidation_price
            for symbol, one in stated.positions.items()
            if one.liquidation_price is not None
        }
        if len(told) == len(stated.positions):
            return told
        answer = await self._rest.get("/cfm/balance_summary")
        with readable("balance summary"):
            return told | derived_from(stated, answer["balance_summary"])

    async def funding(self, symbol: str) -> FundingFigures:
        """Return what the venue publishes of one symbol's funding."""
        product = await self._rest.get(f"/products/{self._symbols[symbol]}")
        with readable("funding"):
            return funding_from(product)

    async def _portfolio_ids(self) -> tuple[str, ...]:
        if not self._portfolios:
            kinds = {name.endswith("-INTX") for name in self._symbols.values()}
            found: dict[str, None] = {}
            if True in kinds:
                found[await self._rest.intx_portfolio()] = None
            if False in kinds:
                answer = await self._rest.get("/portfolios", [("portfolio_type", "DEFAULT")])
                with readable("portfolios"):
                    found[str(answer["portfolios"][0]["uuid"])] = None
            self._portfolios = tuple(found)
        return self._portfolios


def stated_from(
    breakdowns: Iterable[Mapping[str, Any]],
    rules_for_product: Callable[[str], ProductRules | None],
) -> Stated:
    """Return the statement in portfolio breakdowns, which are added up; quantities in coins."""
    equity = other = _ZERO
    held: dict[str, VenuePosition] = {}
    for breakdown in breakdowns:
        balances = breakdown["portfolio_balances"]
        equity += number(balances["total_balance"], "total_balance")
        for row in (*breakdown["perp_positions"], *breakdown["futures_positions"]):
            rules = rules_for_product(row["product_id"])
            found = _position(row, rules)
            if rules is None:
                other += found.quantity * (found.mark_price or _ZERO)
            else:
                held[rules.symbol] = found
    positions = {
        symbol: StatedPosition(quantity=one.quantity, mark=one.mark_price)
        for symbol, one in held.items()
        if one.mark_price is not None
    }
    if len(positions) < len(held):
        raise KeyError("mark_price")
    return Stated(Statement(equity=equity, positions=positions, other_value=other), held)


def derived_from(stated: Stated, summary: Mapping[str, Any]) -> dict[str, Decimal]:
    """Return liquidation prices of positions that have none told, from the account's buffer.

    `summary` is a futures balance summary.
    """
    buffer = number(summary["liquidation_buffer_amount"], "liquidation_buffer_amount")
    maintenance = number(summary["liquidation_threshold"], "liquidation_threshold")
    held = [
        (symbol, one.quantity, one.mark_price, one.liquidation_price)
        for symbol, one in stated.positions.items()
        if one.mark_price is not None
    ]
    gross = sum((abs(quantity) * mark for _, quantity, mark, _ in held), _ZERO)
    return {
        symbol: derived_liquidation_price(quantity, mark, buffer, maintenance / gross)
        for symbol, quantity, mark, told in held
        if told is None and gross
    }


def funding_from(product: Mapping[str, Any]) -> FundingFigures:
    """Return a product's funding; CDE has it beside the details of perpetuals, INTX among them.

    Only CDE's products tell their interval, and a mark (`settlement_price`).
    """
    details = product.get("future_product_details") or {}
    inner = details.get("perpetual_details") or {}
    told = details if details.get("funding_time") else inner
    rate = told.get("funding_rate")
    interval = str(details.get("funding_interval") or "")
    return FundingFigures(
        rate=None if rate in (None, "") else number(rate, "funding_rate"),
        next_time_ns=nanoseconds(told.get("funding_time")),
        interval_ns=int(interval.removesuffix("s")) * _SECOND_NS if interval else None,
        mark=optional(details.get("settlement_price"), "settlement_price"),
    )


def _position(row: Mapping[str, Any], rules: ProductRules | None) -> VenuePosition:
    """Return one position of a breakdown, of a perpetual or of a future."""
    sign = -1 if "SHORT" in str(row.get("position_side") or row.get("side")) else 1
    if "net_size" in row:
        size = abs(number(row["net_size"], "net_size")) * sign
        contract = Decimal(1) if rules is None else rules.contract_size
        mark, entry = _raw(row.get("mark_price")), None
        liquidation_price = _raw(row.get("liquidation_price"))
        pnl = _raw(row.get("unrealized_pnl"))
    else:
        size = abs(number(row["amount"], "amount")) * sign
        contract = number(row["contract_size"], "contract_size")
        mark, entry = row.get("current_price"), row.get("avg_entry_price")
        liquidation_price, pnl = None, row.get("unrealized_pnl")
    return VenuePosition(
        size * contract,
        optional(entry, "avg_entry_price"),
        mark_price=optional(mark, "mark_price"),
        # Here 0 is an answer: there is no price at which it would be liquidated.
        liquidation_price=None
        if liquidation_price in (None, "")
        else number(liquidation_price, "liquidation_price"),
        unrealized_pnl=None if pnl in (None, "") else number(pnl, "unrealized_pnl"),
    )


def _raw(value: Any) -> Any:
    """Return the amount in the position's own currency."""
    return value.get("rawCurrency", value) if isinstance(value, Mapping) else value
