"""How commands talk: results on stdout (text or JSON), progress and complaints on stderr."""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer
from rich.console import Console

from lob.errors import ConfigError, Fault, InvalidInput

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, default=str) + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Print one line on stderr, unwrapped so that it can be searched for."""
    sys.stderr.write(f"touchstone: {text}\n")
    sys.stderr.flush()


def agreed(question: str) -> bool:
    """Ask a person at a terminal; anything else has not agreed."""
    return sys.stdin.isatty() and typer.confirm(question, default=False, err=True)


def exit_code_of(fault: Fault) -> int:
    """Return 2 for what the caller wrote wrongly, 1 for everything else."""
    return EXIT_USAGE if isinstance(fault, ConfigError | InvalidInput) else EXIT_FAILED


def guarded(run: Callable[[], int | None]) -> int:
    """Run a command and return its exit code; a fault becomes one line on stderr."""
    try:
        return run() or EXIT_OK
    except Fault as fault:
        complain(str(fault))
        return exit_code_of(fault)
