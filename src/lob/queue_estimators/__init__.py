"""Estimate queue positions where the feed has levels only: trades and displayed lots, no orders.

`QueueTracker` follows orders through such a feed, each with an estimator of its own; `FAMILIES` has
the estimators by name, `DEFAULT` names ours, and `queue_tracker` makes a tracker of one of them.
`LevelView` makes level-only data of a market-by-order feed, to try them out: where there are
orders, `lob.shadow_orders` is exact.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from lob.errors import InvalidInput
from lob.queue_estimators.base import ROUNDING_LOTS, QueueEstimator
from lob.queue_estimators.families import (
    LogQueue,
    LogQueue2,
    OptimisticQueue,
    PowerQueue,
    PowerQueue2,
    PowerQueue3,
    RiskAverseQueue,
)
from lob.queue_estimators.inferred import InferredLevel, InferredQueue
from lob.queue_estimators.level_view import LevelChange, LevelView
from lob.queue_estimators.tracker import EstimatorFactory, QueueTracker

__all__ = [
    "DEFAULT",
    "FAMILIES",
    "ROUNDING_LOTS",
    "EstimatorFactory",
    "Family",
    "InferredLevel",
    "InferredQueue",
    "LevelChange",
    "LevelView",
    "LogQueue",
    "LogQueue2",
    "OptimisticQueue",
    "PowerQueue",
    "PowerQueue2",
    "PowerQueue3",
    "QueueEstimator",
    "QueueTracker",
    "RiskAverseQueue",
    "queue_tracker",
]


class Family(NamedTuple):
    """A kind of estimator: what makes one, whether it wants sizes, and where it comes from."""

    make: Callable[[float, Sequence[float]], QueueEstimator]
    sizes: bool
    source: str


def _families() -> dict[str, Family]:
    theirs: dict[str, EstimatorFactory] = {
        "risk-averse": RiskAverseQueue,
        "log": LogQueue,
        "log2": LogQueue2,
    }
    for power in (1.0, 2.0, 3.0):
        theirs[f"power n={power:g}"] = partial(PowerQueue, power=power)
        if power > 1:  # to the first power all three are one
            theirs[f"power2 n={power:g}"] = partial(PowerQueue2, power=power)
            theirs[f"power3 n={power:g}"] = partial(PowerQueue3, power=power)
    found = {name: Family(make, sizes=False, source="hftbacktest") for name, make in theirs.items()}
    found["optimistic"] = Family(OptimisticQueue, sizes=False, source="bound")
    found["inferred"] = Family(InferredQueue, sizes=True, source="ours")
    return found


FAMILIES: Final[dict[str, Family]] = _families()
"""Every estimator by its name."""

DEFAULT: Final = "inferred"
"""The name of our estimator."""


def queue_tracker(
    family: str = DEFAULT, *, max_tracked_orders: int = 10_000, max_levels: int = 10_000
) -> QueueTracker:
    """Return a tracker whose orders are estimated by the family of this name.

    Raises:
        InvalidInput: there is no such family; a bound is below 1.
    """
    if family not in FAMILIES:
        raise InvalidInput(f"family: {family!r}; allowed: {', '.join(FAMILIES)}")
    return QueueTracker(
        FAMILIES[family].make,
        sizes=FAMILIES[family].sizes,
        max_tracked_orders=max_tracked_orders,
        max_levels=max_levels,
    )
