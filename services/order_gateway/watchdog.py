"""Run the watchdog: `python -m services.order_gateway.watchdog`.

A process of its own with an API key of its own, so that nothing that stops the gateway stops it. It
cancels what rests at the venue when the gateway is silent for too long, and does nothing else.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from lob.errors import Unavailable
from services.order_gateway.venue_account import CoinbaseAccount
from services.order_gateway.venues.coinbase_auth import ApiKeySigner
from services.order_gateway.watchdog_duty import (
    Cancels,
    Duty,
    GatewayHeartbeat,
    Watchdog,
    WatchdogMetrics,
)
from services.order_gateway.watchdog_settings import WatchdogSettings
from touchstone.kit.control import ControlStore
from touchstone.kit.health import Readiness
from touchstone.kit.lifecycle import run_service, serve_web
from touchstone.kit.logs import configure_logging
from touchstone.kit.metrics import create_registry
from touchstone.kit.settings import load
from touchstone.kit.tasks import start_task, stop_tasks
from touchstone.kit.web import create_web_app


@dataclass(frozen=True, slots=True)
class Components:
    """What the app needs."""

    registry: CollectorRegistry
    readiness: Readiness
    watchdog: Watchdog


class EventFile:
    """Events as lines of JSON below the data folder, on the disk before the next step."""

    def __init__(self, path: Path, wall_clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._wall_clock = wall_clock

    def __call__(self, event_type: str, payload: dict[str, Any]) -> None:
        """Append one event.

        Raises:
            OSError: it cannot be written.
        """
        line = json.dumps({"time": round(self._wall_clock(), 3), "type": event_type, **payload})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())


@contextlib.asynccontextmanager
async def wire(settings: WatchdogSettings) -> AsyncIterator[Components]:
    """Yield the running watchdog; neither gateway nor Redis nor venue has to answer for it."""
    registry = create_registry("watchdog")
    signer = ApiKeySigner(settings.key_file, lifetime_seconds=settings.jwt_lifetime_seconds)
    signer.check()
    async with contextlib.AsyncExitStack() as stack:
        control = await stack.enter_async_context(ControlStore(settings.redis_url))
        account = await stack.enter_async_context(
            CoinbaseAccount(
                settings.venue_url, signer, deadline_seconds=settings.venue_deadline_seconds
            )
        )
        client = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=settings.gateway_url,
                timeout=settings.gateway_deadline_seconds,
                trust_env=False,
            )
        )
        watchdog = Watchdog(
            GatewayHeartbeat(client, control),
            account,
            Duty(
                settings.silence_seconds,
                settings.poll_seconds,
                settings.recheck_seconds,
                settings.cancel,
            ),
            WatchdogMetrics(registry),
            EventFile(settings.data_dir / "watchdog" / "events.jsonl"),
        )
        task = start_task(watchdog.watch())
        stack.push_async_callback(stop_tasks, [task])
        yield Components(registry, _readiness(watchdog, account, task), watchdog)


def _readiness(watchdog: Watchdog, account: CoinbaseAccount, task: asyncio.Task[None]) -> Readiness:
    async def check_duty() -> str:
        if task.done():
            raise Unavailable("it has stopped watching")
        if watchdog.problem:
            raise Unavailable(watchdog.problem)
        return "watching"

    async def check_venue() -> str:
        await account.working_orders()
        return "its key works"

    async def check_gateway() -> str:
        silence = watchdog.silence_seconds
        if silence >= watchdog.duty.silence_seconds:
            raise Unavailable(f"the gateway is silent for {silence:.0f} s")
        return f"heard {silence:.0f} s ago"

    readiness = Readiness()
    readiness.add("watching", check_duty)
    readiness.add("venue", check_venue)
    # A gateway that is away is what this is for, not a reason to be unwell.
    readiness.add("gateway", check_gateway, required=False)
    return readiness


async def serve(settings: WatchdogSettings) -> None:
    """Watch until SIGTERM; a watchdog that ends cancels nothing."""
    configure_logging("watchdog", settings.log_level, settings.log_format)
    async with wire(settings) as components:
        app = create_web_app("watchdog", components.readiness, components.registry)
        await serve_web(app, settings.host, settings.port, proxy_headers=False)


def main(arguments: list[str]) -> int:
    """Run the watchdog that environment and command line describe; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.order_gateway.watchdog")
    parser.add_argument(
        "--cancel",
        choices=[choice.value for choice in Cancels],
        help="entries: all but stops that protect an open position; everything: those, too",
    )
    chosen = parser.parse_args(arguments)

    async def run() -> None:
        overrides = {"cancel": chosen.cancel} if chosen.cancel else {}
        await serve(load(WatchdogSettings, **overrides))

    return run_service("watchdog", run)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
