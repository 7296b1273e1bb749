"""Everything about the account's money in one place: statement, funding, drift, days, guards."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from services.order_gateway.account import Account, MoneySource
from services.order_gateway.books import Books
from services.order_gateway.daily import DayKeeper
from services.order_gateway.drift import DriftMeter
from services.order_gateway.engine import Engine
from services.order_gateway.entry_count import EntryCount
from services.order_gateway.funding import Funding
from services.order_gateway.metrics import GatewayMetrics
from services.order_gateway.models import decimal_text, optional_text
from services.order_gateway.position_tape import PositionTape
from services.order_gateway.settings import GatewaySettings
from services.order_gateway.venues.coinbase_money import CoinbaseMoney
from services.order_gateway.venues.coinbase_rest import CoinbaseRest
from services.order_gateway.watchers import Tightening, Watchers
from touchstone.kit.event_store import EventStore
from touchstone.kit.ledger_entries import Entry
from touchstone.kit.tasks import start_task, stop_tasks
from touchstone.perps.funding import HOUR_NS
from touchstone.perps.profiles import MAX_LEVERAGE
from touchstone.perps.risk import RiskLimits

CATCH_UP_SECONDS: Final = 5.0
FILLS_LOADED: Final = 100_000
_SECOND_NS: Final = 1_000_000_000


class Money:
    """Follow the account; `start` before the engine trades, then `run`."""

    def __init__(
        self,
        engine: Engine,
        books: Books,
        kill_switch: Tightening,
        source: MoneySource,
        metrics: GatewayMetrics,
        *,
        limits: RiskLimits,
        venue_now_ns: Callable[[], int | None],
        report_drift: Callable[[float, float], None],
        cancel_entries: Callable[[], Awaitable[object]],
        max_entries_per_day: int | None = None,
        usual_interval_ns: int = HOUR_NS,
    ) -> None:
        self._engine = engine
        self._books = books
        self._venue_now_ns = venue_now_ns
        ledger = books.ledger
        self.account = Account(source, engine)
        self.tape = PositionTape(venue_now_ns)
        self.funding = Funding(
            self.account,
            ledger,
            self.tape,
            metrics.money,
            symbols=engine.symbols,
            venue_now_ns=venue_now_ns,
            usual_interval_ns=usual_interval_ns,
        )
        self.drift = DriftMeter(
            self.account,
            self.funding,
            ledger,
            metrics.money,
            venue_now_ns=venue_now_ns,
            report=report_drift,
        )
        self.days = DayKeeper(self.account, ledger, metrics.money, venue_now_ns=venue_now_ns)
        self.entries = EntryCount(venue_now_ns, max_entries_per_day)
        self.watchers = Watchers(
            engine,
            kill_switch,
            self.account,
            self.days,
            metrics,
            limits,
            venue_now_ns=venue_now_ns,
            cancel_entries=cancel_entries,
        )
        self.account.listeners.append(self.days.observe)

    async def start(self, store: EventStore) -> None:
        """Go on from what is stored, and follow the journal from here on.

        Raises:
            Fault: SQL does not answer.
        """
        await self._books.projector.catch_up(CATCH_UP_SECONDS)
        days = await store.load_days()
        drifts = await store.load_events(event_type="pnl_drift", newest_first=True, limit=1)
        anchors = await store.load_events(event_type="account_anchored", newest_first=True, limit=1)
        equities = await store.load_events(event_type="equity", newest_first=True, limit=1)
        since_ns = _midnight_ns(days[-1].day) if days else 0
        considered_ns, base = None, None
        if drifts and anchors:
            told = drifts[0]["payload"]
            considered_ns, base = told.get("funded_until_ns"), Decimal(told["difference"])
            since_ns = min(since_ns, considered_ns or since_ns)
        if anchors:
            self.account.deposits = Decimal(anchors[0]["payload"]["deposits"])
        fills = await store.load_fills(since_ns=since_ns, limit=FILLS_LOADED)
        held = {symbol: one.quantity for symbol, one in self._books.ledger.positions.items()}
        self.tape.start(held, fills)
        last = equities[0]["payload"] if equities else {}
        peak = Decimal(last["peak"]) if last else None
        self.days.start(days, peak, fills, held, last.get("opened"))
        self.entries.start(await store.load_orders(limit=1_000))
        self.funding.start(considered_ns, base)
        self._listen()

    async def run(self) -> None:
        """Follow everything until cancelled."""
        await self.watchers.run(
            {"statement": self.account.run, "funding": self.funding.run, "drift": self.drift.run}
        )

    def close(self) -> None:
        """Write the day as it stands."""
        self.days.close()

    # ---------------------------------------------------------------- questions

    @property
    def equity(self) -> Decimal | None:
        """Return the account's equity at the mark; None where nobody has told it lately."""
        return self.account.equity()

    def liquidation_price(self, symbol: str) -> Decimal | None:
        """Return the venue's liquidation price; 0 is none, None is not told."""
        return self.account.liquidation_price(symbol)

    def pnl(self) -> dict[str, Any]:
        """Return the profit of the account and of each symbol, as `GET /v1/pnl` shows it."""
        found = self.account.pnl()
        drift, day = self.drift.last, self.days.metrics()
        return {
            "realized_pnl": decimal_text(found.realized),
            "unrealized_pnl": optional_text(found.unrealized),
            "funding_paid": decimal_text(found.funding_paid),
            "fees": decimal_text(found.fees),
            "net_pnl": optional_text(found.net),
            "equity": optional_text(self.account.equity()),
            "deposits": optional_text(self.account.deposits),
            "funding_pending": self.funding.pending,
            "drift": None
            if drift is None
            else {
                "share": decimal_text(drift.share),
                "share_of_equity": decimal_text(drift.share_of_equity),
                "difference": decimal_text(drift.difference),
                "ours": decimal_text(drift.ours),
                "venue": decimal_text(drift.venue),
            },
            "day": None
            if day is None
            else {
                "day": day.day.isoformat(),
                "equity_open": decimal_text(day.equity_open),
                "return": optional_text(day.daily_return),
                "trades": day.trades,
                "closed_trades": day.closed_trades,
                "wins": day.wins,
                "win_rate": optional_text(day.win_rate),
                "drawdown": decimal_text(day.drawdown),
                "sharpe": optional_text(day.sharpe),
            },
            "symbols": [self._symbol(symbol) for symbol in self._engine.symbols],
        }

    def _symbol(self, symbol: str) -> dict[str, Any]:
        held, mark = self._books.ledger.position(symbol), self.account.mark(symbol)
        unrealized = None if mark is None else held.unrealized_pnl(mark)
        if not held.quantity:
            unrealized = Decimal(0)
        price = self.account.liquidation_price(symbol)
        return {
            "symbol": symbol,
            "quantity": decimal_text(held.quantity),
            "average_entry_price": optional_text(held.average_entry_price),
            "mark_price": optional_text(mark),
            "liquidation_price": optional_text(price),
            "realized_pnl": decimal_text(held.realized_pnl),
            "unrealized_pnl": optional_text(unrealized),
            "funding_paid": decimal_text(held.funding_paid),
            "fees": decimal_text(held.fees),
        }

    def _listen(self) -> None:
        journal = self._books.journal
        before = journal.listener

        def listen(number: int, entry: Entry) -> None:
            before(number, entry)
            self.tape.offer(number, entry)
            self.days.offer(number, entry)
            self.entries.offer(number, entry)

        journal.listener = listen


