"""Keep journal and venue in step: at start, after each reconnection, and at intervals.

Every difference is explained: repaired by fills that were not booked yet, adopted, declared
missing, or alarmed. A failed fetch leaves everything as it is: an answer that did not come is
unknown, never flat.
"""

import asyncio
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import structlog

from lob.errors import Fault, NotFound, Overloaded, Unavailable
from services.order_gateway.engine import Engine
from services.order_gateway.explaining import Explaining
from services.order_gateway.metrics_safety import RECONCILED
from services.order_gateway.reports import LATE_FILL_SECONDS
from services.order_gateway.venues.base import VenuePosition, VenueReport
from touchstone.kit.ledger_entries import Record
from touchstone.perps.orders import Order, OrderEvent, OrderState

SWEEP_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 1.0
LOOK_AGAIN_SECONDS: Final = 1.0
EXPIRY_GRACE_NS: Final = 2_000_000_000
FLAT: Final = VenuePosition(Decimal(0), None)

_log = structlog.get_logger("touchstone.gateway.recovery")


@dataclass(frozen=True, slots=True)
class RecoveryTimes:
    """How often to look, and how long an unknown order may still turn up at the venue."""

    orders_seconds: float
    positions_seconds: float
    late_arrival_seconds: float
    """A lost order cannot be accepted later than its JWT expires, plus leeway and delay."""
    certain_seconds: float = LATE_FILL_SECONDS
    """How long a difference of positions has to stay the same before it is one."""


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A position that differs by so much, and since when."""

    difference: Decimal
    since: float


class Recovery:
    """Run the loops that settle orders and reconcile them and the positions."""

    def __init__(
        self,
        engine: Engine,
        times: RecoveryTimes,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._ledger = engine.ledger
        self._times = times
        self._monotonic = monotonic
        self._explaining = Explaining(engine)
        self._resync = asyncio.Event()
        self._suspects: dict[str, _Suspect] = {}
        self.rules_loaded = asyncio.Event()
        self.problem = "not reconciled yet"
        self.reconciled_at: dict[str, float] = {}
        """When orders and positions were last compared wholly, in local seconds."""
        for what in RECONCILED:
            age = engine.metrics.safety.reconciliation_age.labels(what)
            age.set_function(functools.partial(self._age_of, what))

    def _age_of(self, what: str) -> float:
        return self._monotonic() - self.reconciled_at.get(what, float("-inf"))

    # ---------------------------------------------------------------- the feed

    def offer(self, report: VenueReport) -> None:
        """Take a report of the feed at once; never waits, never raises."""
        try:
            self._engine.reports.take(report)
        except NotFound:
            # Our own order whose answer is still on its way has its client id; this is not.
            self.request_resync()

    def request_resync(self) -> None:
        """Have orders and positions reconciled soon."""
        self._resync.set()

    async def check(self) -> str:
        """Return a readiness detail; `Unavailable` while the venue is not in step."""
        if self.problem or not self._engine.reconciled:
            raise Unavailable(self.problem)
        return "reconciled"

    async def apply_reports(self) -> None:
        """Fetch the fills that reports tell of, until cancelled."""
        await self._engine.reports.run()

    # ---------------------------------------------------------------- single orders

    async def sweep(self) -> None:
        """Settle what is unsettled, repeat what has to be, again and again, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await self.sweep_once()

    async def sweep_once(self) -> None:
        """Look at what waits here, settle what is due, go on with replacements."""
        self._engine.stops.tick()
        self._look_at_expired()
        await self._settle_due()
        if self._engine.reconciled:
            await self._engine.replacing.resume()

    def _look_at_expired(self) -> None:
        """Have orders looked up whose time is over and of whose end nobody has told."""
        now_ns = self._engine.venue_now_ns()
        if now_ns is None:
            return
        for order in self._ledger.working():
            expires_ns = order.intent.expires_at_ns
            if expires_ns is not None and expires_ns + EXPIRY_GRACE_NS < now_ns:
                self._engine.unsettled.add(order.intent.client_order_id)

    async def _settle_due(self) -> None:
        engine, looked = self._engine, []
        for key in engine.unsettled.due():
            order = self._ledger.get(key)
            if order is None:
                engine.unsettled.discard(key)
                continue
            try:
                await self._settle(order)
            except Overloaded:
                # The venue's rate limit is for orders first: go on at the next sweep.
                break
            except Fault as fault:
                _log.debug("order_unsettled", client_order_id=key, why=str(fault))
            engine.unsettled.postpone(key, LOOK_AGAIN_SECONDS)
            looked.append(self._ledger.current(order))
        wanted = [o for o in looked if o.cancel_wanted and not o.state.is_terminal]
        if wanted:
            try:
                await engine.cancelling.end_all(wanted)
            except Fault as fault:
                _log.info("cancels_repeated_later", count=len(wanted), why=str(fault))
            for order in wanted:
                engine.unsettled.postpone(order.intent.client_order_id, LOOK_AGAIN_SECONDS)

    async def _settle(self, order: Order) -> None:
        """Find out what became of one order."""
        engine = self._engine
        order = self._ledger.current(order)
        if order.state in (OrderState.PENDING_SUBMIT, OrderState.ARMED):
            return
        if order.venue_order_id:
            order = await engine.refresh(order)
        else:
            order = await self._find_unknown(order)
        if order.state.is_terminal:
            engine.unsettled.discard(order.intent.client_order_id)

    async def _find_unknown(self, order: Order) -> Order:
        """Look for an order of unknown outcome among the venue's newest; never send it again.

        The venue has no filter by client id, so its orders of the symbol are gone through.
        """
        key = order.intent.client_order_id
        self._engine.unsettled.add(key)
        reports = await self._engine.venue.orders(order.intent.symbol, working_only=False)
        for report in reports:
            if report.client_order_id == key:
                return await self._engine.apply_report(report)
        order = self._ledger.current(order)
        # Meanwhile the feed, or somebody else who looked, may have told.
        if order.state is not OrderState.UNKNOWN or order.venue_order_id:
            return order
        age_seconds = (self._ledger.now_ns() - (order.sent_ns or order.created_ns)) / 1e9
        if age_seconds < self._times.late_arrival_seconds:
            return order
        self._engine.metrics.reconciliation_differences.labels("order_missing").inc()
        reason = f"not at the venue {age_seconds:.0f} s after it was sent, and its JWT has expired"
        return self._engine.apply(order, (OrderEvent.NOT_FOUND,), reason)

    # ---------------------------------------------------------------- everything

    async def reconcile_forever(self) -> None:
        """Load the rules, reconcile now, after each resync and at intervals, until cancelled."""
        orders_due = positions_due = 0.0
        while True:
            try:
                now = self._monotonic()
                if now >= orders_due:
                    await self._load_rules()
                asked = self._resync.is_set() or not self._engine.reconciled
                self._resync.clear()
                if asked or now >= orders_due:
                    await self.reconcile_orders()
                    orders_due = now + self._times.orders_seconds
                if asked or now >= positions_due:
                    await self.reconcile_positions(at_once=not self._engine.reconciled)
                    positions_due = now + self._times.positions_seconds
                    if self._suspects:
                        positions_due = min(positions_due, now + 2 * self._times.certain_seconds)
                await self._be_reconciled()
                pause = min(orders_due, positions_due) - self._monotonic()
            except Fault as fault:
                self.problem = str(fault)
                self._resync.set()
                _log.warning("not_reconciled", why=self.problem)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            try:
                async with asyncio.timeout(max(pause, 0)):
                    await self._resync.wait()
            except TimeoutError:
                continue

    async def _be_reconciled(self) -> None:
        if not self._engine.reconciled:
            _log.info("reconciled", working=len(self._ledger.working()))
        self._engine.reconciled = True
        self.problem = ""
        # What was found or adopted just now must obey a state that came before it, and
        # what reduced a position that is gone since is an entry.
        await self._engine.cancel_entries(only_closed=True)

    async def reconcile_orders(self) -> None:
        """Compare the working orders of the journal with the venue's, symbol by symbol."""
        untold = self._engine.reports.exits_untold()
        for symbol in self._engine.symbols:
            journal = self._ledger.working(symbol)
            reports = await self._engine.venue.orders(symbol, working_only=True)
            # Entries before the exits that the venue made for them.
            for report in sorted(reports, key=lambda one: bool(one.originating_order_id)):
                await self._explaining.take_working(report)
            reported = {report.venue_order_id for report in reports}
            for order in journal:
                order = self._ledger.current(order)  # noqa: PLW2901 - as it stands now
                if order.state.is_terminal or order.venue_order_id in reported:
                    continue
                await self._settle(order)
        self._engine.reports.made_none(untold)
        self.reconciled_at["orders"] = self._monotonic()

    async def reconcile_positions(self, *, at_once: bool) -> None:
        """Compare positions; adopt the venue's where a difference stays and no order explains it.

        A fill that is on its way looks like a difference, and so does an answer from a moment ago.
        So a difference counts when it is the same some seconds later; at a start (`at_once`)
        nothing is reconciled before that.
        """
        found = await self._engine.venue.positions()
        differing = [s for s in self._engine.symbols if self._difference(s, found.get(s))]
        if differing:
            for symbol in differing:
                await self._explaining.explain(symbol)
            # The venue's positions were read before the fills that explain them.
            found = await self._engine.venue.positions()
        for symbol in self._engine.symbols:
            self._compare_position(symbol, found.get(symbol), at_once=at_once)
        self.reconciled_at["positions"] = self._monotonic()

    def _compare_position(self, symbol: str, venue: VenuePosition | None, *, at_once: bool) -> None:
        difference, now = self._difference(symbol, venue), self._monotonic()
        if not difference:
            self._suspects.pop(symbol, None)
            return
        ours = self._ledger.position(symbol).quantity
        unsettled = self._engine.unsettled
        busy = self._engine.reports.awaits_fills(symbol) or any(
            order.intent.client_order_id in unsettled for order in self._ledger.working(symbol)
        )
        suspect = self._suspects.get(symbol)
        if busy or suspect is None or suspect.difference != difference:
            self._suspects[symbol] = suspect = _Suspect(difference, now)
        if busy or now - suspect.since < self._times.certain_seconds:
            if at_once:
                raise Unavailable(f"{symbol}: position {ours} here, {ours + difference} there")
            return
        self._suspects.pop(symbol, None)
        self._ledger.note(
            Record(
                type="position_difference",
                symbol=symbol,
                payload={"journal": str(ours), "venue": str(ours + difference), "done": "adopted"},
            )
        )
        mark = self._engine.quotes.mark(symbol)
        self._ledger.adopt_position(symbol, venue or FLAT, mark)
        self._engine.stops.position_changed(symbol)

    def _difference(self, symbol: str, venue: VenuePosition | None) -> Decimal:
        theirs = venue.quantity if venue is not None else Decimal(0)
        return theirs - self._ledger.position(symbol).quantity

    async def _load_rules(self) -> None:
        """Load what the venue allows: a trading halt ends, increments change.

        Rules that are known stay in force while newer ones cannot be had.
        """
        try:
            self._engine.rules = dict(await self._engine.venue.rules())
        except Fault as fault:
            if not self.rules_loaded.is_set():
                raise
            _log.warning("rules_not_refreshed", why=str(fault))
        self.rules_loaded.set()
