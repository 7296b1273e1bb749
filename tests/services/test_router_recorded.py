"""Recorded decisions over the API: made again, and tried under a proposal."""

import asyncio
from pathlib import Path

import pytest

from lob.errors import NotFound, Unavailable
from services.router import recorded
from services.router.recorded import RecordedDecisions
from tests.services.conftest import Eventually
from tests.services.router_harness import running_router
from tests.services.test_router_decisions import CONFIG, RealL3, in_shadow

# What is tried runs at the lowest priority: beside other tests it may take its time.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the commands as long as the tests have: a minute is the service's own bound."""
    monkeypatch.setattr(recorded, "REPLAY_SECONDS_MAX", 500.0)


async def test_decisions_are_made_again_and_tried_under_a_proposal(
    router_environment: str, eventually: Eventually
) -> None:
    """Byte for byte the same; with everything on L3 each of them moves; one command at a time."""
    async with running_router(l3=RealL3()) as router:
        log, client = router.components.decisions, router.client
        log.learn_l3(CONFIG.model_dump(mode="json"), "its build")
        await eventually(lambda: in_shadow(router))
        ids = [(await router.execute(f"S{n}"))["decision"]["id"] for n in range(3)]
        await eventually(lambda: router.components.shadow.mirrored == 3 and log.depth == 0)
        first, second = await asyncio.gather(
            client.post(f"/v1/decisions/{ids[1]}/replay"),
            client.post("/v1/rollout/what-if", json={"phase": "FULL", "basis_points": 10_000}),
        )
        assert [200, 429] == sorted((first.status_code, second.status_code))
        replayed = await client.post(f"/v1/decisions/{ids[1]}/replay")
        assert (True, 1) == (replayed.json()["same"], replayed.json()["decisions"])
        tried = await client.post("/v1/rollout/what-if", json={"phase": "FULL", "percentage": 1})
        assert 200 == tried.status_code, tried.text
        assert [3, 3] == [tried.json()[what]["orders"] for what in ("decisions", "moves")]
        for body, says in (
            ({"phase": "FULL", "basis_points": 10_001}, "basis_points: 10001"),
            ({"percentage": 0.5, "basis_points": 1}, "both given"),
            ({"canary_symbols": "AAPL"}, "canary_symbols: 'AAPL'"),
            ({"day": "2026-01-05"}, "nothing proposed"),
            ({"phase": "HALF"}, "phase: 'HALF'"),
        ):
            refused = await client.post("/v1/rollout/what-if", json=body)
            assert (400, True) == (refused.status_code, says in refused.text), refused.text
        assert 404 == (await client.post(f"/v1/decisions/{'0' * 32}/replay")).status_code


async def test_one_that_is_under_way_when_the_service_stops_is_told_so(tmp_path: Path) -> None:
    """The server's cancellation becomes a refusal, and the command ends with it."""
    log = RecordedDecisions(tmp_path)
    running = asyncio.create_task(log.replay("0" * 32))
    await asyncio.sleep(0.2)
    running.cancel()
    with pytest.raises(Unavailable, match="stopping"):
        await running
    with pytest.raises(NotFound, match="no decisions are recorded"):
        await log.replay("0" * 32)
