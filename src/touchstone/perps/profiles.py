"""Profiles of the bot: what holds where no flag says otherwise.

A flag that is left out is the profile's; one that is given wins, be it false or 0. The canary is
the exception: what keeps it small is forced, and a flag that says otherwise is overruled and named.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from lob.errors import InvalidInput
from lob.types import TimeInForce
from touchstone.perps.filters import FilterLimits
from touchstone.perps.orders import OrderType
from touchstone.perps.sizing import SizingMode
from touchstone.perps.strategy import Parameters

MAX_LEVERAGE: Final = Decimal(5)
_PERCENT: Final = Decimal(100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Everything the bot goes by, complete. Money in dollars, `pct` in percent, `bps` as named.

    `forced` names the flags that were given and overruled. `orders_per_day` of None is no limit.
    """

    name: str
    max_position_notional: Decimal
    max_daily_loss: Decimal
    max_spread_bps: Decimal
    min_depth_l1: Decimal
    min_depth_l10: Decimal
    min_vol_1m: Decimal
    rsi_confirm: bool
    liq_buffer_pct: Decimal = Decimal(20)
    max_slippage_bps: Decimal = Decimal(15)
    max_impact_bps: Decimal = Decimal(10)
    sizing_mode: SizingMode = SizingMode.CONSERVATIVE
    leverage: Decimal = Decimal(1)
    short_ma: int = 5
    long_ma: int = 20
    enable_shorts: bool = False
    order_type: OrderType = OrderType.MARKET
    post_only: bool = False
    limit_offset_bps: Decimal = Decimal(5)
    stop_pct: Decimal = Decimal(2)
    tif: TimeInForce = TimeInForce.GTC
    reduce_only: bool = False
    dry_run: bool = False
    orders_per_minute: int = 60
    orders_per_day: int | None = None
    forced: tuple[str, ...] = ()

    def parameters(self) -> Parameters:
        """Return what the strategy goes by under this profile."""
        return Parameters(
            filters=FilterLimits(
                max_spread_bps=self.max_spread_bps,
                min_depth_l1=self.min_depth_l1,
                min_depth_l10=self.min_depth_l10,
                min_volume_1m=self.min_vol_1m,
            ),
            liquidation_buffer=self.liq_buffer_pct / _PERCENT,
            max_slippage_bps=self.max_slippage_bps,
            max_position_notional=self.max_position_notional,
            leverage=self.leverage,
            short_ma=self.short_ma,
            long_ma=self.long_ma,
            rsi_confirm=self.rsi_confirm,
            enable_shorts=self.enable_shorts,
        )


_PROD: Final = Profile(
    name="prod",
    max_position_notional=Decimal(5_000),
    max_daily_loss=Decimal(100),
    max_spread_bps=Decimal(10),
    min_depth_l1=Decimal(50_000),
    min_depth_l10=Decimal(200_000),
    min_vol_1m=Decimal(100_000),
    rsi_confirm=True,
)
PROFILES: Final[Mapping[str, Profile]] = {
    "dev": Profile(
        name="dev",
        max_position_notional=Decimal(100),
        max_daily_loss=Decimal(10),
        max_spread_bps=Decimal(20),
        min_depth_l1=Decimal(10_000),
        min_depth_l10=Decimal(50_000),
        min_vol_1m=Decimal(10_000),
        rsi_confirm=False,
    ),
    "demo": Profile(
        name="demo",
        max_position_notional=Decimal(500),
        max_daily_loss=Decimal(25),
        max_spread_bps=Decimal(15),
        min_depth_l1=Decimal(25_000),
        min_depth_l10=Decimal(100_000),
        min_vol_1m=Decimal(50_000),
        rsi_confirm=False,
    ),
    "prod": _PROD,
    "canary": replace(
        _PROD,
        name="canary",
        max_position_notional=Decimal(500),
        max_daily_loss=Decimal(10),
        orders_per_minute=2,
        orders_per_day=50,
    ),
}

CANARY_FORCED: Final = (
    "leverage",
    "max_position_notional",
    "max_daily_loss",
    "orders_per_minute",
    "orders_per_day",
)
"""What no flag can change while the canary is alone in the mine."""


def resolve(name: str, given: Mapping[str, object] | None = None) -> Profile:
    """Return the profile `name` with the flags that were given; None counts as left out.

    >>> resolve("dev", {"max_spread_bps": "10", "rsi_confirm": True}).max_spread_bps
    Decimal('10')
    >>> resolve("canary", {"leverage": 3}).forced
    ('leverage',)

    Raises:
        InvalidInput: an unknown profile or flag, or a value that is not allowed.
    """
    base = PROFILES.get(name)
    if base is None:
        raise InvalidInput(f"profile: {name!r}; allowed: {', '.join(PROFILES)}")
    chosen: dict[str, Any] = {}
    forced = []
    for flag, value in (given or {}).items():
        if value is None:
            continue
        parse = _FLAGS.get(flag)
        if parse is None:
            raise InvalidInput(f"{flag}: unknown flag; allowed: {', '.join(_FLAGS)}")
        parsed = parse(flag, value)
        if name == "canary" and flag in CANARY_FORCED:
            forced += [flag] if parsed != getattr(base, flag) else []
            continue
        chosen[flag] = parsed
    profile = replace(base, **chosen, forced=tuple(forced))
    _check_together(profile)
    return profile


