"""The simulator checks itself by a known order, and says NOT_SERVING while the answer is wrong."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from execution_providers import create_execution_provider
from execution_providers.l3 import L3Provider
from execution_providers.provider import ExecutionProvider
from execution_providers.types import AssetClass, Fill
from lob.config import create_l3_config
from lob.errors import Unavailable
from services.simulator import wiring
from services.simulator.app import create_app
from services.simulator.configured import configured
from services.simulator.self_check import expected_answers, problem_of
from services.simulator.sessions import Sessions
from tests.services.simulator_harness import Running, request, running_simulator
from touchstone.kit import tasks
from touchstone.kit.health import is_ready

Eventually = Callable[..., Awaitable[float]]
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def health_of(running: Running, service: str = "") -> int:
    """Return what the standard health service says."""
    async with grpc.aio.insecure_channel(running.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        asked = health_pb2.HealthCheckRequest(service=service)
        return int((await stub.Check(asked, timeout=5)).status)


def checks(running: Running, outcome: str) -> float:
    """Return how many checks ended so."""
    labels = {"outcome": outcome}
    found = running.components.registry.get_sample_value("simulator_self_checks_total", labels)
    return found or 0.0


def answering_as_l2(running: Running) -> None:
    """Let the simulator's providers be of level L2, as a wrong build might."""
    executions = running.components.executions
    providers: dict[AssetClass, ExecutionProvider] = {
        kind: create_execution_provider(kind, "L2") for kind in AssetClass
    }
    executions.current = replace(executions.current, providers=providers)


async def test_the_check_is_made_at_the_start() -> None:
    """A simulator that serves has passed it."""
    async with running_simulator() as running:
        assert 1 == checks(running, "passed")
        assert SERVING == await health_of(running)
        assert 1 == running.components.registry.get_sample_value("simulator_serving")


async def test_an_l3_that_answers_as_l2_stops_serving_and_recovers(eventually: Eventually) -> None:
    """Health, metric and readiness say it, the client finds out, and it passes again by itself."""
    async with running_simulator(self_check_seconds=0.05) as running:
        good = running.components.executions.current
        create_app(running.components)
        answering_as_l2(running)
        await eventually(lambda: checks(running, "failed") >= 1)
        assert NOT_SERVING == await health_of(running)
        assert NOT_SERVING == await health_of(running, "touchstone.v1.ExecutionService")
        assert SERVING == await health_of(running, "touchstone.v1.BookService")
        with pytest.raises(Unavailable, match="NOT_SERVING"):
            await running.client.check()
        assert 0 == running.components.registry.get_sample_value("simulator_serving")
        results = await running.components.readiness.run()
        assert "level L2" in results["self_check"].detail
        assert not is_ready(results)
        running.components.executions.current = good
        passed = checks(running, "passed")
        await eventually(lambda: checks(running, "passed") > passed)
        assert SERVING == await health_of(running)
        assert is_ready(await running.components.readiness.run())


async def test_checks_come_at_their_interval(eventually: Eventually) -> None:
    """Each interval has one; requests are answered meanwhile."""
    async with running_simulator(self_check_seconds=0.02) as running:
        await eventually(lambda: checks(running, "passed") >= 4)
        assert "FILLED" == (await running.client.execute(request(), 1)).status
        assert 0 == checks(running, "failed")


def test_an_l2_in_the_clothes_of_an_l3_is_found() -> None:
    """A class that says L3 and walks the depth does not give the known answer."""

    class Disguised(L3Provider):
        def _execute(self, *arguments: Any) -> Any:
            fill = create_execution_provider(self.asset_class, "L2")._execute(*arguments)
            fill.attribution["provider"] = "L3"  # type: ignore[index]
            return fill

    made = configured(create_l3_config("minimal"), 0, 1)
    providers: dict[AssetClass, ExecutionProvider] = {
        kind: Disguised(kind, made.config) for kind in AssetClass
    }
    expected = expected_answers(made)
    assert "" == problem_of(made, expected)
    problem = problem_of(replace(made, providers=providers), expected)
    assert "status='UNFILLED'" in problem
    assert "expected KnownAnswer(provider='L3', status='FILLED'" in problem


def test_a_provider_that_has_changed_since_is_found() -> None:
    """The answer under the configuration in force is compared too, not of the bare level only."""
    made = configured(create_l3_config("equity"), 0, 1)
    expected = expected_answers(made)
    provider = made.providers[AssetClass.EQUITY]
    assert isinstance(provider, L3Provider)
    provider.config = create_l3_config("equity", latency={"order_us": 50_000.0})
    problem = problem_of(made, expected)
    assert "L3 EQUITY: the known order gave" in problem


@pytest.mark.parametrize("preset", ["minimal", "equity", "equity_hft", "crypto", "full"])
def test_every_preset_answers_the_known_order_with_a_fill(preset: str) -> None:
    """What is compared under a configuration is an execution, and no refusal."""
    made = configured(create_l3_config(preset), 0, 1)
    expected = expected_answers(made)
    assert all(isinstance(answer, Fill) for answer in expected.values())
    assert "" == problem_of(made, expected)


async def test_a_disabled_configuration_passes_by_refusing() -> None:
    """`enabled: false` is what it is asked for: the refusal is the right answer."""
    made = configured(create_l3_config(enabled=False), 0, 1)
    assert "" == await asyncio.to_thread(problem_of, made, expected_answers(made))


async def test_work_that_ends_with_an_error_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """What runs beside the requests does not go silently: the log has it, while others go on."""
    told: list[str] = []
    log = SimpleNamespace(
        critical=lambda event, **_: told.append(event), error=lambda *_, **__: None
    )
    monkeypatch.setattr(tasks, "_log", log)
    monkeypatch.setattr(wiring, "EXPIRY_SECONDS", 0.01)

    def broken(_: Sessions) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Sessions, "expire", broken)
    async with running_simulator() as running:
        await eventually(lambda: told == ["background_task_ended"])
        assert "FILLED" == (await running.client.execute(request(), 1)).status
