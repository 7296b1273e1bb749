"""What a venue can do, asked with a key of its own and shown; imported only when it is asked."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry

from lob.errors import ConfigError
from services.order_gateway.metrics import VenueMetrics
from services.order_gateway.settings import LOOPBACK_HOSTS, GatewaySettings
from services.order_gateway.venues.coinbase_auth import ApiKeySigner
from services.order_gateway.venues.coinbase_rest import CoinbaseRest
from services.order_gateway.venues.probe import Probe
from services.order_gateway.venues.wire import HttpWire
from touchstone.cli.console import out
from touchstone.cli.ports import LOOPBACK
from touchstone.cli.status import ports_of
from touchstone.kit.settings import load
from touchstone.perps.capabilities import to_json


def loaded() -> GatewaySettings:
    """Return the gateway's settings; ConfigError where they are wrong."""
    return load(GatewaySettings)


async def ask(
    settings: GatewaySettings, address: str, symbol: str, *, orders: bool
) -> dict[str, Any]:
    """Return what the venue at `address` can do, as JSON values.

    Raises:
        ConfigError: a symbol that is not in the map, or orders at a venue that is not for paper.
        Unavailable: the venue does not answer.
    """
    if symbol not in settings.symbol_map:
        known = ", ".join(sorted(settings.symbol_map))
        raise ConfigError(f"--symbol: {symbol!r}; allowed: {known}")
    host = urlsplit(address).hostname or ""
    if orders and host not in LOOPBACK_HOSTS | set(settings.paper_venue_hosts):
        raise ConfigError(f"--orders: {host}: no paper exchange; allowed: loopback")
    signer = ApiKeySigner(settings.key_file, lifetime_seconds=settings.jwt_lifetime_seconds)
    venue = CoinbaseRest(
        HttpWire(address), signer, settings.symbol_map, VenueMetrics(CollectorRegistry())
    )
    try:
        probe = Probe(venue, symbol)
        found = to_json(await (probe.by_orders() if orders else probe.by_previews()))
    finally:
        await venue.close()
    return {"venue": address, "symbol": symbol, **found}


def address_of(settings: GatewaySettings, folder: Path) -> str:
    """Return the address of the settings, else of the local stack's paper exchange."""
    if "TOUCHSTONE_GATEWAY_VENUE_URL" in os.environ:
        return settings.venue_url
    return f"http://{LOOPBACK}:{ports_of(folder).paper_exchange}"


def show(found: dict[str, Any]) -> None:
    """Print a line for each feature."""
    width = max(len(name) for name in found["features"])
    for name, seen in found["features"].items():
        used = "used" if seen["used"] else "-"
        line = f"{name:<{width}}  {seen['finding']:<12} {used:<5} {seen['how']} {seen['detail']}"
        out.print(line.rstrip(), markup=False, highlight=False)
    out.print("usable" if found["usable"] else "not usable: something essential is missing")