def profile_table() -> str:
    """Return the profiles as a Markdown table: a row per flag, a column per profile."""
    names = list(PROFILES)
    lines = [f"| | {' | '.join(names)} |", "|" + " --- |" * (len(names) + 1)]
    for field in fields(Profile):
        if field.name in ("name", "forced"):
            continue
        shown = [_shown(getattr(PROFILES[name], field.name)) for name in names]
        if field.name in CANARY_FORCED:
            shown[names.index("canary")] += " (forced)"
        lines.append(f"| `{field.name}` | {' | '.join(shown)} |")
    return "\n".join(lines)


def _check_together(profile: Profile) -> None:
    if profile.short_ma >= profile.long_ma:
        raise InvalidInput(
            f"short_ma: {profile.short_ma}; allowed: below long_ma {profile.long_ma}"
        )
    if profile.min_depth_l1 > profile.min_depth_l10:
        raise InvalidInput(
            f"min_depth_l1: {profile.min_depth_l1}; "
            f"allowed: at most min_depth_l10 {profile.min_depth_l10}"
        )
    if profile.post_only and profile.order_type is not OrderType.LIMIT:
        raise InvalidInput(
            f"post_only: true; allowed: with order_type limit, not {profile.order_type.lower()}"
        )


def _shown(value: object) -> str:
    if value is None:
        return "no limit"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Decimal):
        return f"{value:,f}"
    return str(value)


def _number(low: Decimal, high: Decimal, *, above: bool = False) -> Callable[[str, object], object]:
    """Return a parser of numbers from `low` (`above`: excluded) to `high`."""

    def parse(flag: str, value: object) -> Decimal:
        try:
            number = Decimal(str(value)) if not isinstance(value, bool) else Decimal("nan")
        except InvalidOperation:
            number = Decimal("nan")
        if not number.is_finite() or not low <= number <= high or (above and number == low):
            edge = "above " if above else ""
            raise InvalidInput(f"{flag}: {value!r}; allowed: {edge}{low:f} to {high:f}")
        return number

    return parse


def _whole(low: int, high: int) -> Callable[[str, object], object]:
    number = _number(Decimal(low), Decimal(high))

    def parse(flag: str, value: object) -> int:
        parsed = number(flag, value)
        if not isinstance(parsed, Decimal) or parsed != parsed.to_integral_value():
            raise InvalidInput(f"{flag}: {value!r}; allowed: a whole number, {low} to {high}")
        return int(parsed)

    return parse


def _switch(flag: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(f"{flag}: {value!r}; allowed: true, false")
    return value


def _word(kind: type[OrderType] | type[SizingMode] | type[TimeInForce], *words: str) -> Any:
    """Return a parser of one of `words`, in either case."""

    def parse(flag: str, value: object) -> object:
        for word in words:
            if str(value).upper() == word.upper():
                return kind(word)
        raise InvalidInput(f"{flag}: {value!r}; allowed: {', '.join(words)}")

    return parse


_ANY: Final = Decimal(10) ** 12
_ZERO: Final = Decimal(0)
_BPS_MAX: Final = Decimal(10_000)

_FLAGS: Final[Mapping[str, Callable[[str, object], object]]] = {
    "max_position_notional": _number(_ZERO, _ANY, above=True),
    "max_daily_loss": _number(_ZERO, _ANY, above=True),
    "max_spread_bps": _number(_ZERO, _BPS_MAX),
    "min_depth_l1": _number(_ZERO, _ANY),
    "min_depth_l10": _number(_ZERO, _ANY),
    "min_vol_1m": _number(_ZERO, _ANY),
    "rsi_confirm": _switch,
    "liq_buffer_pct": _number(_ZERO, _PERCENT),
    "max_slippage_bps": _number(_ZERO, _BPS_MAX, above=True),
    "max_impact_bps": _number(_ZERO, Decimal(25), above=True),
    "sizing_mode": _word(SizingMode, *(mode.value for mode in SizingMode)),
    "leverage": _number(_ZERO, MAX_LEVERAGE, above=True),
    "short_ma": _whole(1, 1_000),
    "long_ma": _whole(2, 1_000),
    "enable_shorts": _switch,
    "order_type": _word(OrderType, "MARKET", "LIMIT", "STOP", "STOP_LIMIT"),
    "post_only": _switch,
    "limit_offset_bps": _number(_ZERO, _BPS_MAX),
    "stop_pct": _number(_ZERO, _PERCENT, above=True),
    "tif": _word(TimeInForce, "GTC", "IOC", "GTD", "FOK"),
    "reduce_only": _switch,
    "dry_run": _switch,
    "orders_per_minute": _whole(1, 60),
    "orders_per_day": _whole(1, 1_000_000),
}
