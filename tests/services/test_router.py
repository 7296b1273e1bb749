"""Executions over HTTP: assignment, fallback, batches, bounds, flags, metrics."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lob.errors import DeadlineExceeded, Overloaded, Unavailable
from services.router.providers import BoundedL3
from tests.services.router_harness import (
    Harness,
    StubL3,
    bounded,
    copy_configs,
    edit,
    request_json,
    running_router,
    to_canary,
)
from touchstone.kit.codec import execution_request_from_json

Eventually = Callable[..., Awaitable[float]]
pytestmark = pytest.mark.usefixtures("router_environment")


async def test_in_shadow_l2_answers_in_the_contracts_shape(harness: Harness) -> None:
    """The decision names arm, rule, bucket and generation; the fill is L2's."""
    answer = await harness.execute()
    decision, fill = answer["decision"], answer["fill"]
    assert (decision["arm"], decision["rule"]) == ("L2", "shadow")
    assert (decision["bucket"], decision["generation"]) == (8489, 1)
    assert (fill["status"], fill["filled_quantity"], fill["average_price"]) == (
        "FILLED",
        "10",
        "100.01",
    )
    assert set(fill) == {
        "status",
        "filled_quantity",
        "average_price",
        "fees",
        "slippage_bps",
        "attribution",
        "fills",
    }


async def test_every_decision_has_an_id_of_its_own(harness: Harness) -> None:
    """The same request twice is two decisions."""
    ids = {(await harness.execute())["decision"]["id"] for _ in range(20)}
    assert len(ids) == 20


async def test_canaries_accounts_and_the_share_get_l3(harness: Harness) -> None:
    """By list, by account, by bucket; and whoever is denied gets L2 first of all."""
    await to_canary(harness, basis_points=2_000, canary_accounts=["alice"], deny_symbols=["MSFT"])
    expected = [
        ("AAPL", "", "L3", "allow_list"),
        (" aapl ", "", "L3", "allow_list"),
        ("TSLA", "Alice", "L3", "allow_list"),
        ("MSFT", "alice", "L2", "deny_list"),
        ("S2", "", "L2", "default"),
    ]
    for symbol, account, arm, rule in expected:
        decision = (await harness.execute(symbol, account))["decision"]
        assert (symbol, decision["arm"], decision["rule"]) == (symbol, arm, rule)
        path = f"/v1/assignments/{symbol}"
        shown = (await harness.client.get(path, params={"account": account})).json()
        assert (shown["arm"], shown["rule"], shown["bucket"]) == (arm, rule, decision["bucket"])


@pytest.mark.parametrize(
    ("error", "code"),
    [(Unavailable("gone"), "UNAVAILABLE"), (ValueError("a defect"), "INTERNAL")],
)
async def test_where_l3_fails_l2_answers_and_says_so(
    error: Exception, code: str, eventually: Eventually
) -> None:
    """The client gets a fill; decision and metrics tell that it was a fallback."""
    async with running_router() as harness:
        harness.components.router._l3 = bounded(StubL3(error=error))
        await eventually(lambda: harness.decides)
        await to_canary(harness)
        answer = await harness.execute()
        assert answer["fill"]["average_price"] == "100.01"
        assert (answer["decision"]["arm"], answer["decision"]["rule"]) == ("L2", f"fallback:{code}")
        assert await harness.metric(f'exec_fallbacks_total{{code="{code}"}}') == 1
        series = 'exec_orders_total{mode="live",outcome="error",provider="L3"}'
        assert await harness.metric(series) == 1


async def test_an_l3_that_hangs_or_is_flooded_is_bounded() -> None:
    """A deadline ends the wait; beyond the bound in flight there is no wait at all."""

    async def hang(*_: object) -> Any:
        await asyncio.sleep(30)

    request = execution_request_from_json(request_json())
    l3 = BoundedL3(hang, 2, 0.05)
    results = await asyncio.gather(
        *(l3.execute(request, 0) for _ in range(3)), return_exceptions=True
    )
    assert [type(result) for result in results] == [DeadlineExceeded, DeadlineExceeded, Overloaded]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"order": NaN}', "NaN"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "allowed: an object"),
        (b'{"order":{},"market":{},"asset_class":"EQUITY"}', "order."),
    ],
)
async def test_a_wrong_body_is_400_in_one_line(
    harness: Harness, content: bytes, named: str
) -> None:
    """Malformed, deep, huge and incomplete bodies are refused alike."""
    response = await harness.client.post("/v1/executions", content=content)
    assert response.status_code == 400
    assert named in response.json()["error"]["message"]


