"""`touchstone emergency-close`: halt entries, cancel everything, close everything, see it flat.

Works with the gateway alive or dead and Redis alive or dead: entries are halted by whichever of the
two answers, and the venue is spoken to directly, with a key of its own.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from lob.errors import ConfigError, Fault
from services.order_gateway.emergency import Closing, close_everything
from services.order_gateway.venue_account import CoinbaseAccount
from services.order_gateway.venues.coinbase_auth import ApiKeySigner
from touchstone.cli.console import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_USAGE,
    JsonOption,
    complain,
    guarded,
    print_json,
)
from touchstone.cli.kill import UrlOption, ask_gateway, tighten_in_redis
from touchstone.cli.ports import LOOPBACK
from touchstone.cli.status import ports_of, redis_url_of
from touchstone.cli.up import DataDirOption, data_dir_or_default
from touchstone.perps.kill import TradingState

KEY_FILE_NAMES: Final = (
    "TOUCHSTONE_EMERGENCY_API_KEY_FILE",
    "TOUCHSTONE_GATEWAY_API_KEY_FILE",
)
JWT_LIFETIME_SECONDS: Final = 30
STATE: Final = TradingState.HALTED
ACTOR: Final = "emergency close"


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything is: addresses, and the key file that signs at the venue."""

    gateway: str
    redis: str
    venue: str
    key_file: Path


def emergency_close(
    confirm: Annotated[bool, typer.Option("--confirm", help="Do it.")] = False,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit.")] = "emergency close",
    key_file: Annotated[
        Path | None,
        typer.Option(help="API key of the venue; else TOUCHSTONE_EMERGENCY_API_KEY_FILE."),
    ] = None,
    venue_url: Annotated[
        str | None, typer.Option(help="The venue; else TOUCHSTONE_GATEWAY_VENUE_URL.")
    ] = None,
    url: UrlOption = None,
    redis_url: Annotated[
        str | None, typer.Option(help="Redis; else TOUCHSTONE_REDIS_URL or the local stack's.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="Give up after this.")] = 60.0,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Halt entries, cancel every order and close every position at the venue, until it says flat.

    Exit code 0 when the venue says that nothing is left, 1 when it does not, 2 for wrong usage and
    without --confirm, which only shows what there is. Repeating it does no harm.
    """
    folder = data_dir_or_default(data_dir)

    def run() -> int:
        places = _places(folder, key_file, venue_url, url, redis_url)
        if not confirm:
            return asyncio.run(_show(places, json_output=json_output))
        return asyncio.run(_close(places, reason, seconds, json_output=json_output))

    raise typer.Exit(guarded(run))


def main(arguments: list[str]) -> int:
    """Run the command as a program of its own and return the exit code."""
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(emergency_close)
    try:
        app(args=arguments, prog_name="emergency_close_all.py")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else EXIT_FAILED
    return EXIT_OK


def _places(
    folder: Path,
    key_file: Path | None,
    venue_url: str | None,
    url: str | None,
    redis_url: str | None,
) -> Places:
    environment, ports = os.environ, ports_of(folder)
    named = next((environment[name] for name in KEY_FILE_NAMES if environment.get(name)), None)
    key = key_file or Path(named or folder / "exchange" / "keys" / "cdp_api_key.json")
    if not key.is_file():
        raise ConfigError(f"--key-file ({KEY_FILE_NAMES[0]}): {str(key)!r}: no such file")
    venue = venue_url or environment.get("TOUCHSTONE_GATEWAY_VENUE_URL")
    return Places(
        gateway=url or f"http://{LOOPBACK}:{ports.order_gateway}",
        redis=redis_url or redis_url_of(folder),
        venue=venue or f"http://{LOOPBACK}:{ports.paper_exchange}",
        key_file=key,
    )


def _account(places: Places) -> CoinbaseAccount:
    signer = ApiKeySigner(places.key_file, lifetime_seconds=JWT_LIFETIME_SECONDS)
    try:
        return CoinbaseAccount(places.venue, signer)
    except ValueError as error:
        raise ConfigError(f"--venue-url: {places.venue!r}: {error}") from None


async def _show(places: Places, *, json_output: bool) -> int:
    """Print what there is to close; nothing is changed."""
    answer: dict[str, Any] = {"confirmed": False, "venue": places.venue}
    try:
        async with _account(places) as account:
            orders, positions = await account.working_orders(), await account.positions()
    except Fault as fault:
        answer["problem"] = str(fault)
        told = f"what is there is not known ({fault})"
    else:
        held = {product: f"{quantity:f}" for product, quantity in positions.items()}
        answer |= {"orders": len(orders), "positions": held}
        shown = ", ".join(f"{product} {size}" for product, size in held.items()) or "none"
        told = f"{len(orders)} orders; positions: {shown}"
    if json_output:
        print_json(answer)
    complain(
        f"would set {STATE} (gateway {places.gateway} and Redis), cancel every order and "
        f"close every position at {places.venue}: {told}; say --confirm to do it"
    )
    return EXIT_USAGE


async def _close(places: Places, reason: str, seconds: float, *, json_output: bool) -> int:
    halted = await _halt(places, reason)
    async with _account(places) as account:
        closing = await close_everything(account, seconds_max=seconds)
    if json_output:
        print_json(
            {"confirmed": True, "venue": places.venue, "halted": halted, **closing.to_json()}
        )
    else:
        _tell(halted, closing)
    return EXIT_OK if closing.flat else EXIT_FAILED


async def _halt(places: Places, reason: str) -> dict[str, str]:
    """Have entries halted by gateway and Redis, side by side; return what each said."""
    body = {"state": STATE.value, "reason": reason, "actor": ACTOR}

    async def by_gateway() -> Mapping[str, Any]:
        return await asyncio.to_thread(ask_gateway, places.gateway, "/v1/kill-switch", body)

    async def by_redis() -> Mapping[str, Any]:
        return await tighten_in_redis(places.redis, STATE, ACTOR, reason)

    answers = await asyncio.gather(by_gateway(), by_redis(), return_exceptions=True)
    told = {}
    for name, answer in zip(("gateway", "redis"), answers, strict=True):
        if isinstance(answer, Fault):
            told[name] = f"no: {answer}"
        elif isinstance(answer, BaseException):
            raise answer
        else:
            acked = "acknowledged" if answer.get("acked") is not None else "not acknowledged"
            told[name] = f"{answer['state']} ({acked})"
    return told


def _tell(halted: Mapping[str, str], closing: Closing) -> None:
    for name, what in halted.items():
        sys.stdout.write(f"halt by {name}: {what}\n")
    if not any(what.startswith(STATE) for what in halted.values()):
        complain("nobody confirmed the halt: a gateway that still runs may send entries")
    closed = ", ".join(f"{name} ({count}x)" for name, count in closing.closes.items()) or "none"
    sys.stdout.write(f"cancels taken: {len(closing.cancelled)}; closes taken: {closed}\n")
    for problem in closing.problems[-5:]:
        complain(problem)
    verdict = "FLAT: the venue has no order and no position"
    if not closing.flat:
        held = closing.positions
        shown = "unknown" if held is None else {name: f"{size:f}" for name, size in held.items()}
        orders = "unknown" if closing.orders is None else closing.orders
        verdict = f"NOT FLAT: orders {orders}, positions {shown}"
    sys.stdout.write(f"{verdict} (after {closing.seconds:.1f} s, {closing.rounds} looks)\n")
