"""For Schemathesis: make drawn orders right in what no schema can say, and nothing else.

Prices of a book rise and fall from level to level and do not cross; where the side that an order
trades with is empty, something says what it costs; a bar's high is its highest price, its low the
lowest. What the schema does say is left as it was drawn.
"""

from decimal import Decimal
from typing import Any

import schemathesis
from schemathesis import GenerationMode


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Mend the body of an execution that is meant to be right."""
    mode = case.meta.generation.mode if case.meta is not None else None
    if case.path != "/v1/executions" or mode is not GenerationMode.POSITIVE:
        return
    body = case.body
    if not isinstance(body, dict):
        return
    market, bar = body.get("market"), body.get("bar")
    if isinstance(market, dict):
        mend_book(market)
        if not (market.get("bids") and market.get("asks")):
            market["adv_notional"] = market.get("adv_notional") or "1000000"
            market["volatility"] = market.get("volatility") or "0.02"
    if isinstance(bar, dict):
        prices = sorted((bar[name] for name in ("open", "high", "low", "close")), key=number)
        bar["low"], bar["high"] = prices[0], prices[-1]


def number(given: object) -> Decimal:
    """Return what a decimal given as text or as a number is."""
    return Decimal(str(given))


def mend_book(market: dict[str, Any]) -> None:
    """Sort both sides, one level a price; where they cross, lower prices are bids, others asks."""
    bids, asks = (distinct(market.get(side)) for side in ("bids", "asks"))
    if bids and asks and number(bids[-1][0]) >= number(asks[0][0]):
        both = distinct([*bids, *asks])
        if len(both) == 1:
            both = [["1", "1"], ["2", "1"]]
        bids, asks = both[: len(both) // 2], both[len(both) // 2 :]
    if market.get("bids"):
        market["bids"] = bids[::-1]
    if market.get("asks"):
        market["asks"] = asks


def distinct(levels: list[list[Any]] | None) -> list[list[Any]]:
    """Return levels by rising price, the first of each price."""
    found = {number(level[0]): level for level in reversed(levels or [])}
    return [found[price] for price in sorted(found)]
