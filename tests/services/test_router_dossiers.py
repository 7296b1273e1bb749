"""Dossiers: one for each rollback, soon, whole, readable by people and programs, bounded."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from execution_providers import Fill, FillStatus
from lob.errors import Fault, Unavailable
from services.router.dossier_folder import DossierFolder
from tests.rollout.dossier_document import document
from tests.services.router_harness import Harness, StubL3, control_of, running_router, to_canary
from touchstone.kit.redis_server import RedisServer, start_redis
from touchstone.rollout.triggers import TRIGGERS

Eventually = Callable[..., Awaitable[float]]
pytestmark = pytest.mark.usefixtures("router_environment")


class Dear(StubL3):
    """Fill well in the shadow phase, and 12 bps off the mid once `dear` is set."""

    dear = False

    async def execute(self, request: Any, seed: int) -> Fill:
        """Return a fill at a price of its own."""
        self.calls.append((request, seed))
        price, slippage = (Decimal("100.12"), Decimal(12)) if self.dear else (Decimal(100), None)
        quantity = request.order.quantity
        return Fill(FillStatus.FILLED, quantity, price, Decimal(0), slippage or Decimal("1.5"))


async def dossiers(harness: Harness, count: int = 1) -> list[Any]:
    """Return the dossiers, newest first, once there are so many; they have ten seconds."""
    async with asyncio.timeout(10.0):
        while True:
            listed = (await harness.client.get("/v1/rollout/dossiers")).json()["dossiers"]
            if len(listed) >= count:
                break
            await asyncio.sleep(0.05)
    assert count == len(listed)
    found = []
    for line in listed:
        response = await harness.client.get(f"/v1/rollout/dossiers/{line['id']}")
        assert 200 == response.status_code
        found.append(response.json())
    return found


async def test_an_automatic_rollback_leaves_a_whole_dossier(eventually: Eventually) -> None:
    """Trigger with value and limit, orders, pairs, evidence, what changed, and the timeline."""
    stub = Dear()
    async with running_router(l3=stub) as running:
        await eventually(lambda: running.decides)
        for n in range(5):
            await running.execute(client_order_id=f"s{n}")
        await eventually(lambda: len(running.components.shadow.store) == 5)
        await to_canary(running, canary_symbols=["AAPL"], reason="week 2", actor="casey")
        stub.dear = True
        started = time.monotonic()
        for _ in range(100):
            await running.execute()
            await asyncio.sleep(0)
        [dossier] = await dossiers(running)
        assert time.monotonic() - started < 10.0
        assert ("automatic", 3) == (dossier["kind"], dossier["rollback"]["generation"])
        trigger = dossier["trigger"]
        assert ("slippage_p95", 10.0, True) == (
            trigger["trigger"],
            trigger["limit"],
            trigger["found_here"],
        )
        assert (100, 1.0, 0.05) == (
            trigger["samples"],
            trigger["value_share"],
            trigger["tolerated_share"],
        )
        [window] = [w for w in dossier["windows"] if w["trigger"] == "slippage_p95"]
        assert 100 == sum(slot["over"] for slot in window["slots"])
        assert (100, 0, ["AAPL"]) == tuple(
            dossier["orders"][name] for name in ("count", "failed", "symbols")
        )
        assert 12.0 == dossier["orders"]["shown"][0]["slippage_bps"]
        live = [pair for pair in dossier["worst_pairs"] if pair["candidate_bps"] == 12.0]
        assert (20, 20) == (len(live), len(dossier["worst_pairs"]))
        assert "HOLD" == dossier["evidence"]["verdict"]["outcome"]
        assert [{"key": "phase", "before": "CANARY", "after": "ROLLED_BACK"}] == dossier["flags"][
            "diff"
        ]
        happened = [row["what"] for row in dossier["timeline"]]
        assert ["phase SHADOW", "phase CANARY", "slippage_p95 tripped"] == happened[:3]
        assert {"phase ROLLED_BACK", "rollback seen", "dossier written"} == set(happened[3:])
        times = [row["at"] for row in dossier["timeline"]]
        assert sorted(times) == times
        page = await running.client.get(f"/v1/rollout/dossiers/{dossier['id']}.html")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert 2 == page.text.count("<svg")
        assert not re.search(r"<script|<link|src=|href=|url\(|@import", page.text)


class Faulty(StubL3):
    """Go wrong in one way once told."""

    fault = ""

    async def execute(self, request: Any, seed: int) -> Fill:
        """Return a good fill, or fail in that way."""
        if self.fault == "critical_exception":
            raise Fault("a defect")
        if self.fault == "error_storm" or (self.fault == "error_rate" and len(self.calls) % 9 == 8):
            self.calls.append((request, seed))
            raise Unavailable("gone")
        if self.fault == "latency_p95":
            await asyncio.sleep(0.012)
        fill = await super().execute(request, seed)
        return replace(fill, slippage_bps=Decimal(11)) if self.fault == "slippage_p95" else fill

    async def check(self) -> None:
        """Fail where the health check is to."""
        if self.fault == "health_check":
            raise Unavailable("NOT_SERVING")


@pytest.mark.parametrize("name", [trigger.name for trigger in TRIGGERS])
async def test_each_trigger_rolls_back_once_and_leaves_its_dossier(
    name: str, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After healthy traffic that does nothing: one rollback, one dossier, with its own trigger."""
    monkeypatch.setattr("services.router.health_watch.HEALTH_SECONDS", 0.1)
    stub = Faulty()
    async with running_router(l3=stub, l3_check=stub.check) as running:
        await eventually(lambda: running.decides)
        await to_canary(running, canary_symbols=["AAPL"])
        for _ in range(50):
            await running.execute()
        await asyncio.sleep(1.1)
        state = (await running.client.get("/v1/rollout")).json()
        assert ("CANARY", []) == (state["phase"], running.components.dossiers.names())
        stub.fault = name
        # On a busy machine L2 answers at times, which is no fault of L3's: as many as it takes.
        async with asyncio.timeout(30):
            while control_of(running).latch is None and name != "health_check":
                await running.execute()
                await asyncio.sleep(0.001)
        [dossier] = await dossiers(running)
        assert ("automatic", name) == (dossier["kind"], dossier["trigger"]["trigger"])
        assert dossier["rollback"]["reason"].startswith(f"{name}: ")
        assert dossier["trigger"]["tripped"]
        assert dossier["written_at"] - dossier["rollback"]["at"] < 10.0
        entries = (await running.client.get("/v1/rollout/audit")).json()["entries"]
        assert 1 == [entry["phase"] for entry in entries].count("ROLLED_BACK")


