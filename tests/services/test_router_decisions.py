"""The router's decision log: what is kept, what is let go, and what survives a kill."""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from execution_providers import AssetClass, ExecutionRequest, Fill, create_execution_provider
from lob.config import create_l3_config
from lob.errors import Fault, Unavailable
from services.router.decision_log import DecisionLog, DecisionMetrics, JsonCodec, Made
from services.router.decision_reading import Reading, ReplayReport, replay_record
from services.router.decision_segments import Segments, find_lines, read_lines, segments
from tests.rollout.recorded import execute, request, routing
from tests.services.conftest import Eventually
from tests.services.router_harness import Harness, StubL3, request_json, running_router, to_canary
from tests.services.test_router_process import environment, free_port, wait_for
from touchstone.rollout.assignment import Arm, Rule, assign
from touchstone.rollout.decisions import (
    CandidateRecord,
    ConfigRecord,
    DecisionRecord,
    decode_line,
    encode_decision,
)
from touchstone.rollout.decisions_replay import Replayer

CONFIG = create_l3_config("equity")


class RealL3(StubL3):
    """The real L3 in this process, until it is told to fail."""

    def __init__(self) -> None:
        super().__init__()
        self._provider = create_execution_provider(AssetClass.EQUITY, level="L3", config=CONFIG)

    async def execute(self, request: ExecutionRequest, seed: int) -> Fill:
        """Return the fill of L3."""
        if self.error is not None:
            raise self.error
        fill = self._provider.execute(request.order, request.market, request.bar, seed=seed)
        assert fill is not None
        return fill


def replay_folder(folder: Path) -> tuple[Reading, ReplayReport]:
    """Replay everything in a folder."""
    reading, report = Reading(folder), ReplayReport()
    replayer = Replayer(JsonCodec(), "this build")
    reading.learn(replayer.providers)
    for line, record in reading.records():
        replay_record(replayer, report, line, record)
    return reading, report


def decisions_in(folder: Path) -> list[DecisionRecord]:
    """Return the decisions in a folder."""
    return [r for _, r in Reading(folder).records() if isinstance(r, DecisionRecord)]


@contextlib.contextmanager
def opened(
    folder: Path, queue_size: int = 1_000, start: bool = True, **limits: Any
) -> Iterator[tuple[DecisionLog, DecisionMetrics]]:
    """A log of its own."""
    metrics = DecisionMetrics(CollectorRegistry())
    given = {"bytes_max": 1 << 30, "segment_bytes": 1 << 20, "age_seconds_max": 1e9} | limits
    made = Segments(folder, on_dropped=metrics.on_segment_dropped, **given)
    log = DecisionLog(made, metrics, "a build", queue_size=queue_size)
    if start:
        log.start()
    try:
        yield log, metrics
    finally:
        log.close()


def made(number: int, symbol: str = "AAPL") -> Made:
    """Return a decision as the engine makes it."""
    wanted, config = request(symbol), routing(master_flag=False)
    return Made(
        *(f"{number:032x}", 1_700_000_000.0, "", wanted, 5, config, 9.0),
        *(assign(symbol, "", config, 9.0), Arm.L2, execute(wanted, "L2", 5)),
    )


def in_shadow(router: Harness) -> bool:
    """Say whether the router has state and lease, so that orders are mirrored."""
    return router.components.router.assign("AAPL").rule is Rule.SHADOW


def count(metric: Any) -> float:
    """Return a counter's value."""
    return float(metric._value.get())


