"""Candidates for the shadow process: two that behave, and one for every way of not behaving.

`TOUCHSTONE_ROUTER_SHADOW_CANDIDATE=bench.shadow_candidates:NAME` runs one of them in a router.
"""

import asyncio
import ctypes
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from execution_providers import (
    AssetClass,
    ExecutionRequest,
    Fill,
    FillStatus,
    PartialFill,
    create_execution_provider,
)

EATEN_BYTES: Final = 16 * 1024 * 1024
_FOREVER_SECONDS: Final = 1e6


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something with the `execute` of a candidate."""

    execute: Callable[[ExecutionRequest, int], Any]


def l2() -> Candidate:
    """Answer as the control does."""
    return _provider("L2")


def l3() -> Candidate:
    """Answer with L3 in the shadow process itself."""
    return _provider("L3")


def raises() -> Candidate:
    """Raise what is no fault."""

    def execute(_request: ExecutionRequest, _seed: int) -> Fill:
        raise ValueError("a defect")

    return Candidate(execute)


def hangs_busy() -> Candidate:
    """Compute for ever."""

    def execute(_request: ExecutionRequest, _seed: int) -> Fill:
        while True:
            pass

    return Candidate(execute)


def hangs_asleep() -> Candidate:
    """Sleep for ever, deaf to the loop."""

    def execute(_request: ExecutionRequest, _seed: int) -> Fill:
        time.sleep(_FOREVER_SECONDS)
        raise AssertionError

    return Candidate(execute)


def hangs_politely() -> Candidate:
    """Wait for ever, and let the loop go on."""

    async def execute(_request: ExecutionRequest, _seed: int) -> Fill:
        await asyncio.sleep(_FOREVER_SECONDS)
        raise AssertionError

    return Candidate(execute)


def ignores_deadlines() -> Candidate:
    """Wait for ever, and take no cancellation for an answer."""

    async def execute(_request: ExecutionRequest, _seed: int) -> Fill:
        while True:
            try:
                await asyncio.sleep(_FOREVER_SECONDS)
            except asyncio.CancelledError:
                continue

    return Candidate(execute)


def garbage() -> Candidate:
    """Return one impossible answer after another."""
    good = _provider("L2")
    taken = iter(range(sys.maxsize))

    def execute(request: ExecutionRequest, seed: int) -> Any:
        fill = good.execute(request, seed)
        answers = _impossible(fill)
        return answers[next(taken) % len(answers)]

    return Candidate(execute)


def _impossible(fill: Fill) -> list[Any]:
    part = fill.fills[0]
    much = PartialFill(part.price, Decimal(10**9), part.liquidity, part.offset_ns)
    late = PartialFill(part.price, part.quantity, part.liquidity, 2**70)
    wrong: list[Any] = [None, "FILLED", 1, [fill], float("nan"), object()]
    changes: list[dict[str, Any]] = [
        {"filled_quantity": Decimal("NaN")},
        {"filled_quantity": Decimal("1E+999999")},
        {"filled_quantity": Decimal(-1)},
        {"filled_quantity": fill.filled_quantity + 1},
        {"filled_quantity": 10.0},
        {"filled_quantity": None},
        {"average_price": Decimal("Infinity")},
        {"average_price": Decimal(0)},
        {"average_price": None},
        {"slippage_bps": Decimal("sNaN")},
        {"slippage_bps": 2.5},
        {"slippage_bps": Decimal("1E-999999")},
        {"fees": None},
        {"fees": "0"},
        {"status": "FILLED?"},
        {"status": FillStatus.REJECTED},
        {"attribution": {"a": float("nan")}},
        {"attribution": {"a": "\ud800"}},
        {"attribution": {"a": object()}},
        {"attribution": {"a": "x" * 1_000_000}},
        {"attribution": _nested(10_000)},
        {"attribution": [1]},
        {"fills": None},
        {"fills": (1,)},
        {"fills": fill.fills * 10_000},
        {"fills": (much,)},
        {"fills": (late,)},
    ]
    return wrong + [replace(fill, **change) for change in changes]


def _nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"a": found}
    return found


def eats_memory() -> Candidate:
    """Take memory until there is none."""
    kept: list[bytearray] = []

    def execute(_request: ExecutionRequest, _seed: int) -> Fill:
        while True:
            kept.append(bytearray(EATEN_BYTES))

    return Candidate(execute)


def forks() -> Candidate:
    """Multiply, and have every child compute for ever."""

    def execute(_request: ExecutionRequest, _seed: int) -> Fill:
        while True:
            if os.fork() == 0:
                os.setsid()
                while True:
                    pass

    return Candidate(execute)


def runs_programs() -> Candidate:
    """Become another program."""

    def execute(_request: ExecutionRequest, _seed: int) -> Fill:
        os.execv("/bin/sleep", ["sleep", "1000"])  # noqa: S606 - that is what it is for

    return Candidate(execute)


def exits() -> Candidate:
    """End the process."""

    def execute(_request: ExecutionRequest, _seed: int) -> Fill:
        os._exit(0)

    return Candidate(execute)


def exits_politely() -> Candidate:
    """End the program as a program does."""

    def execute(_request: ExecutionRequest, _seed: int) -> Fill:
        sys.exit(0)

    return Candidate(execute)


def kills_itself() -> Candidate:
    """End the process by a signal that nobody catches."""

    def execute(_request: ExecutionRequest, _seed: int) -> Fill:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    return Candidate(execute)


def kills_the_router() -> Candidate:
    """End whoever started the process."""

    def execute(_request: ExecutionRequest, _seed: int) -> Fill:
        os.kill(os.getppid(), signal.SIGKILL)
        raise AssertionError

    return Candidate(execute)


def crashes() -> Candidate:
    """Read where nothing is."""

    def execute(_request: ExecutionRequest, _seed: int) -> Fill:
        ctypes.string_at(0)
        raise AssertionError

    return Candidate(execute)


def floods_its_output() -> Candidate:
    """Write as much as it can to its output."""
    text = b"x" * 65_536

    def execute(_request: ExecutionRequest, _seed: int) -> Fill:
        while True:
            os.write(1, text)
            os.write(2, text)

    return Candidate(execute)


def floods_the_router() -> Candidate:
    """Write as much as it can to whatever is open, its way to the router included."""
    text = b"\x05\x00\x00\x00[NaN]" * 8_000

    def execute(_request: ExecutionRequest, _seed: int) -> Fill:
        while True:
            for descriptor in range(3, 64):
                try:
                    os.set_blocking(descriptor, True)
                    os.write(descriptor, text)
                except OSError:
                    continue

    return Candidate(execute)


def leaves_threads_behind() -> Candidate:
    """Answer well, and leave threads that compute for ever."""
    good = _provider("L2")

    def spin() -> None:
        while True:
            sum(range(10_000))

    def execute(request: ExecutionRequest, seed: int) -> Any:
        if threading.active_count() < 8:  # noqa: PLR2004 - enough to be noticed
            threading.Thread(target=spin, daemon=True).start()
        return good.execute(request, seed)

    return Candidate(execute)


def answers_at_length() -> Candidate:
    """Give possible answers in a thousand parts, each of which the router has to check."""
    provider = _provider("L2")

    def execute(request: ExecutionRequest, seed: int) -> Fill:
        fill: Fill = provider.execute(request, seed)
        return replace(fill, fills=fill.fills[:1] * 1_500)

    return Candidate(execute)


def looks_around() -> Candidate:
    """Answer well, and say in the attribution what it can see and reach."""
    good = _provider("L2")

    def execute(request: ExecutionRequest, seed: int) -> Fill:
        fill: Fill = good.execute(request, seed)
        seen = {
            "environment": sorted(os.environ),
            "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd")),  # noqa: PTH208
            "network": _tried(lambda: socket.create_connection(("127.0.0.1", 9), 1)),
            "file": _tried(lambda: open("/tmp/shadow-was-here", "w").write("x")),  # noqa: PTH123, S108, SIM115
            "priority": _tried(lambda: os.setpriority(os.PRIO_PROCESS, 0, -5)),
            "niceness": os.getpriority(os.PRIO_PROCESS, 0),
            "scheduler": os.sched_getscheduler(0),
        }
        return replace(fill, attribution=seen)

    return Candidate(execute)


def _tried(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return type(error).__name__
    return "done"


def _provider(level: str) -> Candidate:
    providers = {kind: create_execution_provider(kind, level=level, seed=0) for kind in AssetClass}

    def execute(request: ExecutionRequest, seed: int) -> Fill | None:
        provider = providers[request.asset_class]
        return provider.execute(request.order, request.market, request.bar, seed=seed)

    return Candidate(execute)


HOSTILE: Final = (
    "raises", "hangs_busy", "hangs_asleep", "hangs_politely", "ignores_deadlines", "garbage",
    "eats_memory", "forks", "runs_programs", "exits", "exits_politely", "kills_itself",
    "kills_the_router", "crashes", "floods_its_output", "floods_the_router",
    "leaves_threads_behind", "answers_at_length",
)  # fmt: skip
