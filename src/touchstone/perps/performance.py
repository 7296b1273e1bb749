"""Daily figures of the bot, from its records: return, profit, trades, win rate, drawdown, Sharpe.

A day is a UTC day of the venue's clock. The return of a day is its change of equity over the equity
that it began with. The Sharpe ratio is of the daily returns up to and including the day: mean over
sample deviation (n - 1), times the root of 365 (perpetuals trade every day), with a risk-free rate
of zero; there is none before the second day or where returns do not vary.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from typing import Final

from lob.types import Side
from touchstone.perps.pnl import Pnl
from touchstone.perps.positions import Position, apply_fill
from touchstone.perps.risk import drawdown_share

DAY_NS: Final = 86_400_000_000_000
DAYS_A_YEAR: Final = 365
RETURNS_MAX: Final = 365
"""How many days the Sharpe ratio looks back."""

_ZERO: Final = Decimal(0)
_CONTEXT: Final = Context(prec=28)
_DIGITS: Final = Decimal("0.00000001")


def venue_day(time_ns: int) -> date:
    """Return the UTC day of a moment of the venue's clock.

    >>> venue_day(1_700_000_000_000_000_000)
    datetime.date(2023, 11, 14)
    """
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).date()


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyMetrics:
    """One day. Money in quote currency, shares as fractions; what cannot be known is None.

    `trades` are fills; `closed_trades` are positions that went back to flat (or through it), and
    `wins` those that earned more than their fees and funding. `drawdown` is the largest of the day,
    from the highest equity seen before, as a share of it.
    """

    day: date
    equity_open: Decimal
    equity_close: Decimal
    daily_return: Decimal | None
    realized_pnl: Decimal
    unrealized_pnl: Decimal | None
    fees: Decimal
    funding_paid: Decimal
    trades: int
    closed_trades: int
    wins: int
    win_rate: Decimal | None
    drawdown: Decimal
    sharpe: Decimal | None


@dataclass(slots=True)
class RoundTrips:
    """Follow one symbol's position from flat to flat and say what each trip earned.

    The profit of a trip is realised - fees - funding of all that happened in it; a fill that turns
    the position ends one trip and begins the next, its fee shared by quantity.
    """

    symbol: str
    _position: Position = field(init=False)
    _since: Position = field(init=False)

    def __post_init__(self) -> None:
        """Start flat."""
        self._position = self._since = Position(symbol=self.symbol)

    def fill(self, side: Side, quantity: Decimal, price: Decimal, fee: Decimal) -> Decimal | None:
        """Take one fill; return what the trip that it ended has earned, None where none ended."""
        held = self._position.quantity
        if held * side.sign >= 0 or quantity < abs(held):
            self._position = apply_fill(self._position, side, quantity, price, fee)
            return None
        closing_fee = _CONTEXT.divide(fee * abs(held), quantity)
        self._position = apply_fill(self._position, side, abs(held), price, closing_fee)
        earned = self._earned()
        self._since = self._position
        if quantity > abs(held):
            rest, rest_fee = quantity - abs(held), fee - closing_fee
            self._position = apply_fill(self._position, side, rest, price, rest_fee)
        return earned

    def fund(self, amount: Decimal) -> None:
        """Take one funding payment; below 0 it was received."""
        paid = self._position.funding_paid + amount
        self._position = replace(self._position, funding_paid=paid)

    def _earned(self) -> Decimal:
        now, then = self._position, self._since
        realized = now.realized_pnl - then.realized_pnl
        return realized - (now.fees - then.fees) - (now.funding_paid - then.funding_paid)


@dataclass(slots=True)
class DayBook:
    """Gather one day; `closed` returns its metrics.

    `peak` is the highest equity seen so far, over all days. What the day began with is the profit
    and the equity that were last seen before it.
    """

    day: date
    equity_open: Decimal
    opened_with: Pnl
    peak: Decimal
    trades: int = 0
    closed_trades: int = 0
    wins: int = 0
    drawdown: Decimal = _ZERO
    equity: Decimal = field(init=False)
    pnl: Pnl = field(init=False)

    def __post_init__(self) -> None:
        """Begin with what the day before ended with."""
        self.equity, self.pnl = self.equity_open, self.opened_with

    def observe(self, equity: Decimal, pnl: Pnl) -> None:
        """Take in the equity and the profit at one moment of the day."""
        self.equity, self.pnl = equity, pnl
        self.peak = max(self.peak, equity)
        if self.peak > 0:
            self.drawdown = max(self.drawdown, drawdown_share(equity, self.peak))

    def count_fill(self, earned: Decimal | None) -> None:
        """Count one fill, and the trip that it ended, if any."""
        self.trades += 1
        if earned is not None:
            self.closed_trades += 1
            self.wins += earned > 0

    def closed(self, returns_before: Sequence[Decimal]) -> DailyMetrics:
        """Return the day's metrics as of what was last seen; `returns_before` oldest first."""
        change = self.equity - self.equity_open
        earned = _ratio(change, self.equity_open) if self.equity_open > 0 else None
        returns = [*returns_before, *([] if earned is None else [earned])]
        return DailyMetrics(
            day=self.day,
            equity_open=self.equity_open,
            equity_close=self.equity,
            daily_return=earned,
            realized_pnl=self.pnl.realized - self.opened_with.realized,
            unrealized_pnl=self.pnl.unrealized,
            fees=self.pnl.fees - self.opened_with.fees,
            funding_paid=self.pnl.funding_paid - self.opened_with.funding_paid,
            trades=self.trades,
            closed_trades=self.closed_trades,
            wins=self.wins,
            win_rate=_ratio(Decimal(self.wins), Decimal(self.closed_trades))
            if self.closed_trades
            else None,
            drawdown=self.drawdown.quantize(_DIGITS),
            sharpe=sharpe(returns),
        )

    def next(self, day: date) -> "DayBook":
        """Return the book of a later day, which begins with what this one ended with."""
        return DayBook(day=day, equity_open=self.equity, opened_with=self.pnl, peak=self.peak)


def sharpe(returns: Iterable[Decimal]) -> Decimal | None:
    """Return the yearly Sharpe ratio of daily returns, the latest `RETURNS_MAX` of them.

    None for fewer than two, or where they do not vary.

    >>> sharpe([Decimal("0.01"), Decimal("0.03")])
    Decimal('27.01851217')
    """
    taken = list(returns)[-RETURNS_MAX:]
    count = len(taken)
    if count < 2:  # noqa: PLR2004 - a deviation takes two
        return None
    mean = sum(taken, _ZERO) / count
    variance = sum(((one - mean) ** 2 for one in taken), _ZERO) / (count - 1)
    if variance == 0:
        return None
    return (mean / variance.sqrt() * Decimal(DAYS_A_YEAR).sqrt()).quantize(_DIGITS)


def _ratio(part: Decimal, whole: Decimal) -> Decimal:
    return _CONTEXT.divide(part, whole).quantize(_DIGITS)
