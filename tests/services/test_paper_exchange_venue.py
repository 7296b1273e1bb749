"""The running venue on a test's own clock: time, latency, and what is written down when."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lob.errors import InvariantViolation, NotFound, Unavailable
from lob.types import Side
from services.paper_exchange.clock import ExchangeClock, SpeedGauge
from services.paper_exchange.entries import decode_entry
from services.paper_exchange.latency import Latencies, LatencyTerms
from services.paper_exchange.recovery import recover
from services.paper_exchange.store import Store, StorePolicy
from services.paper_exchange.venue import STEP_ITEMS, Venue
from touchstone.exchange import PRODUCTS, Exchange, ExchangeConfig, Order, OrderRequest, Updates
from touchstone.exchange.background import FlowKind
from touchstone.exchange.commands import CancelOrders, CreateOrder
from touchstone.kit.journal import Reading

START_NS = 1_800_000_000 * 10**9
MILLISECOND = 10**6
BTC = PRODUCTS[0]


class Listener:
    """A publisher that remembers the orders it was told of, and when."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.times = 0
        self.asked: Callable[[], None] = lambda: None

    def publish(self, updates: Updates) -> None:
        """Note the orders."""
        self.asked()
        self.times += 1
        self.orders += updates.orders


class Bench:
    """A venue whose real time a test moves by hand."""

    def __init__(self, store: Store | None = None, **rules: Any) -> None:
        self.real_ns = 0
        self.listener = Listener()
        config = ExchangeConfig(
            **{"start_ns": START_NS, "products": (BTC,), "flow": FlowKind.NONE, **rules}
        )
        self.exchange = Exchange(config) if store is None else store.exchange
        clock = ExchangeClock(
            1.0, monotonic_ns=lambda: self.real_ns, wall_ns=lambda: START_NS + self.real_ns
        )
        self.latencies = Latencies(seed=3)
        self.venue = Venue(
            self.exchange, clock, self.listener, 0.05, store=store, latencies=self.latencies
        )
        self.venue.start(["alice", "bob"])

    def pass_ns(self, nanoseconds: int) -> None:
        """Let real time pass."""
        self.real_ns += nanoseconds


