"""The shadow process: whatever a candidate does, answers stay as they are and nothing is left."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from bench.shadow_candidates import HOSTILE
from services.router import shadow_lane
from services.router.shadow_lane import DEAF_FACTOR, HEAVY_SECONDS, ProcessLane
from tests.services.conftest import eventually as eventually_
from tests.services.router_harness import Harness, running_router
from tests.services.test_router_process import environment, start, wait_for

Eventually = Callable[..., Awaitable[float]]
# What each hostile candidate's failures are called; None where it also answers.
ERRORS = {
    "raises": "INTERNAL",
    "hangs_busy": "DEADLINE_EXCEEDED",
    "hangs_asleep": "DEADLINE_EXCEEDED",
    "hangs_politely": "DEADLINE_EXCEEDED",
    "ignores_deadlines": "DEADLINE_EXCEEDED",
    "garbage": "GARBAGE",
    "eats_memory": "INTERNAL",
    "forks": "INTERNAL",
    "runs_programs": "INTERNAL",
    "exits": "UNAVAILABLE",
    "exits_politely": "INTERNAL",
    "kills_itself": "UNAVAILABLE",
    "kills_the_router": "INTERNAL",
    "crashes": "UNAVAILABLE",
    "floods_its_output": "DEADLINE_EXCEEDED",
    "floods_the_router": "UNAVAILABLE",
    "leaves_threads_behind": None,
    "answers_at_length": None,
}


@contextlib.asynccontextmanager
async def shadowed(candidate: str, **more: Any) -> AsyncIterator[Harness]:
    """Run a router whose candidate is one of the bench's, in a process of its own."""
    name = candidate if ":" in candidate else f"bench.shadow_candidates:{candidate}"
    settings: dict[str, Any] = {
        "shadow_candidate": name,
        "shadow_deadline_seconds": 0.1,
        "shadow_per_second_max": 10_000,
        **more,
    }
    async with running_router(simulator="127.0.0.1:1", **settings) as harness:
        await eventually_(lambda: harness.decides)
        yield harness


def lane_of(harness: Harness) -> ProcessLane:
    """Return where the router's candidate runs."""
    lane = harness.components.shadow._lane
    assert isinstance(lane, ProcessLane)
    return lane


async def check_of(harness: Harness) -> Any:
    """Return what readiness says of the comparison."""
    return (await harness.client.get("/readyz")).json()["checks"]["shadow"]


async def until_ready(harness: Harness) -> int:
    """Return the process id of the shadow process once it is ready."""
    lane = lane_of(harness)
    await eventually_(lambda: lane._life is not None and lane._life.ready, 60.0)
    assert (await check_of(harness))["ok"]
    pid = lane.pid
    assert pid is not None
    return pid


