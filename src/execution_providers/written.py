"""What is asked of a fill most, answered from what its attribution would be made of.

For most fills of a busy service the mapping is made to be encoded once; to write the text at once
takes a third of that. What it says is what `touchstone.kit.codec.fill_to_json` does, byte for byte.
"""

from collections.abc import Mapping
from typing import Any

from execution_providers.provider import explained, fees_bps
from execution_providers.slippage import plain
from execution_providers.types import Fill, PartialFill


def written(fill: Fill) -> str | None:
    """Return the fill as JSON; None where it is more than usual, or its attribution was made.

    Usual is an order of which something filled in an L3 execution without models.
    """
    why = getattr(fill, "_why", None)
    if why is None or why[0] is not explained:
        return None
    level, seen, slippage, fees, average, totals, told = why[1]
    # Asked by name: whoever only hands fills on need not load what L3 is made of.
    writes = getattr(told, "written", None)
    own = None if writes is None else writes()
    if own is None or seen is None or average is None:
        return None
    spread, depth, drift, impact = slippage
    crossing = plain(spread)
    # The other parts of an order that the touch fills are 0, and the total is the first.
    total = plain(slippage.total) if depth or drift or impact else crossing
    parts = ",".join(map(_part, fill.fills))
    return (
        f'{{"status":"{fill.status}","filled_quantity":"{plain(fill.filled_quantity)}",'
        f'"average_price":"{plain(average)}","fees":"{plain(fees)}","slippage_bps":"{total}",'
        f'"attribution":{{"provider":"{level}","reference_price":"{seen.text}",'
        f'"reference":"{seen.reference.kind}","slippage":{{"spread":"{crossing}",'
        f'"depth":"{plain(depth)}","latency_drift":"{plain(drift)}","impact":"{plain(impact)}"}},'
        f'"fees_bps":"{fees_bps(fees, average, totals)}",{own}}},"fills":[{parts}]}}'
    )


def latency_ns_of(fill: Fill) -> int | None:
    """Return the simulated latency of an execution, where it has one; no attribution is made."""
    why = getattr(fill, "_why", None)
    if why is not None and why[0] is explained:
        known: int | None = getattr(why[1][-1], "latency_ns", None)
        if known is not None:
            return known
    found: int | None = fill.attribution.get("latency_ns")
    return found


def forecast_of(fill: Fill) -> Mapping[str, Any] | None:
    """Return the fill forecast of an execution, where it made one.

    No attribution is made for one without models, which forecasts nothing.
    """
    why = getattr(fill, "_why", None)
    if why is not None and why[0] is explained and hasattr(why[1][-1], "latency_ns"):
        return None
    found: Mapping[str, Any] | None = fill.attribution.get("fill_forecast")
    return found


def _part(part: PartialFill) -> str:
    price, quantity, liquidity, offset_ns = part
    return (
        f'{{"price":"{plain(price)}","quantity":"{plain(quantity)}",'
        f'"liquidity":"{liquidity}","offset_ns":{offset_ns}}}'
    )