async def test_shadow_canary_fallback_and_rollback_are_replayed(
    router_environment: str, eventually: Eventually, tmp_path: Path
) -> None:
    """Real providers, every phase: each decision comes out as it is in the log, byte for byte."""
    l3 = RealL3()
    async with running_router(l3=l3) as router:
        log = router.components.decisions
        log.learn_l3(CONFIG.model_dump(mode="json"), "its build")
        await eventually(lambda: in_shadow(router))
        for number in range(5):
            await router.execute(f"S{number}", quantity=str(20 + number))
        await eventually(lambda: router.components.shadow.mirrored == 5)
        await to_canary(router, canary_accounts=["fund"], deny_symbols=["MSFT"])
        ids = [
            (await router.execute(symbol, account))["decision"]["id"]
            for symbol, account in (("AAPL", ""), ("MSFT", "fund"), ("S1", "fund"), ("S2", ""))
        ]
        l3.error = Unavailable("away")
        fallback = (await router.execute("AAPL", client_order_id="mine"))["decision"]
        response = await router.client.post("/v1/rollout/rollback", json={"reason": "a test"})
        assert response.status_code == 200
        await router.execute("AAPL")
        folder = log.folder
    reading, report = replay_folder(folder)
    assert [] == report.first_different
    assert (11, 5, 16) == (report.decisions, report.candidates, report.identical)
    assert 0 == reading.torn == reading.damaged
    rules = {"shadow": 5, "allow_list": 2, "deny_list": 1, "default": 1, "rolled_back": 1}
    assert rules | {"fallback:UNAVAILABLE": 1} == report.rules
    kept = {record.id: record for record in decisions_in(folder)}
    assert {*ids, fallback["id"]} <= set(kept)
    assert ("L3", "L2") == (kept[fallback["id"]].assigned_arm, kept[fallback["id"]].arm)
    assert {"mine"} == {json.loads(kept[fallback["id"]].request)["order"]["client_order_id"]}


async def test_a_refused_order_is_a_decision_too(
    router_environment: str, eventually: Eventually
) -> None:
    """The answer was a refusal: its code is kept, and comes again."""
    async with running_router(l3=RealL3()) as router:
        await eventually(lambda: in_shadow(router))
        body = request_json()
        body["market"] = {"timestamp_ms": 1}
        assert 400 == (await router.client.post("/v1/executions", json=body)).status_code
        folder = router.components.decisions.folder
    (record,) = decisions_in(folder)
    assert ("INVALID_ARGUMENT", None) == (record.refusal, record.fill)
    _, report = replay_folder(folder)
    assert (1, 0) == (report.identical, report.different)


async def test_decisions_are_shown(harness: Harness, eventually: Eventually) -> None:
    """The newest first, by symbol, and one whole with its candidate."""
    log = harness.components.decisions
    await eventually(lambda: in_shadow(harness))
    ids = [(await harness.execute(symbol))["decision"]["id"] for symbol in ("AAPL", "S1", "AAPL")]
    await eventually(lambda: len(log.recent()) == 3)
    shown = (await harness.client.get("/v1/decisions")).json()["decisions"]
    assert ids[::-1] == [each["id"] for each in shown]
    shown = (await harness.client.get("/v1/decisions?symbol=aapl&limit=1")).json()["decisions"]
    assert [ids[2]] == [each["id"] for each in shown]
    await eventually(lambda: harness.components.shadow.mirrored == 3 and log.depth == 0)
    await eventually(lambda: len(log.recent_lines(ids[0]) or ()) == 2)
    one = (await harness.client.get(f"/v1/decisions/{ids[0]}")).json()
    assert (ids[0], ids[0]) == (one["decision"]["id"], one["candidate"]["id"])
    assert "shadow" == one["decision"]["rule"]
    # What is not in memory any more is found in the log.
    log._recent.clear()
    assert one == (await harness.client.get(f"/v1/decisions/{ids[0]}")).json()
    for unknown in ("0" * 32, "x"):
        assert 404 == (await harness.client.get(f"/v1/decisions/{unknown}")).status_code


async def test_the_log_is_counted(harness: Harness, eventually: Eventually) -> None:
    """Every family is there from the start, and written lines are counted."""
    for outcome in ("queue_full", "write_failed", "invalid"):
        assert 0 == await harness.metric(f'decision_log_lines_total{{outcome="{outcome}"}}')
    assert 0 == await harness.metric("decision_log_torn_lines_total")
    assert 0 == await harness.metric("decision_log_segments_dropped_total")
    await harness.execute()
    log = harness.components.decisions
    await eventually(lambda: len(log.recent()) == 1)
    assert 0 < await harness.metric('decision_log_lines_total{outcome="written"}')


async def test_a_log_that_is_switched_off_writes_nothing(
    router_environment: str, tmp_path: Path
) -> None:
    """Answers go on."""
    async with running_router(decision_log_enabled=False) as router:
        await router.execute()
        folder = router.components.decisions.folder
    assert not folder.exists()