async def test_a_huge_body_is_413(harness: Harness) -> None:
    """Told by its length before it is read, and where the length is not told, while it is."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b" " * 1_000_000

    for content in (b" " * 5_000_000, chunks()):
        response = await harness.client.post("/v1/executions", content=content)
        assert response.status_code == 413
        assert "4194304 bytes" in response.json()["error"]["message"]


async def test_a_batch_answers_each_in_order(harness: Harness) -> None:
    """A wrong request in the middle spoils nobody else's."""
    requests: list[Any] = [request_json(f"S{n}") for n in range(40)]
    requests[7] = request_json("BAD", quantity="-1")
    response = await harness.client.post("/v1/executions/batch", json={"requests": requests})
    results = response.json()["results"]
    assert len(results) == 40
    assert results[7]["error"]["code"] == "INVALID_ARGUMENT"
    assert all(r["fill"]["status"] == "FILLED" for i, r in enumerate(results) if i != 7)
    assert len({r["decision"]["id"] for r in results if "decision" in r}) == 39


@pytest.mark.parametrize("size", [0, 257])
async def test_a_batch_is_bounded(harness: Harness, size: int) -> None:
    """Nothing and too much are both refused."""
    body = {"requests": [request_json()] * size}
    response = await harness.client.post("/v1/executions/batch", json=body)
    assert response.status_code == 400
    assert "1..256" in response.json()["error"]["message"]


async def test_master_flags_and_environment_forbid(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path, eventually: Eventually
) -> None:
    """The environment comes before the master flag, and both before any phase."""
    folder = copy_configs(root, tmp_path)
    edit(folder / "config_backtest.yaml", "level: L3 ", "level: L2 ")
    for value, rule in (("true", "master_flag"), ("false", "environment")):
        monkeypatch.setenv("USE_L3_SIMULATOR", value)
        async with running_router(folder=folder) as harness:
            await eventually(lambda h=harness: h.decides)
            assert (await harness.execute())["decision"]["rule"] == rule
            body = (await harness.client.get("/v1/rollout")).json()
            assert body["flags"]["off_because"] == ["execution.level: L2"]


async def test_series_that_rules_need_exist_at_zero(harness: Harness) -> None:
    """A rule over a series that is not there never fires."""
    for series in (("L2", "live"), ("L3", "live"), ("L3", "shadow"), ("L2", "fallback")):
        labels = f'mode="{series[1]}",outcome="error",provider="{series[0]}"'
        assert await harness.metric(f"exec_orders_total{{{labels}}}") == 0
    assert await harness.metric("rollout_generation") == 1
    assert await harness.metric("rollout_basis_points") == 0
    assert await harness.metric("l3_enabled") == 0
    assert await harness.metric("control_state_age_seconds") < 1
    await to_canary(harness)
    assert await harness.metric("rollout_basis_points") == 500
    assert await harness.metric("l3_enabled") == 1
    assert await harness.metric('rollout_phase{phase="CANARY"}') == 1


async def test_slippage_is_counted_with_its_sign_and_its_square(harness: Harness) -> None:
    """The histogram has negative edges; the moments have families of their own."""
    await harness.execute()
    labels = '{mode="live",provider="L2"}'
    signed = "exec_slippage_bps_signed_total"
    for sign, bps in (("cost", 1.0), ("gain", 0.0)):
        child = f'{signed}{{mode="live",provider="L2",sign="{sign}"}}'
        assert await harness.metric(child) == pytest.approx(bps)
    assert await harness.metric(f"exec_slippage_bps_square_total{labels}") == pytest.approx(1.0)
    text = (await harness.client.get("/metrics")).text
    assert 'exec_slippage_bps_bucket{le="-0.5",mode="live",provider="L2"} 0.0' in text
    assert "symbol=" not in text


async def test_routes_that_are_not_there_are_404(harness: Harness) -> None:
    """What does not exist yet is absent."""
    for path in ("/v1/nothing", "/v1/decisions/x"):
        assert (await harness.client.get(path)).status_code == 404
