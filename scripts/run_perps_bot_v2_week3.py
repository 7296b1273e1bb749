#!/usr/bin/env python3
"""Run the perps bot on the order gateway: every order type, filter and guard; see --help."""

from collections.abc import Callable

import launcher


def load() -> Callable[[list[str]], int]:
    """Import the program."""
    from touchstone.cli.perps_bot import advanced  # noqa: PLC0415 - may fail: see the launcher

    return advanced


launcher.run("perps-bot", load)
