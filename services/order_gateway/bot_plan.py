"""From flags, profile and environment to everything that one run of the bot goes by."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lob.errors import ConfigError, InvalidInput
from services.order_gateway.bot_options import BotOptions, refuse_contradictions
from services.order_gateway.settings import GatewaySettings
from touchstone.kit.settings import load
from touchstone.perps.profiles import Profile, resolve

SANDBOX: Final = "COINBASE_SANDBOX"
LOG_DIR: Final = "LOG_DIR"
PAPER_PORT: Final = 8090
PAPER_SYMBOLS: Final = {"BTC-PERP": "BTC-PERP-INTX", "ETH-PERP": "ETH-PERP-INTX"}
"""On the paper exchange sizes are steps of 0.0001 coins: one contract of the CDE is some 1,000 USD
and does not fit into a position of 100."""
COINBASE_URL: Final = "https://api.coinbase.com"
COINBASE_FEED_URL: Final = "wss://advanced-trade-ws.coinbase.com"
STRATEGY: Final = "ma_crossover"
_PREFIX: Final = "TOUCHSTONE_GATEWAY_"


@dataclass(frozen=True, slots=True)
class BotPlan:
    """One run, resolved: what the bot, and the gateway that it lives in, go by."""

    options: BotOptions
    profile: Profile
    settings: GatewaySettings
    paper: bool
    log_dir: Path

    def lines(self) -> Iterator[str]:
        """Yield what was resolved, for people."""
        profile, settings = self.profile, self.settings
        venue = "paper exchange" if self.paper else "Coinbase"
        products = ", ".join(f"{s} = {settings.symbol_map[s]}" for s in self.options.symbols)
        dry = " (dry run: nothing is sent)" if profile.dry_run else ""
        yield f"profile    {profile.name}{dry}"
        for flag in profile.forced:
            yield f"           --{flag.replace('_', '-')} is overruled: {getattr(profile, flag)}"
        yield f"venue      {venue} at {settings.venue_url}"
        yield f"products   {products}"
        day = "no limit" if profile.orders_per_day is None else profile.orders_per_day
        yield (
            f"limits     position {profile.max_position_notional:f} USD, leverage "
            f"{profile.leverage:f}, daily loss {profile.max_daily_loss:f} USD, "
            f"{profile.orders_per_minute} orders a minute, a day: {day}"
        )
        yield f"entries    {_entries(profile, fallback=self.options.fallback)}"
        yield (
            f"filters    spread <= {profile.max_spread_bps:f} bps, depth L1 >= "
            f"{profile.min_depth_l1:f}, L10 >= {profile.min_depth_l10:f}, volume of a minute >= "
            f"{profile.min_vol_1m:f} USD"
        )
        yield (
            f"guards     liquidation >= {profile.liq_buffer_pct:f} % away, slippage <= "
            f"{profile.max_slippage_bps:f} bps, RSI {'on' if profile.rsi_confirm else 'off'}"
        )
        yield (
            f"strategy   averages of {profile.short_ma} and {profile.long_ma} updates of "
            f"{self.options.update_interval:g} s, shorts {'on' if profile.enable_shorts else 'off'}"
        )
        yield f"bot        {settings.bot_id}; logs and health.json in {self.log_dir}"
        yield f"state      {settings.data_dir / 'gateway'}"


def plan(options: BotOptions, environment: Mapping[str, str] = os.environ) -> BotPlan:
    """Return what a run goes by.

    Raises:
        ConfigError: flags, profile and environment do not go together; one line says which.
    """
    try:
        profile = resolve(
            options.profile,
            options.given() | {"dry_run": options.dry_run, "reduce_only": options.reduce_only},
        )
        refuse_contradictions(options, profile.order_type.value.lower())
    except InvalidInput as error:
        raise ConfigError(str(error)) from None
    paper = on_paper(options, environment)
    overrides = (_paper if paper else _coinbase)(options, environment) | _limits(
        profile, environment
    )
    settings = load(GatewaySettings, **overrides)
    if paper and not settings.venue_is_paper:
        raise ConfigError(
            f"environment {_PREFIX}VENUE_URL: {settings.venue_url!r}: no paper exchange, and this "
            "run is for one; allowed: an address on loopback, or one of "
            f"{_PREFIX}PAPER_VENUE_HOSTS"
        )
    for symbol in options.symbols:
        if symbol not in settings.symbol_map:
            allowed = ", ".join(settings.symbol_map)
            raise ConfigError(f"--symbols: {symbol!r}: unknown; allowed: {allowed}")
    return BotPlan(options, profile, settings, paper, log_dir(settings, environment))


def on_paper(options: BotOptions, environment: Mapping[str, str]) -> bool:
    """Return whether the run is for the paper exchange: the sandbox, and the profile dev always.

    Raises:
        ConfigError: COINBASE_SANDBOX is neither 0 nor 1.
    """
    sandbox = environment.get(SANDBOX, "")
    if sandbox not in ("", "0", "1"):
        raise ConfigError(f"environment {SANDBOX}: {sandbox!r}; allowed: 1, 0")
    return sandbox == "1" or options.profile == "dev"


def log_dir(settings: GatewaySettings, environment: Mapping[str, str]) -> Path:
    """Return the one folder of logs: LOG_DIR, else `logs` in the data folder."""
    return Path(environment.get(LOG_DIR) or settings.data_dir / "logs").absolute()


def paper_port(environment: Mapping[str, str]) -> int:
    """Return the port of the local paper exchange."""
    return int(environment.get("TOUCHSTONE_EXCHANGE_PORT", PAPER_PORT))


def _paper(_options: BotOptions, environment: Mapping[str, str]) -> dict[str, Any]:
    port = paper_port(environment)
    chosen = {
        "symbol_map": PAPER_SYMBOLS,
        "venue_url": f"http://127.0.0.1:{port}",
        "venue_ws_url": f"ws://127.0.0.1:{port}",
    }
    return _where_unsaid(chosen, environment)


def _coinbase(options: BotOptions, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings for Coinbase; its journal has a folder apart from the paper one's."""
    key = environment.get(f"{_PREFIX}API_KEY_FILE")
    if not key:
        raise ConfigError(
            f"--profile {options.profile}: trades on Coinbase and needs an API key: set "
            f"{_PREFIX}API_KEY_FILE to the key's JSON file, or {SANDBOX}=1 for the paper exchange"
        )
    if not Path(key).is_file():
        raise ConfigError(f"environment {_PREFIX}API_KEY_FILE: {key!r}: no such file")
    folder = Path(environment.get("TOUCHSTONE_DATA_DIR", ".touchstone")) / "coinbase"
    chosen = {"venue_url": COINBASE_URL, "venue_ws_url": COINBASE_FEED_URL}
    # By its alias: the name by which the settings read it.
    return _where_unsaid(chosen, environment) | {"TOUCHSTONE_DATA_DIR": folder}


