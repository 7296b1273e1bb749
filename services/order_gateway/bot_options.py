"""The flags of the two bot runners: what may be said, and which flags contradict one another.

A flag that is left out is None: the profile decides. Nothing here reads a profile or the
environment.
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn

from lob.errors import InvalidInput

PROFILES: Final = ("dev", "demo", "prod", "canary")
ORDER_TYPES: Final = ("market", "limit", "stop", "stop_limit")
SIZING_MODES: Final = ("conservative", "strict", "aggressive")
TIMES_IN_FORCE: Final = ("GTC", "IOC", "GTD", "FOK")
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
DEFAULT_SYMBOLS: Final = ("BTC-PERP",)
UPDATE_SECONDS: Final = 5.0
METRICS_SECONDS: Final = 60.0
BPS_MAX: Final = 10_000
LEVERAGE_MAX: Final = 5
BARS_MAX: Final = 1_000

# What an order of a type cannot have: its time in force has to be one of these.
_TIMES_OF: Final = {
    "market": ("IOC", "FOK"),
    "limit": TIMES_IN_FORCE,
    "stop": ("GTC",),
    "stop_limit": ("GTC", "GTD"),
}
_PRICED: Final = ("limit", "stop_limit")


@dataclass(frozen=True, slots=True, kw_only=True)
class BotOptions:
    """One command line. None stands for a flag that was left out: the profile's value holds."""

    profile: str = "dev"
    symbols: tuple[str, ...] = DEFAULT_SYMBOLS
    dry_run: bool = False
    reduce_only: bool = False
    order_type: str | None = None
    post_only: bool | None = None
    limit_offset_bps: Decimal | None = None
    stop_pct: Decimal | None = None
    tif: str | None = None
    sizing_mode: str | None = None
    max_impact_bps: Decimal | None = None
    max_spread_bps: Decimal | None = None
    min_depth_l1: Decimal | None = None
    min_depth_l10: Decimal | None = None
    min_vol_1m: Decimal | None = None
    rsi_confirm: bool | None = None
    liq_buffer_pct: Decimal | None = None
    max_slippage_bps: Decimal | None = None
    short_ma: int | None = None
    long_ma: int | None = None
    leverage: Decimal | None = None
    enable_shorts: bool | None = None
    update_interval: float = UPDATE_SECONDS
    metrics_interval: float = METRICS_SECONDS
    run_once: bool = False
    duration: float | None = None
    log_level: str = "INFO"
    fallback: bool = False

    def given(self) -> dict[str, Any]:
        """Return the flags that a profile has too and that were written, by name."""
        return {name: value for name in PROFILED if (value := getattr(self, name)) is not None}


PROFILED: Final = tuple(
    field.name for field in fields(BotOptions) if field.default is None and field.name != "duration"
)
"""The flags that fall back to the profile."""


