"""The paper venue, pure: products, accounts, margin, orders and fills over `lob` books."""

from touchstone.exchange.config import ExchangeConfig
from touchstone.exchange.engine import Exchange, Updates
from touchstone.exchange.orders import (
    CancelFailure,
    CancelResult,
    FailureReason,
    Fill,
    Liquidity,
    MarketTrade,
    Order,
    OrderRequest,
    OrderStatus,
    Refusal,
)
from touchstone.exchange.products import PRODUCTS, Family, Product

__all__ = [
    "PRODUCTS",
    "CancelFailure",
    "CancelResult",
    "Exchange",
    "ExchangeConfig",
    "FailureReason",
    "Family",
    "Fill",
    "Liquidity",
    "MarketTrade",
    "Order",
    "OrderRequest",
    "OrderStatus",
    "Product",
    "Refusal",
    "Updates",
]
