"""The account as the venue states it: equity, marks, liquidation prices, and how far we agree."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Protocol

import structlog

from lob.errors import Fault
from services.order_gateway.engine import Engine
from services.order_gateway.venues.coinbase_money import Stated
from touchstone.kit.ledger_entries import Record
from touchstone.perps.funding import FundingFigures
from touchstone.perps.pnl import Pnl, Statement, account_pnl, agrees, book_value
from touchstone.perps.positions import Position
from touchstone.perps.risk import Holding

STATEMENT_SECONDS: Final = 1.0
FRESH_SECONDS: Final = 30.0
"""A statement older than this is no ground for new risk."""

_log = structlog.get_logger("touchstone.gateway.account")


class MoneySource(Protocol):
    """What is asked of the venue about money. Every call is bounded in time."""

    async def statement(self) -> Stated:
        """Return the account as it stands, in one answer."""
        ...

    async def liquidation_prices(self, stated: Stated) -> dict[str, Decimal]:
        """Return the liquidation price of each position; 0 where there is none."""
        ...

    async def funding(self, symbol: str) -> FundingFigures:
        """Return what is published of one symbol's funding."""
        ...


@dataclass(frozen=True, slots=True)
class Checked:
    """A statement that has exactly our positions, and nothing was booked while it came.

    `unexplained` is by how much the venue's book value is below ours, deposits aside: what was paid
    and is not booked here.
    """

    statement: Statement
    positions: tuple[Position, ...]
    unexplained: Decimal


class Account:
    """Keep the newest statement; `deposits` is what was in the account before anything of ours."""

    def __init__(
        self,
        source: MoneySource,
        engine: Engine,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source = source
        self._engine = engine
        self._ledger = engine.ledger
        self._monotonic = monotonic
        self._stated: Stated | None = None
        self._stated_at = 0.0
        self._marks: dict[str, Decimal] = {}
        self._liquidation: dict[str, tuple[Decimal, Decimal]] = {}
        self.deposits: Decimal | None = None
        self.listeners: list[Callable[[], None]] = []
        """Called after each statement."""

    async def run(self) -> None:
        """Ask for a statement again and again, until cancelled; without one it grows old."""
        while True:
            try:
                stated = await self.refresh()
                prices = await self.source.liquidation_prices(stated)
                self.take_liquidation_prices(stated, prices)
            except Fault as fault:
                _log.debug("no_statement", why=str(fault))
            await asyncio.sleep(STATEMENT_SECONDS)

    def take_liquidation_prices(self, stated: Stated, prices: Mapping[str, Decimal]) -> None:
        """Keep the liquidation prices of the positions that were stated."""
        self._liquidation = {
            symbol: (stated.positions[symbol].quantity, price)
            for symbol, price in prices.items()
            if symbol in stated.positions
        }

    async def refresh(self) -> Stated:
        """Ask the venue for a statement and keep it; a fault leaves the last one."""
        stated = await self.source.statement()
        self._stated, self._stated_at = stated, self._monotonic()
        self._marks.update(stated.statement.marks())
        for listener in self.listeners:
            listener()
        return stated

    async def check(self) -> Checked | None:
        """Ask for a statement and compare it; None where the two sides are not in step just now.

        Raises:
            Fault: the venue did not answer.
        """
        if not self._engine.reconciled:
            return None
        before = self._positions()
        stated = await self.refresh()
        held = self._positions()
        if held != before or not agrees(held, stated.statement):
            return None
        difference = book_value(held) - stated.statement.book_value
        return Checked(stated.statement, held, difference + (self.deposits or Decimal(0)))

    def anchor(self, checked: Checked, at_ns: int | None) -> None:
        """Take what the venue has beyond our profit now as what was deposited."""
        self.deposits = checked.statement.book_value - book_value(checked.positions)
        payload = {"deposits": str(self.deposits), "at_ns": at_ns}
        self._ledger.note(Record(type="account_anchored", ts_event_ns=at_ns, payload=payload))
        _log.info("account_anchored", **payload)

    # ---------------------------------------------------------------- questions

    @property
    def age_seconds(self) -> float | None:
        """Return how old the newest statement is; None before the first."""
        return None if self._stated is None else self._monotonic() - self._stated_at

    def equity(self) -> Decimal | None:
        """Return the account's equity at the mark; None where nobody has told it lately."""
        stated = self._fresh()
        return None if stated is None else stated.statement.equity

    def mark(self, symbol: str) -> Decimal | None:
        """Return the venue's mark; where it states none (flat), the middle of the touch."""
        stated = self._fresh()
        held = None if stated is None else stated.statement.positions.get(symbol)
        return held.mark if held is not None else self._engine.quotes.mark(symbol)

    def last_mark(self, symbol: str) -> Decimal | None:
        """Return the newest mark that was ever seen, however old."""
        return self._marks.get(symbol) or self._engine.quotes.mark(symbol)

    def liquidation_price(self, symbol: str) -> Decimal | None:
        """Return the venue's liquidation price; 0 is none, None is not told.

        It is that of the position that was stated: for one of another size or sign it says nothing.
        """
        quantity, price = self._liquidation.get(symbol, (None, None))
        is_same = quantity == self._ledger.position(symbol).quantity
        return price if is_same and self._fresh() is not None else None

    def holdings(self) -> dict[str, Holding]:
        """Return our positions with the venue's marks and liquidation prices."""
        return {
            symbol: Holding(
                quantity=self._ledger.position(symbol).quantity,
                mark=self.mark(symbol),
                liquidation_price=self.liquidation_price(symbol),
            )
            for symbol in self._engine.symbols
        }

    def pnl(self) -> Pnl:
        """Return our profit at the venue's marks."""
        return account_pnl(
            self._positions(), {symbol: self.mark(symbol) for symbol in self._engine.symbols}
        )

    def _fresh(self) -> Stated | None:
        age = self.age_seconds
        return self._stated if age is not None and age <= FRESH_SECONDS else None

    def _positions(self) -> tuple[Position, ...]:
        """Return our positions, flat ones of symbols that are no longer ours included."""
        symbols = self._engine.symbols
        held = self._ledger.positions.values()
        return tuple(one for one in held if one.symbol in symbols or not one.quantity)
