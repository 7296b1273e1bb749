"""The execution routes past the framework: batches as one, refusals in the edge's words, timing."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from execution_providers import ExecutionRequest, Fill
from lob.errors import Fault, InvalidInput, Unavailable
from services.router.providers import BoundedL3, execute_many
from services.router.triggers import WatchedL3
from tests.services.router_harness import (
    Harness,
    StubL3,
    control_of,
    request_json,
    running_router,
    to_canary,
)
from tests.services.simulator_harness import CONFIG, running_simulator
from touchstone.kit.codec import execution_request_from_json

Eventually = Callable[..., Awaitable[float]]
pytestmark = pytest.mark.usefixtures("router_environment")


class ManyStub(StubL3):
    """A stand-in that takes requests together and notes how many came at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[int] = []

    async def execute_many(
        self, requests: Sequence[ExecutionRequest], seed: int
    ) -> list[Fill | Fault]:
        """Return a fill each, but a fault where 13 are wanted."""
        self.groups.append(len(requests))
        results: list[Fill | Fault] = []
        for request in requests:
            if request.order.quantity == 13:
                results.append(Unavailable("thirteen"))
            else:
                results.append(await self.execute(request, seed))
        return results


class HeldMany(ManyStub):
    """Answers each piece when the test sets the event that waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[asyncio.Event] = []

    async def execute_many(
        self, requests: Sequence[ExecutionRequest], seed: int
    ) -> list[Fill | Fault]:
        """Wait for this piece's event, then fill it."""
        self.waiting.append(asyncio.Event())
        await self.waiting[-1].wait()
        return await super().execute_many(requests, seed)


@pytest.fixture
async def many(eventually: Eventually) -> AsyncIterator[tuple[Harness, ManyStub]]:
    """A router in the canary phase whose L3 takes requests together."""
    stub = ManyStub()
    async with running_router(l3=stub) as harness:
        await eventually(lambda: harness.decides)
        await to_canary(harness)
        yield harness, stub


async def batch(harness: Harness, requests: list[Any]) -> list[Any]:
    """Execute a batch and return its results."""
    response = await harness.client.post("/v1/executions/batch", json={"requests": requests})
    assert response.status_code == 200, response.text
    results = response.json()["results"]
    assert isinstance(results, list)
    return results


async def test_a_batch_goes_to_l3_in_a_few_pieces(many: tuple[Harness, ManyStub]) -> None:
    """AAPL is a canary and goes together; others are L2's; each result is in its place."""
    harness, stub = many
    requests = [request_json("AAPL" if n % 2 else "S2", quantity=str(n + 100)) for n in range(70)]
    results = await batch(harness, requests)
    assert [32, 3] == stub.groups
    for n, result in enumerate(results):
        assert ("L3" if n % 2 else "L2") == result["decision"]["arm"]
        assert str(n + 100) == result["fill"]["filled_quantity"]
    assert 0 == control_of(harness).send_gate.open_passages


async def test_where_one_of_a_batch_fails_l2_answers_that_one(
    many: tuple[Harness, ManyStub],
) -> None:
    """The fault of one is its own; it is counted and falls back like a single one."""
    harness, _ = many
    results = await batch(harness, [request_json(quantity=q) for q in ("12", "13", "14")])
    rules = [result["decision"]["rule"] for result in results]
    assert ["allow_list", "fallback:UNAVAILABLE", "allow_list"] == rules
    assert 1 == await harness.metric('exec_fallbacks_total{code="UNAVAILABLE"}')
    series = 'exec_orders_total{mode="live",outcome="filled",provider="L3"}'
    assert 2 == await harness.metric(series)


async def test_server_timing_says_what_the_provider_took(harness: Harness) -> None:
    """In milliseconds, of a single execution."""
    response = await harness.client.post("/v1/executions", json=request_json())
    name, _, took = response.headers["server-timing"].partition(";dur=")
    assert "provider" == name
    assert 0 < float(took) < 1_000


