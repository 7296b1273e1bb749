"""Close positions by reduce-only market orders, once nothing else can reduce them any more.

First every working order of the symbol goes, because together with it a close could flip the
position; then what the confirmed position still is goes, in as many immediate orders as it takes.
Their client ids follow from the request's: asking again finds what was done.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import structlog

from lob.errors import Fault, InvalidInput
from lob.types import Side, TimeInForce
from services.order_gateway.unsettled import loop_seconds
from touchstone.perps.checks import Refusal, RefusalReason, last_gate
from touchstone.perps.orders import Intent, Order, OrderState, OrderType

if TYPE_CHECKING:
    from services.order_gateway.engine import Engine

CLOSE_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.02
ATTEMPTS_MAX: Final = 20
"""How many immediate orders one close may take in a thin book."""
AGAIN: Final = frozenset(
    {
        RefusalReason.REDUCE_ONLY_WOULD_INCREASE,
        RefusalReason.REDUCE_ONLY,
        RefusalReason.VENUE_UNAVAILABLE,
        RefusalReason.VENUE_RATE_LIMITED,
        RefusalReason.CONTROL_STATE_UNKNOWN,
    }
)
"""Refusals that pass: a fill came in between, an end is not certain yet, the venue was away."""

_log = structlog.get_logger("touchstone.gateway.closing")


@dataclass(slots=True)
class Closed:
    """How the close of one symbol went; `quantity` is the position that is left."""

    symbol: str
    quantity: Decimal
    orders: list[Order] = field(default_factory=list)
    refusal: Refusal | None = None
    problem: str = ""

    @property
    def is_flat(self) -> bool:
        """Return whether nothing is left, by the booked fills."""
        return self.quantity == 0


class Closing:
    """Close the positions of an engine, one close of a symbol at a time."""

    def __init__(self, engine: "Engine", *, monotonic: Callable[[], float] = loop_seconds) -> None:
        self._engine = engine
        self._monotonic = monotonic
        self._locks: dict[str, asyncio.Lock] = {}

    async def close_all(self, request_id: str, *, seconds: float = CLOSE_SECONDS) -> list[Closed]:
        """Close every position, all symbols at once."""
        closes = [self.close(s, request_id, seconds=seconds) for s in self._engine.symbols]
        return list(await asyncio.gather(*closes))

    async def close(
        self, symbol: str, request_id: str, *, seconds: float = CLOSE_SECONDS
    ) -> Closed:
        """Cancel a symbol's orders and close its position; return what came of it.

        Raises:
            InvalidInput: the symbol is not one of ours.
        """
        if symbol not in self._engine.symbols:
            known = ", ".join(sorted(self._engine.symbols))
            raise InvalidInput(f"symbol: {symbol!r}: unknown; allowed: {known}")
        deadline = self._monotonic() + seconds
        async with self._locks.setdefault(symbol, asyncio.Lock()):
            closed = Closed(symbol, self._position(symbol))
            closed.refusal = self._refused(symbol, request_id)
            if closed.refusal is not None:
                return closed
            try:
                await self._cancel(symbol, deadline)
                await self._reduce(closed, request_id, deadline)
            except Fault as fault:
                closed.problem = str(fault)
            closed.quantity = self._position(symbol)
        if not closed.is_flat:
            _log.warning("not_closed", symbol=symbol, left=str(closed.quantity))
        return closed

    # ---------------------------------------------------------------- inside

    def _refused(self, symbol: str, request_id: str) -> Refusal | None:
        """Return why nothing can be closed now: what protects the position stays then."""
        position = self._position(symbol)
        if position == 0:
            return None
        if failure := self._engine.ledger.failure:
            return Refusal(RefusalReason.JOURNAL_UNAVAILABLE, f"not closed: journal: {failure}")
        intent = _closing(request_id, symbol, 1, position)
        alone = replace(self._engine.context(intent), working=())
        refusal = last_gate(intent, alone)
        return None if refusal is None or refusal.reason in AGAIN else refusal

    async def _cancel(self, symbol: str, deadline: float) -> None:
        """End every order of the symbol; the position's own end waits for theirs."""
        engine = self._engine
        while self._monotonic() < deadline:
            working = engine.ledger.working(symbol)
            for order in (*working, *engine.ledger.outstanding()):
                if order.intent.symbol == symbol:
                    engine.replacing.give_up(order, "the position is closed")
            if not working:
                return
            await engine.cancelling.end_all(working)
            await self._pause(symbol, deadline)

    async def _reduce(self, closed: Closed, request_id: str, deadline: float) -> None:
        engine, symbol = self._engine, closed.symbol
        for attempt in range(1, ATTEMPTS_MAX + 1):
            position = self._position(symbol)
            if position == 0 or self._monotonic() >= deadline:
                return
            intent = _closing(request_id, symbol, attempt, position)
            known = await engine.ledger.lookup(intent.client_order_id)
            outcome = known or await self._send(intent, deadline)
            if isinstance(outcome, Refusal):
                closed.refusal = outcome
                if outcome.reason not in AGAIN:
                    return
                continue
            closed.refusal = None
            order = await self._over(outcome, deadline)
            closed.orders.append(order)
            if order.state in (OrderState.REFUSED, OrderState.REJECTED) and not known:
                await self._pause(symbol, deadline)

    async def _send(self, intent: Intent, deadline: float) -> Order | Refusal:
        """Submit until it is journaled, while what stands against it passes."""
        while True:
            outcome = await self._engine.submit(intent)
            if not isinstance(outcome, Refusal):
                return outcome.order
            if outcome.reason not in AGAIN or self._monotonic() >= deadline:
                return outcome
            await self._pause(intent.symbol, deadline)
            if abs(self._position(intent.symbol)) != intent.quantity:
                # Fills came in between: the next attempt has the right size.
                return outcome

    async def _over(self, order: Order, deadline: float) -> Order:
        key = order.intent.client_order_id
        seconds = max(0.0, deadline - self._monotonic())
        await self._engine.wait_over(key, seconds)
        return self._engine.ledger.current(order)

    async def _pause(self, symbol: str, deadline: float) -> None:
        """Wait a moment, or until every order of the symbol is over."""
        seconds = min(POLL_SECONDS * 5, max(0.0, deadline - self._monotonic()))
        for order in self._engine.ledger.working(symbol):
            await self._engine.wait_over(order.intent.client_order_id, seconds)
            return
        await asyncio.sleep(POLL_SECONDS)

    def _position(self, symbol: str) -> Decimal:
        return self._engine.ledger.position(symbol).quantity


def _closing(request_id: str, symbol: str, attempt: int, position: Decimal) -> Intent:
    return Intent(
        client_order_id=close_id(request_id, symbol, attempt),
        symbol=symbol,
        side=Side.SELL if position > 0 else Side.BUY,
        quantity=abs(position),
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.IOC,
        reduce_only=True,
    )


def close_id(request_id: str, symbol: str, attempt: int) -> str:
    """Return the client id of a close's order: the same request has the same ids.

    >>> close_id("evening", "BTC-PERP", 1)
    'close-evening-BTC-PERP-1'
    """
    return f"close-{request_id}-{symbol}-{attempt}"