def is_there(pid: int) -> bool:
    """Return whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


@pytest.mark.usefixtures("router_environment")
async def test_the_third_arm_and_every_breakdown_are_there(eventually: Eventually) -> None:
    """A candidate that answers as the control does agrees with it, pair by pair."""
    async with shadowed("l2", shadow_deadline_seconds=2.0) as harness:
        for n in range(32):
            await harness.execute(side="BUY" if n % 2 else "SELL", quantity=str(50 * (n % 4 + 1)))
        await eventually(lambda: len(harness.components.shadow.store) == 32, 20.0)
        summary = (await harness.client.get("/v1/shadow/summary")).json()
        pair = (await harness.client.get("/v1/shadow/pairs")).json()["pairs"][0]
    overall = summary["overall"]
    assert (32, 32, 0.0, 0.0) == tuple(
        overall[name] for name in ("pairs", "n", "mean_difference_bps", "candidate_error_rate")
    )
    assert (4, 0.0) == (summary["noise_floor"]["n"], summary["noise_floor"]["mean_difference_bps"])
    assert {"BUY", "SELL"} == set(summary["by_side"])
    assert {"up to 1x touch", "1 to 5x touch"} == set(summary["by_size"])
    assert ["1 to 5 bps"] == list(summary["by_spread"])
    assert 20 == len(summary["worst"])
    assert pair["control"] == pair["candidate"]
    assert 32 == len(pair["inputs_digest"])


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.usefixtures("router_environment")
async def test_a_hostile_candidate_changes_no_answer_and_leaves_nothing(
    name: str, eventually: Eventually
) -> None:
    """Its orders are errors of its own, the answers are those of phase OFF, no process stays."""
    async with shadowed(name) as harness:
        first = await until_ready(harness)
        shadow = harness.components.shadow
        answers, slowest = [], 0.0
        # Those that are dear to check are heard seldom.
        orders = 3 if name == "answers_at_length" else 20
        for _ in range(orders):
            started = time.perf_counter()
            answers.append((await harness.execute())["fill"])
            slowest = max(slowest, time.perf_counter() - started)
            await asyncio.sleep(0.005)
        await eventually(lambda: shadow.mirrored == orders, 60.0)
        errors = {pair.error for pair in shadow.store.pairs(shadow.now())}
        verdict = (await harness.client.get("/v1/rollout/analysis")).json()["verdict"]["outcome"]
        last = lane_of(harness).pid or first
        await harness.put(1, phase="OFF")
        answers.append((await harness.execute())["fill"])
        await eventually(lambda: lane_of(harness).pid is None)
    assert slowest < 1.0
    assert all(answer == answers[-1] for answer in answers)
    # The system may take longer to give all that memory than an order waits.
    late = {"DEADLINE_EXCEEDED"} if name == "eats_memory" else set()
    assert errors
    assert errors <= {ERRORS[name]} | late
    assert "HOLD" == verdict
    assert [False, False] == [is_there(pid) for pid in (first, last)]


@pytest.mark.usefixtures("router_environment")
async def test_one_that_ends_is_started_again_and_counted(eventually: Eventually) -> None:
    """Each life ends with its first order; the pauses between them grow."""
    async with shadowed("exits") as harness:
        first = await until_ready(harness)
        await harness.execute()
        await eventually(lambda: lane_of(harness).pid != first)
        second = await until_ready(harness)
        assert first != second
        assert 1 == await harness.metric('shadow_process_endings_total{reason="exit"}')
        assert 1 == await harness.metric('shadow_errors_total{code="UNAVAILABLE"}')
        os.kill(second, signal.SIGKILL)
        await eventually(lambda: lane_of(harness).pid != second)
        assert 2 == await harness.metric('shadow_process_endings_total{reason="exit"}')


@pytest.mark.parametrize(
    ("candidate", "named"),
    [
        ("no.such:candidate", "ModuleNotFoundError: No module named 'no'"),
        ("bench.shadow_candidates:absent", "AttributeError"),
    ],
)
@pytest.mark.usefixtures("router_environment")
async def test_one_that_cannot_start_is_said_and_never_promoted(
    candidate: str, named: str, eventually: Eventually
) -> None:
    """The router answers, readiness names the reason, and without pairs the judge holds."""
    async with shadowed(candidate) as harness:
        lane = lane_of(harness)
        ended = lane._metrics.endings["not_started"]
        await eventually(lambda: ended._value.get() >= 1, 20.0)
        assert named in lane._trouble
        assert "FILLED" == (await harness.execute())["fill"]["status"]
        check = await check_of(harness)
        assert not check["ok"]
        assert "shadow process: " in check["detail"]
        assert 0 == await harness.metric("shadow_process_up")
        assert 1 <= await harness.metric('shadow_process_endings_total{reason="not_started"}')
        analysis = (await harness.client.get("/v1/rollout/analysis")).json()
        assert "HOLD" == analysis["verdict"]["outcome"]


@pytest.mark.usefixtures("router_environment")
async def test_a_candidate_sees_no_secret_and_reaches_nothing(
    monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """No key in its environment, no descriptor but its own, no network, no file, no priority."""
    monkeypatch.setenv("COINBASE_API_KEY", "secret")
    monkeypatch.setenv("TOUCHSTONE_GATEWAY_TOKEN", "secret")
    async with shadowed("looks_around") as harness:
        await until_ready(harness)
        await harness.execute()
        await eventually(lambda: harness.components.shadow.mirrored == 1)
        shadow = harness.components.shadow
        fill = shadow.store.pairs(shadow.now())[0].candidate
    assert fill is not None
    seen = fill.attribution
    assert not [name for name in seen["environment"] if "COINBASE" in name or "TOUCHSTONE" in name]
    assert "PermissionError" == seen["network"]
    assert "PermissionError" == seen["file"]
    assert ("PermissionError", 19, os.SCHED_IDLE) == (
        *(seen["priority"], seen["niceness"]),
        seen["scheduler"],
    )
    # Three to nowhere, its socket, and what its own loop and this look itself have opened.
    assert len(seen["descriptors"]) <= 9


@pytest.mark.usefixtures("router_environment")
async def test_beyond_the_rate_orders_are_let_go_and_counted() -> None:
    """A burst of a whole queue is taken, and so much in a second after it."""
    async with shadowed("l2", shadow_queue_size=10, shadow_per_second_max=40) as harness:
        for _ in range(30):
            await harness.execute()
        assert 10 <= await harness.metric('shadow_dropped_total{reason="rate"}') <= 20


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    found = [int(child) for child in text.split()]
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return sorted(set(found))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_router_that_goes_takes_its_shadow_process_along(
    number: signal.Signals, root: Path, tmp_path: Path, redis_url: str
) -> None:
    """Also one that is busy for ever and would notice nothing by itself."""
    env = environment(
        tmp_path,
        TOUCHSTONE_REDIS_URL=redis_url,
        TOUCHSTONE_ROUTER_SHADOW_CANDIDATE="bench.shadow_candidates:hangs_busy",
        TOUCHSTONE_ROUTER_SHADOW_DEADLINE_SECONDS="60",
    )
    process: subprocess.Popen[str] = start(root, env)
    url = f"http://127.0.0.1:{env['TOUCHSTONE_ROUTER_PORT']}"
    try:
        wait_for(
            process,
            lambda: bool(
                httpx.get(f"{url}/readyz", timeout=5).json()["checks"]["shadow"]["ok"]
                and httpx.get(f"{url}/v1/rollout", timeout=5).json()["phase"] == "SHADOW"
                and children(process.pid)
            ),
        )
        [child] = children(process.pid)
        body = {
            "order": {"symbol": "AAPL", "side": "BUY", "quantity": "10"},
            "market": {"timestamp_ms": 1, "bids": [["99", "1"]], "asks": [["101", "100"]]},
            "asset_class": "EQUITY",
        }
        assert 200 == httpx.post(f"{url}/v1/executions", json=body, timeout=5).status_code
        time.sleep(0.3)
        assert is_there(child)
        process.send_signal(number)
        process.wait(15)
        deadline = time.monotonic() + 5
        while is_there(child):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.communicate()


BARE = """
import ctypes, os, platform, resource, runpy, sys
del os.sched_setscheduler
platform.machine = lambda: "riscv64"
def no_limit(what, _bounds, real=resource.setrlimit):
    if what == resource.RLIMIT_AS:
        raise ValueError("current limit exceeds maximum limit")
    real(what, _bounds)
