"""The rollout state over HTTP, with a real Redis: first boot, changes, races."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.services.router_harness import (
    Harness,
    control_of,
    copy_configs,
    edit,
    running_router,
)
from touchstone.kit.control import ROLLOUT_SCOPE, ControlStore

Eventually = Callable[..., Awaitable[float]]
pytestmark = pytest.mark.usefixtures("router_environment")


async def test_a_first_boot_starts_from_the_file(harness: Harness) -> None:
    """Shadow, 5 %, three canaries, generation 1; the ETag is the generation."""
    response = await harness.client.get("/v1/rollout")
    body = response.json()
    assert response.headers["etag"] == '"1"'
    assert (body["phase"], body["basis_points"], body["percentage"]) == ("SHADOW", 500, 0.05)
    assert body["document"]["canary_symbols"] == ["AAPL", "GOOGL", "MSFT"]
    assert (body["control"]["known"], body["l3_may_answer"]) == (True, False)


@pytest.mark.parametrize("phase", ["canary", "expansion", "full"])
async def test_a_file_cannot_promote(
    phase: str, tmp_path: Path, root: Path, eventually: Eventually
) -> None:
    """Whatever the file says, a first boot goes no further than shadow."""
    folder = copy_configs(root, tmp_path)
    edit(folder / "l3_rollout.yaml", "phase: shadow", f"phase: {phase}")
    edit(folder / "l3_rollout.yaml", "0.05", "1.0" if phase == "full" else "0.1")
    async with running_router(folder=folder) as running:
        await eventually(lambda: running.decides)
        assert (await running.client.get("/v1/rollout")).json()["phase"] == "SHADOW"


async def test_a_put_without_a_generation_is_428(harness: Harness) -> None:
    """A change has to say what it is based on."""
    response = await harness.client.put("/v1/rollout", json={"phase": "CANARY"})
    assert response.status_code == 428
    assert response.json()["error"]["code"] == "PRECONDITION_REQUIRED"


async def test_a_put_on_another_generation_is_409_and_tells_the_present(harness: Harness) -> None:
    """The caller learns what to read again."""
    response = await harness.put(7, phase="CANARY")
    assert (response.status_code, response.headers["etag"]) == (409, '"1"')
    assert response.json()["error"]["generation"] == 1


async def test_an_illegal_transition_is_409_and_names_what_is_allowed(harness: Harness) -> None:
    """From SHADOW there is no way straight to FULL."""
    response = await harness.put(1, phase="FULL", basis_points=10_000)
    assert response.status_code == 409
    assert "allowed from here: OFF, SHADOW, CANARY" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"phases": "CANARY"}, "phases: no such key"),
        ({"percentage": 1.5}, "percentage"),
        ({"percentage": 0.1, "basis_points": 1000}, "both given"),
        ({"phase": "canary"}, "allowed: OFF, SHADOW"),
        ({"basis_points": "500"}, "basis_points"),
        ({"canary_symbols": "AAPL"}, "canary_symbols"),
        ({"reason": 5, "phase": "OFF"}, "reason"),
        ({}, "nothing to change"),
        ([], "allowed: an object"),
    ],
)
async def test_a_wrong_put_is_400_and_changes_nothing(
    harness: Harness, body: Any, named: str
) -> None:
    """The answer names the key; the generation stays."""
    response = await harness.client.put("/v1/rollout", json=body, headers={"If-Match": "1"})
    assert response.status_code == 400
    assert named in response.json()["error"]["message"]
    assert (await harness.client.get("/v1/rollout")).json()["generation"] == 1


@pytest.mark.parametrize("header", ["*", "abc", "", '"1", "2"', "-1", "9" * 20])
async def test_an_if_match_that_is_no_generation_is_400(harness: Harness, header: str) -> None:
    """Wildcards and lists would defeat the check."""
    response = await harness.client.put(
        "/v1/rollout", json={"phase": "CANARY"}, headers={"If-Match": header}
    )
    assert response.status_code == 400


async def test_a_put_keeps_what_it_does_not_name(harness: Harness) -> None:
    """Changing the share does not empty the deny list."""
    await harness.put(1, deny_symbols=["TSLA"])
    body = (await harness.put(2, percentage=0.01)).json()
    assert body["document"]["deny_symbols"] == ["TSLA"]
    assert (body["generation"], body["basis_points"]) == (3, 100)


async def test_of_many_racing_puts_one_wins(harness: Harness) -> None:
    """One 200, the others 409, one audit entry more."""
    responses = await asyncio.gather(
        *(harness.put(1, basis_points=n, reason=f"racer {n}") for n in range(8))
    )
    assert sorted(r.status_code for r in responses) == [200, *[409] * 7]
    audit = (await harness.client.get("/v1/rollout/audit")).json()["entries"]
    assert [entry["generation"] for entry in audit] == [2, 1]
    assert audit[0]["document"] == (await harness.client.get("/v1/rollout")).json()["document"]


async def test_a_cross_site_change_is_refused(harness: Harness) -> None:
    """A page of another site cannot make a browser change or roll back anything."""
    for call in (
        harness.client.put("/v1/rollout", json={}, headers={"Origin": "http://evil.example"}),
        harness.client.post("/v1/rollout/rearm", json={}, headers={"Origin": "null"}),
    ):
        assert (await call).status_code == 403


async def test_a_change_by_another_router_is_applied_within_a_second(
    harness: Harness, router_environment: str, eventually: Eventually
) -> None:
    """Somebody else's write reaches this process by doorbell or poll."""
    async with ControlStore(router_environment) as store:
        record = await store.read(ROLLOUT_SCOPE)
        assert record is not None
        document = {**record.document, "phase": "CANARY"}
        await store.write(
            ROLLOUT_SCOPE,
            state="CANARY",
            document=document,
            actor="another",
            reason="test",
            expected_generation=1,
        )
        assert await eventually(lambda: control_of(harness).routing().generation == 2) < 1.0
    assert (await harness.execute())["decision"]["arm"] == "L3"


async def test_a_whole_number_may_be_written_with_a_point(harness: Harness) -> None:
    """116.0 basis points are 116, as the schema's integer has it; half a point is none."""
    taken = await harness.put(1, basis_points=116.0)
    refused = await harness.put(2, basis_points=116.5)

    assert (200, 116) == (taken.status_code, taken.json()["basis_points"])
    assert 400 == refused.status_code
    assert "basis_points" in refused.json()["error"]["message"]