def test_a_full_queue_lets_go_and_counts(tmp_path: Path) -> None:
    """Nothing waits: what does not fit is counted."""
    with opened(tmp_path, queue_size=3, start=False) as (log, metrics):
        for number in range(5):
            log.record(made(number))
        assert (3, 2) == (log.depth, count(metrics.lines["queue_full"]))
        log.start()
    assert [0, 1, 2] == [int(record.id, 16) for record in decisions_in(tmp_path)]


def test_the_oldest_segments_go_and_each_can_be_read_alone(tmp_path: Path) -> None:
    """Bounded by bytes; every segment has the configurations that its decisions name."""
    with opened(tmp_path, segment_bytes=20_000, bytes_max=60_000) as (log, metrics):
        for number in range(200):
            log.record(made(number))
    paths = segments(tmp_path)
    assert sum(path.stat().st_size for path in paths) <= 60_000 + 2 * 20_000
    assert 0 < count(metrics.segments_dropped)
    assert 0 < count(metrics.bytes_dropped)
    kept = [int(record.id, 16) for record in decisions_in(tmp_path)]
    assert list(range(200 - len(kept), 200)) == kept
    for path in paths:
        known: set[str] = set()
        for line in read_lines(path):
            record = decode_line(line.raw)
            if isinstance(record, ConfigRecord):
                known.add(record.hash)
            elif isinstance(record, DecisionRecord):
                assert record.config_hash in known


def test_a_segment_that_is_too_old_goes(tmp_path: Path) -> None:
    """By the time of its last line; the one being written stays."""
    with opened(tmp_path) as (log, _):
        log.record(made(1))
    (old,) = segments(tmp_path)
    os.utime(old, (1, 1))
    with opened(tmp_path, age_seconds_max=3_600.0) as (log, metrics):
        log.record(made(2))
    assert [2] == [int(record.id, 16) for record in decisions_in(tmp_path)]
    assert 1 == count(metrics.segments_dropped)


