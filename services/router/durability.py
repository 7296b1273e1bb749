"""Watch whether Redis would keep a rollback through a crash, and export it."""

import asyncio
import math
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Gauge

from lob.errors import Fault
from touchstone.kit.control import ControlStore

LOOK_SECONDS: Final = 10.0

_log = structlog.get_logger("touchstone.router")


def export_durability(registry: CollectorRegistry, store: ControlStore) -> None:
    """Export what was found last, as it is at each scrape; no number before the first look."""

    def durable() -> float:
        found = store.durability
        return math.nan if found is None else float(not found)

    Gauge(
        "control_durable",
        "1 where Redis is configured to keep the control state through a crash, else 0",
        registry=registry,
    ).set_function(durable)


async def watch_durability(store: ControlStore) -> None:
    """Ask Redis for its configuration every ten seconds, until cancelled: it may be changed."""
    while True:
        try:
            await store.durability_problems()
        except Fault as fault:
            _log.debug("durability_not_known", why=str(fault))
        except Exception:  # noqa: BLE001 - logged with its trace, and asked again
            _log.exception("durability_not_known")
        await asyncio.sleep(LOOK_SECONDS)
