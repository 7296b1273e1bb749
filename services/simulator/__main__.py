"""`python -m services.simulator`."""

import sys

from services.simulator.app import serve
from services.simulator.settings import SimulatorSettings
from services.simulator.wiring import wire
from touchstone.kit.lifecycle import run_service
from touchstone.kit.logs import configure_logging
from touchstone.kit.settings import load
from touchstone.kit.trace import configure_tracing


async def _main() -> None:
    settings = load(SimulatorSettings)
    configure_logging("simulator", settings.log_level, settings.log_format)
    configure_tracing("simulator")
    async with wire(settings) as components:
        await serve(components)


if __name__ == "__main__":
    sys.exit(run_service("simulator", _main))
