"""What a bot has earned, read from its event store: days, symbols, funding, fees, drawdown.

Days are UTC days of the venue's clock. A day's row is the one that the gateway kept; where it kept
none (its equity was not known), the booked fills and funding say what they can.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec
from sqlalchemy import RowMapping, select

from lob.errors import InvalidInput, NotFound
from touchstone.kit import event_store_schema as schema
from touchstone.kit.event_store import PAGE_ROWS, EventStore
from touchstone.kit.ledger_entries import DailyMetrics, Fill, FundingPayment
from touchstone.perps.performance import RoundTrips, venue_day
from touchstone.perps.risk import drawdown_share

_ZERO: Final = Decimal(0)
_SHARE: Final = Decimal("0.000001")


@dataclass(slots=True, kw_only=True)
class SymbolFigures:
    """One symbol over the days of the report; `quantity` is the position as it is now.

    Money in quote currency; `net_realized` is realised - fees - funding paid.
    """

    symbol: str
    quantity: Decimal = _ZERO
    average_entry_price: Decimal | None = None
    realized_pnl: Decimal = _ZERO
    fees: Decimal = _ZERO
    funding_paid: Decimal = _ZERO
    net_realized: Decimal = _ZERO
    fills: int = 0
    maker_fills: int = 0
    volume: Decimal = _ZERO
    funding_payments: int = 0
    closed_trades: int = 0
    wins: int = 0
    win_rate: Decimal | None = None


@dataclass(slots=True, kw_only=True)
class PnlReport:
    """A bot's profit over some days; `equity` is `(nanoseconds, equity)` on the venue's clock."""

    bot_id: str
    days: list[DailyMetrics] = field(default_factory=list)
    symbols: list[SymbolFigures] = field(default_factory=list)
    equity: list[tuple[int, Decimal]] = field(default_factory=list)
    max_drawdown: Decimal | None = None

    @property
    def totals(self) -> dict[str, Any]:
        """Return the sums over all symbols, and the last that is known of equity and Sharpe."""
        names = ("realized_pnl", "fees", "funding_paid", "net_realized", "fills", "volume")
        sums = {name: sum(getattr(one, name) for one in self.symbols) for name in names}
        closed = sum(one.closed_trades for one in self.symbols)
        wins = sum(one.wins for one in self.symbols)
        known = [day for day in self.days if day.equity_close is not None]
        ratios = [day.sharpe for day in self.days if day.sharpe is not None]
        return sums | {
            "closed_trades": closed,
            "wins": wins,
            "win_rate": _rate(wins, closed),
            "equity": known[-1].equity_close if known else None,
            "max_drawdown": self.max_drawdown,
            "sharpe": ratios[-1] if ratios else None,
        }

    def to_json(self) -> dict[str, Any]:
        """Return the report; decimals are texts."""
        built: dict[str, Any] = msgspec.to_builtins(
            {
                "bot_id": self.bot_id,
                "totals": self.totals,
                "days": self.days,
                "symbols": self.symbols,
                "equity": [{"at_ns": at, "equity": equity} for at, equity in self.equity],
            }
        )
        return built


async def bot_of(store: EventStore, wanted: str | None) -> str:
    """Return which bot to report on: the one that is named, or the only one that there is.

    Raises:
        NotFound: there is none, or not this one.
        InvalidInput: there are several, and none was named.
    """
    table = schema.journal_places
    rows = await store.rows("bots", select(table.c.bot_id).distinct())
    bots = sorted(str(row["bot_id"]) for row in rows)
    if wanted is not None and wanted not in bots:
        raise NotFound(f"bot-id: {wanted!r}: nothing of it here; there is: {', '.join(bots)}")
    if wanted is None and len(bots) > 1:
        raise InvalidInput(f"bot-id: missing; allowed: {', '.join(bots)}")
    if not bots:
        raise NotFound(f"event store {store.shown_url}: no bot has written anything yet")
    return wanted or bots[0]


async def report(store: EventStore, *, days: int | None = None) -> PnlReport:
    """Return the profit of the store's bot over its last `days` days, or over all of them."""
    made = _Gathering()
    for paid in await _funding(store):
        made.funding.setdefault(paid.symbol, []).append(paid)
    async for fill in _fills(store):
        made.fill(fill)
    made.rest_of_funding()
    async for row in _pages(store, schema.positions):
        made.delta(row)
    kept = {day.day: day for day in await store.load_days()}
    last = max([*kept, *made.by_day], default=None)
    first = "" if days is None or last is None else _days_before(last, days)
    equity = [point async for point in _equity(store) if _day(point[0]) >= first]
    found = PnlReport(bot_id=store.bot_id, equity=equity)
    for day in sorted({*kept, *made.by_day}):
        if day >= first:
            found.days.append(kept.get(day) or made.day_row(day))
    found.symbols = made.symbols(first, await store.load_positions())
    found.equity = found.equity or [
        (_end_ns(day.day), day.equity_close) for day in found.days if day.equity_close is not None
    ]
    found.max_drawdown = _drawdown(found)
    return found


# -------------------------------------------------------------------- inside


