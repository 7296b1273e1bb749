"""Lots that do not show: how icebergs refill, how they give themselves away, how large they are.

Refills as the book itself makes them (each at the tail of its level); detection by refills;
estimates of what is left by survival curves (Zotikov and Antonov 2019) and by a Beta prior.
"""

from lob.hidden.detection import Confidence, DetectionRules, Iceberg, IcebergDetector, IcebergState
from lob.hidden.feed import detect_in_feed
from lob.hidden.refills import (
    RefillPosterior,
    lots_until_filled,
    refill_count,
    refill_tranches,
)
from lob.hidden.totals import TotalSizeCurve

__all__ = [
    "Confidence",
    "DetectionRules",
    "Iceberg",
    "IcebergDetector",
    "IcebergState",
    "RefillPosterior",
    "TotalSizeCurve",
    "detect_in_feed",
    "lots_until_filled",
    "refill_count",
    "refill_tranches",
]
