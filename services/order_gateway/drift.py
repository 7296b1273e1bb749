"""Measure how far our profit is from the venue's own figures, every few minutes.

The statement that is compared is one in which both sides hold the same and no funding is on its
way. Each measurement is an event `pnl_drift`, and what a restart goes on from.
"""

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Final

import structlog

from lob.errors import Fault
from services.order_gateway.account import Account
from services.order_gateway.funding import Funding
from services.order_gateway.ledger import Ledger
from services.order_gateway.metrics_money import MoneyMetrics
from touchstone.kit.ledger_entries import Record
from touchstone.perps.pnl import Drift, measure

EVERY_SECONDS: Final = 120.0
EVERY_VENUE_NS: Final = 1_800_000_000_000
"""Half an hour of the venue's clock, which may run faster than ours."""
RETRY_SECONDS: Final = 0.5
SECOND_LOOK_SHARE: Final = Decimal("0.0005")
"""Beyond this a second look decides: what is on its way looks like drift."""

_log = structlog.get_logger("touchstone.gateway.drift")


class DriftMeter:
    """Measure at intervals of our clock or of the venue's, whichever ends first.

    `report` is told the share and the venue's time in seconds.
    """

    def __init__(
        self,
        account: Account,
        funding: Funding,
        ledger: Ledger,
        metrics: MoneyMetrics,
        *,
        venue_now_ns: Callable[[], int | None],
        report: Callable[[float, float], None],
        every_seconds: float = EVERY_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._account = account
        self._funding = funding
        self._ledger = ledger
        self._metrics = metrics
        self._venue_now_ns = venue_now_ns
        self._report = report
        self._every_seconds = every_seconds
        self._monotonic = monotonic
        self._measured_at: float | None = None
        self._measured_ns = 0
        self.last: Drift | None = None

    async def run(self) -> None:
        """Measure when it is time, until cancelled; try again soon while nothing can be said."""
        while True:
            if self._is_due():
                try:
                    await self.measure()
                except Fault as fault:
                    _log.debug("drift_waits", why=str(fault))
            await asyncio.sleep(RETRY_SECONDS)

    async def measure(self) -> Drift | None:
        """Measure now and record it; None where the two sides cannot be compared just now.

        Raises:
            Fault: the venue did not answer.
        """
        drift = await self._look()
        if drift is not None and drift.share > SECOND_LOOK_SHARE:
            await asyncio.sleep(RETRY_SECONDS)
            drift = await self._look()
        if drift is None:
            return None
        at_ns = self._venue_now_ns() or time.time_ns()
        self.last, self._measured_ns = drift, at_ns
        self._measured_at = self._monotonic()
        self._metrics.pnl_drift.set(float(drift.share))
        self._ledger.note(
            Record(
                type="pnl_drift",
                ts_event_ns=at_ns,
                payload={
                    "at": at_ns / 1e9,
                    "funded_until_ns": self._funding.passed_ns,
                    "drift": float(drift.share),
                    "share_of_equity": float(drift.share_of_equity),
                    "ours": str(drift.ours),
                    "venue": str(drift.venue),
                    "difference": str(drift.difference),
                },
            )
        )
        self._report(float(drift.share), at_ns / 1e9)
        return drift

    async def _look(self) -> Drift | None:
        checked = await self._funding.verified()
        if checked is None or self._account.deposits is None:
            return None
        return measure(checked.positions, checked.statement, self._account.deposits)

    def _is_due(self) -> bool:
        if self._measured_at is None:
            return True
        if self._monotonic() - self._measured_at >= self._every_seconds:
            return True
        now_ns = self._venue_now_ns()
        return now_ns is not None and now_ns - self._measured_ns >= EVERY_VENUE_NS
