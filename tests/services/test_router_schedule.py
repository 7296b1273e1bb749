"""The schedule by itself, over a real Redis: one step a gate pass, by one router, never early.

Nor after a rollback; and with an audit that says why.
"""

import asyncio
import contextlib
import datetime as dt
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from services.router.analysis import Analysis
from services.router.scheduler import Scheduler
from tests.services.router_harness import Harness, control_of, copy_configs, edit, running_router
from touchstone.kit.control import ROLLOUT_SCOPE, ControlStore
from touchstone.kit.control_store import record_key
from touchstone.kit.flags import load_flags
from touchstone.rollout.go_no_go import ROWS, Measurement
from touchstone.rollout.judge import JudgeConfig, Outcome
from touchstone.rollout.plan import Plan

Eventually = Callable[..., Awaitable[float]]
pytestmark = pytest.mark.usefixtures("router_environment")

STORED = (
    '{"decision": "GO", "at": 1, "clear_since": 1, "dwell_seconds": 0, "rows": [], "waivers": []}'
)
PLAN = """\
rollout:
  schedule: {2025-11-24: 0.05, 2025-12-01: 0.25, 2025-12-08: 0.5, 2125-01-01: 1.0}
  dwell_seconds: 0
  go_no_go: {rows: [order_success_rate, slippage], dwell_seconds: 0}
"""


@pytest.fixture
def folder(root: Path, tmp_path: Path) -> Path:
    """A folder with a plan of four steps, three of them due."""
    path = copy_configs(root, tmp_path)
    edit(path / "l3_rollout.yaml", "rollout:\n", PLAN)
    return path


@pytest.fixture(autouse=True)
def paused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing looks by itself: a test says when."""
    monkeypatch.setattr("services.router.scheduler.LOOK_SECONDS", 3_600)
    monkeypatch.setattr("services.router.go_no_go.LOOK_SECONDS", 3_600)


@contextlib.asynccontextmanager
async def routers(
    folder: Path, tmp_path: Path, count: int, eventually: Eventually
) -> AsyncIterator[list[Harness]]:
    """Run routers with data folders of their own on one Redis."""
    async with contextlib.AsyncExitStack() as stack:
        running = []
        for n in range(count):
            data = tmp_path / f"data{n}"
            running.append(
                await stack.enter_async_context(
                    running_router(folder=folder, TOUCHSTONE_DATA_DIR=data)
                )
            )
            await eventually(lambda n=n: control_of(running[n]).reader.view().known)
        yield running


def good_pair(harness: Harness, index: int) -> None:
    """Let the go/no-go tally count one good execution."""
    harness.components.autopilot.go_no_go._tally.observe(
        time.time(), seconds=0.001, filled=True, slippage_bps=1.0 + index % 3 / 10, error=False
    )


def prove(harness: Harness, difference: float = 0.0) -> None:
    """Give the present experiment two hours of evidence, and go/no-go a day's worth."""
    analysis = harness.components.analysis
    for minute in range(120):
        at = analysis.started_at - 7_300 + 60 * minute
        analysis._judge.observe("AAPL", at, difference + 0.01 * (minute % 3 - 1))
    for index in range(200):
        good_pair(harness, index)


def scheduler_of(harness: Harness) -> Scheduler:
    """Return the scheduler."""
    return harness.components.autopilot.scheduler


async def state(harness: Harness) -> Any:
    """Return GET /v1/rollout."""
    return (await harness.client.get("/v1/rollout")).json()


async def arm(harness: Harness) -> int:
    """Arm the schedule as a person does, and return the generation."""
    generation = (await state(harness))["generation"]
    response = await harness.put(generation, schedule_armed=True, reason="week 1", actor="casey")
    assert 200 == response.status_code, response.text
    return int(response.json()["generation"])


async def ready(harness: Harness, difference: float = 0.0) -> None:
    """Bring all that a step needs, but for the look itself."""
    prove(harness, difference)
    await harness.components.autopilot.go_no_go.evaluate()


