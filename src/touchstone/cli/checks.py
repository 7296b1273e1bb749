"""`touchstone test`: style, types, package directions, and the test suite."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final
from xml.etree import ElementTree as ET

import typer

from touchstone.cli.console import EXIT_FAILED, EXIT_OK, complain, err
from touchstone.cli.drill.folder import held_folder

STATIC_CHECKS: Final = {
    "style": ("ruff", "check", "--quiet", "."),
    "format": ("ruff", "format", "--quiet", "--check", "."),
    "directions": ("lint-imports",),
}
TYPES: Final = ("mypy", "src", "services", "tests", "bench")
"""Takes a minute or two of one processor: it runs beside the tests."""

BESIDE: Final = {
    "computing": (
        *("lob", "native", "properties", "fidelity", "touchstone", "rollout", "exchange"),
        *("execution_providers", "kit", "openfeature", "perps", "simulation"),
    ),
    "whole programs": ("bench", "cli", "compose", "conformance", "contract", "e2e", "site"),
}
"""Folders of tests that run beside the others, each group in a process of its own.

Some only compute, the others mostly wait, for processes, sockets and time.
"""


# Side by side, threads of linear algebra that wait for one another only take each other's time.
ONE_THREAD: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
REASON_CHARS: Final = 300
SLOWEST: Final = ("--durations=20", "--durations-min=5")

MEMORY: Final = Path("/dev/shm")  # noqa: S108 - the system's file system in memory
ROOM_BYTES: Final = 1 << 30
"""What the tests may write, with some to spare."""


def run_checks(context: typer.Context) -> None:
    """Run every check: ruff, mypy, import-linter, then pytest, in processes side by side.

    Arguments go to pytest, and then only pytest runs: `./touchstone test -k book`. Exit code 0
    when everything passed, 1 otherwise.
    """
    home = Path(os.environ.get("TOUCHSTONE_HOME", ".")).absolute()
    reasons: list[str] = []
    if context.args:
        code = _run_tool(home, ("pytest", *context.args), _environment())
        failed = ["pytest"] if code else []
    else:
        with _in_memory(_environment()) as environment, tempfile.TemporaryDirectory() as reports:
            failed = _static_failures(home, environment)
            failed += _test_failures(home, environment, Path(reports))
            reasons = _reasons(Path(reports))
    if failed:
        complain("\n  ".join([f"failed: {', '.join(failed)}", *reasons]))
    raise typer.Exit(EXIT_FAILED if failed else EXIT_OK)


def _environment() -> dict[str, str]:
    """Return what the checks run with.

    Hundreds of processes are started: where nothing compiled may be kept, each compiles a thousand
    modules anew.
    """
    environment = os.environ | ONE_THREAD
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


@contextlib.contextmanager
def _in_memory(environment: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Put temporary files into memory where there is room, for the length of a `with` block.

    A disk that stands still for half a second fails tests of what has to answer sooner.
    """
    if "TMPDIR" in environment or not _has_room(MEMORY):
        yield environment
        return
    with held_folder(MEMORY, "touchstone-test-") as folder:
        # Some programs do not run as root, but as a user of their own, below it.
        folder.chmod(0o711)
        yield {**environment, "TMPDIR": str(folder)}


def _has_room(folder: Path) -> bool:
    """Return whether programs can run from a folder in memory, and there is enough of it."""
    try:
        system = os.statvfs(folder)
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return False
    free = {line.split()[0]: int(line.split()[1]) << 10 for line in lines}["MemAvailable:"]
    # The tests themselves want as much memory again.
    room = min(system.f_bavail * system.f_frsize, free // 2)
    return room >= ROOM_BYTES and os.access(folder, os.W_OK) and not system.f_flag & os.ST_NOEXEC


def _static_failures(home: Path, environment: Mapping[str, str]) -> list[str]:
    failures = []
    for name, command in STATIC_CHECKS.items():
        started = time.monotonic()
        code = _run_tool(home, command, environment)
        seconds = time.monotonic() - started
        err.print(f"{name:<12} {'ok' if code == 0 else 'FAILED'}  {seconds:.1f} s")
        if code != 0:
            failures.append(name)
    return failures


def _test_failures(home: Path, environment: Mapping[str, str], reports: Path) -> list[str]:
    """Run mypy and groups of tests beside the others; what they say is printed after these."""

    def pytest(name: str, *arguments: str) -> Sequence[str]:
        return ("pytest", *SLOWEST, f"--junitxml={reports / name}.xml", *arguments)

    with contextlib.ExitStack() as stack:
        groups = [stack.enter_context(_beside(home, "types", TYPES, environment))]
        for name, folders in BESIDE.items():
            cache = ("-o", f"cache_dir=.pytest_cache/{folders[0]}")
            command = pytest(folders[0], *cache, *(f"tests/{one}" for one in folders))
            groups.append(stack.enter_context(_beside(home, name, command, environment)))
        ignored = [f"--ignore=tests/{name}" for folders in BESIDE.values() for name in folders]
        code = _run_tool(home, pytest("others", *ignored), environment)
        failed = ["pytest"] if code else []
        return failed + [group.name for group in groups if group.wait() != 0]


def _reasons(reports: Path) -> list[str]:
    """Return each failed test with the first line of why: the outputs are thousands of lines."""
    reasons = []
    for report in sorted(reports.glob("*.xml")):
        for case in ET.parse(report).iter("testcase"):  # noqa: S314 - written by pytest
            for found in (*case.findall("failure"), *case.findall("error")):
                why = (found.get("message") or "").partition("\n")[0][:REASON_CHARS]
                reasons.append(f"{case.get('classname')}::{case.get('name')}: {why}")
    return reasons


class _Group:
    """A check that runs in a process of its own, and what it says."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", output: IO[bytes]) -> None:
        self.name = name
        self._process = process
        self._output = output

    def wait(self) -> int:
        """Wait for the end, print what was said, and return the exit code."""
        code = self._process.wait()
        self._output.seek(0)
        err.print(f"{self.name} {'ok' if code == 0 else 'FAILED'}")
        sys.stdout.flush()
        sys.stdout.buffer.write(self._output.read())
        sys.stdout.flush()
        return code


@contextlib.contextmanager
def _beside(
    home: Path, name: str, command: Sequence[str], environment: Mapping[str, str]
) -> Iterator[_Group]:
    err.print(f"{name}: beside the others, told of later")
    line = [_tool(command[0]), *command[1:]]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603 - our own fixed command
            line, cwd=home, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
        try:
            yield _Group(name, process, output)
        finally:
            process.kill()
            process.wait()


def _run_tool(home: Path, command: Sequence[str], environment: Mapping[str, str]) -> int:
    line = [_tool(command[0]), *command[1:]]
    return subprocess.run(line, cwd=home, check=False, env=environment).returncode  # noqa: S603 - our own fixed commands


def _tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)
