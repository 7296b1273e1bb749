#!/usr/bin/env python3
"""Run the fallback perps bot on the order gateway: market orders only, the fewest features."""

from collections.abc import Callable

import launcher


def load() -> Callable[[list[str]], int]:
    """Import the program."""
    from touchstone.cli.perps_bot import fallback  # noqa: PLC0415 - may fail: see the launcher

    return fallback


launcher.run("perps-bot-fallback", load)
