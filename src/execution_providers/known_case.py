"""One execution whose answer is known, and is another one at each level.

A limit order joins the bid behind 300 while a bar trades 5,000 at a price that does not move. With
a book and a queue (L3) the trades come to it, and it has given all of its 100 at its limit; depth
that is walked as it was seen (L2) leaves it unfilled, because the bar's low is above its limit. So
a provider that answers as another level does not pass for the one it is said to be.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from execution_providers.provider import ExecutionProvider
from execution_providers.types import BarData, ExecutionRequest, Fill, MarketState, Order
from lob.errors import Fault, InvalidInput
from lob.types import AssetClass

SEED: Final = 1


class KnownAnswer(NamedTuple):
    """What is known of the answer: decimal text; an empty one where there is none."""

    provider: str
    status: str
    filled_quantity: str
    average_price: str
    queue_ahead: str


ANSWERS: Final[Mapping[str, KnownAnswer]] = {
    "L2": KnownAnswer("L2", "UNFILLED", "0", "", ""),
    "L3": KnownAnswer("L3", "FILLED", "100", "100", "300"),
}


def known_request(asset_class: AssetClass) -> ExecutionRequest:
    """Return the request; it is the same for every asset class but for that."""
    order = Order(
        "KNOWN",
        "BUY",  # type: ignore[arg-type]  # the types take text and numbers
        100,  # type: ignore[arg-type]
        "LIMIT",  # type: ignore[arg-type]
        "100.00",  # type: ignore[arg-type]
        client_order_id="known-case",
    )
    market = MarketState(
        timestamp_ms=1_700_000_000_000,
        bids=(("100.00", 300), ("99.99", 500)),  # type: ignore[arg-type]
        asks=(("100.02", 300), ("100.03", 500)),  # type: ignore[arg-type]
        last_price="100.01",  # type: ignore[arg-type]
        adv_notional=1_000_000_000,  # type: ignore[arg-type]
        volatility="0.02",  # type: ignore[arg-type]
    )
    price: tuple[str, str, str, str] = ("100.01", "100.01", "100.01", "100.01")
    bar = BarData(*price, volume=5_000, duration_ms=60_000)  # type: ignore[arg-type]
    return ExecutionRequest(order, market, bar, asset_class)


def seen_in(fill: Fill) -> KnownAnswer:
    """Return what is compared of a fill."""
    average, ahead = fill.average_price, fill.attribution.get("queue_ahead")
    return KnownAnswer(
        str(fill.attribution.get("provider")),
        fill.status.value,
        format(fill.filled_quantity.normalize(), "f"),
        "" if average is None else format(average.normalize(), "f"),
        "" if ahead is None else str(ahead),
    )


def why_not(provider: ExecutionProvider, level: str) -> str:
    """Return why a provider is not one of `level`, in one line; empty where it is.

    The provider has no model on but the book, its queue and the bar's flow (L3: the preset
    `minimal`); with others on the answer is another one.

    Raises:
        InvalidInput: a level without a known answer.
    """
    expected = ANSWERS.get(level)
    if expected is None:
        raise InvalidInput(f"level: {level!r}; allowed: {', '.join(ANSWERS)}")
    request = known_request(provider.asset_class)
    try:
        fill = provider.execute(request.order, request.market, request.bar, seed=SEED)
    except Fault as fault:
        return f"{level} {provider.asset_class}: the known case was refused: {fault}"
    found = None if fill is None else seen_in(fill)
    if found == expected:
        return ""
    return f"{level} {provider.asset_class}: the known case gave {found}; expected {expected}"
