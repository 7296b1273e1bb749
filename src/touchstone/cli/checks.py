"""`touchstone test`: style, types, package directions, and the test suite."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import typer

from touchstone.cli.console import EXIT_FAILED, EXIT_OK, complain, err

STATIC_CHECKS = (
    ("style", ("ruff", "check", "--quiet", ".")),
    ("format", ("ruff", "format", "--quiet", "--check", ".")),
    ("types", ("mypy", "src", "services", "tests", "bench")),
    ("directions", ("lint-imports",)),
)

BESIDE: Final = ("lob", "native", "properties", "fidelity", "touchstone", "rollout", "exchange")
"""Folders of tests that only compute: they run beside the others, which mostly wait."""


def run_checks(context: typer.Context) -> None:
    """Run every check: ruff, mypy, import-linter, then pytest, in two processes side by side.

    Arguments go to pytest, and then only pytest runs: `./touchstone test -k book`. Exit code 0
    when everything passed, 1 otherwise.
    """
    home = Path(os.environ.get("TOUCHSTONE_HOME", ".")).absolute()
    if context.args:
        failed = [] if _run_tool(home, ("pytest", *context.args)) == 0 else ["pytest"]
    else:
        failed = [name for name, _ in _static_failures(home)] + _test_failures(home)
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


def _test_failures(home: Path) -> list[str]:
    """Run the tests that compute beside the others; what the former say is printed afterwards."""
    computing = [f"tests/{folder}" for folder in BESIDE]
    err.print(f"tests: {', '.join(computing)} run beside the others and are told of at the end")
    with tempfile.TemporaryFile() as output:
        beside = subprocess.Popen(  # noqa: S603 - our own fixed command
            [_tool("pytest"), "-o", "cache_dir=.pytest_cache/beside", *computing],
            cwd=home,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            ignored = [f"--ignore={folder}" for folder in computing]
            code = _run_tool(home, ("pytest", *ignored))
            code_beside = beside.wait()
        finally:
            beside.kill()
            beside.wait()
        output.seek(0)
        sys.stdout.flush()
        sys.stdout.buffer.write(output.read())
        sys.stdout.flush()
    return [name for name, bad in (("pytest", code), ("pytest beside", code_beside)) if bad]


def _run_tool(home: Path, command: tuple[str, ...]) -> int:
    return subprocess.run([_tool(command[0]), *command[1:]], cwd=home, check=False).returncode  # noqa: S603 - our own fixed commands


def _tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)
