"""The paper venue, pure: products, accounts, margin, orders and fills over `lob` books."""

from touchstone.exchange.config import ExchangeConfig
from touchstone.exchange.engine import Exchange, Updates
from touchstone.exchange.orders import (
    CancelResult,
    EditPreview,
    EditResult,
    Fill,
    Liquidity,
    MarketTrade,
    Order,
    OrderStatus,
    Preview,
    TriggerStatus,
)
from touchstone.exchange.products import PRODUCTS, Family, Product
from touchstone.exchange.reasons import (
    CancelFailure,
    EditFailure,
    EditRefusal,
    EndReason,
    FailureReason,
    Refusal,
)
from touchstone.exchange.requests import (
    Bracket,
    CloseRequest,
    Distribution,
    EditRequest,
    MarginType,
    OrderKind,
    OrderRequest,
    Scaled,
    StopDirection,
    Twap,
)

__all__ = [
    "PRODUCTS",
    "Bracket",
    "CancelFailure",
    "CancelResult",
    "CloseRequest",
    "Distribution",
    "EditFailure",
    "EditPreview",
    "EditRefusal",
    "EditRequest",
    "EditResult",
    "EndReason",
    "Exchange",
    "ExchangeConfig",
    "FailureReason",
    "Family",
    "Fill",
    "Liquidity",
    "MarginType",
    "MarketTrade",
    "Order",
    "OrderKind",
    "OrderRequest",
    "OrderStatus",
    "Preview",
    "Product",
    "Refusal",
    "Scaled",
    "StopDirection",
    "TriggerStatus",
    "Twap",
    "Updates",
]
