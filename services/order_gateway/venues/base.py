"""What the engine needs of a venue, in its own words; adapters translate.

Three things can become of a submit, and telling them apart is the adapter's main duty: it was
answered, it certainly never left (`NotSent`), or nobody knows (`OutcomeUnknown`).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from lob.errors import DeadlineExceeded, Fault, Unavailable
from lob.types import Side, TimeInForce
from touchstone.kit.leases import SendGate
from touchstone.kit.ledger_entries import Fill
from touchstone.perps.capabilities import Capability
from touchstone.perps.checks import Refusal, RefusalReason
from touchstone.perps.orders import Intent, OrderType, VenueStatus
from touchstone.perps.products import ProductRules


class Priority(StrEnum):
    """What goes first where the venue lets only so many requests through; the first comes first."""

    CANCEL = "cancel"
    REDUCE = "reduce"
    ENTRY = "entry"
    QUERY = "query"


def not_kept(fault: Fault) -> Refusal:
    """Return why an order is not sent whose intent is not on the disk."""
    return Refusal(RefusalReason.JOURNAL_UNAVAILABLE, f"not sent: {fault}")


class Passage:
    """One order's way through the last gate, from its check until the socket has it.

    The order is made ready while the disk still writes it down: `kept` waits for that. Calling
    the passage then checks, as near to the socket as possible and without an await; `handed_over`
    ends it. In between a kill that is being applied is not acknowledged.
    """

    def __init__(
        self,
        gate: SendGate,
        check: Callable[[], Refusal | None],
        keeping: "asyncio.Future[None] | None" = None,
    ) -> None:
        """Lead through `gate` by `check`; `keeping` is done when the order is on the disk."""
        self._gate = gate
        self._check = check
        self._keeping = keeping
        self._ticket: int | None = None

    def __call__(self) -> Refusal | None:
        """Return why the order must not leave; None lets it go."""
        if self._ticket is None:
            self._ticket = self._gate.enter()
        refusal = self._check()
        if refusal is not None:
            self.handed_over()
        return refusal

    async def kept(self) -> None:
        """Return when the order is on the disk; it must not leave before.

        Raises:
            GateClosed: the disk refused it.
        """
        if self._keeping is None:
            return
        try:
            await self._keeping
        except Fault as fault:
            raise GateClosed(not_kept(fault)) from None

    def handed_over(self) -> None:
        """End the passage: the socket has the order, or it will never get it."""
        if self._ticket is not None:
            self._gate.leave(self._ticket)
            self._ticket = None


class NotSent(Unavailable):
    """Say that the request certainly did not reach the venue."""


class OutcomeUnknown(DeadlineExceeded):
    """Say that the request left and nobody knows what became of it."""


class GateClosed(Unavailable):
    """Say that the last gate refused, with the request not yet written."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Accepted:
    """The venue took the order, or had taken it before under the same client id.

    `attached_order_id` is that of the exit which the venue made for it, where there is one.
    """

    venue_order_id: str
    attached_order_id: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The venue turned the order down; `rate_limited` when it did not even look."""

    reason: str
    rate_limited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueReport:
    """What the venue says of one order; quantities in coins.

    What the channel does not tell is None or ''. `originating_order_id` is that of the entry whose
    exit this is; a liquidation is an order that the venue made against us.
    """

    venue_order_id: str
    client_order_id: str
    symbol: str
    side: Side
    status: VenueStatus
    filled_quantity: Decimal
    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    order_type: OrderType | None = None
    time_in_force: TimeInForce | None = None
    reduce_only: bool | None = None
    post_only: bool | None = None
    attached_order_id: str = ""
    originating_order_id: str = ""
    is_liquidation: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class VenuePosition:
    """A position as the venue has it: signed coins, prices in quote currency.

    What the venue does not tell is None; a liquidation price of None is no liquidation price.
    """

    quantity: Decimal
    entry_price: Decimal | None
    mark_price: Decimal | None = None
    liquidation_price: Decimal | None = None
    unrealized_pnl: Decimal | None = None


class Venue(Protocol):
    """Orders, fills and positions at one venue. Every call is bounded in time."""

    capabilities: frozenset[Capability]
    """What the venue does; what is not in it is refused before it is sent."""

    async def rules(self) -> Mapping[str, ProductRules]:
        """Return the rules of every configured symbol."""
        ...

    async def submit(
        self, intent: Intent, rules: ProductRules, passage: Passage
    ) -> Accepted | Rejected:
        """Send an order; raises `NotSent`, `OutcomeUnknown` or `GateClosed`."""
        ...

    async def cancel(self, venue_order_ids: Sequence[str]) -> Mapping[str, str]:
        """Ask for cancels; return by id '' when it was taken, else the venue's reason.

        An id that the venue did not answer for is absent: nobody knows.
        """
        ...

    async def order(self, venue_order_id: str) -> VenueReport | None:
        """Return one order, None when the venue says that it does not exist."""
        ...

    async def orders(self, symbol: str, *, working_only: bool) -> list[VenueReport]:
        """Return a symbol's orders, newest first (a bounded number where not only working)."""
        ...

    async def fills_of(self, venue_order_ids: Sequence[str]) -> list[Fill]:
        """Return every fill of these orders, oldest first; their client ids are empty."""
        ...

    async def positions(self) -> Mapping[str, VenuePosition]:
        """Return the open positions by symbol; a symbol that is absent is flat."""
        ...
