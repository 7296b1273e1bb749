"""Book funding: once for each symbol and funding time, at the venue's schedule and by its figures.

What is due is read off the venue's own `funding_time` moving on, never off a clock of ours. The
amount is what the account was charged, where that agrees with the rate that was published (see
`touchstone.perps.funding`); where the account does not say, it is size x mark x rate. Funding times
that passed while nobody looked are booked from the account afterwards, or told as unknown.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import structlog

from lob.errors import Fault
from services.order_gateway.account import Account, Checked
from services.order_gateway.ledger import Ledger
from services.order_gateway.metrics_money import MoneyMetrics
from services.order_gateway.position_tape import PositionTape
from touchstone.kit.ledger_entries import FundingPayment, Record
from touchstone.perps.funding import (
    ATOM,
    HOUR_NS,
    Booking,
    Due,
    FundingFigures,
    funding_times,
    settle,
)

STEP_SECONDS: Final = 0.2
LOOK_SECONDS: Final = 60.0
"""How often to look at a product although its next funding time has not come."""
SETTLE_SECONDS: Final = 60.0
"""How long the account may take to say what it was charged, before the formula is booked."""
ATTEMPTS: Final = 5
"""How often to look at once again when a funding time came into the comparison."""
TIMES_MAX: Final = 24 * 31
"""Funding times that are looked back at: a month of hours."""

_RATE_STEP: Final = Decimal("0.0000000001")

_log = structlog.get_logger("touchstone.gateway.funding")


@dataclass(frozen=True, slots=True)
class Seen:
    """A product's figures, when they were read (local seconds), and the mark then."""

    figures: FundingFigures
    at: float
    mark: Decimal | None


@dataclass(slots=True)
class Pending:
    """A funding time that has passed and is not booked."""

    symbol: str
    time_ns: int
    rate: Decimal | None
    marks: tuple[Decimal, ...]
    since: float


