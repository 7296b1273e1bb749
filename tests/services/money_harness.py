"""A ledger in memory, a venue that states what it is told to, and clocks set by hand."""

import asyncio
import dataclasses
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from prometheus_client import CollectorRegistry

from lob.errors import Unavailable
from lob.types import Side
from services.order_gateway.ledger import Ledger
from services.order_gateway.metrics import GatewayMetrics
from services.order_gateway.position_tape import PositionTape
from services.order_gateway.venues.base import VenuePosition
from services.order_gateway.venues.coinbase_money import Stated
from touchstone.kit.ledger_entries import Entry, Fill, Record
from touchstone.perps.funding import HOUR_NS, FundingFigures
from touchstone.perps.orders import Intent, OrderType
from touchstone.perps.pnl import StatedPosition, Statement

D = Decimal
START = D(10_000)
RATE = D("0.0001")
MARKS = {"BTC-PERP": D(50_000), "ETH-PERP": D(3_000)}
SYMBOLS = {"BTC-PERP": "BIP", "ETH-PERP": "ETP"}


class MemoryJournal:
    """Keep entries in a list and tell listeners of each."""

    failure = ""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.listeners: list[Any] = []

    def append(self, entry: Entry) -> int:
        """Take an entry."""
        self.entries.append(entry)
        for listener in self.listeners:
            listener(len(self.entries), entry)
        return len(self.entries)

    async def kept(self) -> None:
        """Return at once."""

    def keep(self) -> asyncio.Future[None]:
        """Return what is done already."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def records(self, kind: str) -> list[Record]:
        """Return every record of a kind."""
        return [one for entry in self.entries for one in entry.records if one.type == kind]


class NoArchive:
    """Nothing was ever stored."""

    async def load_order(self, _client_order_id: str) -> None:
        """Return nothing."""

    async def load_orders(self, **_filters: object) -> list[Any]:
        """Return nothing."""
        return []


@dataclass
class FakeQuotes:
    """Marks and ages as they are set."""

    marks: dict[str, Decimal] = field(default_factory=dict)
    ages: dict[str, float | None] = field(default_factory=dict)

    def mark(self, symbol: str) -> Decimal | None:
        """Return the middle."""
        return self.marks.get(symbol)

    def age_seconds(self, symbol: str) -> float | None:
        """Return how old it is."""
        return self.ages.get(symbol)


@dataclass
class FakeVenue:
    """An account at a venue: cash, positions at marks, and funding each hour."""

    cash: Decimal = START
    held: dict[str, Decimal] = field(default_factory=dict)
    marks: dict[str, Decimal] = field(default_factory=lambda: dict(MARKS))
    rate: Decimal = RATE
    next_ns: int = 10 * HOUR_NS
    liquidation: dict[str, Decimal] = field(default_factory=dict)
    down: bool = False
    tells_interval: bool = True
    tells_mark: bool = True

    async def statement(self) -> Stated:
        """State the account."""
        if self.down:
            raise Unavailable("venue: down")
        positions = {
            symbol: StatedPosition(quantity=quantity, mark=self.marks[symbol])
            for symbol, quantity in self.held.items()
            if quantity
        }
        return Stated(
            Statement(equity=self.equity, positions=positions),
            {
                symbol: VenuePosition(one.quantity, None, mark_price=one.mark)
                for symbol, one in positions.items()
            },
        )

    async def liquidation_prices(self, _stated: Stated) -> dict[str, Decimal]:
        """Return what was set."""
        return dict(self.liquidation)

    async def funding(self, symbol: str) -> FundingFigures:
        """Return the rate settled last and the next time."""
        if self.down:
            raise Unavailable("venue: down")
        interval = HOUR_NS if self.tells_interval else None
        mark = self.marks[symbol] if self.tells_mark else None
        return FundingFigures(
            rate=self.rate, next_time_ns=self.next_ns, interval_ns=interval, mark=mark
        )

    @property
    def equity(self) -> Decimal:
        """Return cash and what is held at the marks."""
        return self.cash + sum(
            (quantity * self.marks[symbol] for symbol, quantity in self.held.items()), D(0)
        )

    def pay(self, rate: str = "0.0001") -> Decimal:
        """Settle one funding time at the present marks; return what all of it cost."""
        self.rate = D(rate)
        paid = sum((q * self.marks[s] * self.rate for s, q in self.held.items()), D(0))
        self.cash -= paid
        self.next_ns += HOUR_NS
        return paid


class House:
    """Ledger, tape, clocks and a stand-in for the engine, ready to trade."""

    def __init__(self) -> None:
        self.venue = FakeVenue()
        self.registry = CollectorRegistry()
        self.metrics = GatewayMetrics(self.registry, SYMBOLS)
        self.journal = MemoryJournal()
        self.ledger = Ledger(NoArchive(), self.metrics, now_ns=lambda: 1)
        self.ledger.journal = self.journal
        self.quotes = FakeQuotes()
        self.symbols = SYMBOLS
        self.reconciled = True
        self.now_ns = 10 * HOUR_NS - 1
        self.seconds = 0.0
        self.tape = PositionTape(self.venue_now_ns)
        self.journal.listeners.append(self.tape.offer)
        self._number = 0

    def venue_now_ns(self) -> int | None:
        """Return the venue's time."""
        return self.now_ns

    def monotonic(self) -> float:
        """Return local seconds."""
        return self.seconds

    def trade(
        self,
        symbol: str,
        quantity: str,
        price: str | None = None,
        *,
        at_ns: int | None = None,
        at_venue: bool = True,
        booked: bool = True,
        fee: str = "0",
    ) -> Fill:
        """Trade at both sides; or only at the venue, with the fill still on its way."""
        signed = D(quantity)
        paid = D(price) if price is not None else self.venue.marks[symbol]
        if at_venue:
            self.venue.cash -= signed * paid + D(fee)
            self.venue.held[symbol] = self.venue.held.get(symbol, D(0)) + signed
        self._number += 1
        fill = Fill(
            venue_order_id=f"v{self._number}",
            trade_id=f"t{self._number}",
            client_order_id=f"c{self._number}",
            symbol=symbol,
            side=Side.BUY if signed > 0 else Side.SELL,
            quantity=abs(signed),
            price=paid,
            fee=D(fee),
            ts_event_ns=self.now_ns if at_ns is None else at_ns,
        )
        if booked:
            self.book(fill)
        return fill

    def book(self, fill: Fill) -> None:
        """Book a fill of a new order."""
        order = self.ledger.place(
            Intent(
                client_order_id=fill.client_order_id,
                symbol=fill.symbol,
                side=fill.side,
                quantity=fill.quantity,
                order_type=OrderType.MARKET,
            )
        )
        self.ledger.book(order, [dataclasses.replace(fill)])
