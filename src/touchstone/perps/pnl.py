"""Profit of the whole account, and how far it is from the venue's own figures.

Net = realised + unrealised - funding paid - fees. Two identities make the comparison exact:

- *Book value*, realised - cost - funding - fees of all positions, moves with cash flows only. No
  price is in it, and no convention about entry prices: what a reduction takes out of the cost it
  puts into the realised profit.
- The venue's equity less what its positions are worth at the marks of the same answer is the same
  figure on its side, however often it settles unrealised profit into cash.

So their difference only changes when one side has booked what the other has not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Final

from touchstone.perps.positions import Position

DRIFT_FLOOR_SHARE: Final = Decimal("0.0001")
"""Profit figures below this share of the equity count as this much, so that a first fee of a few
cents does not make a drift of percents."""

_ZERO: Final = Decimal(0)
_CONTEXT: Final = Context(prec=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pnl:
    """Profit since the journal began, in quote currency; `unrealized` is None without a mark."""

    realized: Decimal = _ZERO
    unrealized: Decimal | None = _ZERO
    funding_paid: Decimal = _ZERO
    fees: Decimal = _ZERO

    @property
    def net(self) -> Decimal | None:
        """Return realised + unrealised - funding paid - fees; None where a mark is missing."""
        if self.unrealized is None:
            return None
        return self.realized + self.unrealized - self.funding_paid - self.fees

    @property
    def gross(self) -> Decimal | None:
        """Return all its parts without their signs: what there was to get wrong."""
        if self.unrealized is None:
            return None
        parts = (self.realized, self.unrealized, self.funding_paid, self.fees)
        return sum((abs(part) for part in parts), _ZERO)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedPosition:
    """One position as the venue states it: signed coins and its mark."""

    quantity: Decimal
    mark: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """The account as the venue states it in one answer, so that nothing in it can be out of step.

    `equity` is all its money with unrealised profit; `other_value` is what positions in products
    that are not ours are worth at their marks, signed.
    """

    equity: Decimal
    positions: Mapping[str, StatedPosition] = field(default_factory=dict)
    other_value: Decimal = _ZERO

    @property
    def book_value(self) -> Decimal:
        """Return the equity less what all positions are worth at the statement's marks."""
        worth = sum(
            (_CONTEXT.multiply(held.quantity, held.mark) for held in self.positions.values()),
            self.other_value,
        )
        return _CONTEXT.subtract(self.equity, worth)

    def marks(self) -> dict[str, Decimal]:
        """Return the marks by symbol."""
        return {symbol: held.mark for symbol, held in self.positions.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How far our profit is from the venue's: `difference` is ours less theirs.

    `share` is the difference over the gross profit figures (at least `DRIFT_FLOOR_SHARE` of the
    equity), `share_of_equity` over the venue's equity.
    """

    ours: Decimal
    venue: Decimal
    difference: Decimal
    share: Decimal
    share_of_equity: Decimal


def account_pnl(positions: Iterable[Position], marks: Mapping[str, Decimal | None]) -> Pnl:
    """Return the profit of all positions at `marks`; a flat position needs no mark."""
    realized = funding = fees = _ZERO
    unrealized: Decimal | None = _ZERO
    for position in positions:
        realized = _CONTEXT.add(realized, position.realized_pnl)
        funding += position.funding_paid
        fees += position.fees
        mark = marks.get(position.symbol)
        if not position.quantity:
            # What is flat has no cost either, but a residue of rounding belongs to the sum.
            mark = _ZERO
        if mark is None or unrealized is None:
            unrealized = None
        else:
            unrealized = _CONTEXT.add(unrealized, position.unrealized_pnl(mark))
    return Pnl(realized=realized, unrealized=unrealized, funding_paid=funding, fees=fees)


def book_value(positions: Iterable[Position]) -> Decimal:
    """Return realised - cost - funding paid - fees of all positions."""
    total = _ZERO
    for held in positions:
        flows = _CONTEXT.subtract(held.realized_pnl, held.cost)
        total = _CONTEXT.add(total, flows - held.funding_paid - held.fees)
    return total


def agrees(positions: Iterable[Position], statement: Statement) -> bool:
    """Return whether the venue states exactly the quantities that we hold."""
    ours = {held.symbol: held.quantity for held in positions if held.quantity}
    theirs = {symbol: held.quantity for symbol, held in statement.positions.items()}
    return ours == {symbol: quantity for symbol, quantity in theirs.items() if quantity}


def measure(positions: Iterable[Position], statement: Statement, deposits: Decimal) -> Drift:
    """Return how far our profit is from the venue's.

    `deposits` is the difference of the two book values when both stood for the same: what was in
    the account before anything of ours.
    """
    held = tuple(positions)
    at_marks = account_pnl(held, statement.marks())
    ours = at_marks.net if at_marks.net is not None else book_value(held)
    venue = _CONTEXT.subtract(_CONTEXT.subtract(statement.equity, statement.other_value), deposits)
    difference = ours - venue
    equity = abs(statement.equity)
    scale = max(at_marks.gross or _ZERO, equity * DRIFT_FLOOR_SHARE)
    return Drift(
        ours=ours,
        venue=venue,
        difference=difference,
        share=abs(difference) / scale if scale else _ZERO,
        share_of_equity=abs(difference) / equity if equity else _ZERO,
    )
