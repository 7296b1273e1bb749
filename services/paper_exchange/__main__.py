"""Run the paper exchange: `python -m services.paper_exchange`."""

import sys
from typing import Any, Final

from services.paper_exchange.app import create_app
from services.paper_exchange.settings import ExchangeSettings
from services.paper_exchange.transport import ImpatientWebSocket, tls_options
from services.paper_exchange.wiring import wire
from touchstone.kit.lifecycle import run_service, serve_web
from touchstone.kit.logs import configure_logging
from touchstone.kit.settings import load

MESSAGE_BYTES_MAX: Final = 65_536


async def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = load(ExchangeSettings)
    configure_logging("paper_exchange", settings.log_level)
    tls = tls_options(settings.tls_certificate, settings.tls_key)
    async with wire(settings) as components:
        await serve_web(
            create_app(components),
            settings.host,
            settings.port,
            **websocket_options(),
            **tls,
        )


def websocket_options() -> dict[str, Any]:
    """Return the uvicorn options of the feed: small messages in, no compression out."""
    return {
        "ws": ImpatientWebSocket,
        "ws_max_size": MESSAGE_BYTES_MAX,
        "ws_per_message_deflate": False,
    }


if __name__ == "__main__":
    sys.exit(run_service("paper_exchange", main))