@pytest.mark.parametrize("arm", ["L2", "L3"])
async def test_a_market_that_is_wrong_is_400_by_either_arm(arm: str) -> None:
    """The text names the path; nothing falls back, nothing counts against L3."""
    wrong = json.loads(json.dumps(request_json("AAPL" if arm == "L3" else "S2")))
    wrong["market"]["bids"][1][0] = "-1"
    wrong["bar"] = None
    wrong["market"]["volatility"] = "0.02"
    expected = "market.bids[1].price: '-1'; allowed: a number above 0"
    async with (
        running_simulator(l3_config_path=CONFIG) as simulator,
        running_router(simulator=simulator.address) as harness,
    ):
        while not harness.decides:  # noqa: ASYNC110 - it is no event
            await asyncio.sleep(0.005)
        await to_canary(harness)
        response = await harness.client.post("/v1/executions", json=wrong)
        assert (400, "INVALID_ARGUMENT", expected) == (
            response.status_code,
            response.json()["error"]["code"],
            response.json()["error"]["message"],
        )
        good, bad = await batch(harness, [request_json("AAPL"), wrong])
        assert "L3" == good["decision"]["arm"]
        assert expected == bad["error"]["message"]
        for provider in ("L2", "L3"):
            for outcome in ("invalid", "error"):
                labels = f'mode="live",outcome="{outcome}",provider="{provider}"'
                assert 0 == await harness.metric(f"exec_orders_total{{{labels}}}")


async def test_an_account_that_is_too_long_is_refused(harness: Harness) -> None:
    """As the assignment's own bound says."""
    response = await harness.client.post(
        "/v1/executions", json=request_json(), params={"account": "a" * 129}
    )
    assert 400 == response.status_code
    assert "at most 128 characters" in response.json()["error"]["message"]