def _midnight_ns(day: str) -> int:
    began = datetime.fromisoformat(f"{date.fromisoformat(day)}T00:00:00+00:00")
    return int(began.timestamp()) * _SECOND_NS


@contextlib.asynccontextmanager
async def follow_money(
    settings: GatewaySettings,
    engine: Engine,
    books: Books,
    kill_switch: Tightening,
    venue: CoinbaseRest,
    metrics: GatewayMetrics,
    store: EventStore,
    report_drift: Callable[[float, float], None],
) -> AsyncIterator[Money]:
    """Yield the account's money while it is followed; on leaving, the day is written.

    Raises:
        Fault: SQL does not answer.
    """
    money = Money(
        engine,
        books,
        kill_switch,
        CoinbaseMoney(venue, settings.symbol_map),
        metrics,
        limits=_limits(settings),
        venue_now_ns=venue.clock.now_ns,
        report_drift=report_drift,
        cancel_entries=engine.cancel_entries,
        max_entries_per_day=settings.max_orders_per_day,
        usual_interval_ns=settings.funding_interval_seconds * _SECOND_NS,
    )
    await money.start(store)
    task = start_task(money.run())
    try:
        yield money
    finally:
        await stop_tasks([task])
        money.close()


def _limits(settings: GatewaySettings) -> RiskLimits:
    return RiskLimits(
        max_leverage=settings.max_leverage or MAX_LEVERAGE,
        max_symbol_notional=settings.max_position_notional,
        max_total_notional=settings.max_total_notional,
        max_daily_loss=settings.max_daily_loss,
        max_drawdown=settings.max_drawdown,
        stale_warn_seconds=settings.stale_warn_seconds,
        stale_halt_seconds=settings.stale_halt_seconds,
        max_range=settings.max_price_range,
        liquidation_warn=settings.liquidation_warn,
        liquidation_critical=settings.liquidation_critical,
    )
