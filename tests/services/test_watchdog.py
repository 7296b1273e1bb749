"""The watchdog over a fake gateway, a fake account and a clock that its own waits move."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from lob.errors import Unavailable
from services.order_gateway.venue_account import LiveOrder
from services.order_gateway.watchdog import EventFile
from services.order_gateway.watchdog_duty import Cancels, Duty, Watchdog, WatchdogMetrics

BTC = "BIP-20DEC30-CDE"


class Over(Exception):  # noqa: N818 - the end of the scene, no error
    """The scene is over."""


def live(key: str, side: str, kind: str, leaves: int = 1, *, flag: bool = False) -> LiveOrder:
    """Return a working order."""
    return LiveOrder(key, key, BTC, side, kind, Decimal(leaves), flag, key)


STOP = live("stop", "SELL", "stop_limit_stop_limit_gtc", flag=True)
ENTRY = live("entry", "BUY", "limit_limit_gtc")
STRAY = live("stray", "SELL", "stop_limit_stop_limit_gtc", leaves=5)


@dataclass
class Scene:
    """A gateway that is heard at some times, and an account whose venue may be down."""

    alive: Any = True
    orders: list[LiveOrder] = field(default_factory=lambda: [ENTRY, STOP, STRAY])
    held: dict[str, Decimal] | None = field(default_factory=lambda: {BTC: Decimal(2)})
    down_until: float = 0.0
    ignored_cancels: int = 0
    now: float = 0.0
    ends_at: float = 60.0
    asked: list[tuple[float, tuple[str, ...]]] = field(default_factory=list)
    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    async def heard(self) -> bool:
        """Return whether the gateway lives now."""
        return bool(self.alive(self.now) if callable(self.alive) else self.alive)

    async def working_orders(self) -> list[LiveOrder]:
        """Return what works, unless the venue is down."""
        self._answer()
        return list(self.orders)

    async def positions(self) -> dict[str, Decimal]:
        """Return what is held, unless the venue does not say."""
        self._answer()
        if self.held is None:
            raise Unavailable("venue: positions: no answer")
        return self.held

    async def cancel(self, order_ids: Sequence[str]) -> dict[str, str]:
        """Take the cancels; the first few change nothing."""
        self._answer()
        self.asked.append((self.now, tuple(order_ids)))
        if self.ignored_cancels:
            self.ignored_cancels -= 1
        else:
            self.orders = [order for order in self.orders if order.order_id not in order_ids]
        return dict.fromkeys(order_ids, "")

    async def close_position(self, product_id: str, client_order_id: str) -> str:
        """Never called by a watchdog."""
        raise AssertionError((product_id, client_order_id))

    async def sleep(self, seconds: float) -> None:
        """Move the clock; end the scene."""
        self.now += seconds
        if self.now > self.ends_at:
            raise Over

    def count(self, name: str) -> float:
        """Return a metric."""
        return self.registry.get_sample_value(name) or 0.0

    def _answer(self) -> None:
        if self.now < self.down_until:
            raise Unavailable("venue: down")


async def play(scene: Scene, cancels: Cancels = Cancels.ENTRIES) -> Scene:
    """Let a watchdog of ten seconds watch the scene to its end."""
    duty = Duty(silence_seconds=10, poll_seconds=1, recheck_seconds=30, cancels=cancels)
    watchdog = Watchdog(
        scene,
        scene,
        duty,
        WatchdogMetrics(scene.registry),
        lambda kind, payload: scene.told.append((kind, payload)),
        monotonic=lambda: scene.now,
        sleep=scene.sleep,
    )
    with pytest.raises(Over):
        await watchdog.watch()
    return scene


async def test_a_silence_cancels_all_but_what_protects_the_position() -> None:
    """After ten seconds, once; the stop that fits stays, the one that is too large goes."""
    scene = await play(Scene(alive=lambda now: now < 5))
    assert [ids for _, ids in scene.asked] == [("entry", "stray")]
    assert 14 <= scene.asked[0][0] <= 16
    assert [order.order_id for order in scene.orders] == ["stop"]
    assert [kind for kind, _ in scene.told] == [
        "watchdog_fired",
        "watchdog_cancelled",
        "watchdog_done",
    ]
    assert (scene.count("watchdog_fired_total"), scene.count("watchdog_armed")) == (1, 0)
    assert scene.count("watchdog_orders_cancelled_total") == 2


async def test_everything_means_everything() -> None:
    """With `--cancel everything` the stops go, too."""
    scene = await play(Scene(alive=False), Cancels.EVERYTHING)
    assert scene.orders == []


async def test_a_gateway_that_is_heard_loses_nothing() -> None:
    """Nine seconds of silence, again and again, are a restart and no reason."""
    scene = await play(Scene(alive=lambda now: now % 10 < 1, ends_at=200))
    assert (scene.asked, scene.told) == ([], [])


async def test_it_tries_until_the_venue_took_it_and_arms_again() -> None:
    """The venue is down, then takes a cancel that changes nothing, then one that does."""
    scene = await play(
        Scene(alive=lambda now: now < 1 or now > 45, down_until=30, ignored_cancels=1)
    )
    assert len(scene.asked) == 2
    assert scene.asked[0][0] >= 30
    assert [order.order_id for order in scene.orders] == ["stop"]
    kinds = [kind for kind, _ in scene.told]
    assert kinds == [
        "watchdog_fired",
        "watchdog_failed",
        "watchdog_cancelled",
        "watchdog_cancelled",
        "watchdog_done",
        "watchdog_armed",
    ]
    assert scene.count("watchdog_venue_failures_total") >= 2
    assert scene.count("watchdog_armed") == 1


async def test_it_stops_cancelling_when_the_gateway_is_back() -> None:
    """A gateway that is back rules over its orders again, also where the venue was slow."""
    scene = await play(Scene(alive=lambda now: now < 1 or now > 20, down_until=30))
    assert scene.asked == []
    assert [kind for kind, _ in scene.told][-1] == "watchdog_armed"


async def test_unknown_positions_spare_only_what_can_do_no_harm() -> None:
    """Without the positions the stop that is flagged stays, the other one goes."""
    scene = await play(Scene(alive=False, held=None))
    assert [order.order_id for order in scene.orders] == ["stop"]


async def test_what_comes_later_in_a_silence_is_cancelled_as_well() -> None:
    """A process that was stopped may hand over one more order: the next look finds it."""
    scene = Scene(alive=False, ends_at=100)
    appeared = live("late", "BUY", "limit_limit_gtc")

    async def sleep(seconds: float) -> None:
        await Scene.sleep(scene, seconds)
        if 20 < scene.now < 22 and appeared not in scene.orders:
            scene.orders.append(appeared)

    scene.sleep = sleep  # type: ignore[method-assign]
    await play(scene)
    assert [ids for _, ids in scene.asked] == [("entry", "stray"), ("late",)]


def test_events_are_lines_of_json(tmp_path: Path) -> None:
    """One after the other, with the time of day."""
    events = EventFile(tmp_path / "watchdog" / "events.jsonl", lambda: 1_700_000_000.0)
    events("watchdog_fired", {"silence_seconds": 10.5})
    events("watchdog_armed", {"why": "back"})
    lines = (tmp_path / "watchdog" / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["watchdog_fired", "watchdog_armed"]
    assert json.loads(lines[0])["time"] == 1_700_000_000.0
