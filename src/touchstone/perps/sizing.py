"""Impact-aware sizing: what a notional costs against the depth it consumes.

Impact in bps of a notional `n` against the touch (`depth_l1`) and ten levels (`depth_l10`), all in
USD, consumed side only: linear to 5 bps over the touch, then 20 bps more by the square root.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from lob.errors import InvalidInput

TOUCH_BPS: Final = Decimal(5)
DEEP_BPS: Final = Decimal(20)
AGGRESSIVE_FACTOR: Final = 2


class SizingMode(StrEnum):
    """What happens to a notional whose impact is above the cap."""

    CONSERVATIVE = "conservative"
    STRICT = "strict"
    AGGRESSIVE = "aggressive"


@dataclass(frozen=True, slots=True)
class Sized:
    """What sizing decided: `adjusted` is 0 when the order is refused."""

    original: Decimal
    adjusted: Decimal
    limit: Decimal


def impact_bps(notional: Decimal, depth_l1: Decimal, depth_l10: Decimal) -> Decimal | None:
    """Return the expected impact in bps, None beyond ten levels of depth."""
    _check_depth(depth_l1, depth_l10)
    if notional <= depth_l1:
        return TOUCH_BPS * notional / depth_l1
    if notional > depth_l10:
        return None
    return TOUCH_BPS + DEEP_BPS * ((notional - depth_l1) / (depth_l10 - depth_l1)).sqrt()


def largest_notional(cap_bps: Decimal, depth_l1: Decimal, depth_l10: Decimal) -> Decimal:
    """Return the largest notional whose impact is at most `cap_bps`.

    >>> largest_notional(Decimal(10), Decimal(50_000), Decimal(200_000))
    Decimal('59375.0000')
    """
    _check_depth(depth_l1, depth_l10)
    if not cap_bps.is_finite() or cap_bps <= 0:
        raise InvalidInput(f"cap_bps: {cap_bps}; allowed: above 0")
    if cap_bps <= TOUCH_BPS:
        return depth_l1 * cap_bps / TOUCH_BPS
    deep = ((cap_bps - TOUCH_BPS) / DEEP_BPS) ** 2
    return min(depth_l10, depth_l1 + (depth_l10 - depth_l1) * deep)


def size(
    notional: Decimal,
    cap_bps: Decimal,
    depth_l1: Decimal,
    depth_l10: Decimal,
    mode: SizingMode,
) -> Sized:
    """Return `notional` fitted to the cap by `mode`.

    Conservative shrinks to fit and leaves a fitting size alone; strict refuses what does not fit;
    aggressive allows up to twice the limit, never beyond ten levels.
    """
    limit = largest_notional(cap_bps, depth_l1, depth_l10)
    if notional <= limit:
        return Sized(notional, notional, limit)
    if mode is SizingMode.STRICT:
        return Sized(notional, Decimal(0), limit)
    if mode is SizingMode.AGGRESSIVE:
        limit = min(limit * AGGRESSIVE_FACTOR, depth_l10)
    return Sized(notional, min(notional, limit), limit)


def _check_depth(depth_l1: Decimal, depth_l10: Decimal) -> None:
    if not (depth_l1.is_finite() and depth_l10.is_finite() and 0 < depth_l1 <= depth_l10):
        raise InvalidInput(
            f"depth_l1: {depth_l1}, depth_l10: {depth_l10}; allowed: 0 < depth_l1 <= depth_l10",
        )