async def test_each_step_takes_a_gate_pass_of_its_own(
    folder: Path, tmp_path: Path, eventually: Eventually
) -> None:
    """Three due steps: each needs new evidence; the fourth waits for its date; all are audited."""
    async with routers(folder, tmp_path, 1, eventually) as [harness]:
        scheduler = scheduler_of(harness)
        await arm(harness)
        assert not await scheduler.look(), "no evidence yet"
        reached = []
        for _ in range(3):
            await ready(harness)
            assert await scheduler.look()
            assert not await scheduler.look(), "a second step on the same evidence"
            reached.append(
                ((await state(harness))["phase"], (await state(harness))["basis_points"])
            )
        assert [("CANARY", 500), ("EXPANSION", 2_500), ("EXPANSION", 5_000)] == reached
        await ready(harness)
        assert not await scheduler.look()
        shown = (await state(harness))["schedule"]
        assert ("2125-01-01", 10_000) == (
            shown["next"]["not_before"],
            shown["next"]["basis_points"],
        )
        assert ["not true that the date of the step has come (UTC)"] == shown["waits_for"]
        assert (True, False, "PROMOTE") == (
            shown["armed"],
            shown["permitted"],
            shown["gate"]["judge"]["outcome"],
        )
        entries = (await harness.client.get("/v1/rollout/audit")).json()["entries"]
        assert ["schedule"] * 3 + ["casey", "router"] == [entry["actor"] for entry in entries]
        assert "go/no-go: GO" in entries[0]["reason"]
        assert 3 == await harness.metric('rollout_schedule_steps_total{outcome="made"}')


async def test_of_two_routers_one_makes_the_step(
    folder: Path, tmp_path: Path, eventually: Eventually
) -> None:
    """Both find it at once, one writes it, the other re-reads; nobody makes the next with it."""
    async with routers(folder, tmp_path, 2, eventually) as both:
        generation = await arm(both[0])
        for harness in both:
            await eventually(lambda h=harness: control_of(h).routing().generation == generation)
        for harness in both:
            await ready(harness)
        for harness in both:
            await harness.components.autopilot.go_no_go.evaluate()
        made = await asyncio.gather(*(scheduler_of(harness).look() for harness in both))
        assert [False, True] == sorted(made)
        for harness in both:
            await eventually(lambda h=harness: control_of(h).routing().generation == generation + 1)
            assert not await scheduler_of(harness).look()
            body = await state(harness)
            assert ("CANARY", 500, generation + 1) == (
                body["phase"],
                body["basis_points"],
                body["generation"],
            )


async def test_nothing_is_promoted_after_a_rollback_until_armed_again(
    folder: Path, tmp_path: Path, eventually: Eventually
) -> None:
    """Not while rolled back, not after the re-arm; armed again, and with new evidence, it is."""
    async with routers(folder, tmp_path, 1, eventually) as [harness]:
        await arm(harness)
        await ready(harness)
        await harness.client.post("/v1/rollout/rollback", json={"reason": "bad"})
        assert not await scheduler_of(harness).look()
        generation = (await state(harness))["generation"]
        again = await harness.client.post(
            "/v1/rollout/rearm", json={"reason": "ok", "expected_generation": generation}
        )
        assert 200 == again.status_code
        await ready(harness)
        assert not await scheduler_of(harness).look()
        shown = (await state(harness))["schedule"]
        assert ["not true that a person has armed the schedule since the last way back"] == shown[
            "waits_for"
        ]
        await arm(harness)
        assert await scheduler_of(harness).look()


async def test_a_state_that_was_lost_is_left_disarmed(
    folder: Path, tmp_path: Path, eventually: Eventually, router_environment: str
) -> None:
    """A re-arm out of an emptied Redis does not bring the armed schedule of before along."""
    async with routers(folder, tmp_path, 1, eventually) as [harness]:
        await arm(harness)
        async with ControlStore(router_environment) as store:
            key = record_key(ROLLOUT_SCOPE)
            await store.run_script("return redis.call('DEL', KEYS[1])", (key,), (), "a loss")
        await eventually(lambda: not harness.components.control.reader.view().known)
        again = await harness.client.post(
            "/v1/rollout/rearm", json={"reason": "lost", "expected_generation": 0}
        )
        assert 200 == again.status_code, again.text
        assert not (await state(harness))["schedule"]["armed"]


