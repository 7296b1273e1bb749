"""What the venue can do, as the gateway knows it: asked by previews at start and now and then."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import structlog
from fastapi import APIRouter

from lob.errors import Fault
from services.order_gateway.venues.coinbase_rest import CoinbaseRest
from services.order_gateway.venues.probe import Probe
from touchstone.perps.capabilities import Capability, Finding, Probed, effective, to_json

AGAIN_SECONDS: Final = 6 * 3_600.0
RETRY_SECONDS: Final = 30.0

_log = structlog.get_logger("touchstone.gateway.capabilities")


class Capabilities:
    """Keep the venue's capabilities; orders that need what it lacks are refused.

    What no preview shows counts as there where Coinbase's clients have long relied on it.
    """

    def __init__(self, venue: CoinbaseRest, symbol: str) -> None:
        self._venue = venue
        self._symbol = symbol
        self.found: Mapping[Capability, Probed] = {}

    async def watch(self, rules_loaded: asyncio.Event) -> None:
        """Ask once the venue has answered at all, and again at intervals, until cancelled."""
        await rules_loaded.wait()
        while True:
            pause = AGAIN_SECONDS
            try:
                found = await Probe(self._venue, self._symbol).by_previews()
            except Fault as fault:
                _log.warning("capabilities_unknown", why=str(fault))
                pause = RETRY_SECONDS
            else:
                self._take(found)
                if any(one.finding is Finding.UNKNOWN for one in found.values()):
                    pause = RETRY_SECONDS
            await asyncio.sleep(pause)

    def to_json(self) -> dict[str, Any]:
        """Return the table as `GET /v1/capabilities` answers it."""
        return to_json(self.found)

    def _take(self, found: Mapping[Capability, Probed]) -> None:
        # An answer stays good where the next one is none.
        known = {one: seen for one, seen in found.items() if seen.finding is not Finding.UNKNOWN}
        self.found = {**found, **self.found, **known}
        held = effective(self.found)
        if held != self._venue.capabilities:
            lost = sorted(self._venue.capabilities - held)
            _log.info("capabilities", gained=sorted(held - self._venue.capabilities), lost=lost)
        self._venue.capabilities = held


def capability_routes(capabilities: Capabilities) -> APIRouter:
    """Return the route that tells them."""
    routes = APIRouter()

    @routes.get("/v1/capabilities")
    async def show() -> dict[str, Any]:
        """Return every feature: what was found and how, and whether orders may use it."""
        return capabilities.to_json()

    return routes