def _limits(profile: Profile, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the gateway's limits as the profile has them; the environment may say otherwise.

    Of the canary it may not: what keeps that one small holds whatever anybody says.
    """
    chosen: dict[str, Any] = {
        "max_order_notional": profile.max_position_notional,
        "max_orders_per_minute": profile.orders_per_minute,
        "strategies": (STRATEGY,),
        "max_position_notional": profile.max_position_notional,
        "max_leverage": profile.leverage,
        "max_daily_loss": profile.max_daily_loss,
        "max_orders_per_day": profile.orders_per_day,
        "sizing_mode": profile.sizing_mode,
        "max_impact_bps": profile.max_impact_bps,
        "max_slippage_bps": profile.max_slippage_bps,
    }
    if profile.name != "canary":
        chosen = _where_unsaid(chosen, environment)
    return chosen | {"dry_run": profile.dry_run}


def _where_unsaid(chosen: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what the environment does not set itself: who names a setting means it."""
    return {
        name: value
        for name, value in chosen.items()
        if f"{_PREFIX}{name}".upper() not in environment
    }


def _entries(profile: Profile, *, fallback: bool) -> str:
    kind = profile.order_type.value.lower().replace("_", "-")
    terms = [f"{kind}, {profile.tif.value}" if kind != "market" else "market"]
    if profile.post_only:
        terms.append("post-only")
    if profile.order_type.has_limit:
        terms.append(f"{profile.limit_offset_bps:f} bps from the touch")
    terms.append(f"impact <= {profile.max_impact_bps:f} bps ({profile.sizing_mode})")
    word = "waiting" if profile.order_type.has_stop else "protective stop"
    terms.append("no stops" if fallback else f"{word} {profile.stop_pct:f} % away")
    if profile.reduce_only:
        terms.append("NONE: reduce-only")
    return ", ".join(terms)