@pytest.mark.parametrize("jump", [-10 * 365 * 86_400.0, 10 * 365 * 86_400.0])
async def test_a_wall_clock_that_is_set_takes_no_two_steps(
    folder: Path, tmp_path: Path, eventually: Eventually, jump: float
) -> None:
    """Ten years back nothing is due; ten years ahead is not ahead of the server's clock."""
    async with routers(folder, tmp_path, 1, eventually) as [harness]:
        scheduler = scheduler_of(harness)
        await arm(harness)
        scheduler._wall_clock = lambda: time.time() + jump
        steps = 0
        for _ in range(4):
            await ready(harness)
            for _ in range(3):
                steps += await scheduler.look()
        assert (3 if jump > 0 else 0) == steps
        body = await state(harness)
        assert (5_000 if jump > 0 else 500) == body["basis_points"]


async def test_a_step_lasts_its_dwell_by_the_monotonic_clock(
    folder: Path, tmp_path: Path, eventually: Eventually
) -> None:
    """An hour has to pass on the clock that nobody sets, whatever the other one says."""
    edit(folder / "l3_rollout.yaml", "dwell_seconds: 0\n", "dwell_seconds: 3600\n")
    async with routers(folder, tmp_path, 1, eventually) as [harness]:
        analysis: Analysis = harness.components.analysis
        await arm(harness)
        await ready(harness)
        assert not await scheduler_of(harness).look()
        waits = (await state(harness))["schedule"]["waits_for"]
        assert ["not true that the present step has lasted its dwell time"] == waits
        monotonic = analysis._monotonic
        analysis._monotonic = lambda: monotonic() + 3_601
        assert await scheduler_of(harness).look()


async def test_the_gate_says_who_holds_it(
    folder: Path, tmp_path: Path, eventually: Eventually
) -> None:
    """Judge and go/no-go in their own words; neither alone opens it."""
    async with routers(folder, tmp_path, 1, eventually) as [harness]:
        await arm(harness)
        await harness.components.autopilot.go_no_go.evaluate()
        waits = (await state(harness))["schedule"]["waits_for"]
        assert "judge: HOLD: 0 blocks; at least 30 are needed" in waits
        assert "go/no-go: HOLD: order_success_rate: UNKNOWN: no data" in waits
        for index in range(200):
            good_pair(harness, index)
        await harness.components.autopilot.go_no_go.evaluate()
        assert not await scheduler_of(harness).look()


async def test_no_data_until_the_deadline_is_an_alert_and_never_a_step(
    folder: Path, tmp_path: Path, eventually: Eventually
) -> None:
    """The metric says overdue, the judge holds, and evidence that comes later promotes nothing."""
    async with routers(folder, tmp_path, 1, eventually) as [harness]:
        autopilot = harness.components.autopilot
        await arm(harness)
        monotonic = autopilot.analysis._monotonic
        autopilot.analysis._monotonic = lambda: monotonic() + 8 * 86_400
        await autopilot.judgement.look()
        assert 1 == await harness.metric("rollout_judge_overdue")
        for minute in range(200):
            autopilot.analysis._judge.observe(
                "AAPL", autopilot.analysis.now() - 12_001 + 60 * minute, 0.0
            )
        for index in range(200):
            good_pair(harness, index)
        await autopilot.go_no_go.evaluate()
        assert Outcome.HOLD is autopilot.analysis.verdict().outcome
        assert not await scheduler_of(harness).look()
        assert (
            "judge: overdue, a person has to decide"
            in (await state(harness))["schedule"]["waits_for"]
        )


async def test_switched_off_by_file_nothing_steps(
    folder: Path, tmp_path: Path, eventually: Eventually
) -> None:
    """A master switch is named among what the schedule waits for."""
    edit(folder / "l3_rollout.yaml", "enabled: true", "enabled: false")
    async with routers(folder, tmp_path, 1, eventually) as [harness]:
        await arm(harness)
        await ready(harness)
        assert not await scheduler_of(harness).look()
        waits = (await state(harness))["schedule"]["waits_for"]
        assert ["L3 is switched off: rollout.enabled: false"] == waits


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("2025-11-24: 0.05", "2025-11-24: 1.5", "rollout.schedule: 2025-11-24"),
        ("dwell_seconds: 0\n", "dwell_seconds: -1\n", "rollout.dwell_seconds: -1"),
        ("order_success_rate", "order_rate", "rollout.go_no_go.rows: 'order_rate'"),
        ("harm_bps: 0,", "alpha: 2,", "rollout.judge.alpha: 2"),
        ("harm_bps: 0,", "alfa: 2,", "rollout.judge.alfa: no such key"),
        ("harm_bps: 0,", "harm_bps: 0.6,", "rollout.judge.margin_bps: 0.5"),
    ],
)
async def test_a_wrong_plan_is_one_line(folder: Path, old: str, new: str, told: str) -> None:
    """File, key, value and what is allowed; nothing starts."""
    edit(folder / "l3_rollout.yaml", old, new)
    with pytest.raises(Exception, match="allowed") as caught:
        async with running_router(folder=folder):
            pass
    assert f"l3_rollout.yaml: {told}" in str(caught.value)


