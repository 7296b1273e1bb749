"""A venue without background flow on which tests trade by hand: one product, short words."""

import copy
from decimal import Decimal
from typing import Any

from lob.types import Side, TimeInForce
from touchstone.exchange import (
    EditRequest,
    EditResult,
    Exchange,
    ExchangeConfig,
    Order,
    OrderRequest,
    Refusal,
)
from touchstone.exchange.background import FlowKind

BTC = "BTC-PERP-INTX"
SECOND_NS = 1_000_000_000

_DECIMALS = frozenset(
    {"size", "quote_size", "limit_price", "stop_price", "stop_trigger_price", "leverage"}
)


class Floor:
    """Four rich accounts and an empty book; the opening price is 100,000."""

    def __init__(self, **config: Any) -> None:
        """Open the venue with other settings than the usual ones."""
        usual: dict[str, Any] = {"starting_balance": Decimal(10_000_000), "flow": FlowKind.NONE}
        self.exchange = Exchange(ExchangeConfig(index_volatility={}, **{**usual, **config}))
        for name in ("alice", "bob", "carol", "dave"):
            self.exchange.open_account(name)
        self._entered = 0

    def restored(self, exchange: Exchange) -> "Floor":
        """Return a floor that goes on like this one, on another venue."""
        other = copy.copy(self)
        other.exchange = exchange
        return other

    def request(
        self,
        side: str,
        size: str | None = None,
        limit_price: str | None = None,
        tif: str = "GTC",
        **terms: Any,
    ) -> OrderRequest:
        """Return a request for BTC; sizes and prices may be texts."""
        given: dict[str, Any] = {"size": size, "limit_price": limit_price, **terms}
        exact: dict[str, Any] = {
            name: Decimal(value) if name in _DECIMALS and isinstance(value, str) else value
            for name, value in given.items()
        }
        self._entered += 1
        exact.setdefault("client_order_id", f"floor-{self._entered}")
        return OrderRequest(
            product_id=BTC, side=Side(side), time_in_force=TimeInForce(tif), **exact
        )

    def _asked(self, terms: tuple[str | None, ...], options: dict[str, Any]) -> OrderRequest:
        names = ("side", "size", "limit_price", "tif")
        return self.request(**{**dict(zip(names, terms, strict=False)), **options})

    def enter(self, name: str, *terms: str | None, **options: Any) -> Order:
        """Enter an order; fail where it is refused."""
        result = self.exchange.create(name, self._asked(terms, options))
        assert isinstance(result, Order), result
        return result

    def refuse(self, name: str, *terms: str | None, **options: Any) -> Refusal:
        """Enter an order; fail where it is accepted."""
        result = self.exchange.create(name, self._asked(terms, options))
        assert isinstance(result, Refusal), result
        return result

    def edit(self, order: Order, **terms: Any) -> EditResult:
        """Edit an order; sizes and prices may be texts."""
        exact: dict[str, Any] = {
            name: Decimal(value) if isinstance(value, str) else value
            for name, value in terms.items()
        }
        return self.exchange.edit(order.account, EditRequest(order_id=order.order_id, **exact))

    def now(self, order: Order) -> Order:
        """Return an order as it stands now."""
        found = self.exchange.order(order.account, order.order_id)
        assert found is not None
        return found

    def trade(self, price: str, size: str = "0.01") -> None:
        """Let carol sell to dave at this price; others that stand before them trade first."""
        self.enter("carol", "SELL", size, price)
        self.enter("dave", "BUY", size, price)
        for name in ("carol", "dave"):
            self.cancel_all(name)

    def hold(self, name: str, side: str, size: str) -> None:
        """Give an account a position at the opening price; carol has the other side of it."""
        other = "SELL" if side == "BUY" else "BUY"
        self.enter("carol", other, size, "100000")
        self.enter(name, side, size, "100000")

    def cancel_all(self, name: str) -> None:
        """Cancel what an account has open."""
        ids = [order.order_id for order in self.exchange.open_orders(name)]
        self.exchange.cancel(name, ids)

    def wait(self, seconds: float) -> None:
        """Let exchange time pass."""
        self.exchange.advance(self.exchange.now_ns + round(seconds * SECOND_NS))

    def at(self, seconds: float) -> int:
        """Return the exchange's time that many seconds from now."""
        return self.exchange.now_ns + round(seconds * SECOND_NS)

    def position(self, name: str) -> Decimal:
        """Return what an account holds, in coins."""
        lots = self.exchange.accounts[name].position(BTC).lots
        return lots * self.exchange.products[BTC].instrument.lot_size
