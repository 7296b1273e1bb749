"""A router in this process with a stand-in for L3, and requests to send it."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from execution_providers import ExecutionRequest, Fill, FillStatus
from services.router.app import create_app
from services.router.providers import BoundedL3
from services.router.rollout_control import RolloutControl
from services.router.settings import RouterSettings
from services.router.wiring import Components, wire
from touchstone.kit.settings import load
from touchstone.rollout.assignment import Rule

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class StubL3:
    """Answer like L3 at a price of its own, or fail as told; remember what was asked."""

    error: Exception | None = None
    calls: list[tuple[ExecutionRequest, int]] = field(default_factory=list)

    async def execute(self, request: ExecutionRequest, seed: int) -> Fill:
        """Return a fill that no L2 would give."""
        self.calls.append((request, seed))
        if self.error is not None:
            raise self.error
        return Fill(
            status=FillStatus.FILLED,
            filled_quantity=request.order.quantity,
            average_price=Decimal("100.02"),
            fees=Decimal(0),
            slippage_bps=Decimal("2.5"),
            attribution={"provider": "L3"},
        )


@dataclass
class Harness:
    """A running router: its client, its parts, its stand-in for L3."""

    client: httpx.AsyncClient
    components: Components
    l3: StubL3

    @property
    def decides(self) -> bool:
        """Say whether the router knows the state and has its lease: until then, all is L2's."""
        rule = self.components.router.assign("AAPL").rule
        return control_of(self).reader.view().known and rule not in (Rule.UNKNOWN, Rule.STALE)

    async def put(self, generation: int, **changes: Any) -> httpx.Response:
        """Change the rollout under `generation`."""
        return await self.client.put(
            "/v1/rollout", json=changes, headers={"If-Match": f'"{generation}"'}
        )

    async def execute(self, symbol: str = "AAPL", account: str = "", **order: Any) -> Any:
        """Execute one order and return the answer's JSON."""
        response = await self.client.post(
            "/v1/executions", json=request_json(symbol, **order), params={"account": account}
        )
        assert response.status_code == 200, response.text
        return response.json()

    async def metric(self, line: str) -> float:
        """Return one sample of /metrics by its name and labels."""
        text = (await self.client.get("/metrics")).text
        found = [row.rsplit(" ", 1)[1] for row in text.splitlines() if row.startswith(f"{line} ")]
        assert len(found) == 1, f"{line}: {found}"
        return float(found[0])


def request_json(symbol: str = "AAPL", **order: Any) -> dict[str, Any]:
    """Return an execution request: buy 10 where 100.01 is offered."""
    return {
        "order": {"symbol": symbol, "side": "BUY", "quantity": "10", "type": "MARKET"} | order,
        "market": {
            "timestamp_ms": 1_700_000_000_000,
            "bids": [["99.99", "100"], ["99.98", "300"]],
            "asks": [["100.01", "100"], ["100.02", "300"]],
            "last_price": "100",
            "adv_notional": "100000000",
            "volatility": 0.02,
        },
        "bar": {
            "open": 100,
            "high": 101,
            "low": 99,
            "close": 100.5,
            "volume": 10_000,
            "duration_ms": 60_000,
        },
        "asset_class": "EQUITY",
    }


def settings_of(folder: Path, **overrides: Any) -> RouterSettings:
    """Return settings with a folder's configuration; Redis and data folder come by environment.

    The shipped one is not named but found, so that no rollback is written into it.
    """
    if folder != ROOT / "configs":
        overrides["config_path"] = folder / "config_backtest.yaml"
        overrides["rollout_path"] = folder / "l3_rollout.yaml"
    return load(RouterSettings, **overrides)


@contextlib.asynccontextmanager
async def running_router(
    *,
    folder: Path = ROOT / "configs",
    l3: StubL3 | None = None,
    simulator: str | None = None,
    l3_check: Callable[[], Awaitable[object]] | None = None,
    **overrides: Any,
) -> AsyncIterator[Harness]:
    """Run a router in this process, for the length of an `async with` block.

    L3 is the stand-in, or the real one where `simulator` is its address.
    """
    stub = l3 or StubL3()
    if simulator is not None:
        overrides["simulator_address"] = simulator
    settings = settings_of(folder, **overrides)
    async with wire(settings, None if simulator else stub, l3_check) as components:
        transport = httpx.ASGITransport(app=create_app(components))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield Harness(client, components, stub)


async def to_canary(harness: Harness, **more: Any) -> int:
    """Take a fresh router to the canary phase and return the generation."""
    response = await harness.put(1, phase="CANARY", **more)
    assert response.status_code == 200, response.text
    generation = response.json()["generation"]
    assert isinstance(generation, int)
    return generation


def control_of(harness: Harness) -> RolloutControl:
    """Return the router's control."""
    return harness.components.control


def copy_configs(root: Path, tmp_path: Path) -> Path:
    """Return a folder with copies of the two files."""
    folder = tmp_path / "configs"
    folder.mkdir()
    for name in ("config_backtest.yaml", "l3_rollout.yaml"):
        shutil.copy(root / "configs" / name, folder)
    return folder


def edit(path: Path, old: str, new: str) -> None:
    """Replace text that must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def bounded(stub: StubL3) -> Any:
    """Return the stand-in behind the same bounds as the simulator."""
    return BoundedL3(stub.execute, 10, 1.0)
