"""The simulator's page shows programs that run, and names every call, metric and bound there is."""

import asyncio
import os
import re
import sys
from pathlib import Path

from lob.live_market import FLOWS
from tests.conftest import ROOT
from tests.services.simulator_harness import running_simulator
from touchstone.v1 import book_pb2, execution_pb2

PAGE = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


async def printed_by(program: str, address: str, root: Path) -> str:
    """Run a program of the page beside a simulator and return what it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        env=os.environ | {"SIMULATOR": address, "PYTHONPATH": str(root / "src")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaints = await asyncio.wait_for(process.communicate(), 30)
    assert 0 == process.returncode, complaints.decode()
    return printed.decode()


async def test_the_documented_programs_run(root: Path, tmp_path: Path) -> None:
    """One executes an order, one asks for forecasts, one trades in a driven session."""
    config = tmp_path / "forecasting.yaml"
    config.write_text("fill_probability: {enabled: true}\n")
    execute, forecast, session = PROGRAMS
    async with running_simulator(l3_config_path=config) as simulator:
        status, filled, price, slippage = (
            await printed_by(execute, simulator.address, root)
        ).split()
        forecasts = await printed_by(forecast, simulator.address, root)
        traded = await printed_by(session, simulator.address, root)
    assert ("FILLED", "250") == (status, filled)
    assert 227 < float(price) < 228
    assert float(slippage) > 0
    chances = [float(line.split()[2]) for line in forecasts.splitlines()]
    assert 3 == len(chances)
    assert 0 <= chances[0] < chances[1] < chances[2] <= 1
    assert "behind 200 (poisson)" in forecasts
    assert "True 50 of 50\n" == traded


def test_every_call_is_in_the_table() -> None:
    """Nothing is served that the page does not say, and nothing is said to be missing."""
    services = [
        execution_pb2.DESCRIPTOR.services_by_name["ExecutionService"],
        book_pb2.DESCRIPTOR.services_by_name["BookService"],
    ]
    calls = {method.name for service in services for method in service.methods}
    table = PAGE.split("## Calls\n")[1].split("\n\nEvery bound")[0]
    assert calls == set(re.findall(r"`([A-Z][A-Za-z]+)`", table))
    assert [] == re.findall(r"not implemented|in this version", PAGE, re.IGNORECASE)


async def test_every_metric_is_in_the_table() -> None:
    """What the simulator counts itself is what the page lists; the process's own comes with it."""
    async with running_simulator() as running:
        families = {metric.name for metric in running.components.registry.collect()}
    table = PAGE.split("| Metric | What |\n")[1].split("\n\n")[0]
    said = {name.removesuffix("_total") for name in re.findall(r"`([a-z0-9]+_[a-z0-9_]+)`", table)}
    own = {
        name.removesuffix("_total")
        for name in families
        if name.startswith(("l3_", "simulator_", "config_"))
    }
    assert own == said


def test_every_generator_is_named() -> None:
    """The page lists what `model` may be."""
    row = next(line for line in PAGE.splitlines() if line.startswith("| `generator`"))
    assert list(FLOWS) == [name for name in re.findall(r"`([a-z-]+)`", row) if name in FLOWS]
    assert all(f"`{name}`" in row for name in FLOWS)
