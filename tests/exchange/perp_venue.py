"""A venue whose prices a test sets: no background flow, an index that moves only when told."""

import itertools
from decimal import Decimal

from lob.types import Side, TimeInForce
from touchstone.exchange import Exchange, ExchangeConfig, Order, OrderRequest
from touchstone.exchange.accounts import Position
from touchstone.exchange.background import FlowKind

BTC = "BTC-PERP-INTX"
BIP = "BIP-20DEC30-CDE"
SECOND_NS = 1_000_000_000
HOUR_NS = 3_600 * SECOND_NS


class PerpVenue:
    """Trade, quote and move the index by plain calls; every order has to be accepted."""

    def __init__(self, balances: dict[str, str], **options: object) -> None:
        config = ExchangeConfig(
            flow=FlowKind.NONE,
            index_volatility={},
            arbitrage_band=Decimal(100),
            mark_band=Decimal(1),
            **options,  # type: ignore[arg-type]
        )
        self.exchange = Exchange(config)
        self.clearing = self.exchange.clearing
        self._numbers = itertools.count(1)
        for name, balance in balances.items():
            self.clearing.open_account(name, Decimal(balance))
            self.exchange.open_account(name)

    def order(
        self, name: str, side: str, size: str, price: str, product: str = BTC, **options: object
    ) -> Order:
        """Enter a limit order; fail where it is refused."""
        result = self.exchange.create(name, self.request(side, size, price, product, **options))
        assert isinstance(result, Order), result
        return result

    def request(
        self, side: str, size: str, price: str, product: str = BTC, **options: object
    ) -> OrderRequest:
        """Return a limit order."""
        options.setdefault("time_in_force", TimeInForce.GTC)
        return OrderRequest(
            client_order_id=f"c{next(self._numbers)}",
            product_id=product,
            side=Side(side),
            size=Decimal(size),
            limit_price=Decimal(price),
            **options,  # type: ignore[arg-type]
        )

    def trade(
        self, buyer: str, seller: str, size: str, price: str, product: str = BTC, **buying: object
    ) -> None:
        """Let one account buy from another; the buyer takes, with the options given."""
        self.order(seller, "SELL", size, price, product)
        self.order(buyer, "BUY", size, price, product, **buying)

    def quote(self, name: str, bid: str, ask: str, product: str = BTC, size: str = "2") -> None:
        """Cancel what the account has in the product and quote both sides."""
        held = self.exchange.open_orders(name, product)
        self.exchange.cancel(name, [order.order_id for order in held])
        self.order(name, "BUY", size, bid, product)
        self.order(name, "SELL", size, ask, product)

    def index(self, price: str, coin: str = "BTC") -> None:
        """Move a coin's index."""
        self.exchange.marketplace.move_index(coin, Decimal(price))

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        until_ns = self.exchange.now_ns + seconds * SECOND_NS
        while self.exchange.now_ns < until_ns:
            self.exchange.advance(until_ns)
        self.exchange.check()

    def position(self, name: str, product: str = BTC) -> Position:
        """Return an account's position."""
        return self.clearing.account(name).position(product)

    def equity(self, name: str) -> Decimal:
        """Return all an account's money."""
        return self.clearing.equity(name)
