"""Close everything at the venue without the gateway: cancel all, close all, look, again until flat.

The venue alone decides what is there. Entries go first and protective stops last, just before
their position is closed; each close is the venue's own, which finds side and size when it arrives
and only reduces, so that repeating it can never open the other way.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from lob.errors import Fault
from services.order_gateway.venue_account import Account, LiveOrder, protective

ROUND_SECONDS: Final = 0.3
ROUND_SECONDS_MAX: Final = 2.0


@dataclass(slots=True)
class Closing:
    """What was done and what is left; `flat` only after the venue said so.

    `orders` and `positions` are of the last look, None where it failed: unknown, never flat.
    """

    flat: bool = False
    rounds: int = 0
    seconds: float = 0.0
    cancelled: set[str] = field(default_factory=set)
    closes: dict[str, int] = field(default_factory=dict)
    orders: int | None = None
    positions: dict[str, Decimal] | None = None
    problems: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        held = self.positions
        return {
            "flat": self.flat,
            "rounds": self.rounds,
            "seconds": round(self.seconds, 3),
            "cancels_taken": len(self.cancelled),
            "closes_taken": self.closes,
            "orders_left": self.orders,
            "positions_left": None if held is None else {k: f"{v:f}" for k, v in held.items()},
            "problems": self.problems[-5:],
        }

    def note(self, problem: str) -> None:
        """Keep what went wrong, once."""
        if problem not in self.problems:
            self.problems.append(problem)


async def close_everything(
    account: Account,
    *,
    seconds_max: float,
    name: str = "emergency",
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Closing:
    """Cancel every order and close every position, until the venue says flat or the time is over.

    Args:
        account: what is to be closed.
        seconds_max: begin no other round after this.
        name: how the client ids of the closes begin.
        monotonic: seconds of this process's clock.
        sleep: how to wait between two looks.
    """
    closing, started = Closing(), monotonic()
    pause = ROUND_SECONDS
    while True:
        closing.rounds += 1
        try:
            closing.flat = await _one_round(account, closing, name)
            pause = ROUND_SECONDS
        except Fault as fault:
            closing.orders = closing.positions = None
            closing.note(str(fault))
            pause = min(2 * pause, ROUND_SECONDS_MAX)
        closing.seconds = monotonic() - started
        if closing.flat or closing.seconds + pause > seconds_max:
            return closing
        await sleep(pause)


async def _one_round(account: Account, closing: Closing, name: str) -> bool:
    """Look, and act on what is there; return whether nothing was."""
    # Orders first: with none left, a position that is flat afterwards stays so.
    orders = await account.working_orders()
    positions = await account.positions()
    closing.orders, closing.positions = len(orders), positions
    if not orders and not positions:
        return True
    kept = protective(orders, positions)
    await _cancel(account, closing, [order for order in orders if order.order_id not in kept])
    await _cancel(account, closing, [order for order in orders if order.order_id in kept])
    for product_id in positions:
        try:
            reason = await account.close_position(product_id, f"{name}-{uuid.uuid4()}")
        except Fault as fault:
            reason = str(fault)
        if reason:
            closing.note(f"{product_id}: not closed: {reason}")
        else:
            closing.closes[product_id] = closing.closes.get(product_id, 0) + 1
    return False


async def _cancel(account: Account, closing: Closing, orders: list[LiveOrder]) -> None:
    if not orders:
        return
    try:
        answers = await account.cancel([order.order_id for order in orders])
    except Fault as fault:
        # A close may still work, and the next round cancels again.
        closing.note(str(fault))
        return
    closing.cancelled.update(order_id for order_id, reason in answers.items() if not reason)