def test_a_plan_names_all_that_it_decides_by() -> None:
    """Without a word in the file: no step, a day's dwell, every row of the matrix."""
    plan = Plan.from_mapping({})
    assert ((), 86_400.0, ROWS) == (plan.schedule.steps, plan.dwell_seconds, plan.rows)
    dated = Plan.from_mapping({"schedule": {dt.date(2026, 1, 1): 0.05}, "judge": {"harm_bps": 0.2}})
    assert (500, 0.2) == (dated.schedule.steps[0].basis_points, dated.judge.harm_bps)


def test_the_shipped_file_says_when_the_judge_rolls_back(root: Path) -> None:
    """Any proven cost is harm, and what a promotion leaves unproven is half a basis point."""
    flags = load_flags(
        root / "configs" / "config_backtest.yaml", root / "configs" / "l3_rollout.yaml", None
    )
    assert (0, 0.5) == (flags.plan.judge.harm_bps, flags.plan.judge.margin_bps)
    assert JudgeConfig() == flags.plan.judge
    page = (root / "docs" / "judge.md").read_text()
    assert "`harm_bps` (0)" in page
    assert "`margin_bps` (0.5)" in page


async def touchstone(*words: str) -> tuple[int, str, str]:
    """Run the command line."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "touchstone.cli", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"NO_COLOR": "1", "LOGNAME": "casey"},
    )
    stdout, stderr = await process.communicate()
    assert process.returncode is not None
    return process.returncode, stdout.decode(), stderr.decode()


async def test_the_command_line_arms_shows_and_disarms(url: str) -> None:
    """Who did it is in the audit; the words say what it waits for."""
    code, stdout, stderr = await touchstone(
        *("rollout", "schedule", "arm", "--reason", "week 1", "--url", url)
    )
    assert (0, "") == (code, stderr)
    assert "armed  yes" in stdout
    assert "the schedule has no step beyond the present share" in stdout
    code, stdout, _ = await touchstone("rollout", "schedule", "show", "--url", url, "--json")
    assert (0, True) == (code, json.loads(stdout)["armed"])
    code, stdout, _ = await touchstone(
        *("rollout", "schedule", "disarm", "--reason", "wait", "--url", url, "--json")
    )
    assert (0, False) == (code, json.loads(stdout)["armed"])


async def test_go_no_go_has_an_exit_code_a_decision(url: str, harness: Harness) -> None:
    """1 for HOLD, 3 for NO-GO, 2 for wrong usage; a waiver has a name and an end."""
    code, stdout, _ = await touchstone("go-no-go", "--url", url, "--json")
    assert (1, "HOLD") == (code, json.loads(stdout)["decision"])
    words = ("go-no-go", "waive", "slippage", "--reason", "known", "--hours", "2", "--url", url)
    code, stdout, stderr = await touchstone(*words)
    assert (0, "") == (code, stderr)
    assert stdout.startswith("slippage is waived by ")
    code, _, stderr = await touchstone(
        *("go-no-go", "waive", "luck", "--reason", "r", "--hours", "2", "--url", url)
    )
    assert (2, True) == (code, "row: 'luck'; allowed: order_success_rate" in stderr)
    for _ in range(200):
        harness.components.autopilot.go_no_go._tally.observe(
            time.time(), seconds=0.001, filled=False, slippage_bps=None, error=True
        )
    code, stdout, _ = await touchstone("go-no-go", "--url", url)
    assert (3, True) == (code, stdout.rstrip().endswith("NO-GO"))
    code, _, _ = await touchstone("go-no-go", "withdraw", "slippage", "--url", url)
    assert 0 == code


async def test_verdicts_are_stored_with_their_inputs_and_shared(
    folder: Path, tmp_path: Path, eventually: Eventually
) -> None:
    """Two routers' executions are one measurement; the stored verdict can be made again."""
    async with routers(folder, tmp_path, 2, eventually) as both:
        for harness in both:
            for index in range(60):
                good_pair(harness, index)
        await both[0].components.autopilot.go_no_go.evaluate()
        body = (await both[1].client.get("/v1/go-no-go")).json()
        rows = {row["name"]: row for row in body["rows"]}
        assert {"order_success_rate", "slippage"} == set(rows)
        assert 120 == rows["order_success_rate"]["measurement"]["n"]
        assert {"GREEN"} == {row["colour"] for row in rows.values()}
        stored = (await both[0].client.get("/v1/go-no-go/verdicts")).json()["verdicts"]
        assert stored[0]["rows"] == body["rows"]
        assert stored[0]["decision"] == body["decision"]


