#!/usr/bin/env python3
"""Close everything at the venue: halt entries, cancel all, close all, verify flat (--confirm)."""

from collections.abc import Callable

import launcher


def load() -> Callable[[list[str]], int]:
    """Import the program."""
    from touchstone.cli.emergency_close import main  # noqa: PLC0415 - may fail: see the launcher

    return main


launcher.run("emergency-close", load)