@pytest.mark.parametrize("torn", [b"", b'{"kind":"decision","id":"00', b"{", b"x" * 3_000_000])
def test_a_torn_last_line_is_cut_and_counted(tmp_path: Path, torn: bytes) -> None:
    """And only that: every whole line before it stays."""
    with opened(tmp_path) as (log, _):
        for number in range(3):
            log.record(made(number))
    (path,) = segments(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    reading = Reading(tmp_path)
    assert 3 == sum(1 for _ in reading.records())
    with opened(tmp_path) as (log, metrics):
        log.record(made(3))
    assert (1 if torn else 0) == count(metrics.torn)
    assert whole == path.read_bytes()
    assert [0, 1, 2, 3] == [int(record.id, 16) for record in decisions_in(tmp_path)]


def test_a_segment_that_somebody_writes_to_is_not_cut(tmp_path: Path) -> None:
    """Its last line is torn only because it is being written."""
    path = tmp_path / "decisions-1700000000000-0123abcd.jsonl"
    path.write_bytes(b'{"kind":')
    with path.open("r+b") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        kept = Segments(tmp_path, bytes_max=1, segment_bytes=1, age_seconds_max=1)
        assert 0 == kept.cut_torn()
    assert 1 == kept.cut_torn()
    assert b"" == path.read_bytes()


def test_a_disk_that_refuses_is_counted_and_never_fatal(tmp_path: Path) -> None:
    """The folder is a file; when that has gone, decisions are written again."""
    folder = tmp_path / "decisions"
    folder.write_text("in the way")
    with opened(folder) as (log, metrics):
        log.record(made(1))
        deadline = time.monotonic() + 5
        while not count(metrics.lines["write_failed"]):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        folder.unlink()
        log.record(made(2))
    assert [2] == [int(record.id, 16) for record in decisions_in(folder)]


def test_damage_in_the_middle_is_named_with_its_place(tmp_path: Path) -> None:
    """One lot changed on disk: the field; a line broken: the line."""
    with opened(tmp_path) as (log, _):
        for number in range(3):
            log.record(made(number))
    (path,) = segments(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    assert 4 == len(lines)
    record = decode_line(lines[2])
    assert isinstance(record, DecisionRecord)
    assert record.fill is not None
    fill = record.fill | {"filled_quantity": "149"}
    lines[2] = encode_decision(record, json.dumps(fill, separators=(",", ":")).encode())
    lines[3] = b"\x00" + lines[3]
    path.write_bytes(b"".join(lines))
    reading, report = replay_folder(tmp_path)
    (different,) = report.first_different
    assert record.id == different.id
    assert ["fill.filled_quantity"] == [d.field for d in different.differences]
    assert 1 == reading.damaged
    assert reading.first_damaged[0].startswith(f"{path}:4: line: not JSON")
    assert not report.same(reading)


def test_a_segment_that_goes_under_a_reader_is_left_out(tmp_path: Path) -> None:
    """What is there is read to its end."""
    with opened(tmp_path, segment_bytes=5_000) as (log, _):
        for number in range(60):
            log.record(made(number))
    first, *others = segments(tmp_path)
    assert len(others) > 2
    read: list[int] = []
    for _, record in Reading(tmp_path).records():
        if not read:
            others[1].unlink()
            first.unlink()
        read.append(int(record.id, 16))
    assert 0 in read
    assert 59 in read
    assert len(read) < 60


async def test_each_of_a_batch_is_a_decision(
    router_environment: str, eventually: Eventually
) -> None:
    """Also that which is refused."""
    async with running_router(l3=RealL3()) as router:
        await eventually(lambda: in_shadow(router))
        await to_canary(router)
        wrong = request_json("AAPL")
        wrong["market"] = {"timestamp_ms": 1}
        body = {"requests": [request_json("AAPL"), request_json("S1"), wrong]}
        answer = await router.client.post("/v1/executions/batch", json=body)
        assert 3 == len(answer.json()["results"])
        router.components.decisions.learn_l3(CONFIG.model_dump(mode="json"), "its build")
        folder = router.components.decisions.folder
    assert {("L3", None), ("L2", None), ("L2", "INVALID_ARGUMENT")} == {
        (record.arm, record.refusal) for record in decisions_in(folder)
    }
    _, report = replay_folder(folder)
    assert (3, []) == (report.identical, report.first_different)


def test_a_decision_is_found_across_pieces(tmp_path: Path) -> None:
    """Whatever the pieces are that are read: its line, whole."""
    with opened(tmp_path, queue_size=2_000, segment_bytes=1 << 22) as (log, _):
        for number in range(1_500):
            log.record(made(number))
    assert 1_500 == len(decisions_in(tmp_path))
    for number in (0, 700, 741, 1_499):
        (line,) = find_lines(tmp_path, f'"id":"{number:032x}"'.encode())
        record = decode_line(line)
        assert isinstance(record, DecisionRecord)
        assert number == int(record.id, 16)
    assert [] == find_lines(tmp_path, b'"id":"f"')


def test_recording_costs_the_loop_little(tmp_path: Path) -> None:
    """A few microseconds; the bound here leaves room for a busy machine."""
    decision = made(1)
    with opened(tmp_path, queue_size=20_000) as (log, _):
        taken = []
        for _ in range(5_000):
            started = time.perf_counter()
            log.record(decision)
            taken.append(time.perf_counter() - started)
    assert sorted(taken)[2_500] < 10e-6


def start(module: str, env: dict[str, str], root: Path) -> subprocess.Popen[str]:
    """Start a service."""
    return subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=root,
        env=env,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def post(url: str, symbol: str, **order: Any) -> Any:
    """Execute one order."""
    body = request_json(symbol, **order)
    return httpx.post(f"{url}/v1/executions", json=body, timeout=5).json()


def run_phases(url: str, simulator: subprocess.Popen[str], wait: Callable[..., None]) -> list[str]:
    """Send orders through shadow, canary, and a simulator that is killed; return the ids."""
    answers = [post(url, f"S{n}", quantity=str(n + 1)) for n in range(20)]

    def mirrored() -> bool:
        """Send one more: the candidate's process may not have been there for the first."""
        answers.append(post(url, "SLOW", quantity="1"))
        return bool(httpx.get(f"{url}/v1/shadow/summary").json()["mirrored"] > 0)

    wait(mirrored)
    changes = {"phase": "CANARY", "reason": "a test"}
    changed = httpx.put(f"{url}/v1/rollout", json=changes, headers={"If-Match": '"1"'}, timeout=5)
    assert changed.status_code == 200, changed.text
    limit = {"type": "LIMIT", "limit_price": "99.99"}
    for n in range(20):
        answers += [post(url, "AAPL", quantity=str(n + 1)), post(url, "MSFT", **limit)]
    assert "L3" in {answer["decision"]["arm"] for answer in answers}
    simulator.kill()
    simulator.wait(5)
    answers += [post(url, "AAPL", quantity=str(n + 1)) for n in range(5)]
    assert "fallback:UNAVAILABLE" in {answer["decision"]["rule"] for answer in answers}
    return [answer["decision"]["id"] for answer in answers]


@pytest.mark.timeout(300)
def test_real_processes_killed_in_the_middle_leave_a_log_that_replays(
    root: Path, tmp_path: Path, redis_url: str
) -> None:
    """Router and simulator as they run; kill -9 of both; another process replays it."""
    port = free_port()
    env = environment(
        tmp_path,
        TOUCHSTONE_REDIS_URL=redis_url,
        TOUCHSTONE_ROUTER_SIMULATOR_ADDRESS=f"127.0.0.1:{port}",
        TOUCHSTONE_SIMULATOR_PORT=str(port),
        TOUCHSTONE_SIMULATOR_METRICS_PORT=str(free_port()),
        TOUCHSTONE_ROUTER_SIMULATOR_DEADLINE_SECONDS="5",
    )
    url = f"http://127.0.0.1:{env['TOUCHSTONE_ROUTER_PORT']}"
    folder = tmp_path / "data" / "router" / "decisions"
    simulator = start("services.simulator", env, root)
    router = start("services.router", env, root)
    try:
        wait_for(router, lambda: httpx.get(f"{url}/v1/rollout").json()["generation"] == 1)
        ready = f"{url}/readyz"
        wait_for(router, lambda: bool(httpx.get(ready).json()["checks"]["simulator"]["ok"]))
        # The candidate gets what nobody else wants of the processors: on a busy machine not much.
        ids = run_phases(url, simulator, lambda condition: wait_for(router, condition, 90))
        wait_for(router, lambda: {*ids} <= {record.id for record in decisions_in(folder)})
        # Killed while orders come in.
        with contextlib.suppress(httpx.TransportError):
            asyncio.run(kill_under_load(url, router))
    finally:
        for process in (router, simulator):
            process.kill()
            process.wait(10)
    report = replay_command(root, env, folder, "--all")
    assert (0, []) == (report["exit_code"], report["first_different"])
    answered = report["answered_by"]
    assert len(ids) <= report["decisions"] == answered["L2"] + answered["L3"]
    assert 0 < report["candidates"]
    assert {} == report["recorded_by_other_builds"]
    report = replay_command(root, env, folder, ids[25])
    assert (0, 1) == (report["exit_code"], report["decisions"])


def replay_command(root: Path, env: dict[str, str], folder: Path, what: str) -> dict[str, Any]:
    """Run `touchstone decisions replay` in a process of its own; return its report."""
    command = [sys.executable, "-m", "touchstone.cli", "decisions", "replay", what, "--json"]
    done = subprocess.run(
        [*command, "--dir", str(folder)],
        cwd=root,
        env=env | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report | {"exit_code": done.returncode}


async def kill_under_load(url: str, router: subprocess.Popen[str]) -> None:
    """Send orders on eight connections, and kill the router among them."""

    async def send(client: httpx.AsyncClient) -> None:
        for number in range(200):
            await client.post("/v1/executions", json=request_json(f"S{number}"))

    async with httpx.AsyncClient(base_url=url) as client:
        sending = [asyncio.create_task(send(client)) for _ in range(8)]
        await asyncio.sleep(0.3)
        router.send_signal(signal.SIGKILL)
        for outcome in await asyncio.gather(*sending, return_exceptions=True):
            assert isinstance(outcome, httpx.TransportError | Fault | None)


async def test_the_simulator_says_what_it_runs(
    router_environment: str, eventually: Eventually, tmp_path: Path
) -> None:
    """A candidate's record names the configuration and the build behind it."""
    log: list[CandidateRecord] = []
    l3 = RealL3()
    async with running_router(l3=l3) as router:
        router.components.decisions.learn_l3(CONFIG.model_dump(mode="json"), "its build")
        await eventually(lambda: in_shadow(router))
        await router.execute("S1")
        await eventually(lambda: router.components.shadow.mirrored == 1)
        folder = router.components.decisions.folder
    log = [r for _, r in Reading(folder).records() if isinstance(r, CandidateRecord)]
    assert ["its build"] == [record.l3_build for record in log]
