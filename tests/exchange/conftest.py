"""A venue without background flow, where every order in the book is a test's own."""

import itertools
from collections.abc import Callable
from decimal import Decimal

import pytest

from lob.types import Side, TimeInForce
from touchstone.exchange import Exchange, ExchangeConfig, Order, OrderRequest, Refusal
from touchstone.exchange.background import FlowKind

BTC = "BTC-PERP-INTX"
BIP = "BIP-20DEC30-CDE"

Trade = Callable[..., Order | Refusal]


@pytest.fixture
def quiet() -> Exchange:
    """A venue with two accounts of 100,000 and nothing in its books."""
    exchange = Exchange(ExchangeConfig(flow=FlowKind.NONE, index_volatility={}))
    for name in ("alice", "bob"):
        exchange.open_account(name)
    return exchange


@pytest.fixture
def enter(quiet: Exchange) -> Trade:
    """Enter an order on the quiet venue: account, side, size, price, then options."""
    numbers = itertools.count(1)

    def enter_order(
        account: str,
        side: str,
        size: str,
        price: str | None = None,
        *,
        product: str = BTC,
        tif: str = "GTC",
        **options: object,
    ) -> Order | Refusal:
        client_order_id = str(options.pop("client_order_id", f"c{next(numbers)}"))
        request = OrderRequest(
            client_order_id=client_order_id,
            product_id=product,
            side=Side(side),
            size=Decimal(size),
            limit_price=None if price is None else Decimal(price),
            time_in_force=TimeInForce(tif),
            **options,  # type: ignore[arg-type]
        )
        return quiet.create(account, request)

    return enter_order
