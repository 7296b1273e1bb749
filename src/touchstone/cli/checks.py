"""`touchstone test`: style, types, package directions, and the test suite."""

import os
import subprocess
import sys
import time
from pathlib import Path

import typer

from touchstone.cli.console import EXIT_FAILED, EXIT_OK, complain, err

STATIC_CHECKS = (
    ("style", ("ruff", "check", "--quiet", ".")),
    ("format", ("ruff", "format", "--quiet", "--check", ".")),
    ("types", ("mypy", "src", "services", "tests", "bench")),
    ("directions", ("lint-imports",)),
)


def run_checks(context: typer.Context) -> None:
    """Run every check: ruff, mypy, import-linter, then pytest.

    Arguments go to pytest, and then only pytest runs: `./touchstone test -k book`. Exit code 0
    when everything passed, 1 otherwise.
    """
    home = Path(os.environ.get("TOUCHSTONE_HOME", ".")).absolute()
    failed = [] if context.args else [name for name, _ in _static_failures(home)]
    if _run_tool(home, ("pytest", *context.args)) != 0:
        failed.append("pytest")
    if failed:
        complain(f"failed: {', '.join(failed)}")
    raise typer.Exit(EXIT_FAILED if failed else EXIT_OK)


def _static_failures(home: Path) -> list[tuple[str, int]]:
    failures = []
    for name, command in STATIC_CHECKS:
        started = time.monotonic()
        code = _run_tool(home, command)
        seconds = time.monotonic() - started
        err.print(f"{name:<12} {'ok' if code == 0 else 'FAILED'}  {seconds:.1f} s")
        if code != 0:
            failures.append((name, code))
    return failures


def _run_tool(home: Path, command: tuple[str, ...]) -> int:
    tool = Path(sys.executable).parent / command[0]
    return subprocess.run([str(tool), *command[1:]], cwd=home, check=False).returncode  # noqa: S603 - our own fixed commands