resource.setrlimit = no_limit
class NoLibrary:
    def __init__(self, *_, **__):
        raise OSError("no prctl here")
ctypes.CDLL = NoLibrary
sys.argv = ["shadow_process", sys.argv[-1]]
runpy.run_module("services.router.shadow_process", run_name="__main__", alter_sys=True)
"""


@pytest.mark.usefixtures("router_environment")
async def test_a_system_without_these_bounds_compares_with_what_there_is(
    eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No prctl, no SCHED_IDLE, no filter for the machine, no bound on memory: named, and it runs.

    The limits that the system does take are set all the same, and a hanging one is still ended.
    """
    real = subprocess.Popen

    def popen(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return real([command[0], "-c", BARE, command[-1]], **options)

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.delattr(os, "sched_setscheduler")
    with structlog.testing.capture_logs() as logged:
        async with shadowed("l2", shadow_deadline_seconds=2.0) as harness:
            pid = await until_ready(harness)
            limits = await asyncio.to_thread(Path(f"/proc/{pid}/limits").read_text)
            await harness.execute()
            await eventually(lambda: harness.components.shadow.mirrored == 1, 20.0)
            (pair,) = harness.components.shadow.store.pairs(harness.components.shadow.now())
        async with shadowed("hangs_busy") as harness:
            await until_ready(harness)
            await harness.execute()
            await eventually(lambda: harness.components.shadow.mirrored == 1, 20.0)
    assert pair.error is None
    assert any("core file size" in line and " 0 " in line for line in limits.splitlines())
    (ready, *_) = [entry for entry in logged if entry["event"] == "shadow_process_ready"]
    assert ["death_signal", "priority", "limits", "calls"] == ready["not_confined_by"]
    assert not is_there(pid)


@pytest.mark.usefixtures("router_environment")
async def test_one_that_makes_its_answers_dear_is_heard_seldom(
    eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message may cost the loop a millisecond or two, and so there may be few of them."""
    heavy_seconds = HEAVY_SECONDS / 10
    monkeypatch.setattr(shadow_lane, "HEAVY_SECONDS", heavy_seconds)
    async with shadowed("answers_at_length", shadow_deadline_seconds=2.0) as harness:
        await until_ready(harness)
        lane, shadow = lane_of(harness), harness.components.shadow
        for _ in range(3):
            await harness.execute()
        started = time.monotonic()
        await eventually(lambda: shadow.mirrored >= 2, 60.0)
        assert lane._deaf_until > started
        await eventually(lambda: shadow.mirrored == 3, 60.0)
        errors = {pair.error for pair in shadow.store.pairs(shadow.now())}
    assert time.monotonic() - started > 2 * DEAF_FACTOR * heavy_seconds
    assert {None} == errors
