"""Lots that do not show: how icebergs refill, how they give themselves away, how large they are.

Refills as the book itself makes them (each at the tail of its level); detection by refills;
estimates of what is left by survival curves (Zotikov and Antonov 2019) and by a Beta prior; and a
model of the hidden orders that an aggressive order meets inside the spread, learnt from sweeps.
"""

from lob.hidden.arrival import ACCOUNTS, ArrivalCosts, CostForecast, FlowMemory
from lob.hidden.detection import Confidence, DetectionRules, Iceberg, IcebergDetector, IcebergState
from lob.hidden.feed import detect_in_feed
from lob.hidden.liquidity import (
    HiddenForecast,
    HiddenLevel,
    HiddenLiquidityModel,
    HiddenOrder,
    HiddenPrior,
)
from lob.hidden.refills import (
    RefillPosterior,
    lots_until_filled,
    refill_count,
    refill_tranches,
)
from lob.hidden.sizes import HiddenSizes
from lob.hidden.sweeps import Depth, Execution, Sweep, walk_ticks
from lob.hidden.totals import TotalSizeCurve
from lob.hidden.usual import UsualHidden

__all__ = [
    "ACCOUNTS",
    "ArrivalCosts",
    "Confidence",
    "CostForecast",
    "Depth",
    "DetectionRules",
    "Execution",
    "FlowMemory",
    "HiddenForecast",
    "HiddenLevel",
    "HiddenLiquidityModel",
    "HiddenOrder",
    "HiddenPrior",
    "HiddenSizes",
    "Iceberg",
    "IcebergDetector",
    "IcebergState",
    "RefillPosterior",
    "Sweep",
    "TotalSizeCurve",
    "UsualHidden",
    "detect_in_feed",
    "lots_until_filled",
    "refill_count",
    "refill_tranches",
    "walk_ticks",
]