class _Parser(argparse.ArgumentParser):
    """A parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; --help says what is allowed\n")


def parse(argv: Sequence[str], *, prog: str, fallback: bool = False) -> BotOptions:
    """Return the options of a command line.

    Args:
        argv: without the program's name.
        prog: the program's name, for `--help` and complaints.
        fallback: only the flags of the fallback runner.

    Raises:
        SystemExit: with 0 after `--help`, with 2 and one line on stderr for a wrong command line.
    """
    parser = _parser(prog, fallback)
    found = vars(parser.parse_args(argv))
    found["symbols"] = tuple(found["symbols"])
    if fallback:
        found |= {"order_type": "market", "fallback": True}
    options = BotOptions(**found)
    try:
        refuse_contradictions(options)
    except InvalidInput as error:
        parser.error(str(error))
    return options


def refuse_contradictions(options: BotOptions, order_type: str | None = None) -> None:
    """Raise `InvalidInput` for flags that cannot hold together.

    Args:
        options: the flags.
        order_type: the type that is in force where the flag was left out; without one only what
            the flags themselves say is looked at.
    """
    kind = options.order_type or order_type
    if options.limit_offset_bps is not None and kind is not None and kind not in _PRICED:
        raise InvalidInput(
            f"--limit-offset-bps: a {kind} order has no limit price; "
            "allowed with --order-type limit or stop_limit"
        )
    if options.post_only and kind is not None and kind != "limit":
        raise InvalidInput(f"--post-only: a {kind} order takes; allowed with --order-type limit")
    if options.post_only and options.tif in ("IOC", "FOK"):
        raise InvalidInput(f"--post-only: --tif {options.tif} never rests; allowed: GTC, GTD")
    if options.tif is not None and kind is not None and options.tif not in _TIMES_OF[kind]:
        allowed = ", ".join(_TIMES_OF[kind])
        raise InvalidInput(f"--tif: {options.tif} with a {kind} order; allowed: {allowed}")
    if options.run_once and options.duration is not None:
        raise InvalidInput("--run-once and --duration: one update has no duration; say one of them")
    short, long = options.short_ma, options.long_ma
    if short is not None and long is not None and short >= long:
        raise InvalidInput(f"--short-ma: {short} with --long-ma {long}; allowed: a shorter one")
    if len(set(options.symbols)) != len(options.symbols):
        named = " ".join(options.symbols)
        raise InvalidInput(f"--symbols: {named}: one is named twice; allowed: each once")


def _parser(prog: str, fallback: bool) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=prog,
        usage="%(prog)s [options]",
        allow_abbrev=False,
        description="The fallback runner: market orders only, the fewest features."
        if fallback
        else "The perps bot on the order gateway, one process: REST on port 8080 beside the bot.",
        epilog="COINBASE_SANDBOX=1 trades on the paper exchange, and starts one where none "
        "answers. Ctrl-C or SIGTERM drains: no more entries, resting entries cancelled, protective "
        "stops kept. Exit code 0 after a clean end, 1 for a failure, 2 for wrong usage.",
    )
    _add_common(parser)
    if not fallback:
        _add_orders(parser.add_argument_group("orders"))
        _add_filters(parser.add_argument_group("filters, guards, strategy"))
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--profile", choices=PROFILES, default="dev", help="limits and defaults (default: dev)")
    add(
        "--symbols",
        nargs="+",
        default=list(DEFAULT_SYMBOLS),
        metavar="SYMBOL",
        help="what to trade (default: BTC-PERP)",
    )
    add("--dry-run", action="store_true", help="everything but the last step: nothing is sent")
    add(
        "--reduce-only",
        action="store_true",
        help="no entries: told to the gateway that runs, else this one starts closed to them",
    )
    add(
        "--update-interval",
        type=_seconds,
        default=UPDATE_SECONDS,
        metavar="SECONDS",
        help="time of the venue between two looks (default: 5)",
    )
    add(
        "--metrics-interval",
        type=_seconds,
        default=METRICS_SECONDS,
        metavar="SECONDS",
        help="time of the venue between two records of metrics (default: 60)",
    )
    add("--run-once", action="store_true", help="one look at each symbol, then end")
    add(
        "--duration",
        type=_seconds,
        metavar="SECONDS",
        help="end after so much time of the venue",
    )
    add("--log-level", choices=LOG_LEVELS, default="INFO", help="of the log (default: INFO)")


def _add_orders(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--order-type", choices=ORDER_TYPES, help="of entries")
    add("--post-only", **_TRI, help="limit entries never take")
    add(
        "--limit-offset-bps",
        type=_bps,
        metavar="BPS",
        help="a limit entry's distance from the touch",
    )
    add(
        "--stop-pct",
        type=_percent,
        metavar="PCT",
        help="how far a stop entry waits beyond the market; for market and limit entries: how far "
        "behind them a protective stop is placed",
    )
    add("--tif", choices=TIMES_IN_FORCE, help="time in force of entries")
    add("--sizing-mode", choices=SIZING_MODES, help="what becomes of a size that moves the market")
    add("--max-impact-bps", type=_bps, metavar="BPS", help="expected impact of one entry, at most")
    add("--leverage", type=_leverage, metavar="X", help=f"1 to {LEVERAGE_MAX}")


def _add_filters(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--max-spread-bps", type=_bps, metavar="BPS", help="no entry where the spread is wider")
    add(
        "--min-depth-l1",
        type=_money,
        metavar="USD",
        help="no entry where the touch holds less (USD)",
    )
    add(
        "--min-depth-l10",
        type=_money,
        metavar="USD",
        help="no entry where ten levels hold less (USD)",
    )
    add(
        "--min-vol-1m", type=_money, metavar="USD", help="no entry where a minute traded less (USD)"
    )
    add("--rsi-confirm", **_TRI, help="no long entry above RSI 70, no short one below 30")
    add(
        "--liq-buffer-pct",
        type=_percent,
        metavar="PCT",
        help="distance to the liquidation price, at least",
    )
    add(
        "--max-slippage-bps",
        type=_bps,
        metavar="BPS",
        help="expected slippage of an entry, at most",
    )
    add("--short-ma", type=_bars, metavar="N", help="updates of the short moving average")
    add("--long-ma", type=_bars, metavar="N", help="updates of the long moving average")
    add("--enable-shorts", **_TRI, help="enter short positions too")


_TRI: Final[dict[str, Any]] = {"action": argparse.BooleanOptionalAction, "default": None}


def _decimal(lowest: Decimal, highest: Decimal, *, above: bool) -> Callable[[str], Decimal]:
    """Return a reader of decimals from `lowest` (`above`: which is too low) to `highest`."""
    bound = f"above {lowest}" if above else f"{lowest}"

    def read(text: str) -> Decimal:
        try:
            value = Decimal(text)
        except InvalidOperation:
            value = Decimal("NaN")
        low_enough = value.is_finite() and value <= highest
        if not low_enough or not (value > lowest or (value == lowest and not above)):
            raise argparse.ArgumentTypeError(f"{text!r}; allowed: {bound} to {highest}")
        return value

    return read


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < sys.maxsize:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: seconds, above 0")
    return value


def _bars(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= BARS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: 1 to {BARS_MAX}")
    return int(text)


_bps = _decimal(Decimal(0), Decimal(BPS_MAX), above=False)
_percent = _decimal(Decimal(0), Decimal(100), above=True)
_money = _decimal(Decimal(0), Decimal(10**12), above=False)
_leverage = _decimal(Decimal(1), Decimal(LEVERAGE_MAX), above=False)
