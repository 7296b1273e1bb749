"""Execute an order against a market: one interface, at two levels of detail.

L2 walks the depth; L3 sends the order through a market-by-order book with latency and a queue.
"""

from execution_providers.factory import create_execution_provider
from execution_providers.fees import DEFAULT_FEES, FeeSchedule
from execution_providers.l2 import L2Config
from execution_providers.provider import ExecutionProvider
from execution_providers.types import (
    BarData,
    CostEstimate,
    ExecutionRequest,
    Fill,
    FillStatus,
    Liquidity,
    MarketState,
    Order,
    OrderType,
    PartialFill,
    TimeInForce,
)
from lob.types import AssetClass, Side

__all__ = [
    "DEFAULT_FEES",
    "AssetClass",
    "BarData",
    "CostEstimate",
    "ExecutionProvider",
    "ExecutionRequest",
    "FeeSchedule",
    "Fill",
    "FillStatus",
    "L2Config",
    "Liquidity",
    "MarketState",
    "Order",
    "OrderType",
    "PartialFill",
    "Side",
    "TimeInForce",
    "create_execution_provider",
]
