"""One life of the gateway: the real engine, ledger, journal, recovery, kill switch and adapter.

It is put together as the service's wiring does it, with the simulated wire, feed, Redis and disk in
the places that are made for such things.
"""

import asyncio
import contextlib
import json
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, cast

from lob.errors import Fault
from services.order_gateway.books import Books, open_books
from services.order_gateway.engine import Engine
from services.order_gateway.flatten import Flattening
from services.order_gateway.kill_switch import KillSwitch
from services.order_gateway.market import Quotes
from services.order_gateway.recovery import Recovery, RecoveryTimes
from services.order_gateway.venues.coinbase_rest import CoinbaseRest
from services.order_gateway.venues.coinbase_ws import CoinbaseFeed, FeedOwner
from services.order_gateway.venues.pacing import Pacer
from services.order_gateway.venues.venue_clock import VenueClock
from tests.simulation.control import SimulatedControl
from tests.simulation.disk import ProcessFiles
from tests.simulation.loop import CALLBACK_SECONDS, VirtualLoop
from tests.simulation.network import HOST, SimulatedWire, Written, connector
from tests.simulation.oracle import ANSWERED, read_books
from tests.simulation.reducing import may_fill, only_reduces
from tests.simulation.shared import GATEWAY_METRICS, VENUE_METRICS, on_files
from tests.simulation.sql import SimulatedStore
from tests.simulation.venue import ACCOUNT, Signer
from touchstone.kit.control import ControlStore
from touchstone.kit.event_store import EventStore
from touchstone.kit.ledger_entries import Entry
from touchstone.perps.checks import Limits
from touchstone.perps.kill import TradingState, scopes_of
from touchstone.perps.orders import Order

if TYPE_CHECKING:
    from tests.simulation.scenario import Death, Scenario