class Funding:
    """Follow every symbol's funding times and book what they cost.

    `base` is what the account's book value was off by (see `Checked.unexplained`) when everything
    was booked: what it is off by more, once a funding time has passed, is what was paid.
    """

    def __init__(
        self,
        account: Account,
        ledger: Ledger,
        tape: PositionTape,
        metrics: MoneyMetrics,
        *,
        symbols: Iterable[str],
        venue_now_ns: Callable[[], int | None],
        usual_interval_ns: int = HOUR_NS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._account = account
        self._ledger = ledger
        self._tape = tape
        self._metrics = metrics
        self._symbols = tuple(symbols)
        self._venue_now_ns = venue_now_ns
        self._monotonic = monotonic
        self._intervals_ns = dict.fromkeys(self._symbols, usual_interval_ns)
        self._seen: dict[str, Seen] = {}
        self._passed: dict[str, int] = {}
        self._pending: dict[tuple[str, int], Pending] = {}
        self.base: Decimal | None = None

    def start(self, considered_ns: int | None, base: Decimal | None) -> None:
        """Go on from the venue's time at which everything was booked, and what was off then."""
        for symbol in self._symbols:
            booked = self._ledger.last_funding_ns(symbol)
            known = [at for at in (considered_ns, booked) if at is not None]
            if known:
                self._passed[symbol] = max(known)
        self.base = base

    @property
    def passed_ns(self) -> int | None:
        """Return the funding time up to which everything has been looked at, of all symbols."""
        return min(self._passed.values()) if len(self._passed) == len(self._symbols) else None

    @property
    def pending(self) -> int:
        """Return how many funding times have passed and are not booked."""
        return len(self._pending)

    async def run(self) -> None:
        """Book what falls due, until cancelled. A venue that does not answer is asked again."""
        while True:
            try:
                await self.step()
            except Fault as fault:
                _log.debug("funding_waits", why=str(fault))
            await asyncio.sleep(STEP_SECONDS)

    async def step(self) -> None:
        """Look at what is published, and try to book what is due."""
        await self._look()
        for _ in range(ATTEMPTS):
            if not self._pending or await self._settle():
                return

    async def verified(self) -> Checked | None:
        """Return a statement that no funding time came into, with everything booked; else None.

        Raises:
            Fault: the venue did not answer.
        """
        await self._look()
        if self._pending:
            return None
        checked = await self._account.check()
        if checked is None:
            return None
        await self._look(always=True)
        if self._pending:
            return None
        if self._account.deposits is None:
            self._account.anchor(checked, self._venue_now_ns())
            self.base = Decimal(0)
            return await self.verified()
        self.base = checked.unexplained
        return checked

    # ---------------------------------------------------------------- looking

    async def _look(self, *, always: bool = False) -> None:
        """Read the products whose funding time may have come; note the times that have passed."""
        wanted = [symbol for symbol in self._symbols if always or self._may_have_come(symbol)]
        found = await asyncio.gather(*map(self._account.source.funding, wanted))
        for symbol, figures in zip(wanted, found, strict=True):
            mark = figures.mark or self._account.last_mark(symbol)
            self._note(symbol, Seen(figures, self._monotonic(), mark))

    def _may_have_come(self, symbol: str) -> bool:
        seen, now_ns = self._seen.get(symbol), self._venue_now_ns()
        if seen is None or self._monotonic() - seen.at >= LOOK_SECONDS:
            return True
        next_ns = seen.figures.next_time_ns
        return next_ns is None or now_ns is None or now_ns >= next_ns

    def _note(self, symbol: str, seen: Seen) -> None:
        before, next_ns = self._seen.get(symbol), seen.figures.next_time_ns
        self._seen[symbol] = seen
        if next_ns is None:
            return
        interval_ns = self._interval(symbol, before, seen.figures)
        # What came before the first look is not ours; the interval may still be a guess then.
        first = max(next_ns - interval_ns, min(self._venue_now_ns() or 0, next_ns - 1))
        passed = self._passed.setdefault(symbol, first)
        times = funding_times(passed, next_ns, interval_ns)[-TIMES_MAX:]
        marks = (None if before is None else before.mark, seen.mark)
        for time_ns in times:
            self._pending[symbol, time_ns] = Pending(
                symbol=symbol,
                time_ns=time_ns,
                # The rate that is published is that of the funding time before the next one.
                rate=seen.figures.rate if time_ns == next_ns - interval_ns else None,
                marks=tuple(mark for mark in marks if mark is not None),
                since=self._monotonic(),
            )
        self._passed[symbol] = max(passed, next_ns - interval_ns)

    def _interval(self, symbol: str, before: Seen | None, figures: FundingFigures) -> int:
        """Return the venue's interval: told, or the shortest step its funding time has made."""
        if figures.interval_ns:
            self._intervals_ns[symbol] = figures.interval_ns
        elif before is not None and before.figures.next_time_ns and figures.next_time_ns:
            step_ns = figures.next_time_ns - before.figures.next_time_ns
            if step_ns > 0:
                self._intervals_ns[symbol] = min(step_ns, self._intervals_ns[symbol])
        return self._intervals_ns[symbol]

    # ---------------------------------------------------------------- booking

    async def _settle(self) -> bool:
        """Book what is due if the account says what it was; by formula when it never does.

        Return False where another look at once may succeed.
        """
        if self.base is None:
            # Nothing to compare the account with yet: what it paid cannot be told from deposits.
            self._book(None, None)
            return True
        waited = self._monotonic() - min(one.since for one in self._pending.values())
        is_late = waited >= SETTLE_SECONDS
        checked = await self._account.check()
        if checked is None:
            if is_late:
                self._book(None, None)
            return True
        known = set(self._pending)
        await self._look(always=True)
        if set(self._pending) != known:
            # Another funding time came meanwhile: it may be in the statement, or not.
            return False
        paid = (checked.unexplained - self.base).quantize(ATOM)
        self._book(checked, paid, is_late=is_late)
        return True

    def _due(self, one: Pending) -> Due:
        now = self._ledger.position(one.symbol).quantity
        quantity, *otherwise = self._tape.positions_at(one.symbol, one.time_ns, now)
        return Due(
            symbol=one.symbol,
            time_ns=one.time_ns,
            quantity=quantity,
            rate=one.rate,
            # The one of the last statement, too: a mark may fall far between two of them.
            marks=(*self._marks_now(one.symbol), *one.marks),
            otherwise=tuple(otherwise),
        )

    def _marks_now(self, symbol: str) -> tuple[Decimal, ...]:
        """Return the mark by now: the only one where a time passed before any was known."""
        mark = self._account.last_mark(symbol)
        return () if mark is None else (mark,)

    def _book(self, checked: Checked | None, paid: Decimal | None, *, is_late: bool = True) -> None:
        settled = settle([self._due(one) for one in self._pending.values()], paid)
        if not settled.proven and not is_late:
            return
        booked = sum((self._book_one(one) for one in settled.bookings), Decimal(0))
        for due in settled.unknown:
            self._tell_unknown(due)
        self._pending.clear()
        if checked is not None:
            self.base = checked.unexplained - booked

    def _book_one(self, booking: Booking) -> Decimal:
        worth = booking.quantity * booking.mark
        rate = booking.rate
        if rate is None:
            rate = (booking.amount / worth).quantize(_RATE_STEP)
        payment = FundingPayment(
            symbol=booking.symbol,
            funding_time_ns=booking.time_ns,
            quantity=booking.quantity,
            mark_price=booking.mark,
            rate=rate,
            amount=booking.amount,
            source=booking.source.value,
        )
        if not self._ledger.book_funding(payment):
            return Decimal(0)
        self._metrics.count_funding(float(booking.amount))
        return booking.amount

    def _tell_unknown(self, due: Due) -> None:
        """Say that a payment was made which nobody can know: it will show as drift."""
        payload = {"quantity": str(due.quantity), "funding_time_ns": due.time_ns}
        _log.error("funding_unknown", symbol=due.symbol, **payload)
        self._ledger.note(
            Record(
                type="funding_unknown",
                symbol=due.symbol,
                ts_event_ns=due.time_ns,
                payload=payload,
            )
        )