async def test_execute_many_of_a_provider_that_cannot_goes_one_by_one() -> None:
    """Every fault stays its own."""
    request = execution_request_from_json(request_json())
    stub = StubL3(error=InvalidInput("no"))
    results = await execute_many(stub, [request] * 3, 1)
    assert [InvalidInput] * 3 == [type(result) for result in results]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (RuntimeError("a defect"), "INTERNAL"),
        (Unavailable("gone"), "UNAVAILABLE"),
        ([], "INTERNAL"),
    ],
)
async def test_a_group_fails_as_a_whole_where_its_call_does(answer: Any, code: str) -> None:
    """Each of the group has the fault; places are given back."""

    async def call(*_: Any) -> Any:
        raise NotImplementedError

    async def call_many(*_: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    request = execution_request_from_json(request_json())
    l3 = BoundedL3(call, 4, 1.0, call_many)
    results = await l3.execute_many([request] * 3, 0)
    assert [code] * 3 == [result.code for result in results if isinstance(result, Fault)]
    over = await l3.execute_many([request] * 5, 0)
    assert ["OVERLOADED"] * 5 == [result.code for result in over if isinstance(result, Fault)]
    assert 3 == len(await l3.execute_many([request] * 3, 0))


async def test_the_triggers_see_every_one_of_a_group() -> None:
    """A failed one of a group counts as a failed one alone does."""
    seen: list[tuple[bool, bool]] = []

    class Watch:
        def observe(self, seconds: float, fill: Fill | None, fault: Fault | None) -> None:
            assert seconds >= 0
            seen.append((fill is not None, fault is not None))

    requests = [execution_request_from_json(request_json(quantity=q)) for q in ("12", "13")]
    await WatchedL3(ManyStub(), Watch()).execute_many(requests, 0)  # type: ignore[arg-type]
    assert [(True, False), (False, True)] == seen


async def test_a_kill_waits_for_a_batch_that_is_under_way(
    eventually: Eventually, tmp_path: Path
) -> None:
    """The passage is open until L3 has answered the whole piece."""
    release = asyncio.Event()

    class Held(ManyStub):
        async def execute_many(
            self, requests: Sequence[ExecutionRequest], seed: int
        ) -> list[Fill | Fault]:
            await release.wait()
            return await super().execute_many(requests, seed)

    async with running_router(l3=Held()) as harness:
        await eventually(lambda: harness.decides)
        await to_canary(harness)
        gate = control_of(harness).send_gate
        task = asyncio.create_task(batch(harness, [request_json()] * 3))
        await eventually(lambda: gate.open_passages == 1)
        drained = asyncio.create_task(gate.drained(gate.mark()))
        await asyncio.sleep(0.05)
        assert not drained.done()
        release.set()
        await asyncio.wait_for(drained, 2)
        assert 3 == len(await task)


async def test_two_pieces_of_a_batch_are_under_way(
    eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never more, whichever is answered first; results keep their places, and no passage stays."""
    # However long they are held here, they are quick ones.
    monkeypatch.setattr("services.router.execute.SLICE_SECONDS_QUICK", math.inf)
    l3 = HeldMany()
    waiting = l3.waiting
    async with running_router(l3=l3) as harness:
        await eventually(lambda: harness.decides)
        await to_canary(harness)
        gate = control_of(harness).send_gate
        wanted = [str(n + 100) for n in range(3 * 64 + 1)]
        task = asyncio.create_task(batch(harness, [request_json(quantity=q) for q in wanted]))
        await eventually(lambda: len(waiting) == 2)
        waiting[1].set()
        await asyncio.sleep(0.02)
        assert (2, 1) == (len(waiting), gate.open_passages)
        waiting[0].set()
        await eventually(lambda: len(waiting) == 4)
        for held in waiting:
            held.set()
        assert wanted == [result["fill"]["filled_quantity"] for result in await task]
        assert 0 == gate.open_passages


async def test_beside_another_each_batch_has_one_piece_under_way(eventually: Eventually) -> None:
    """Whoever comes is let in at once; who was alone begins no second piece until it is again."""
    l3 = HeldMany()
    waiting = l3.waiting
    async with running_router(l3=l3) as harness:
        await eventually(lambda: harness.decides)
        await to_canary(harness)
        first = asyncio.create_task(batch(harness, [request_json()] * (3 * 64)))
        await eventually(lambda: len(waiting) == 2)
        second = asyncio.create_task(batch(harness, [request_json()] * (2 * 64)))
        await eventually(lambda: len(waiting) > 2)
        waiting[0].set()
        await asyncio.sleep(0.02)
        assert 3 == len(waiting)
        waiting[1].set()
        await eventually(lambda: len(waiting) == 4)
        waiting[3].set()
        assert 3 * 64 == len(await first)
        waiting[2].set()
        await eventually(lambda: len(waiting) == 5)
        waiting[4].set()
        assert 2 * 64 == len(await second)


async def test_pieces_that_take_long_go_one_after_the_other(eventually: Eventually) -> None:
    """The second would wait for the first, and both have the same deadline."""
    under_way: list[int] = []
    turn = asyncio.Lock()

    class Slow(ManyStub):
        async def execute_many(
            self, requests: Sequence[ExecutionRequest], seed: int
        ) -> list[Fill | Fault]:
            under_way.append(control_of(harness).send_gate.open_passages)
            async with turn:
                await asyncio.sleep(0.06)
            return await super().execute_many(requests, seed)

    async with running_router(l3=Slow()) as harness:
        await eventually(lambda: harness.decides)
        await to_canary(harness)
        assert 4 * 64 == len(await batch(harness, [request_json()] * (4 * 64)))
    assert [1, 2, 1, 1] == under_way


async def test_a_batch_has_room_in_a_simulator_that_is_slow(eventually: Eventually) -> None:
    """Both pieces under way fit the bound that a simulator has by itself: none is refused."""
    async with (
        running_simulator(inline_seconds_max=0.0) as simulator,
        running_router(simulator=simulator.address, simulator_deadline_seconds=5.0) as harness,
    ):
        await eventually(lambda: harness.decides)
        await to_canary(harness)
        await batch(harness, [request_json()])  # now the kind is known to be slow
        results = await batch(harness, [request_json()] * 256)
        assert "fallback:OVERLOADED" not in {result["decision"]["rule"] for result in results}


async def test_a_batch_is_routed_by_the_state_of_its_moment(
    many: tuple[Harness, ManyStub],
) -> None:
    """What was assigned to a symbol before says nothing once the state is another."""
    harness, _ = many
    requests = [request_json(symbol=symbol) for symbol in ("AAPL", "MSFT", "AAPL")]
    router = harness.components.router
    for accounts, symbols, arms in (
        (["vip"], [], ["L3", "L3", "L3"]),
        ([], ["MSFT"], ["L2", "L3", "L2"]),
        ([], [], ["L2", "L2", "L2"]),
        (["vip"], [], ["L3", "L3", "L3"]),
    ):
        generation = control_of(harness).routing().generation
        lists = {"canary_accounts": accounts, "canary_symbols": symbols}
        changed = await harness.put(generation, phase="CANARY", **lists)
        assert 200 == changed.status_code, changed.text
        asked = [execution_request_from_json(one) for one in requests]
        for account in ("vip", "other", "vip"):
            answers = await router.execute_many(asked, account)
            alone = [router.assign(one.order.symbol, account) for one in asked]
            found = [one.decision for one in answers if not isinstance(one, Fault)]
            assert [(one.arm, one.rule, one.bucket, one.generation) for one in alone] == [
                (one.arm, one.rule, one.bucket, one.generation) for one in found
            ]
            if account == "vip":
                assert arms == [one.arm for one in found]