JWT_SECONDS: Final = 3.0
LATE_ARRIVAL_SECONDS: Final = JWT_SECONDS + 2.5
POLL_SECONDS: Final = 0.5
DEADLINE_SECONDS: Final = 1.0
DRAIN_SECONDS: Final = 1.5
FLATTEN_SECONDS: Final = 10.0
STALL_SECONDS: Final = (0.05, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeSettings:
    """What differs from seed to seed in how a gateway is configured."""

    forward_reduce_only: bool = True
    max_orders_per_minute: int = 1_000


class Life:
    """A process: it begins with what the disk has, and ends as its death says."""

    def __init__(self, scenario: "Scenario", death: "Death", number: int) -> None:
        self._scenario = scenario
        self._death = death
        self._dice = scenario.dice(f"life {number}")
        self.finished = False
        self._stopping = False
        self.violations: list[str] = []
        world = scenario.world
        sky = scenario.sky
        self.files = ProcessFiles(
            scenario.machine,
            world,
            scenario.dice(f"files {number}"),
            slow=lambda: sky.slow_disk,
            broken=lambda: sky.broken_disk,
        )
        self.loop = VirtualLoop(  # type: ignore[abstract]
            world,
            crash_at=int(death.at) if death.kind == "callback" else None,
            cost=self._cost,
            sync=lambda act, *arguments: self.files.sync(self.loop, act, *arguments),
        )
        self.wire = SimulatedWire(scenario.network)
        self.control = SimulatedControl(scenario.redis, scenario.dice(f"redis {number}"))
        self.store = SimulatedStore(
            scenario.database, scenario.dice(f"sql {number}"), lambda: self.files.alive
        )
        self.books: Books | None = None
        self.journal_folder = scenario.folder / "gateway" / "journal"
        self.engine: Engine | None = None
        self.kill_switch: KillSwitch | None = None
        self._components: list[Any] = []
        self.files.on_crash = self.wire.on_crash = self._crash
        if death.kind == "append":
            self.files.crash_at_write = int(death.at)
        if death.kind == "socket":
            self.wire.crash_at_write = int(death.at)
        if death.kind == "time":
            world.after(death.at, self._crash)

    def run(self) -> None:
        """Live until dead, or until all is quiet and found to be right."""
        try:
            with on_files(self.files):
                self.loop.run_task(self._main())
        except (Fault, OSError) as fault:
            # As the service's own start: it ends with one line, and is started again.
            self._scenario.trace("could not start:", fault)
            self._die()
        if self.loop.crashed or self._stopping:
            self._die()

    def bury(self) -> None:
        """Let go of it."""
        self._components.clear()
        self.engine = self.kill_switch = None
        self.loop.bury()

    def _cost(self) -> float:
        sky = self._scenario.sky
        if sky.stall_chance and self._dice.random() < sky.stall_chance:
            return self._dice.uniform(*STALL_SECONDS)
        return CALLBACK_SECONDS

    def _crash(self) -> None:
        if not self.finished:
            self.loop.crash()
            self._die()

    def _die(self) -> None:
        """Be gone: nothing reaches the disk, the network or Redis any more."""
        self.files.alive = self.wire.alive = self.control.alive = False
        for channel in list(self._scenario.network.feeds):
            channel.cut("process gone")

    # ---------------------------------------------------------------- inside the process

    async def _main(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            recovery, feed = await self._compose(stack)
            await self._live(recovery, feed)
            if not self._stopping:
                # What an end cleans up after the verdict is of no interest.
                self._finish()

    def _finish(self) -> None:
        self.finished = True
        self._die()
        self.loop.stop()

    async def _compose(self, stack: contextlib.AsyncExitStack) -> tuple[Recovery, CoinbaseFeed]:
        scenario, plan = self._scenario, self._scenario.plan
        signer = Signer(lambda: scenario.world.time_ns() / 1e9 + plan.skew_seconds, JWT_SECONDS)
        clock = VenueClock(lambda: scenario.world.now)
        quotes = Quotes(lambda: scenario.world.now, clock.now_ns)
        books = self.books = await stack.enter_async_context(
            open_books(cast("EventStore", self.store), self.journal_folder, GATEWAY_METRICS)
        )
        ledger = books.ledger
        if scenario.tracing:
            books.journal.listener = self._told(books.journal.listener)
        kill_switch = KillSwitch(
            cast("ControlStore", self.control),
            ledger,
            GATEWAY_METRICS,
            scopes=self._scopes(),
            watermarks=ledger.watermarks,
            first_state=TradingState.ACTIVE,
            stale_after_seconds=0.5,
            account="default",
        )
        await stack.enter_async_context(kill_switch)
        pacer = Pacer(VENUE_METRICS.pace, random.Random(self._dice.random()))
        venue = CoinbaseRest(
            self.wire,
            signer,
            plan.symbols,
            VENUE_METRICS,
            deadline_seconds=DEADLINE_SECONDS,
            forward_reduce_only=plan.settings.forward_reduce_only,
            clock=clock,
            pacer=pacer,
        )
        engine = Engine(
            venue,
            ledger,
            kill_switch,
            quotes,
            GATEWAY_METRICS,
            symbols=plan.symbols,
            limits=Limits(
                max_order_notional=Decimal(50_000),
                max_orders_per_minute=plan.settings.max_orders_per_minute,
                quote_stale_after_seconds=2.0,
            ),
            send_gate=kill_switch.send_gate,
            venue_keeps_reduce_only=plan.settings.forward_reduce_only,
            monotonic=lambda: scenario.world.now,
        )
        engine.venue_now_ns = clock.now_ns
        times = RecoveryTimes(3.0, 4.0, late_arrival_seconds=LATE_ARRIVAL_SECONDS)
        recovery = Recovery(engine, times, monotonic=lambda: scenario.world.now)
        kill_switch.may_go_active = lambda: recovery.problem
        feed = CoinbaseFeed(
            f"wss://{HOST}",
            signer,
            list(plan.symbols.values()),
            quotes,
            FeedOwner(recovery.offer, recovery.request_resync, venue.rules_for_product),
            VENUE_METRICS,
            connect=connector(scenario.network, self.wire),
            clock=clock,
            random=random.Random(self._dice.random()),
            open_timeout_seconds=1.0,
            silence_seconds=2.5,
        )
        self.engine, self.kill_switch = engine, kill_switch
        return recovery, feed

    def _told(self, listener: Callable[[int, Entry], None]) -> Callable[[int, Entry], None]:
        """Return a listener of the journal that has the trace say what is written."""

        def told(number: int, entry: Entry) -> None:
            for record in entry.records:
                what = {name: text for name, text in record.payload.items() if text}
                self._scenario.trace("journal", record.type, record.client_order_id or "", what)
            listener(number, entry)

        return told

    def _scopes(self) -> tuple[str, ...]:
        symbols = (f"symbol:{symbol}" for symbol in self._scenario.plan.symbols)
        return (*scopes_of("default"), *symbols)

    async def _live(self, recovery: Recovery, feed: CoinbaseFeed) -> None:
        engine, kill_switch, books = self.engine, self.kill_switch, self.books
        if engine is None or kill_switch is None or books is None:
            raise AssertionError("not composed")

        flattening = Flattening(
            engine,
            kill_switch,
            request_resync=recovery.request_resync,
            seconds_max=FLATTEN_SECONDS,
            monotonic=lambda: self._scenario.world.now,
        )

        async def follow_feed() -> None:
            await recovery.rules_loaded.wait()
            await feed.run()

        async def close_entries() -> None:
            await engine.cancel_entries(only_closed=True)

        loops: dict[str, Coroutine[Any, Any, None]] = {
            "kill switch": kill_switch.watch(close_entries),
            "reports": recovery.apply_reports(),
            "reconciliation": recovery.reconcile_forever(),
            "sweep": recovery.sweep(),
            "projector": books.projector.run(),
            "feed": follow_feed(),
            "flattening": flattening.serve(),
        }
        tasks = [asyncio.create_task(self._forever(name, run)) for name, run in loops.items()]
        tasks.append(asyncio.create_task(self._restart_once_writable(books)))
        client = asyncio.create_task(self._scenario.client.trade(engine, kill_switch, flattening))
        await self._until_over(client)
        if self._stopping:
            await self._stop([*tasks, client], engine)
            return
        client.cancel()
        self._scenario.begin_quiet()
        await self._until_quiet(recovery)

    async def _stop(self, tasks: list[asyncio.Task[None]], engine: Engine) -> None:
        """End as on SIGTERM: no new orders, entries cancelled, then the loops."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await engine.drain()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def _restart_once_writable(self, books: Books) -> None:
        """Have a process whose journal has failed started again when the disk is well."""
        # Neither rings a bell.
        while not books.ledger.failure or self._scenario.sky.broken_disk:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        self._scenario.trace("restarted for its journal:", books.ledger.failure)
        self._crash()

    async def _forever(self, name: str, run: Coroutine[Any, Any, None]) -> None:
        """Run what must never end; say so where it does."""
        try:
            await run
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.violations.append(f"{name} died: {error!r}")
            raise
        self.violations.append(f"{name} ended")

    async def _until_over(self, client: asyncio.Task[None]) -> None:
        """Wait until the scenario's time is over, or the bot has met a defect."""
        scenario = self._scenario
        until = scenario.plan.seconds
        if self._death.kind == "stop":
            until = min(until, scenario.world.now + self._death.at)
        while scenario.world.now < until:
            await asyncio.wait({client}, timeout=until - scenario.world.now)
            if client.done():
                self.violations.append(f"a caller met {client.exception()!r}")
                return
        self._stopping = until < scenario.plan.seconds

    async def _until_quiet(self, recovery: Recovery) -> None:
        """Wait until nothing is under way and everything agrees; say what does not in the end."""
        scenario = self._scenario
        deadline = scenario.world.now + 45.0
        wrong = ["never looked"]
        while scenario.world.now < deadline:
            await asyncio.sleep(POLL_SECONDS)
            wrong = self._unrest(recovery)
            if wrong:
                continue
            wrong = scenario.oracle.differences(self.journal_folder)
            if not wrong:
                wrong = self._memory_differs()
            if not wrong:
                return
        self.violations += [f"not quiet after 45 s: {text}" for text in wrong]

    def _unrest(self, recovery: Recovery) -> list[str]:
        engine = self.engine
        if engine is None:
            return ["gone"]
        if not engine.reconciled or recovery.problem:
            return [f"not reconciled: {recovery.problem}"]
        if engine.unsettled:
            return [f"unsettled: {sorted(engine.unsettled)}"]
        for symbol, product_id in self._scenario.plan.symbols.items():
            venue = self._scenario.venue.exchange
            product = venue.products[product_id]
            lots = venue.accounts["gateway"].position(product_id).lots
            ours = engine.ledger.position(symbol).quantity
            if ours != product.lot_value_per_price * lots:
                return [f"{symbol}: position {ours} in memory, {lots} lots at the venue"]
        return []

    def _memory_differs(self) -> list[str]:
        """Return where memory is not what the journal says."""
        engine = self.engine
        if engine is None:
            return []
        books, _ = read_books(self.journal_folder, self._scenario.database.tables)
        wrong = []
        for symbol, position in books.positions.items():
            if engine.ledger.position(symbol) != position:
                wrong.append(f"{symbol}: {engine.ledger.position(symbol)} is not {position}")
        working = {o.intent.client_order_id: o for o in engine.ledger.working()}
        kept = {key: o for key, o in books.orders.items() if not o.state.is_terminal}
        wrong += [
            f"order {key}: {working.get(key)} is not {kept.get(key)}"
            for key in sorted(working.keys() | kept.keys())
            if working.get(key) != kept.get(key)
        ]
        return wrong

    # ---------------------------------------------------------------- what the network sees

    def check_written(self, written: Written) -> None:
        """Check an order at the moment when it leaves, with what the process knows then."""
        engine, kill_switch = self.engine, self.kill_switch
        if engine is None or kill_switch is None or written.method != "POST":
            return
        if not written.target.endswith("/orders"):
            return
        key = str(json.loads(written.body)["client_order_id"])
        order = engine.ledger.get(key)
        if order is None:
            self.violations.append(f"order {key} left, and the ledger does not have it")
            return
        intent = order.intent
        gate = kill_switch.gate(intent.symbol, intent.strategy)
        if gate.state in (TradingState.CANCEL_ONLY, TradingState.HALTED):
            self.violations.append(f"order {key} left while {gate.state}: {gate.why}")
            return
        if gate.state is TradingState.ACTIVE and not intent.reduce_only:
            return
        views = {"here": self._known(engine, order)}
        # A flag at the venue is the venue's to keep, and what another one trades is told too late.
        bounded = intent.reduce_only and self._scenario.plan.settings.forward_reduce_only
        if not bounded and not self._scenario.plan.foreign and not self._surprised(engine):
            views["there"] = self._there(engine, order)
        for where, (position, beside) in views.items():
            if not only_reduces(intent.side, order.exposed, beside, position):
                self.violations.append(
                    f"order {key} left while {gate.state}: {intent.side} {order.exposed} beside "
                    f"{beside} with a position of {position} {where}"
                )

    def _surprised(self, engine: Engine) -> bool:
        """Return whether the venue has taken an order that it had refused: nobody can know."""
        found = map(engine.ledger.get, self._scenario.oracle.doubled())
        arrived = {o.request.client_order_id for o in self._scenario.venue.exchange.orders(ACCOUNT)}
        return any(
            order is not None
            and order.state in ANSWERED
            and order.intent.client_order_id in arrived
            for order in found
        )

    def _known(self, engine: Engine, order: Order) -> tuple[Decimal, Decimal]:
        """Return the position that is booked, and what else of the side may fill beside `order`."""
        ledger, exchange = engine.ledger, self._scenario.venue.exchange
        beside = Decimal(0)
        for other in self._others(engine, order):
            theirs = exchange.order(ACCOUNT, other.venue_order_id)
            made_for = "" if theirs is None else theirs.originating_order_id
            beside += may_fill(other, ledger.find_venue_order(made_for) if made_for else None)
        return ledger.position(order.intent.symbol).quantity, beside

    def _there(self, engine: Engine, order: Order) -> tuple[Decimal, Decimal]:
        """Return the same as the venue has it, with what is on its way there."""
        exchange = self._scenario.venue.exchange
        product = exchange.products[self._scenario.plan.symbols[order.intent.symbol]]
        theirs = exchange.orders(ACCOUNT)
        arrived = {o.request.client_order_id for o in theirs} | {o.order_id for o in theirs}
        lots = sum(
            o.leaves_lots
            for o in theirs
            if o.live and o.product is product and o.side is order.intent.side
        )
        beside = product.lot_value_per_price * lots
        for other in self._others(engine, order):
            if not arrived & {other.intent.client_order_id, other.venue_order_id}:
                beside += other.exposed
        held = exchange.accounts[ACCOUNT].position(product.product_id).lots
        return product.lot_value_per_price * held, beside

    def _others(self, engine: Engine, order: Order) -> list[Order]:
        intent = order.intent
        return [
            other
            for other in engine.ledger.working(intent.symbol)
            if other.intent.side is intent.side
            and other.intent.client_order_id != intent.client_order_id
        ]