async def test_each_rollback_has_one_dossier(harness: Harness) -> None:
    """An emergency, a re-arm, another one: two dossiers, newest first, with their own orders."""
    await to_canary(harness, canary_symbols=["AAPL"])
    await harness.execute()
    await harness.client.post("/v1/rollout/rollback", json={"reason": "first", "actor": "casey"})
    [first] = await dossiers(harness)
    assert ("emergency", None) == (first["kind"], first["trigger"])
    again = await harness.client.post(
        "/v1/rollout/rearm", json={"reason": "fixed", "expected_generation": 3}
    )
    assert 200 == again.status_code
    await asyncio.sleep(0.3)
    await harness.client.post("/v1/rollout/rollback", json={"reason": "second"})
    newest, oldest = await dossiers(harness, 2)
    assert ("second", "first") == (newest["rollback"]["reason"], oldest["rollback"]["reason"])
    assert (0, 1) == (newest["orders"]["count"], oldest["orders"]["count"])
    await asyncio.sleep(0.5)
    assert 2 == len(await dossiers(harness, 2))


async def test_a_restart_writes_none_for_a_rollback_of_before(
    eventually: Eventually, tmp_path: Path
) -> None:
    """What an earlier life has written stays, and is not written again."""
    async with running_router() as harness:
        await eventually(lambda: harness.decides)
        await harness.client.post("/v1/rollout/rollback", json={"reason": "r"})
        [before] = await dossiers(harness)
    async with running_router() as harness:
        await asyncio.sleep(0.5)
        [after] = await dossiers(harness)
    assert before == after
    assert 2 == len(list((tmp_path / "data" / "router" / "dossiers").iterdir()))