async def test_what_the_routers_cannot_measure_is_reported(harness: Harness) -> None:
    """The gateway's rows come from outside; those of the routers cannot be talked over."""
    measured = asdict(Measurement(measured_at=time.time(), n=1_000, part=1))
    response = await harness.client.put(
        "/v1/go-no-go/measurements/post_only_rejects", json={**measured, "by": "gateway"}
    )
    assert 200 == response.status_code, response.text
    body = (await harness.client.get("/v1/go-no-go")).json()
    colours = {row["name"]: row["colour"] for row in body["rows"]}
    assert ("GREEN", "UNKNOWN", "UNKNOWN") == (
        colours["post_only_rejects"],
        colours["pnl_drift"],
        colours["error_rate"],
    )
    refused = await harness.client.put(
        "/v1/go-no-go/measurements/error_rate", json={**measured, "by": "gateway"}
    )
    assert (400, True) == (refused.status_code, "measured by the routers" in refused.text)


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[]",
        "{}",
        '{"decision": "GO"}',
        STORED.replace('"clear_since": 1', '"clear_since": NaN'),
        STORED.replace('"at": 1', '"at": 1e999'),
        STORED.replace('"GO"', '"MAYBE"'),
    ],
)
async def test_a_damaged_verdict_or_measurement_begins_the_dwell_anew(
    harness: Harness, router_environment: str, text: str
) -> None:
    """What a foreign hand left in Redis ends no evaluation: the next verdict is stored over it."""
    go = harness.components.autopilot.go_no_go
    key = "control:{rollout}"
    async with Redis.from_url(router_environment) as client:
        await client.xadd(f"{key}:verdicts", {"verdict": text})
        for row, value in (("pnl_drift", '"x"'), ("post_only_rejects", "1e999")):
            body = f'{{"measured_at": {value}, "n": {value}, "values": [null], "by": "a"}}'
            await client.hset(f"{key}:reported", row, body)
        verdict = await go.evaluate()
        assert "HOLD" == verdict.decision
        assert {"UNKNOWN"} == {row.colour for row in verdict.rows}
    stored = (await harness.client.get("/v1/go-no-go/verdicts")).json()["verdicts"]
    assert {"HOLD"} == {one["decision"] for one in stored}


async def test_a_waiver_ends_and_covers_yellow_only(harness: Harness) -> None:
    """A yellow row goes with it until its time; what is unknown stays so."""
    go = harness.components.autopilot.go_no_go
    plan = replace(control_of(harness).flags.plan, rows=ROWS[:1], go_dwell_seconds=0.0)
    go._plan = lambda: plan
    for index in range(200):
        go._tally.observe(
            time.time(), seconds=0.001, filled=index % 15 > 0, slippage_bps=1.0, error=False
        )
    assert "HOLD" == (await go.evaluate()).decision
    await go.waive("order_success_rate", by="casey", reason="known", hours=0.0003)
    assert "GO" == (await go.evaluate()).decision
    await asyncio.sleep(1.2)
    verdict = await go.evaluate()
    assert ("HOLD", ()) == (verdict.decision, verdict.waivers)
    assert 1 == await harness.metric('rollout_go_no_go{decision="HOLD"}')
