"""Risk guards: what is measured while trading goes on, what is too much, and what follows.

Each evaluator takes figures and limits and returns a finding: fine, a warning, tripped, or unknown.
What trips names the trading state that the kill switch is tightened to. What is unknown permits
nothing new either: it is reported as such, and entries need the figures themselves.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

from touchstone.perps.guards import liquidation_distance
from touchstone.perps.kill import TradingState

MOVE_MARGIN: Final = Decimal("1.1")
"""By how much a price may carry a position beyond its limit before the guard trips: orders are held
to the limit itself, and a gain of a percent is no reason to close trading."""

_ZERO: Final = Decimal(0)


class Guard(StrEnum):
    """What is watched. The values name the guard in metrics and events."""

    DAILY_LOSS = "daily_loss"
    DRAWDOWN = "drawdown"
    EXPOSURE = "exposure"
    LEVERAGE = "leverage"
    LIQUIDATION = "liquidation"
    STALENESS = "staleness"
    VOLATILITY = "volatility"
    WATCHER = "watcher"


class Level(StrEnum):
    """How a guard stands."""

    OK = "OK"
    WARN = "WARN"
    TRIPPED = "TRIPPED"
    UNKNOWN = "UNKNOWN"


TRIPS_TO: Final[Mapping[Guard, TradingState]] = {
    Guard.DAILY_LOSS: TradingState.REDUCE_ONLY,
    Guard.DRAWDOWN: TradingState.REDUCE_ONLY,
    Guard.EXPOSURE: TradingState.REDUCE_ONLY,
    Guard.LEVERAGE: TradingState.REDUCE_ONLY,
    Guard.LIQUIDATION: TradingState.REDUCE_ONLY,
    # Who cannot see the market can not reduce in it sensibly either.
    Guard.STALENESS: TradingState.HALTED,
    Guard.VOLATILITY: TradingState.REDUCE_ONLY,
    Guard.WATCHER: TradingState.REDUCE_ONLY,
}
"""To which state a tripped guard tightens the kill switch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskLimits:
    """The limits of the guards: dollars, fractions and seconds. None switches a limit off."""

    max_leverage: Decimal | None = Decimal(5)
    max_symbol_notional: Decimal | None = None
    max_total_notional: Decimal | None = None
    max_daily_loss: Decimal | None = None
    max_drawdown: Decimal | None = Decimal("0.02")
    stale_warn_seconds: float = 180.0
    stale_halt_seconds: float = 360.0
    max_range: Decimal | None = Decimal("0.05")
    liquidation_warn: Decimal = Decimal("0.20")
    liquidation_critical: Decimal = Decimal("0.15")


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One symbol's position, signed in coins, with the venue's mark and liquidation price."""

    quantity: Decimal
    mark: Decimal | None
    liquidation_price: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskFigures:
    """What the guards look at, gathered at one moment; what is not known is None.

    `day_start_equity` is the equity at which the venue's day (UTC) began, `peak_equity` the highest
    ever seen; `ranges` are how far each price has ranged (a fraction), `ages` how old each symbol's
    market data is in seconds.
    """

    equity: Decimal | None = None
    day_start_equity: Decimal | None = None
    peak_equity: Decimal | None = None
    holdings: Mapping[str, Holding] = field(default_factory=dict)
    ranges: Mapping[str, Decimal | None] = field(default_factory=dict)
    ages: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """How one guard stands, in one line; `state` is what it tightens to, None where it does not."""

    guard: Guard
    level: Level
    message: str
    state: TradingState | None = None


def daily_loss(figures: RiskFigures, limits: RiskLimits) -> Finding:
    """Trip when the day has lost the limit or more, by equity at the mark."""
    if limits.max_daily_loss is None:
        return Finding(Guard.DAILY_LOSS, Level.OK, "no limit")
    if figures.equity is None or figures.day_start_equity is None:
        return _unknown(Guard.DAILY_LOSS, "equity now or at the day's start")
    lost = figures.day_start_equity - figures.equity
    text = f"lost {lost:.2f} today; allowed: less than {limits.max_daily_loss:f}"
    return _judged(Guard.DAILY_LOSS, text, tripped=lost >= limits.max_daily_loss)


def drawdown(figures: RiskFigures, limits: RiskLimits) -> Finding:
    """Trip when equity is the limit or more below its peak, as a share of the peak."""
    if limits.max_drawdown is None:
        return Finding(Guard.DRAWDOWN, Level.OK, "no limit")
    if figures.equity is None or figures.peak_equity is None or figures.peak_equity <= 0:
        return _unknown(Guard.DRAWDOWN, "equity now or at its peak")
    share = drawdown_share(figures.equity, figures.peak_equity)
    text = f"{share:.2%} below the peak of {figures.peak_equity:.2f}"
    text += f"; allowed: less than {limits.max_drawdown:.2%}"
    return _judged(Guard.DRAWDOWN, text, tripped=share >= limits.max_drawdown)


def drawdown_share(equity: Decimal, peak: Decimal) -> Decimal:
    """Return how far `equity` is below `peak` (above 0), as a share of it; never below 0."""
    return max(_ZERO, (peak - equity) / peak)


def exposure(figures: RiskFigures, limits: RiskLimits) -> Finding:
    """Warn when a position, or all together, are worth more than their limit, then trip."""
    values: dict[str, Decimal] = {}
    for symbol, held in figures.holdings.items():
        if held.quantity and held.mark is None:
            return _unknown(Guard.EXPOSURE, f"mark of {symbol}")
        values[symbol] = abs(held.quantity) * (held.mark or _ZERO)
    total = sum(values.values(), _ZERO)
    cap, total_cap = limits.max_symbol_notional, limits.max_total_notional
    largest = max(values, key=lambda symbol: values[symbol], default=None)
    found = [Finding(Guard.EXPOSURE, Level.OK, f"all positions: {total:.2f}")]
    if cap is not None and largest is not None:
        found.append(_carried(Guard.EXPOSURE, largest, values[largest], cap))
    if total_cap is not None:
        found.append(_carried(Guard.EXPOSURE, "all positions", total, total_cap))
    return max(found, key=lambda one: _GRAVITY.index(one.level))


def leverage(figures: RiskFigures, limits: RiskLimits) -> Finding:
    """Warn when all positions are worth more than the limit times the equity, then trip."""
    if limits.max_leverage is None or not any(h.quantity for h in figures.holdings.values()):
        return Finding(Guard.LEVERAGE, Level.OK, "no position, or no limit")
    total = gross_exposure(figures)
    if total is None or figures.equity is None:
        return _unknown(Guard.LEVERAGE, "equity or a mark")
    if figures.equity <= 0:
        text = f"positions of {total:.2f} on equity of {figures.equity:.2f}"
        return _judged(Guard.LEVERAGE, text, tripped=True)
    return _carried(
        Guard.LEVERAGE, "positions over equity", total / figures.equity, limits.max_leverage
    )


def gross_exposure(figures: RiskFigures) -> Decimal | None:
    """Return what all positions are worth at the mark, unsigned; None where a mark is missing."""
    total = _ZERO
    for held in figures.holdings.values():
        if held.quantity and held.mark is None:
            return None
        total += abs(held.quantity) * (held.mark or _ZERO)
    return total


def liquidation(figures: RiskFigures, limits: RiskLimits) -> Finding:
    """Warn, then trip, as a mark comes near the venue's own liquidation price.

    A position without one is unknown: the venue may not tell it for an account far from it.
    """
    nearest: tuple[Decimal, str] | None = None
    unknown = []
    for symbol, held in figures.holdings.items():
        if not held.quantity:
            continue
        distance = liquidation_distance(held.quantity, held.mark, held.liquidation_price)
        if distance is None:
            unknown.append(symbol)
        elif nearest is None or distance < nearest[0]:
            nearest = (distance, symbol)
    if nearest is None:
        if unknown:
            return _unknown(Guard.LIQUIDATION, f"liquidation price of {', '.join(unknown)}")
        return Finding(Guard.LIQUIDATION, Level.OK, "no position")
    distance, symbol = nearest
    text = f"{symbol}: {distance:.2%} from its liquidation price"
    text += f"; allowed: above {limits.liquidation_critical:.2%}"
    if distance <= limits.liquidation_critical:
        return _judged(Guard.LIQUIDATION, text, tripped=True)
    if unknown:
        return _unknown(Guard.LIQUIDATION, f"liquidation price of {', '.join(unknown)}")
    level = Level.WARN if distance <= limits.liquidation_warn else Level.OK
    return Finding(Guard.LIQUIDATION, level, text)


def staleness(figures: RiskFigures, limits: RiskLimits) -> Finding:
    """Warn, then halt, as market data grows old. Data that never came has no age: unknown."""
    if not figures.ages:
        return Finding(Guard.STALENESS, Level.OK, "no symbol")
    known = {symbol: age for symbol, age in figures.ages.items() if age is not None}
    if not known:
        return _unknown(Guard.STALENESS, "age of the market data")
    symbol = max(known, key=lambda name: known[name])
    text = f"{symbol}: {known[symbol]:.0f} s old; allowed: below {limits.stale_halt_seconds:.0f} s"
    if known[symbol] >= limits.stale_halt_seconds:
        return _judged(Guard.STALENESS, text, tripped=True)
    warned = known[symbol] >= limits.stale_warn_seconds or len(known) < len(figures.ages)
    return Finding(Guard.STALENESS, Level.WARN if warned else Level.OK, text)


def volatility(figures: RiskFigures, limits: RiskLimits) -> Finding:
    """Trip when a price has ranged further than the limit within the breaker's window."""
    if limits.max_range is None:
        return Finding(Guard.VOLATILITY, Level.OK, "no limit")
    known = {symbol: ratio for symbol, ratio in figures.ranges.items() if ratio is not None}
    if not known:
        return _unknown(Guard.VOLATILITY, "prices")
    symbol = max(known, key=lambda name: known[name])
    text = f"{symbol}: ranged {known[symbol]:.2%}; allowed: at most {limits.max_range:.2%}"
    return _judged(Guard.VOLATILITY, text, tripped=known[symbol] > limits.max_range)


