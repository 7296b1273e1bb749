"""The bot's strategy: a small one, made to be replaced.

`MaCrossover` enters when the short moving average crosses the long one, leaves when it crosses back
or when the price has given up a percent of its best, and refuses with every reason that stands
against an entry. A strategy sees prices and the account and returns a decision; it sends nothing.
"""

from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, Protocol

from lob.errors import InvalidInput
from lob.types import Side
from touchstone.perps.filters import (
    BPS,
    EntryRefusal,
    FilterLimits,
    MarketView,
    Objection,
    check_market,
)
from touchstone.perps.guards import (
    check_liquidation_buffer,
    check_slippage,
    liquidation_distance,
    projected_distance,
)
from touchstone.perps.indicators import RSI_LENGTH, rsi, sma

HISTORY_BARS: Final = 250
"""Closes kept for the RSI; what is older changes it in the eighth digit."""


class Action(StrEnum):
    """What a strategy wants done now."""

    ENTER = "ENTER"
    EXIT = "EXIT"
    HOLD = "HOLD"


class ExitReason(StrEnum):
    """Why a position is to be closed."""

    CROSSED_BACK = "CROSSED_BACK"
    TRAILING_STOP = "TRAILING_STOP"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """The account as far as one symbol's decision needs it; what is not known is None.

    `quantity` is the signed position in coins; `liquidation_price` is the venue's own, for the
    position held or, without one, what the venue predicts for the entry (None: the account's
    equity says how far liquidation is). `reduce_only` says that nothing may be entered.
    """

    equity: Decimal | None
    quantity: Decimal | None
    entry_price: Decimal | None = None
    liquidation_price: Decimal | None = None
    reduce_only: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, how much of it, and why.

    ENTER has `notional` in dollars, EXIT has `quantity` in coins. `reasons` are stable codes: why
    it exits, or every objection to an entry that would otherwise have been made (HOLD).
    """

    action: Action
    side: Side | None = None
    notional: Decimal | None = None
    quantity: Decimal | None = None
    reasons: tuple[str, ...] = ()
    message: str = ""


class Strategy(Protocol):
    """What the bot needs of a strategy: one object for each symbol."""

    @property
    def name(self) -> str:
        """Return the name that kill scopes and metrics know it by."""
        ...

    def on_bar(self, time_ns: int, close: Decimal) -> None:
        """Take in one ended bar, oldest first; a repeat changes nothing."""
        ...

    def decide(self, market: MarketView, account: AccountView) -> Decision:
        """Return what to do now; asking again changes nothing but the best price seen."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What `MaCrossover` goes by. Shares are fractions; notional is in dollars.

    Raises:
        InvalidInput: lengths that are not 1 <= short < long, or a share out of 0..1.
    """

    filters: FilterLimits
    liquidation_buffer: Decimal
    max_slippage_bps: Decimal
    max_position_notional: Decimal
    leverage: Decimal = Decimal(1)
    short_ma: int = 5
    long_ma: int = 20
    epsilon_bps: Decimal = Decimal(1)
    rsi_confirm: bool = False
    rsi_upper: Decimal = Decimal(70)
    rsi_lower: Decimal = Decimal(30)
    trailing_stop: Decimal = Decimal("0.01")
    equity_share: Decimal = Decimal("0.10")
    enable_shorts: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        if not 1 <= self.short_ma < self.long_ma:
            raise InvalidInput(
                f"short_ma: {self.short_ma}, long_ma: {self.long_ma}; allowed: 1 <= short < long"
            )
        for name in ("trailing_stop", "equity_share"):
            share: Decimal = getattr(self, name)
            if not 0 < share < 1:
                raise InvalidInput(f"{name}: {share}; allowed: above 0, below 1")


class MaCrossover:
    """Follow the crossing of two moving averages of one symbol.

    The averages count as crossed when they are more than `epsilon_bps` apart on the other side. The
    first side that is seen is no cross: nobody knows when it began. A cross can be acted on until
    the next bar, so that a market that is thin for a second costs no entry.
    """

    name: str = "ma_crossover"

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        history = max(HISTORY_BARS, parameters.long_ma)
        self._closes: deque[Decimal] = deque(maxlen=history)
        self._last_bar_ns: int | None = None
        self._trend = 0
        self._crossed = False
        self._best: Decimal | None = None
        self._held_sign = 0

    def on_bar(self, time_ns: int, close: Decimal) -> None:
        """Take in one bar and see whether the averages have crossed. O(long_ma)."""
        if self._last_bar_ns is not None and time_ns <= self._last_bar_ns:
            return
        self._last_bar_ns = time_ns
        self._closes.append(close)
        direction = self._direction()
        self._crossed = direction != 0 and self._trend == -direction
        if direction:
            self._trend = direction

    def decide(self, market: MarketView, account: AccountView) -> Decision:
        """Return what to do now. O(bars kept) with the RSI, else O(1)."""
        mark, quantity = market.mark, account.quantity
        if not market.is_fresh:
            return _hold(EntryRefusal.STALE_DATA, f"market data: {_age(market)}")
        if mark is None or mark <= 0:
            return _hold(EntryRefusal.NO_MARK, "mark: not known")
        if quantity is None:
            return _hold(EntryRefusal.NO_POSITION, "position: not known")
        self._follow(mark, quantity, account.entry_price)
        return self._exit(mark, quantity) if quantity else self._enter(market, account)

    def _enter(self, market: MarketView, account: AccountView) -> Decision:
        if len(self._closes) < self._parameters.long_ma:
            return _hold(
                EntryRefusal.WARMING_UP,
                f"{len(self._closes)} of {self._parameters.long_ma} bars",
            )
        if not self._crossed:
            return Decision(Action.HOLD, message="no cross")
        side = Side.BUY if self._trend > 0 else Side.SELL
        objections: list[Objection] = []
        if account.reduce_only:
            objections.append(Objection(EntryRefusal.REDUCE_ONLY, "nothing may be entered"))
        if side is Side.SELL and not self._parameters.enable_shorts:
            objections.append(Objection(EntryRefusal.SHORTS_DISABLED, "shorts are not enabled"))
        objections += self._check_rsi(side)
        objections += check_market(market, side, self._parameters.filters)
        notional, objection = self._size(account)
        if objection is not None:
            objections.append(objection)
        if notional is not None and account.equity is not None and market.mark is not None:
            objections += self._check_guards(market, account, side, notional)
        if objections or notional is None:
            reasons = tuple(dict.fromkeys(one.reason.value for one in objections))
            message = "; ".join(one.message for one in objections)
            return Decision(Action.HOLD, side=side, reasons=reasons, message=message)
        return Decision(Action.ENTER, side=side, notional=notional, message="crossed")

    def _check_rsi(self, side: Side) -> list[Objection]:
        """Refuse a long above the upper line and a short below the lower one."""
        if not self._parameters.rsi_confirm:
            return []
        value = rsi(tuple(self._closes), RSI_LENGTH)
        if value is None:
            return [Objection(EntryRefusal.NO_RSI, f"RSI: fewer than {RSI_LENGTH} changes")]
        upper, lower = self._parameters.rsi_upper, self._parameters.rsi_lower
        if side is Side.BUY and value > upper:
            return [Objection(EntryRefusal.RSI, f"RSI: {value:.1f}; allowed: at most {upper}")]
        if side is Side.SELL and value < lower:
            return [Objection(EntryRefusal.RSI, f"RSI: {value:.1f}; allowed: {lower} or more")]
        return []

    def _size(self, account: AccountView) -> tuple[Decimal | None, Objection | None]:
        equity = account.equity
        if equity is None or not equity.is_finite():
            return None, Objection(EntryRefusal.NO_EQUITY, "equity: not known")
        chosen = self._parameters
        wanted = equity * chosen.equity_share * chosen.leverage
        notional = min(wanted, chosen.max_position_notional)
        if notional <= 0:
            return None, Objection(EntryRefusal.SIZE, f"equity: {equity:.2f}; allowed: above 0")
        return notional, None

    def _check_guards(
        self, market: MarketView, account: AccountView, side: Side, notional: Decimal
    ) -> list[Objection]:
        chosen = self._parameters
        equity = account.equity or Decimal(0)
        if account.liquidation_price is None:
            distance: Decimal | None = projected_distance(notional, equity, chosen.leverage)
        else:
            distance = liquidation_distance(
                Decimal(side.sign), market.mark, account.liquidation_price
            )
        found = (
            check_liquidation_buffer(distance, chosen.liquidation_buffer),
            check_slippage(market, side, notional, chosen.max_slippage_bps),
        )
        return [objection for objection in found if objection is not None]

    def _exit(self, mark: Decimal, quantity: Decimal) -> Decision:
        sign = 1 if quantity > 0 else -1
        side = Side.SELL if sign > 0 else Side.BUY
        best = self._best if self._best is not None else mark
        given_up = (best - mark) * sign / best
        if given_up >= self._parameters.trailing_stop:
            reason, message = ExitReason.TRAILING_STOP, f"{given_up:.2%} off the best price {best}"
        elif self._trend == -sign:
            reason, message = ExitReason.CROSSED_BACK, "the averages have crossed back"
        else:
            return Decision(Action.HOLD, message="in position")
        return Decision(
            Action.EXIT,
            side=side,
            quantity=abs(quantity),
            reasons=(reason.value,),
            message=message,
        )

    def _follow(self, mark: Decimal, quantity: Decimal, entry_price: Decimal | None) -> None:
        """Keep the best price since the position was opened; after a restart, since its entry."""
        sign = (quantity > 0) - (quantity < 0)
        if sign != self._held_sign:
            self._held_sign = sign
            self._best = entry_price if sign else None
        if sign:
            candidates = [price for price in (self._best, mark) if price is not None]
            self._best = max(candidates) if sign > 0 else min(candidates)

    def _direction(self) -> int:
        """Return 1 where the short average is above the long one, -1 below, 0 too near to say."""
        closes = tuple(self._closes)
        short = sma(closes, self._parameters.short_ma)
        long = sma(closes, self._parameters.long_ma)
        if short is None or long is None:
            return 0
        reach = long * self._parameters.epsilon_bps / BPS
        return (short - long > reach) - (short - long < -reach)


def _hold(reason: EntryRefusal, message: str) -> Decision:
    return Decision(Action.HOLD, reasons=(reason.value,), message=message)


def _age(market: MarketView) -> str:
    return "age not known" if market.age_seconds is None else f"{market.age_seconds:.1f} s old"
