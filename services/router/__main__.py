"""Run the router: `python -m services.router`."""

import asyncio
import sys

from services.router.app import create_app
from services.router.reload import follow_hangups, hangups
from services.router.settings import RouterSettings
from services.router.wiring import wire
from touchstone.kit.corked import CorkedProtocol
from touchstone.kit.guard import require_token_beyond_loopback
from touchstone.kit.lifecycle import run_service, serve_web
from touchstone.kit.logs import configure_logging
from touchstone.kit.settings import load
from touchstone.kit.tasks import stop_tasks
from touchstone.kit.trace import configure_tracing


async def serve() -> None:
    """Serve until SIGTERM; SIGHUP reads the configuration files again."""
    event = hangups()
    settings = load(RouterSettings)
    require_token_beyond_loopback(settings.host, settings.token, "TOUCHSTONE_ROUTER_API_TOKEN")
    configure_logging("router", settings.log_level, settings.log_format)
    configure_tracing("router")
    async with wire(settings) as components:
        reload = asyncio.create_task(
            follow_hangups(event, settings, components.control, components.reloads)
        )
        try:
            await serve_web(
                create_app(components),
                settings.host,
                settings.port,
                http=CorkedProtocol,
                # Nobody is believed about whom he speaks for.
                proxy_headers=False,
            )
        finally:
            await stop_tasks([reload])


if __name__ == "__main__":
    sys.exit(run_service("router", serve))