Evaluator = Callable[[RiskFigures, RiskLimits], Finding]

EVALUATORS: Final[Mapping[Guard, Evaluator]] = {
    Guard.DAILY_LOSS: daily_loss,
    Guard.DRAWDOWN: drawdown,
    Guard.EXPOSURE: exposure,
    Guard.LEVERAGE: leverage,
    Guard.LIQUIDATION: liquidation,
    Guard.STALENESS: staleness,
    Guard.VOLATILITY: volatility,
}


def evaluate(figures: RiskFigures, limits: RiskLimits) -> tuple[Finding, ...]:
    """Return how every guard stands, in the order of `Guard`."""
    return tuple(evaluator(figures, limits) for evaluator in EVALUATORS.values())


def first_trip(findings: Sequence[Finding]) -> Finding | None:
    """Return the finding that tightens most; of equals the first; None where nothing tripped."""
    tripped = [one for one in findings if one.state is not None]
    return max(tripped, key=lambda one: one.state.strictness if one.state else -1, default=None)


_GRAVITY: Final = (Level.OK, Level.WARN, Level.TRIPPED)


def _carried(guard: Guard, what: str, value: Decimal, limit: Decimal) -> Finding:
    """Judge what orders cannot bring beyond a limit, but prices can."""
    text = f"{what}: {value:.2f}; allowed: {limit:f}"
    if value > limit * MOVE_MARGIN:
        return _judged(guard, text, tripped=True)
    return Finding(guard, Level.WARN if value > limit else Level.OK, text)