async def test_without_redis_a_dossier_is_written_and_says_so(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """Within the same ten seconds: generation unknown, audit not readable, the rest is there."""
    monkeypatch.setenv("TOUCHSTONE_REDIS_URL", own_redis.url)
    async with running_router() as harness:
        await eventually(lambda: harness.decides)
        await to_canary(harness, canary_symbols=["AAPL"])
        harness.l3.error = Unavailable("gone")
        await harness.execute()
        own_redis.stop()
        await harness.client.post("/v1/rollout/rollback", json={"reason": "no redis"})
        [dossier] = await dossiers(harness)
    assert dossier["rollback"]["generation"] is None
    assert "Redis" in dossier["timeline_incomplete"]
    assert (1, 1) == (dossier["orders"]["count"], dossier["orders"]["failed"])
    assert "CANARY" == dossier["flags"]["before"]["phase"]


async def test_a_disk_that_refuses_is_tried_again(harness: Harness, tmp_path: Path) -> None:
    """The rollback does not depend on it, and the dossier comes once there is room."""
    folder = tmp_path / "data" / "router" / "dossiers"
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("in the way")
    response = await harness.client.post("/v1/rollout/rollback", json={"reason": "r"})
    assert (200, True) == (response.status_code, response.json()["confirmed"])
    await asyncio.sleep(0.5)
    assert "in the way" == folder.read_text()
    assert 0 < await harness.metric('rollout_dossiers_total{outcome="failed"}')
    folder.unlink()
    [dossier] = await dossiers(harness)
    assert 2 == dossier["rollback"]["generation"]
    assert 1 == await harness.metric('rollout_dossiers_total{outcome="written"}')


async def test_what_redis_got_later_completes_the_dossier(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """Written without a generation while Redis is away; the same one has it afterwards."""
    monkeypatch.setenv("TOUCHSTONE_REDIS_URL", own_redis.url)
    async with running_router() as harness:
        await eventually(lambda: harness.decides)
        own_redis.stop()
        await harness.client.post("/v1/rollout/rollback", json={"reason": "no redis"})
        [first] = await dossiers(harness)
        restarted = start_redis(own_redis.data_dir, own_redis.port)
        try:
            await eventually(lambda: control_of(harness).latch is None)
            await asyncio.sleep(0.6)
            [second] = await dossiers(harness)
        finally:
            restarted.stop()
    assert first["id"] == second["id"]
    assert (None, 2) == (first["rollback"]["generation"], second["rollback"]["generation"])
    assert "phase ROLLED_BACK" in [row["what"] for row in second["timeline"]]


async def test_a_critical_exception_names_its_order(harness: Harness) -> None:
    """The order that L3 failed on is the first of those affected."""
    await to_canary(harness, canary_symbols=["AAPL"])
    await harness.execute()
    harness.l3.error = Fault("a defect")
    answer = await harness.execute()
    [dossier] = await dossiers(harness)
    worst = dossier["orders"]["shown"][0]
    assert (answer["decision"]["id"], "INTERNAL") == (worst["decision_id"], worst["error"])


@pytest.mark.parametrize("name", ["absent", "..%2F..%2Fcontrol", "control.json", "x.html"])
async def test_an_unknown_dossier_is_404(harness: Harness, name: str) -> None:
    """An id is an id, never a path."""
    response = await harness.client.get(f"/v1/rollout/dossiers/{name}")
    assert 404 == response.status_code


def test_the_folder_is_bounded_and_survives_damage(tmp_path: Path) -> None:
    """The oldest go with their pages; a damaged one is listed as such; no half-written file."""
    folder = DossierFolder(tmp_path / "d", dossiers_max=3)
    names = [f"20260101T00000{n}000Z-g{n}-0123abcd" for n in range(6)]
    for name in names:
        folder.write(document(name))
    assert names[:2:-1] == folder.names()
    assert 6 == len(list((tmp_path / "d").iterdir()))
    (tmp_path / "d" / f"{names[4]}.json").write_text("{")
    assert [False, True, False] == ["unreadable" in line for line in folder.list()]
    with pytest.raises(ValueError, match="dossier id"):
        folder.write(document("../x"))
    with pytest.raises(ValueError, match="JSON"):
        folder.write(document(names[0]) | {"written_at": float("nan")})
