"""Keep the figures of the venue's day: gathered as things happen, written as they change.

A restart goes on from the day's last row, and counts trades from the fills themselves.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

from lob.types import Side
from services.order_gateway.account import Account
from services.order_gateway.ledger import Ledger
from services.order_gateway.metrics_money import MoneyMetrics
from touchstone.kit.ledger_entries import DailyMetrics as DayRow
from touchstone.kit.ledger_entries import Entry, Fill, Record
from touchstone.perps.performance import DAY_NS, DailyMetrics, DayBook, RoundTrips, venue_day
from touchstone.perps.pnl import Pnl

WRITE_SECONDS: Final = 60.0

_ZERO: Final = Decimal(0)


class DayKeeper:
    """Follow equity and fills by the venue's day; `observe` after each statement."""

    def __init__(
        self,
        account: Account,
        ledger: Ledger,
        metrics: MoneyMetrics,
        *,
        venue_now_ns: Callable[[], int | None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._account = account
        self._ledger = ledger
        self._metrics = metrics
        self._venue_now_ns = venue_now_ns
        self._monotonic = monotonic
        self._book: DayBook | None = None
        self._trips: dict[str, RoundTrips] = {}
        self._returns: dict[date, Decimal] = {}
        self._today: DayRow | None = None
        self._peak = _ZERO
        self._fills_before: list[tuple[int, Decimal | None]] = []
        self._opened_with: dict[str, str] = {}
        self._written_at: float | None = None

    # ---------------------------------------------------------------- a start

    def start(
        self,
        days: Sequence[DayRow],
        peak: Decimal | None,
        fills: Iterable[Fill],
        quantities: Mapping[str, Decimal],
        opened: Mapping[str, str] | None = None,
    ) -> None:
        """Go on from the rows of earlier days, the highest equity, and the fills of the last day.

        `opened` is the profit with which the last day began, as its row was written with it: what
        was booked since that row then counts too. A position that was open before these fills
        counts as opened at the first one's price.
        """
        self._opened_with = dict(opened or {})
        for row in days:
            if row.return_ratio is not None:
                self._returns[date.fromisoformat(row.day)] = row.return_ratio
            self._peak = max(self._peak, row.equity_open or _ZERO, row.equity_close or _ZERO)
        self._today = days[-1] if days else None
        self._peak = max(self._peak, peak or _ZERO)
        booked = list(fills)
        for symbol, now in quantities.items():
            mine = [fill for fill in booked if fill.symbol == symbol]
            held = now - sum((fill.quantity * fill.side.sign for fill in mine), _ZERO)
            price = mine[0].price if mine else self._ledger.position(symbol).average_entry_price
            if held and price is not None:
                side = Side.BUY if held > 0 else Side.SELL
                self._trips[symbol] = RoundTrips(symbol)
                self._trips[symbol].fill(side, abs(held), price, _ZERO)
        for fill in booked:
            self._fills_before.append((fill.ts_event_ns or 0, self._trip(fill)))

    @property
    def day_start_equity(self) -> Decimal | None:
        """Return the equity at which the day began; None before it is known."""
        return None if self._book is None else self._book.equity_open

    @property
    def peak_equity(self) -> Decimal | None:
        """Return the highest equity seen; None before any."""
        return None if self._book is None else self._book.peak

    def reset_peak(self) -> None:
        """Let the peak be what the equity is now: somebody has looked at the drawdown."""
        if self._book is not None:
            self._book.peak = self._book.equity

    # ---------------------------------------------------------------- the day

    def offer(self, _number: int, entry: Entry) -> None:
        """Take one entry of the journal: fills and funding count."""
        if entry.fill is not None:
            earned = self._trip(entry.fill)
            if self._book is not None:
                self._book.count_fill(earned)
            else:
                self._fills_before.append((entry.fill.ts_event_ns or 0, earned))
        if entry.funding is not None:
            paid = entry.funding
            self._trips.setdefault(paid.symbol, RoundTrips(paid.symbol)).fund(paid.amount)

    def observe(self) -> None:
        """Take in the newest statement; write the day when it is time, and when it ends."""
        equity, now_ns = self._account.equity(), self._venue_now_ns()
        if equity is None or now_ns is None:
            return
        today, pnl = venue_day(now_ns), self._account.pnl()
        if self._book is None:
            self._book = self._opened(today, now_ns, equity, pnl)
        if today > self._book.day:
            self._write()
            self._book = self._book.next(today)
        self._book.observe(equity, pnl)
        self._show(equity, pnl)
        if self._written_at is None or self._monotonic() - self._written_at >= WRITE_SECONDS:
            self._write()

    def close(self) -> None:
        """Write the day as it stands: the process ends."""
        if self._book is not None:
            self._write()

    def metrics(self) -> DailyMetrics | None:
        """Return the day as it stands; None before its equity is known."""
        if self._book is None:
            return None
        before = [self._returns[day] for day in sorted(self._returns) if day < self._book.day]
        return self._book.closed(before)

    def _opened(self, today: date, now_ns: int, equity: Decimal, pnl: Pnl) -> DayBook:
        """Return the day's book, as it was left where this is a restart within the day."""
        row = self._today
        began_ns = now_ns - now_ns % DAY_NS
        book = DayBook(day=today, equity_open=equity, opened_with=pnl, peak=self._peak or equity)
        if row is not None and row.day == today.isoformat() and row.equity_open is not None:
            book = DayBook(
                day=today,
                equity_open=row.equity_open,
                opened_with=self._began_with(row, pnl),
                peak=max(self._peak, equity),
                drawdown=row.drawdown or _ZERO,
            )
        elif row is not None and row.equity_close is not None:
            book.equity_open = row.equity_close
        for at_ns, earned in self._fills_before:
            if at_ns >= began_ns:
                book.count_fill(earned)
        self._fills_before.clear()
        return book

    def _began_with(self, row: DayRow, pnl: Pnl) -> Pnl:
        """Return the profit with which the day began; from its row where nothing else tells it."""
        told = {name: Decimal(value) for name, value in self._opened_with.items()}
        return Pnl(
            realized=told.get("realized", pnl.realized - row.realized_pnl),
            unrealized=pnl.unrealized,
            funding_paid=told.get("funding_paid", pnl.funding_paid - row.funding_paid),
            fees=told.get("fees", pnl.fees - row.fees),
        )

    def _write(self) -> None:
        found = self.metrics()
        if found is None:
            return
        self._written_at = self._monotonic()
        at_ns = self._venue_now_ns()
        peak = self.peak_equity
        began = self._book.opened_with if self._book else None
        payload: dict[str, Any] = {"equity": str(found.equity_close), "peak": str(peak)}
        if began is not None:
            names = ("realized", "funding_paid", "fees")
            payload["opened"] = {name: str(getattr(began, name)) for name in names}
        self._ledger.note(Record(type="equity", ts_event_ns=at_ns, payload=payload))
        if found.daily_return is not None:
            self._returns[found.day] = found.daily_return
        self._ledger.book_day(
            DayRow(
                day=found.day.isoformat(),
                equity_open=found.equity_open,
                equity_close=found.equity_close,
                return_ratio=found.daily_return,
                realized_pnl=found.realized_pnl,
                unrealized_pnl=found.unrealized_pnl,
                fees=found.fees,
                funding_paid=found.funding_paid,
                trades=found.trades,
                closed_trades=found.closed_trades,
                wins=found.wins,
                win_rate=found.win_rate,
                drawdown=found.drawdown,
                sharpe=found.sharpe,
            )
        )

    def _show(self, equity: Decimal, pnl: Pnl) -> None:
        metrics, book = self._metrics, self._book
        metrics.equity.set(float(equity))
        if book is not None:
            metrics.daily_pnl.set(float(equity - book.equity_open))
        if pnl.unrealized is not None and pnl.net is not None:
            metrics.set_pnl(
                realized=float(pnl.realized),
                unrealized=float(pnl.unrealized),
                funding_paid=float(pnl.funding_paid),
                fees=float(pnl.fees),
                net=float(pnl.net),
            )

    def _trip(self, fill: Fill) -> Decimal | None:
        trips = self._trips.setdefault(fill.symbol, RoundTrips(fill.symbol))
        return trips.fill(fill.side, fill.quantity, fill.price, fill.fee)
