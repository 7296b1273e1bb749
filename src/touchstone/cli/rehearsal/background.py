"""Clients beside the bot: post-only orders that are cancelled again, and a position that is held.

A post-only order every twelve seconds of the venue gives every row of the matrix the
observations that it asks for: an error rate below 0.1 % is not to be had from the few hundred
orders of a day's bot.
"""

import asyncio
import contextlib
import itertools
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Final

import httpx

from touchstone.cli.rehearsal.ground import Ground, Line

SECONDS: Final = 12.0
SYMBOL: Final = "ETH-PERP"
PRODUCT: Final = "ETH-PERP-INTX"
NOTIONAL: Final = Decimal("10.5")
"""Just above what the venue takes at least."""
BELOW: Final = Decimal("0.995")
AT_ONCE: Final = 4


HELD: Final = "0.1"
"""Ether: some 400 dollars, within the demo profile's 500."""


async def hold(line: Line, side: str, *, reduce_only: bool = False) -> None:
    """Open, or close, a position in a symbol that the bot does not trade.

    Raises:
        NotHeldError: it is not filled.
    """
    key = f"held-{side}"
    body = {
        "client_order_id": key,
        "symbol": SYMBOL,
        "side": side,
        "quantity": HELD,
        "type": "MARKET",
        "reduce_only": reduce_only,
    }
    await line.ask("POST", "/v1/orders", body)
    await line.until_order(key, "filled")


class PostOnlyFlow:
    """Place and cancel, until cancelled."""

    def __init__(self, ground: Ground, line: Line) -> None:
        self._ground = ground
        self._line = line
        self._few = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Place an order each twelve seconds of the venue's time, as far as the machine goes."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in itertools.count(1):
                pause = SECONDS / self._ground.speed
                due = max(due + pause, loop.time() - 5 * pause)
                await asyncio.sleep(max(0.0, due - loop.time()))
                await self._few.acquire()
                group.create_task(self._one_of_few(f"beside-{number}"))

    async def _one_of_few(self, key: str) -> None:
        try:
            with contextlib.suppress(httpx.HTTPError, ValueError, KeyError, IndexError):
                await self._one(key)
        finally:
            self._few.release()

    async def _one(self, key: str) -> None:
        bid, *_ = await self._ground.book(PRODUCT)
        price = (bid * BELOW).quantize(Decimal("0.01"), ROUND_DOWN)
        quantity = (NOTIONAL / price).quantize(Decimal("0.0001"), ROUND_UP)
        body = {
            "client_order_id": key,
            "symbol": SYMBOL,
            "side": "BUY",
            "quantity": str(quantity),
            "type": "LIMIT",
            "limit_price": str(price),
            "post_only": True,
        }
        status, _ = await self._line.ask("POST", "/v1/orders", body)
        if status < httpx.codes.BAD_REQUEST:
            await self._line.ask("DELETE", f"/v1/orders/{key}")