def _judged(guard: Guard, text: str, *, tripped: bool) -> Finding:
    if tripped:
        return Finding(guard, Level.TRIPPED, text, TRIPS_TO[guard])
    return Finding(guard, Level.OK, text)


def _unknown(guard: Guard, what: str) -> Finding:
    return Finding(guard, Level.UNKNOWN, f"{what}: not known")


def guard_table() -> str:
    """Return the guards as a Markdown table: what each watches, its limit, and what follows."""
    usual = RiskLimits()
    rows = {
        Guard.DAILY_LOSS: ("equity since the venue's UTC day began", "`MAX_DAILY_LOSS`, none"),
        Guard.DRAWDOWN: (
            "equity below its peak",
            f"`MAX_DRAWDOWN`, {_share(usual.max_drawdown)} of the peak",
        ),
        Guard.EXPOSURE: (
            "each position, and all together, at the mark",
            "`MAX_POSITION_NOTIONAL`, `MAX_TOTAL_NOTIONAL`, none; trips 10 % beyond",
        ),
        Guard.LEVERAGE: (
            "all positions over the equity",
            f"`MAX_LEVERAGE`, {usual.max_leverage}; trips 10 % beyond",
        ),
        Guard.LIQUIDATION: (
            "way to the venue's own liquidation price",
            (
                f"`LIQUIDATION_WARN`, {_share(usual.liquidation_warn)}; "
                f"`LIQUIDATION_CRITICAL`, {_share(usual.liquidation_critical)}"
            ),
        ),
        Guard.STALENESS: (
            "age of each symbol's market data and of the account's statement",
            (
                f"`STALE_WARN_SECONDS`, {usual.stale_warn_seconds:.0f}; "
                f"`STALE_HALT_SECONDS`, {usual.stale_halt_seconds:.0f}"
            ),
        ),
        Guard.VOLATILITY: (
            "range of the price within five minutes of the venue's clock",
            f"`MAX_PRICE_RANGE`, {_share(usual.max_range)}",
        ),
        Guard.WATCHER: ("the loops that watch, and those of funding and drift", "that they run"),
    }
    lines = ["| guard | watches | limit (setting, default) | tightens to |", "|" + " --- |" * 4]
    lines += [
        f"| {guard} | {watched} | {limit} | {TRIPS_TO[guard]} |"
        for guard, (watched, limit) in rows.items()
    ]
    return "\n".join(lines)


def _share(value: Decimal | None) -> str:
    return "none" if value is None else f"{value:.0%}"
