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


def acknowledgement_text(answer: Mapping[str, Any]) -> str:
    """Return what the answer to a kill or a rollback says of its acknowledgement, a member a line.

    >>> acknowledgement_text({"acked": None, "seconds": 0.4, "why": "Redis is away"})
    'not acknowledged: Redis is away; members close by themselves when their leases lapse (0.5 s)'
    """
    if answer.get("acked") is None:
        why = answer.get("why") or "the other side does not say"
        return (
            f"not acknowledged: {why}; members close by themselves when their leases lapse (0.5 s)"
        )
    taken = f"{answer['seconds'] * 1000:.1f} ms"
    lines = [f"acked: {answer['acked']} in {taken}; no member begins a send that adds risk now"]
    lines += [f"  {ack['seconds'] * 1000:8.1f} ms  {ack['member']}" for ack in answer["acks"]]
    lines += [f"  lease lapsed  {member}" for member in answer["lapsed"]]
    if not answer["acks"] and not answer["lapsed"]:
        lines.append("  no member is registered")
    return "\n".join(lines)


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
