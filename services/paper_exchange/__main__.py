"""Run the paper exchange: `python -m services.paper_exchange`."""

import argparse
import gc
import sys
from functools import partial
from typing import Any, Final

from lob.errors import ConfigError
from services.paper_exchange.app import create_app
from services.paper_exchange.quick import ExchangeProtocol
from services.paper_exchange.recovery import start_anew
from services.paper_exchange.settings import ExchangeSettings
from services.paper_exchange.transport import ImpatientWebSocket, tls_options
from services.paper_exchange.wiring import wire
from touchstone.kit.lifecycle import run_service, serve_web
from touchstone.kit.logs import configure_logging
from touchstone.kit.settings import load
from touchstone.kit.trace import configure_tracing

MESSAGE_BYTES_MAX: Final = 65_536
FULL_COLLECTION_EVERY: Final = 1_000
"""In collections of the middle generation: a full one looks at every order that is remembered, for
tens of milliseconds in which nobody is answered, and finds next to nothing."""


async def main(*, anew: bool = False, confirmed: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; or set the kept state aside, and end.

    Raises:
        ConfigError: a setting is wrong, or nobody confirmed that the state may go.
    """
    settings = load(ExchangeSettings)
    if anew:
        sys.stdout.write(set_aside(settings, confirmed=confirmed) + "\n")
        return
    configure_logging("paper_exchange", settings.log_level, settings.log_format)
    configure_tracing("paper_exchange")
    tls = tls_options(settings.tls_certificate, settings.tls_key)
    gc.set_threshold(*gc.get_threshold()[:2], FULL_COLLECTION_EVERY)
    async with wire(settings) as components:
        await serve_web(
            create_app(components),
            settings.host,
            settings.port,
            **server_options(),
            **tls,
        )


def server_options() -> dict[str, Any]:
    """Return the uvicorn options: our own protocols, small messages in, no compression out."""
    return {
        "http": ExchangeProtocol,
        "proxy_headers": False,
        "ws": ImpatientWebSocket,
        "ws_max_size": MESSAGE_BYTES_MAX,
        "ws_per_message_deflate": False,
    }


def set_aside(settings: ExchangeSettings, *, confirmed: bool) -> str:
    """Set the kept state aside, so that the next start begins anew; return what was done.

    Raises:
        ConfigError: not confirmed, or a running exchange has the state.
    """
    if not confirmed:
        raise ConfigError(
            f"--start-anew: accounts, orders and fills in {settings.state_dir} would be out of use;"
            " allowed: together with --confirm"
        )
    moved = start_anew(settings.state_dir)
    if moved is None:
        return f"{settings.state_dir}: nothing is kept here"
    return f"the state is now in {moved}; the next start begins anew"


def arguments(given: list[str]) -> dict[str, bool]:
    """Return what the command line asks for, as `main` takes it."""
    parser = argparse.ArgumentParser("paper_exchange", description="Serve the paper exchange.")
    parser.add_argument(
        "--start-anew",
        action="store_true",
        help="set the kept state aside and end; the next start begins anew",
    )
    parser.add_argument("--confirm", action="store_true", help="needed with --start-anew")
    found = parser.parse_args(given)
    return {"anew": found.start_anew, "confirmed": found.confirm}


if __name__ == "__main__":
    sys.exit(run_service("paper_exchange", partial(main, **arguments(sys.argv[1:]))))
