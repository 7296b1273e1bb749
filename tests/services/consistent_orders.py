"""For Schemathesis: make drawn orders right in what no schema can say, and nothing else.

Prices of a book rise and fall from level to level and do not cross; where the side that an order
trades with is empty, something says what it costs; a bar's high is its highest price, its low the
lowest; a number has 20 decimals at most. What the schema does say is left as it was drawn.
"""

from decimal import ROUND_CEILING, Context, Decimal
from typing import Any

import schemathesis
from schemathesis import GenerationMode

SMALLEST = Decimal("1e-20")
LONG = Context(prec=50)
MOST = 1e21


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Mend the body of an execution that is meant to be right."""
    mode = case.meta.generation.mode if case.meta is not None else None
    if case.path != "/v1/executions" or mode is not GenerationMode.POSITIVE:
        return
    body = case.body
    if not isinstance(body, dict):
        return
    for name in ("order", "market", "bar"):
        if name in body:
            body[name] = short(body[name])
    market, bar = body.get("market"), body.get("bar")
    if isinstance(market, dict):
        mend_book(market)
        if not (market.get("bids") and market.get("asks")):
            market["adv_notional"] = market.get("adv_notional") or "1000000"
            market["volatility"] = market.get("volatility") or "0.02"
    if isinstance(bar, dict):
        prices = sorted((bar[name] for name in ("open", "high", "low", "close")), key=number)
        bar["low"], bar["high"] = prices[0], prices[-1]


def short(drawn: Any) -> Any:
    """Return what was drawn with every float of more than 20 decimals cut, never to 0."""
    if isinstance(drawn, dict):
        return {name: short(value) for name, value in drawn.items()}
    if isinstance(drawn, list):
        return [short(value) for value in drawn]
    if not isinstance(drawn, float) or not 0 < drawn < MOST:
        return drawn
    cut = number(drawn).quantize(SMALLEST, ROUND_CEILING, LONG)
    return drawn if cut == number(drawn) else format(cut, "f")


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
