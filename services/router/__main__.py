"""Run the router: `python -m services.router`."""

import sys

from services.router.app import create_app
from services.router.settings import RouterSettings
from services.router.wiring import wire
from touchstone.kit.lifecycle import run_service, serve_web
from touchstone.kit.logs import configure_logging
from touchstone.kit.settings import load


async def serve() -> None:
    """Serve until SIGTERM."""
    settings = load(RouterSettings)
    configure_logging("router", settings.log_level)
    async with wire(settings) as components:
        await serve_web(create_app(components), settings.host, settings.port)


if __name__ == "__main__":
    sys.exit(run_service("router", serve))
