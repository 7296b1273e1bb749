"""Whatever was decided, it replays: every kind of order, every arm, and no control state at all."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from execution_providers import AssetClass, ExecutionRequest, Fill, create_execution_provider
from lob.errors import Conflict, DeadlineExceeded, Fault, NotSupported, Overloaded, Unavailable
from tests.services.conftest import Eventually
from tests.services.conftest import eventually as eventually_
from tests.services.router_harness import Harness, StubL3, request_json, running_router
from tests.services.test_router_decisions import CONFIG, RealL3, count, decisions_in, replay_folder

TIMES = ("GTC", "DAY", "IOC", "FOK")
KINDS: tuple[dict[str, Any], ...] = (
    {"type": "MARKET"},
    {"type": "LIMIT", "limit_price": "100.01"},
    {"type": "LIMIT", "limit_price": "99.995"},
    {"type": "LIMIT", "limit_price": "99.5", "post_only": True},
    {"type": "LIMIT", "limit_price": "100.02", "display_quantity": "3"},
    {"type": "STOP", "stop_price": "100.4"},
    {"type": "STOP", "stop_price": "150"},
    {"type": "STOP_LIMIT", "stop_price": "100.4", "limit_price": "100.6"},
)
SIZES = ("1", "150", "100000", "0.00000001", "99999999999999999999")


class L3OfAllClasses(RealL3):
    """The real L3 of every asset class in this process."""

    def __init__(self) -> None:
        super().__init__()
        self._providers = {
            kind: create_execution_provider(kind, level="L3", config=CONFIG) for kind in AssetClass
        }

    async def execute(self, request: ExecutionRequest, seed: int) -> Fill:
        """Return the fill of L3."""
        if self.error is not None:
            raise self.error
        provider = self._providers[request.asset_class]
        fill = provider.execute(request.order, request.market, request.bar, seed=seed)
        assert fill is not None
        return fill


def orders() -> list[dict[str, Any]]:
    """Return requests of every kind, with a bar and without, and with one side of the book."""
    found: list[dict[str, Any]] = []
    sides = itertools.cycle(("BUY", "SELL"))
    for number, (kind, time) in enumerate(itertools.product(KINDS, TIMES)):
        for asset in AssetClass:
            size = SIZES[(number + len(found)) % len(SIZES)]
            body = request_json("AAPL", side=next(sides), quantity=size, time_in_force=time, **kind)
            body["asset_class"] = asset.value
            if number % 3 == 1:
                body["bar"] = None
            if number % 7 == 3:
                body["market"]["asks"] = []
            found.append(body)
    return found


async def batch(harness: Harness, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Execute requests together and return the results."""
    answer = await harness.client.post("/v1/executions/batch", json={"requests": bodies})
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def assert_same(folder: Path, decisions: int) -> None:
    """Replay a folder's log: all is the same, and that is so many decisions."""
    reading, report = replay_folder(folder)
    different = [(d.id, [str(one) for one in d.differences]) for d in report.first_different]
    assert ([], 0, 0) == (different, reading.damaged, reading.torn)
    assert decisions == report.decisions
    assert report.identical == report.decisions + report.candidates


@pytest.mark.usefixtures("router_environment")
async def test_every_kind_of_order_replays_on_either_arm(eventually: Eventually) -> None:
    """In shadow and live: types, times in force, asset classes, sizes, no bar, half a book."""
    bodies = orders()
    async with running_router(l3=L3OfAllClasses(), shadow_queue_size=10_000) as harness:
        harness.components.decisions.learn_l3(CONFIG.model_dump(mode="json"), "its build")
        await eventually(lambda: harness.decides)
        for start in range(0, len(bodies), 100):
            await batch(harness, bodies[start : start + 100])
        await eventually(lambda: harness.components.shadow.depth == 0)
        await harness.put(1, phase="CANARY", canary_symbols=["AAPL"])
        for start in range(0, len(bodies), 100):
            await batch(harness, bodies[start : start + 100])
        folder = harness.components.decisions.folder
    recorded = decisions_in(folder)
    assert {"shadow", "allow_list"} <= {record.rule for record in recorded}
    assert {"L2", "L3"} == {record.arm for record in recorded}
    assert len({record.refusal for record in recorded}) > 1
    assert_same(folder, len(recorded))


@pytest.mark.parametrize(
    "fault", [Unavailable, DeadlineExceeded, Overloaded, Fault, Conflict, NotSupported]
)
@pytest.mark.usefixtures("router_environment")
async def test_a_fallback_replays_before_the_simulator_said_what_it_runs(
    fault: type[Fault], eventually: Eventually
) -> None:
    """L2's fill in its place, whatever the code of the failure."""
    async with running_router(l3=StubL3(error=fault("a test"))) as harness:
        await eventually(lambda: harness.decides)
        await harness.put(1, phase="CANARY", canary_symbols=["AAPL"])
        await harness.execute()
        folder = harness.components.decisions.folder
    assert [f"fallback:{fault.code}"] == [record.rule for record in decisions_in(folder)]
    assert_same(folder, 1)


@pytest.mark.usefixtures("router_environment")
async def test_a_pair_has_the_digest_of_its_decision(
    harness: Harness, eventually: Eventually
) -> None:
    """In shadow and live, so that one can be found by the other."""
    await harness.execute()
    await eventually(lambda: len(harness.components.shadow.store) == 1)
    await harness.put(1, phase="CANARY", canary_symbols=["AAPL"])
    await harness.execute()
    live = harness.components.autopilot.counterfactual.store
    await eventually(lambda: len(live) == 1)
    now = harness.components.shadow.now()
    pairs = [*harness.components.shadow.store.pairs(now), *live.pairs(now)]
    log = harness.components.decisions
    await eventually(lambda: len(log.recent()) == 2)
    assert {record.id: record.inputs_digest for record in decisions_in(log.folder)} == {
        pair.decision_id: pair.inputs_digest for pair in pairs
    }


async def test_a_decision_without_control_state_replays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Generation 0, nothing known: L2, and the same again."""
    monkeypatch.setenv("TOUCHSTONE_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("TOUCHSTONE_DATA_DIR", str(tmp_path / "data"))
    async with running_router() as harness:
        answer = await harness.execute()
        assert ("L2", 0) == (answer["decision"]["arm"], answer["decision"]["generation"])
        folder = harness.components.decisions.folder
    assert_same(folder, 1)


async def test_a_router_serves_and_stops_where_nothing_can_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is not written is counted."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "router").mkdir()
    (tmp_path / "data" / "router" / "decisions").write_text("in the way")
    monkeypatch.setenv("TOUCHSTONE_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("TOUCHSTONE_DATA_DIR", str(tmp_path / "data"))
    async with running_router() as harness:
        assert "FILLED" == (await harness.execute())["fill"]["status"]
        metrics = harness.components.decisions._metrics.lines
        await eventually_(lambda: count(metrics["write_failed"]) > 0)
        assert [] == (await harness.client.get("/v1/decisions")).json()["decisions"]