def order(name: str, **changes: Any) -> OrderRequest:
    """Return an order for ten lots at the first price."""
    return OrderRequest(
        **{
            "client_order_id": name,
            "product_id": BTC.product_id,
            "side": Side.BUY,
            "size": BTC.instrument.quantity(10),
            "limit_price": BTC.reference_price,
            **changes,
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store that does not wait for the disk."""
    config = ExchangeConfig(start_ns=START_NS, products=(BTC,), flow=FlowKind.NONE)
    made = Store(tmp_path / "state", config, StorePolicy(sync=False))
    yield made
    made.abandon()


def entries(store: Store) -> list[tuple[int, str]]:
    """Return time since the start and kind of each record, in milliseconds."""
    decoded = [decode_entry(kept.payload) for kept in Reading(store.folder, 0)]
    return [
        ((entry.now_ns - START_NS) // MILLISECOND, type(entry.command).__name__)
        for entry in decoded
    ]


async def test_nothing_is_told_before_it_is_written_down(store: Store) -> None:
    """When updates are published, the record of what made them is in the journal."""
    bench = Bench(store)
    written: list[int] = []
    bench.listener.asked = lambda: written.append(store.journal.number)
    before = store.journal.number
    await bench.venue.create("alice", order("one"))
    assert [before + 1] == written
    assert ["one"] == [told.request.client_order_id for told in bench.listener.orders]


async def test_time_alone_is_written_down_each_second(store: Store) -> None:
    """A quiet venue writes a record a second, or whenever something was due."""
    bench = Bench(store)
    for _ in range(30):
        bench.pass_ns(100 * MILLISECOND)
        bench.venue.tick()
    kinds = entries(store)
    assert [(0, "OpenAccount")] * 2 == kinds[:2]
    assert [(1_000, "NoneType"), (2_000, "NoneType"), (3_000, "NoneType")] == kinds[2:]


async def test_a_fault_is_an_answer_and_is_kept(store: Store) -> None:
    """What the engine refuses by a fault is written down, and a replay comes to the same."""
    bench = Bench(store)
    with pytest.raises(NotFound):
        await bench.venue.cancel("nobody", ["x"])
    await bench.venue.create("alice", order("one"))
    digest = bench.exchange.state_hash()
    store.abandon()
    assert digest == recover(store.folder, bench.exchange.config).exchange.state_hash()
    assert "CancelOrders" in {kind for _, kind in entries(store)}


async def test_a_defect_stops_the_venue_and_is_not_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that breaks the engine is not in the journal: the restart is from before it."""
    bench = Bench(store)
    digest, number = bench.exchange.state_hash(), store.journal.number

    def broken(*_: object) -> None:
        raise InvariantViolation("positions do not sum to 0")

    monkeypatch.setattr(bench.exchange, "create", broken)
    with pytest.raises(InvariantViolation):
        await bench.venue.create("alice", order("one"))
    with pytest.raises(Unavailable, match="the venue has stopped: positions"):
        await bench.venue.create("alice", order("two"))
    store.close(intact=not bench.venue.failure)
    back = recover(store.folder, bench.exchange.config)
    assert (number, digest) == (back.number, back.exchange.state_hash())


# -------------------------------------------------------------------- time


def test_the_clock_runs_at_its_speed_and_never_back() -> None:
    """A change of speed goes on from now; a clock set back goes on from what was reached."""
    real = [0]
    clock = ExchangeClock(10, monotonic_ns=lambda: real[0], wall_ns=lambda: 1_000)
    real[0] = 5
    assert 1_050 == clock.now_ns()
    clock.set_speed(0.5)
    assert 1_050 == clock.now_ns()
    real[0] = 25
    assert 1_060 == clock.now_ns()
    clock.set_back(1_020)
    assert 1_020 == clock.now_ns()
    clock.set_back(9_999)
    assert 1_020 == clock.now_ns()


def test_a_clock_goes_on_from_an_exchange_that_was_ahead() -> None:
    """An exchange whose time ran fast is not set back by a restart."""
    clock = ExchangeClock(1.0, monotonic_ns=lambda: 7, wall_ns=lambda: 1_000, earliest_ns=5_000)
    assert 5_000 == clock.now_ns()


def test_the_speed_achieved_is_measured() -> None:
    """The gauge tells exchange seconds per real second over the last five."""
    real = [0]
    gauge = SpeedGauge(lambda: real[0])
    assert gauge.speed() is None
    for second in range(20):
        real[0] = second * 10**9
        gauge.note(second * 3 * 10**9)
    assert 3.0 == gauge.speed()
    gauge.forget()
    assert gauge.speed() is None


async def test_a_clock_yields_to_an_engine_that_cannot_keep_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At a speed beyond the engine's the clock is set back; at its own again it is reached."""
    bench = Bench(flow=FlowKind.ZERO_INTELLIGENCE)
    venue, loop = bench.venue, asyncio.get_running_loop()
    venue.clock.set_speed(1_000)
    bench.pass_ns(10**9)
    assert not venue.tick()
    behind_ns = venue.clock.now_ns() - bench.exchange.now_ns
    assert 900 * 10**9 < behind_ns
    began = loop.time()
    for seconds, yields in ((0.0, False), (1.9, False), (2.1, True)):
        monkeypatch.setattr(loop, "time", lambda seconds=seconds: began + seconds)
        venue._mind_the_clock(reached=False)
        assert yields == (venue.clock.now_ns() == bench.exchange.now_ns)
    venue.set_speed(1.0)
    bench.pass_ns(10**8)
    while not venue.tick():
        pass
    assert venue.clock.now_ns() == bench.exchange.now_ns


async def test_a_stall_is_made_up_for() -> None:
    """A process that stood still for a minute catches up, in steps that let others in."""
    bench = Bench(flow=FlowKind.ZERO_INTELLIGENCE)
    bench.pass_ns(20 * 10**9)
    steps = 0
    while not bench.venue.tick():
        steps += 1
    assert steps > 20 * 20 / STEP_ITEMS
    assert START_NS + 20 * 10**9 == bench.exchange.now_ns


# -------------------------------------------------------------------- latency


def constant(in_us: float, back_us: float = 0.0) -> LatencyTerms:
    """Return terms without any spread."""
    return LatencyTerms(profile="custom", in_us=in_us, back_us=back_us, spread=0)


async def test_an_order_reaches_the_engine_when_its_latency_is_over(store: Store) -> None:
    """It is entered at its arrival, to the nanosecond, however late the loop looks at it."""
    bench = Bench(store)
    bench.latencies.set("alice", constant(40_000))
    sent = asyncio.ensure_future(bench.venue.create("alice", order("slow")))
    await asyncio.sleep(0)
    bench.pass_ns(39 * MILLISECOND)
    bench.venue.tick()
    assert [] == bench.exchange.orders("alice")
    quick = await bench.venue.create("bob", order("quick", side=Side.SELL))
    assert isinstance(quick, Order)
    assert START_NS + 39 * MILLISECOND == quick.created_ns
    bench.pass_ns(500 * MILLISECOND)
    bench.venue.tick()
    slow = await sent
    assert isinstance(slow, Order)
    assert START_NS + 40 * MILLISECOND == slow.created_ns
    assert slow.filled_lots == 10
    assert [(39, "CreateOrder"), (40, "CreateOrder")] == entries(store)[2:4]


async def test_messages_of_an_account_do_not_overtake_one_another() -> None:
    """However the latencies are drawn, an account's messages arrive in the order sent."""
    latencies = Latencies(seed=1)
    latencies.set(None, LatencyTerms(profile="custom", in_us=1_000, back_us=10, spread=2))
    ways = [latencies.way("alice", place * 1_000) for place in range(500)]
    arrivals = [way.arrival_ns for way in ways if way is not None]
    assert 500 == len(arrivals)
    assert sorted(arrivals) == arrivals
    assert arrivals != [
        way.arrival_ns for way in map(latencies.way, ["bob"] * 500, range(500)) if way
    ]
    again = Latencies(seed=1)
    again.set(None, LatencyTerms(profile="custom", in_us=1_000, back_us=10, spread=2))
    assert ways == [again.way("alice", place * 1_000) for place in range(500)]


async def test_who_leaves_while_an_order_is_on_its_way_has_sent_it() -> None:
    """A client that disconnects does not take back what it has sent."""
    bench = Bench()
    bench.latencies.set("alice", constant(1_000))
    sent = asyncio.ensure_future(bench.venue.create("alice", order("gone")))
    await asyncio.sleep(0)
    sent.cancel()
    bench.pass_ns(2 * MILLISECOND)
    bench.venue.tick()
    assert 1 == len(bench.exchange.open_orders("alice"))


async def test_what_is_on_its_way_is_told_when_the_venue_stops() -> None:
    """Nobody waits for ever for a venue that has stopped."""
    bench = Bench()
    bench.latencies.set("alice", constant(1_000))
    sent = asyncio.ensure_future(bench.venue.create("alice", order("late")))
    await asyncio.sleep(0)
    bench.venue._stop("a test's will")
    with pytest.raises(Unavailable, match="a test's will"):
        await sent


async def test_a_fault_on_the_way_is_the_senders(store: Store) -> None:
    """What the engine refuses when it arrives is the answer of whoever sent it."""
    bench = Bench(store)
    bench.latencies.set("nobody", constant(1_000))
    sent = asyncio.ensure_future(
        bench.venue.execute(CancelOrders(account="nobody", order_ids=("x",)))
    )
    await asyncio.sleep(0)
    bench.pass_ns(2 * MILLISECOND)
    bench.venue.tick()
    with pytest.raises(NotFound):
        await sent
    assert "" == bench.venue.failure


async def test_answers_take_their_way_back() -> None:
    """The answer is told when its own latency is over, in exchange time."""
    bench = Bench()
    bench.latencies.set("alice", constant(0.001, 30_000))
    loop = asyncio.get_running_loop()
    began = loop.time()
    sent = asyncio.ensure_future(
        bench.venue.execute(CreateOrder(account="alice", request=order("a")))
    )
    await asyncio.sleep(0)
    bench.pass_ns(1_000)
    bench.venue.tick()
    await sent
    assert loop.time() - began >= 0.025