class _Gathering:
    """Figures by day and symbol, as fills, funding and position deltas tell them."""

    def __init__(self) -> None:
        self.by_day: dict[str, dict[str, SymbolFigures]] = {}
        self.funding: dict[str, list[FundingPayment]] = {}
        self._trips: dict[str, RoundTrips] = {}

    def fill(self, fill: Fill) -> None:
        """Take a fill, and before it the funding that was due by then."""
        at_ns = fill.ts_event_ns or 0
        trips = self._trips.setdefault(fill.symbol, RoundTrips(fill.symbol))
        waiting = self.funding.get(fill.symbol, [])
        while waiting and waiting[0].funding_time_ns <= at_ns:
            paid = waiting.pop(0)
            trips.fund(paid.amount)
            self._of(_day(paid.funding_time_ns), paid.symbol).funding_payments += 1
        figures = self._of(_day(at_ns), fill.symbol)
        figures.fills += 1
        figures.maker_fills += fill.liquidity == "MAKER"
        figures.volume += fill.quantity * fill.price
        earned = trips.fill(fill.side, fill.quantity, fill.price, fill.fee)
        if earned is not None:
            figures.closed_trades += 1
            figures.wins += earned > 0

    def rest_of_funding(self) -> None:
        """Take the funding that came after the last fill."""
        for symbol, waiting in self.funding.items():
            for paid in waiting:
                self._of(_day(paid.funding_time_ns), symbol).funding_payments += 1

    def delta(self, row: dict[str, Any]) -> None:
        """Take what one booking did to a position."""
        at_ns = row["ts_event_ns"] or int(row["timestamp"].timestamp() * 1e9)
        figures = self._of(_day(at_ns), row["symbol"])
        figures.realized_pnl += row["realized_pnl"]
        figures.fees += row["fees"]
        figures.funding_paid += row["funding_paid"]

    def day_row(self, day: str) -> DailyMetrics:
        """Return what is known of a day of which no row was kept."""
        all_of_it = _sum("", list(self.by_day[day].values()))
        return DailyMetrics(
            day=day,
            realized_pnl=all_of_it.realized_pnl,
            fees=all_of_it.fees,
            funding_paid=all_of_it.funding_paid,
            trades=all_of_it.fills,
            closed_trades=all_of_it.closed_trades,
            wins=all_of_it.wins,
            win_rate=all_of_it.win_rate,
        )

    def symbols(self, first: str, held: dict[str, Any]) -> list[SymbolFigures]:
        """Return each symbol's figures from a day on."""
        days = [of for day, of in self.by_day.items() if day >= first]
        names = sorted({*held, *(name for of in days for name in of)})
        found = [_sum(name, [of[name] for of in days if name in of]) for name in names]
        return [
            replace(
                one,
                quantity=held[one.symbol].quantity,
                average_entry_price=held[one.symbol].average_entry_price,
            )
            if one.symbol in held
            else one
            for one in found
        ]

    def _of(self, day: str, symbol: str) -> SymbolFigures:
        return self.by_day.setdefault(day, {}).setdefault(symbol, SymbolFigures(symbol=symbol))


_COUNTED: Final = (
    *("realized_pnl", "fees", "funding_paid", "fills", "maker_fills", "volume"),
    *("funding_payments", "closed_trades", "wins"),
)


def _sum(symbol: str, parts: list[SymbolFigures]) -> SymbolFigures:
    sums = {name: sum(getattr(part, name) for part in parts) for name in _COUNTED}
    net = Decimal(sums["realized_pnl"]) - sums["fees"] - sums["funding_paid"]
    rate = _rate(sums["wins"], sums["closed_trades"])
    return SymbolFigures(symbol=symbol, net_realized=net, win_rate=rate, **sums)


def _rate(part: int, whole: int) -> Decimal | None:
    return (Decimal(part) / whole).quantize(_SHARE) if whole else None


def _drawdown(found: PnlReport) -> Decimal | None:
    """Return the largest fall from a peak of the equity, or of the days' own figures."""
    kept = [day.drawdown for day in found.days if day.drawdown is not None]
    peak, largest = _ZERO, max(kept, default=_ZERO)
    for _, equity in found.equity:
        peak = max(peak, equity)
        if peak > 0:
            largest = max(largest, drawdown_share(equity, peak))
    return largest.quantize(_SHARE) if kept or found.equity else None


def _day(at_ns: int) -> str:
    return venue_day(at_ns).isoformat()


def _end_ns(day: str) -> int:
    end = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC) + timedelta(days=1)
    return int(end.timestamp()) * 1_000_000_000


def _days_before(last: str, days: int) -> str:
    return (date.fromisoformat(last) - timedelta(days=days - 1)).isoformat()


async def _pages(store: EventStore, table: Any) -> AsyncIterator[dict[str, Any]]:
    """Yield the bot's rows of a table in the order they were written, page by page."""
    query = select(table).where(table.c.bot_id == store.bot_id)
    query = query.order_by(table.c.sequence).limit(PAGE_ROWS)
    rows = await store.rows(table.name, query)
    while rows:
        for row in rows:
            yield _plain(row)
        after = table.c.sequence > rows[-1]["sequence"]
        rows = await store.rows(table.name, query.where(after))


def _plain(row: RowMapping) -> dict[str, Any]:
    """Return a row by plain names: those of a database are of a type of its own."""
    return {str(name): value for name, value in row.items()}


async def _fills(store: EventStore) -> AsyncIterator[Fill]:
    async for row in _pages(store, schema.fills):
        at_ns = row["ts_event_ns"] or int(row["timestamp"].timestamp() * 1e9)
        yield msgspec.convert(row | {"ts_event_ns": at_ns}, Fill)


async def _funding(store: EventStore) -> list[FundingPayment]:
    table = schema.funding_payments
    query = select(table).where(table.c.bot_id == store.bot_id)
    rows = await store.rows("funding", query.order_by(table.c.funding_time_ns))
    return [msgspec.convert(_plain(row), FundingPayment) for row in rows]


async def _equity(store: EventStore) -> AsyncIterator[tuple[int, Decimal]]:
    after = 0
    while rows := await store.load_events(after=after, limit=1_000, event_type="equity"):
        for row in rows:
            if row["ts_event_ns"] and "equity" in row["payload"]:
                yield row["ts_event_ns"], Decimal(row["payload"]["equity"])
        after = rows[-1]["sequence"]
