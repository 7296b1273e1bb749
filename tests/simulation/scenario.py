"""One seed: what is drawn from it, the processes that live and die in it, and the verdict.

A world holds venue, network, Redis and disk. Gateways live in it one after the other; each dies by
a crash at some callback, some write to the journal or some write to the socket, by losing its power
besides, or by being asked to stop. Then faults end, time passes, and the oracle compares.
"""

import gc
import random
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tests.simulation.client import Client
from tests.simulation.control import RedisModel
from tests.simulation.disk import Machine
from tests.simulation.faults import CLEAR, LAG, USUAL, Sky, draw_windows
from tests.simulation.gateway import Life, LifeSettings
from tests.simulation.loop import World, virtual_clocks
from tests.simulation.market import Market
from tests.simulation.network import Network, Written
from tests.simulation.oracle import Oracle, read_books, whole_journal_differs
from tests.simulation.shared import rarer_polls
from tests.simulation.sql import Database
from tests.simulation.venue import SimulatedVenue

PRODUCTS: Final = (("BTC-PERP", "BIP-20DEC30-CDE"), ("ETH-PERP", "ETP-20DEC30-CDE"))
QUIET_SECONDS: Final = 60.0
LIVES_MAX: Final = 12
IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """How a process ends: at which count of what, and whether the machine loses its power."""

    kind: str = "never"
    at: float = 0.0
    power: bool = False
    restore: bool = False
    pause_seconds: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that a seed decides before it begins."""

    seed: int
    seconds: float
    symbols: dict[str, str]
    pace_seconds: float
    market_seconds: float
    deaths: tuple[Death, ...]
    clear: bool
    foreign: bool
    armed: bool
    settings: LifeSettings
    skew_seconds: float


@dataclass
class Verdict:
    """What came of one seed: nothing wrong, or one line for each thing that is."""

    seed: int
    violations: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    virtual_seconds: float = 0.0
    steps: int = 0
    trace: list[str] = field(default_factory=list)


def draw_plan(seed: int) -> Plan:
    """Return what a seed decides."""
    rng = random.Random(f"{seed} plan")
    count = rng.choice((1, 1, 2))
    kinds = rng.choices(("callback", "append", "socket", "time", "stop"), (5, 3, 3, 2, 1), k=3)
    deaths = tuple(
        Death(
            kind=kind,
            at={
                "callback": rng.choice((rng.randint(1, 300), rng.randint(1, 6_000))),
                "append": rng.randint(1, 120),
                "socket": rng.randint(1, 60),
            }.get(kind, rng.uniform(0.2, 4.0)),
            power=rng.random() < (0.7 if kind == "socket" else 0.35),
            restore=rng.random() < 0.1,
            pause_seconds=rng.choice((0.02, 0.3, 2.0)) * rng.uniform(0.5, 1.5),
        )
        for kind in kinds[: rng.choice((0, 1, 1, 2, 3))]
    )
    return Plan(
        seed=seed,
        seconds=rng.uniform(2.5, 6.0),
        symbols=dict(PRODUCTS[:count]),
        pace_seconds=rng.choice((0.03, 0.06, 0.12)),
        market_seconds=rng.choice((0.1, 0.2, 0.4)),
        deaths=deaths,
        clear=rng.random() < 0.1,
        foreign=rng.random() < 0.1,
        armed=rng.random() < 0.9,
        settings=LifeSettings(
            forward_reduce_only=rng.random() < 0.5,
            max_orders_per_minute=rng.choice((20, 1_000, 1_000, 1_000)),
        ),
        skew_seconds=rng.choice((0.0, 0.0, -0.5, 0.5)) * rng.random(),
    )


class Scenario:
    """Carry one plan out."""

    def __init__(self, plan: Plan, folder: Path, *, tracing: bool = False) -> None:
        self.plan = plan
        self.folder = folder
        self.verdict = Verdict(plan.seed)
        self.tracing = tracing
        world = self.world = World()
        self.venue = SimulatedVenue(
            world, self.dice("venue"), product_ids=list(plan.symbols.values())
        )
        self.redis = RedisModel(world)
        self.database = Database()
        world.after(self.dice("backup").uniform(0, plan.seconds), self.database.back_up)
        if plan.armed:
            self._arm()
        self.network = Network(world, self.venue, self.dice("network"))
        base = CLEAR if plan.clear else USUAL
        self.sky = Sky(self.network, self.venue.mood, self.redis, base, [], self.database)
        self.sky.skew_seconds = plan.skew_seconds
        self.machine = Machine(folder, self.dice("disk"))
        self.market = Market(
            world,
            self.venue,
            self.dice("market"),
            list(plan.symbols.items()),
            pace_seconds=plan.market_seconds,
            foreign=plan.foreign,
        )
        self.client = Client(
            rng=self.dice("client"),
            symbols=list(plan.symbols),
            venue_now_ns=world.time_ns,
            pace_seconds=plan.pace_seconds,
            trace=self.trace,
        )
        self.oracle = Oracle(
            self.venue, plan.symbols, self.network, self.database, foreign=plan.foreign
        )
        self.lives: list[Life] = []
        self.network.on_written = self._written
        if not plan.clear:
            windows = draw_windows(self.dice("faults"), plan.seconds)
            self.venue.remembers = any(window.name == LAG for window in windows)
            for window in windows:
                world.after(window.start, self.sky.begin, window)
                world.after(window.start + window.seconds, self.sky.end, window)
                if tracing:
                    world.after(window.start, self.trace, "fault", window)
                    world.after(window.start + window.seconds, self.trace, "over", window.name)
        self.sky.settle()

    def _arm(self) -> None:
        """Have every scope of the kill switch stand at ACTIVE, as after an earlier run."""
        for scope in ("global", "account:default", *(f"symbol:{s}" for s in self.plan.symbols)):
            fields = {
                "state": "ACTIVE",
                "document": "{}",
                "actor": "simulation",
                "reason": "begun",
                "updated_at": "2026-01-01T00:00:00+00:00",
            }
            self.redis.write(f"control:{{kill:{scope}}}", "absent", 0, 0, fields)

    def dice(self, name: str) -> random.Random:
        """Return dice of their own for one part, so that parts do not disturb one another."""
        return random.Random(f"{self.plan.seed} {name}")

    def trace(self, *what: object) -> None:
        """Note what happens, where somebody wants to read it."""
        if self.tracing:
            self.verdict.trace.append(
                f"{self.world.now:9.4f} {len(self.lives)} {' '.join(map(str, what))}"
            )

    def run(self) -> Verdict:
        """Let everything happen; return what was wrong."""
        plan, world = self.plan, self.world
        deaths = list(plan.deaths)
        while len(self.lives) < LIVES_MAX:
            death = deaths.pop(0) if deaths and world.now < plan.seconds else Death()
            life = Life(self, death, len(self.lives))
            self.lives.append(life)
            life.run()
            self.verdict.steps += life.loop.steps
            if life.finished:
                break
            self.trace("dead", death)
            if death.restore:
                self.trace("database restored from a backup")
                self.database.restore()
            if death.power:
                self.trace("power cut: bytes lost:", self.machine.cut_power())
            world.run_until(world.now + death.pause_seconds)
        self._judge()
        return self.verdict

    def fail(self, text: str) -> None:
        """Note a violation."""
        self.trace("VIOLATION", text)
        self.verdict.violations.append(text)

    def begin_quiet(self) -> None:
        """End all that disturbs: what is left must come to rest."""
        self.sky.clear()
        self.market.over = True
        self.trace("quiet begins")

    def _written(self, written: Written) -> None:
        if self.tracing:
            self.trace("left", written.method, written.target, written.body.decode())
        self.lives[-1].check_written(written)

    def _judge(self) -> None:
        verdict, venue = self.verdict, self.venue
        verdict.virtual_seconds = self.world.now
        for number, life in enumerate(self.lives):
            verdict.violations += [f"life {number}: {text}" for text in life.violations]
            for context in life.loop.failures:
                error = context.get("exception")
                text = f"life {number}: nobody caught {error!r}: {context.get('message')}"
                verdict.violations.append(text)
        folder = self.lives[-1].journal_folder
        books, wrong = read_books(folder, self.database.tables)
        verdict.violations += wrong or whole_journal_differs(folder, books)
        if not self.plan.foreign:
            verdict.violations += self.oracle.history(books)
        verdict.violations += self.oracle.refused_never_left(books)
        verdict.violations += books.defects
        venue.exchange.check()
        orders = venue.exchange.orders("gateway")
        verdict.counts = {
            "orders": len(books.orders),
            "at the venue": len(orders),
            "fills": len(books.fills),
            "lives": len(self.lives),
            "requests": len(self.network.written),
            **{f"state {o.state}": 0 for o in books.orders.values()},
        }
        for order in books.orders.values():
            verdict.counts[f"state {order.state}"] += 1

    def bury(self) -> None:
        """Let go of the dead."""
        for life in self.lives:
            life.bury()
        self.lives.clear()


def unchanged(plan: Plan) -> Plan:
    """Leave a plan as it was drawn."""
    return plan


def crash_at(step: int) -> Callable[[Plan], Plan]:
    """Return a change of plans: the first process dies at this callback (0: none dies)."""
    deaths = (Death(kind="callback", at=step, pause_seconds=0.2),) if step else ()
    return lambda plan: replace(plan, deaths=deaths)


def simulate(
    seed: int,
    *,
    tracing: bool = False,
    change: Callable[[Plan], Plan] = unchanged,
) -> Verdict:
    """Run one seed and return its verdict; `change` may alter the plan that was drawn."""
    plan = change(draw_plan(seed))
    folder = Path(tempfile.mkdtemp(dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
    scenario: Scenario | None = None
    try:
        with _still():
            scenario = Scenario(plan, folder, tracing=tracing)
            with rarer_polls(), virtual_clocks(scenario.world, lambda: plan.skew_seconds):
                try:
                    return scenario.run()
                except Exception as error:
                    if tracing:
                        raise
                    scenario.verdict.violations.append(f"simulation: {error!r}")
                    return scenario.verdict
    finally:
        if scenario is not None:
            with _quietly():
                scenario.bury()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _still() -> Iterator[None]:
    """Collect no garbage while a seed runs: what is dead must not clean up in it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _quietly() -> Iterator[None]:
    """Say nothing of coroutines that are thrown away half-way."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _unraisable: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            yield
    finally:
        sys.unraisablehook = hook


def collect() -> None:
    """Free what was buried."""
    with _quietly():
        gc.collect()
