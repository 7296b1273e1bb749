"""Run the order gateway: `python -m services.order_gateway`."""

import sys

from services.order_gateway.app import create_app
from services.order_gateway.settings import GatewaySettings
from services.order_gateway.wiring import wire
from touchstone.kit.lifecycle import run_service, serve_web
from touchstone.kit.logs import configure_logging
from touchstone.kit.settings import load
from touchstone.kit.trace import configure_tracing


async def serve() -> None:
    """Serve until SIGTERM, then drain: no new orders, entries cancelled, journal flushed."""
    settings = load(GatewaySettings)
    configure_logging("order_gateway", settings.log_level, settings.log_format)
    configure_tracing("order_gateway")
    async with wire(settings) as components:
        await serve_web(
            create_app(components),
            settings.host,
            settings.port,
            # Who is loopback must not be a header's choice.
            proxy_headers=False,
        )


if __name__ == "__main__":
    sys.exit(run_service("order_gateway", serve))
