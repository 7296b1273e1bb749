"""The engine against a fake venue: lost answers, duplicates, late fills, kills in flight."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from lob.errors import Conflict, NotFound, Unavailable
from lob.types import OrderType, Side
from services.order_gateway.engine import Engine, Submitted
from services.order_gateway.kill_switch import KillSwitch
from services.order_gateway.ledger import Ledger
from services.order_gateway.market import Quotes
from services.order_gateway.metrics import GatewayMetrics
from services.order_gateway.recovery import Recovery, RecoveryTimes
from services.order_gateway.venues.base import VenuePosition
from tests.fakes.venue import Failure, FakeVenue
from touchstone.kit.event_store import EventStore
from touchstone.kit.event_store_url import database_url
from touchstone.perps.checks import Limits, Refusal, RefusalReason
from touchstone.perps.kill import Gate, TradingState
from touchstone.perps.orders import Intent, Order, OrderState, VenueStatus
from touchstone.perps.products import ProductRules

SYMBOL = "BTC-PERP"
Eventually = Callable[..., Awaitable[float]]


class FakeKillSwitch:
    """A gate that tests set."""

    def __init__(self) -> None:
        self.state = TradingState.ACTIVE

    def gate(self) -> Gate:
        """Return the state that was set."""
        return Gate(self.state, known=True, age_seconds=0.0, why="test")


@dataclass
class House:
    """An engine with everything around it."""

    engine: Engine
    recovery: Recovery
    venue: FakeVenue
    kill_switch: FakeKillSwitch
    store: EventStore
    now_ns: list[int]

    @property
    def ledger(self) -> Ledger:
        """The engine's ledger."""
        return self.engine.ledger

    def metric(self, name: str, **labels: str) -> float:
        """Return a metric's value."""
        return self.registry.get_sample_value(name, labels) or 0.0

    registry: CollectorRegistry

    async def submit(self, intent: Intent) -> Order:
        """Submit and return the order; fail on a refusal."""
        outcome = await self.engine.submit(intent)
        assert isinstance(outcome, Submitted), outcome
        return outcome.order

    async def state(self, key: str) -> OrderState:
        """Return an order's state as stored."""
        stored = await self.store.load_order(key)
        assert stored is not None
        assert stored.state is self.ledger.current(stored).state
        return stored.state


@asynccontextmanager
async def furnished(folder: Path, venue: FakeVenue) -> AsyncIterator[House]:
    """Compose an engine over a store in `folder`, not yet reconciled."""
    url = database_url(None, folder / "events.db")
    async with EventStore(url, bot_id="bot", deadline_seconds=10) as store:
        registry = CollectorRegistry()
        metrics = GatewayMetrics(registry, [SYMBOL])
        now_ns = [1_000_000_000_000_000_000]
        ledger = Ledger(store, metrics, now_ns=lambda: now_ns[0])
        await ledger.load()
        quotes, kill_switch = Quotes(), FakeKillSwitch()
        quotes.set_level(SYMBOL, True, Decimal(60_000), Decimal(1))
        quotes.set_level(SYMBOL, False, Decimal(60_005), Decimal(1))
        quotes.stamp(SYMBOL)
        engine = Engine(
            venue,
            ledger,
            cast("KillSwitch", kill_switch),
            quotes,
            metrics,
            symbols={SYMBOL: "BIP"},
            limits=Limits(max_order_notional=Decimal(50_000), max_orders_per_minute=1_000),
        )
        recovery = Recovery(engine, RecoveryTimes(45, 90, late_arrival_seconds=40))
        if not venue.down:
            engine.rules = dict(await venue.rules())
        yield House(engine, recovery, venue, kill_switch, store, now_ns, registry)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A reconciled engine on an empty venue."""
    async with furnished(tmp_path, FakeVenue()) as made:
        made.engine.reconciled = True
        yield made


def limit(key: str, side: Side = Side.BUY, quantity: str = "0.02", **changes: object) -> Intent:
    """Return a resting limit order."""
    price = Decimal(59_000) if side is Side.BUY else Decimal(61_000)
    intent = Intent(
        client_order_id=key,
        symbol=SYMBOL,
        side=side,
        quantity=Decimal(quantity),
        order_type=OrderType.LIMIT,
        limit_price=price,
    )
    return replace(intent, **changes)  # type: ignore[arg-type]


async def hold(house: House, quantity: str) -> None:
    """Make the house long by filling a buy."""
    order = await house.submit(limit("seed", quantity=quantity))
    await house.engine.apply_report(house.venue.fill(order.venue_order_id, quantity))
    assert house.ledger.position(SYMBOL).quantity == Decimal(quantity)


async def stored_as(house: House, key: str, wanted: OrderState) -> None:
    """Wait until the store has an order in a state, while others may be changing it."""
    async with asyncio.timeout(5):
        # The database rings no bell.
        while (  # noqa: ASYNC110
            order := await house.store.load_order(key)
        ) is None or order.state is not wanted:
            await asyncio.sleep(0.005)


async def refused(house: House, intent: Intent) -> RefusalReason:
    """Submit and return why it was refused before journaling."""
    outcome = await house.engine.submit(intent)
    assert isinstance(outcome, Refusal)
    return outcome.reason


async def test_the_intent_is_durable_before_the_order_leaves(house: House) -> None:
    """When the venue sees the order, the journal on disk already has it."""
    seen: list[asyncio.Task[Order | None]] = []
    house.venue.on_arrival = lambda intent: seen.append(
        asyncio.ensure_future(house.store.load_order(intent.client_order_id))
    )
    await house.submit(limit("a"))
    journaled = await seen[0]
    assert journaled is not None
    assert [row["type"] for row in await house.store.load_events()][:1] == ["order_intent"]
    assert await house.state("a") is OrderState.OPEN


async def test_a_repeat_returns_the_original_and_sends_nothing(house: House) -> None:
    """The same terms again are the same order; other terms are a conflict."""
    first = await house.submit(limit("a"))
    again = await house.engine.submit(limit("a"))
    assert again == Submitted(first, repeated=True)
    assert await refused(house, limit("a", quantity="0.03")) is (
        RefusalReason.DUPLICATE_CLIENT_ORDER_ID
    )
    assert len(house.venue.sent) == 1


async def test_two_requests_at_once_make_one_order(house: House) -> None:
    """A repeat that arrives while the first is under way does not send a second order."""
    await asyncio.gather(*(house.engine.submit(limit("a")) for _ in range(5)))
    assert len(house.venue.sent) == 1


async def test_a_lost_answer_is_found_and_never_sent_again(house: House) -> None:
    """The venue took it, the answer was lost: unknown, then found by its client id."""
    house.venue.fail_next = Failure.LOST_ANSWER
    order = await house.submit(limit("a"))
    assert order.state is OrderState.UNKNOWN
    await house.recovery.reconcile_orders()
    assert await house.state("a") is OrderState.OPEN
    assert len(house.venue.sent) == 1


async def test_a_lost_request_is_missing_only_when_it_can_no_longer_arrive(house: House) -> None:
    """Until the JWT has expired the order may still arrive, so that it stays unknown."""
    house.venue.fail_next = Failure.LOST_REQUEST
    await house.submit(limit("a"))
    await house.recovery.reconcile_orders()
    assert await house.state("a") is OrderState.UNKNOWN
    house.now_ns[0] += 39 * 10**9
    await house.recovery.reconcile_orders()
    assert await house.state("a") is OrderState.UNKNOWN
    house.now_ns[0] += 2 * 10**9
    await house.recovery.reconcile_orders()
    assert await house.state("a") is OrderState.MISSING
    assert len(house.venue.sent) == 1


async def test_an_unknown_order_counts_as_working_in_the_worst_case(house: House) -> None:
    """A reducing order of unknown outcome uses up the position's room."""
    await hold(house, "0.02")
    house.venue.fail_next = Failure.LOST_REQUEST
    await house.submit(limit("a", Side.SELL, reduce_only=True))
    found = await refused(house, limit("b", Side.SELL, reduce_only=True))
    assert found is RefusalReason.REDUCE_ONLY_WOULD_INCREASE


async def test_concurrent_reduce_only_orders_share_the_position(house: House) -> None:
    """Of five orders at once that each would close the position, exactly one gets through."""
    await hold(house, "0.02")
    outcomes = await asyncio.gather(
        *(house.engine.submit(limit(f"r{n}", Side.SELL, reduce_only=True)) for n in range(5)),
    )
    assert sum(isinstance(outcome, Submitted) for outcome in outcomes) == 1


async def test_a_dead_venue_means_refused_and_never_left(house: House) -> None:
    """No connection: the order is over, and the journal says so."""
    house.venue.fail_next = Failure.NOT_SENT
    outcome = await house.engine.submit(limit("a"))
    assert isinstance(outcome, Submitted)
    assert outcome.refusal is not None
    assert outcome.refusal.reason is RefusalReason.VENUE_UNAVAILABLE
    assert await house.state("a") is OrderState.REFUSED


async def test_a_venue_rejection_is_stored_as_rejected(house: House) -> None:
    """The venue's own word ends the order."""
    house.venue.fail_next = Failure.REJECTED
    assert (await house.submit(limit("a"))).reason == "INSUFFICIENT_FUND: no"
    assert await house.state("a") is OrderState.REJECTED
    assert house.metric("gateway_orders_total", symbol=SYMBOL, outcome="rejected") == 1


async def test_a_fill_after_the_cancel_still_counts(house: House) -> None:
    """The cancel came through, then the venue tells a fill from before it."""
    order = await house.submit(limit("a"))
    cancelled = await house.engine.cancel("a")
    assert cancelled.state is OrderState.CANCELLED
    await house.engine.apply_report(house.venue.fill(order.venue_order_id, "0.01"))
    assert await house.state("a") is OrderState.CANCELLED
    assert house.ledger.position(SYMBOL).quantity == Decimal("0.01")
    await house.engine.apply_report(house.venue.fill(order.venue_order_id, "0.01"))
    assert await house.state("a") is OrderState.FILLED
    assert house.ledger.position(SYMBOL).quantity == Decimal("0.02")
    assert house.metric("gateway_order_defects_total") == 0


async def test_the_feed_may_be_faster_than_the_answer(house: House) -> None:
    """A report that arrives before the request returns is taken, and the answer changes nothing."""

    def report_at_once(intent: Intent) -> None:
        report = house.venue.accept(intent)
        house.venue.by_id.pop(report.venue_order_id)
        early = replace(report, venue_order_id="v2")
        tasks.append(asyncio.ensure_future(house.engine.apply_report(early)))

    tasks: list[asyncio.Task[Order]] = []
    house.venue.on_arrival = report_at_once
    order = await house.submit(limit("a"))
    await asyncio.gather(*tasks)
    assert order.venue_order_id == "v2"
    assert await house.state("a") is OrderState.OPEN
    assert house.metric("gateway_order_defects_total") == 0


async def test_the_same_fill_told_twice_is_booked_once(house: House) -> None:
    """Reports repeat; trades are known by their id."""
    order = await house.submit(limit("a"))
    report = house.venue.fill(order.venue_order_id, "0.01")
    await asyncio.gather(*(house.engine.apply_report(report) for _ in range(4)))
    assert house.ledger.position(SYMBOL).quantity == Decimal("0.01")


async def test_an_end_waits_for_fills_that_lag(house: House) -> None:
    """FILLED is believed only once its fills can be booked."""
    order = await house.submit(limit("a"))
    report = house.venue.fill(order.venue_order_id, "0.02")
    lagging = house.venue.fills_by_id.pop(order.venue_order_id)
    await house.engine.apply_report(report)
    assert await house.state("a") is OrderState.OPEN
    assert house.engine.unsettled == {"a"}
    house.venue.fills_by_id[order.venue_order_id] = lagging
    await house.recovery.reconcile_orders()
    assert await house.state("a") is OrderState.FILLED
    assert house.engine.unsettled == set()


async def test_a_kill_between_journal_and_socket_refuses_at_the_last_gate(house: House) -> None:
    """The first gate was open; the switch is thrown while the order waits for its connection."""
    house.venue.pause = asyncio.Event()
    waiting = asyncio.create_task(house.engine.submit(limit("a")))
    await asyncio.sleep(0.05)
    house.kill_switch.state = TradingState.HALTED
    house.venue.pause.set()
    outcome = await waiting
    assert isinstance(outcome, Submitted)
    assert outcome.refusal is not None
    assert outcome.refusal.reason is RefusalReason.HALTED
    assert house.venue.sent == []
    assert await house.state("a") is OrderState.REFUSED


async def test_an_order_holds_the_send_gate_only_from_its_check_to_its_end(house: House) -> None:
    """Waiting for a connection holds up no kill; whatever becomes of the order lets go of it."""
    house.venue.pause = asyncio.Event()
    waiting = asyncio.create_task(house.engine.submit(limit("a")))
    await asyncio.sleep(0.05)
    gate = house.engine._send_gate
    assert gate.open_passages == 0
    seen: list[int] = []
    house.venue.on_arrival = lambda _intent: seen.append(gate.open_passages)
    house.venue.pause.set()
    await waiting
    house.venue.fail_next = Failure.LOST_ANSWER
    await house.submit(limit("b"))
    assert (seen, gate.open_passages) == ([1, 1], 0)


async def test_a_kill_while_the_answer_is_on_its_way_cancels_the_order(house: House) -> None:
    """What had left before the kill is cancelled as soon as its id is known."""
    closing: list[asyncio.Task[int]] = []

    def kill(_intent: Intent) -> None:
        house.kill_switch.state = TradingState.REDUCE_ONLY
        closing.append(asyncio.ensure_future(house.engine.cancel_entries()))

    house.venue.on_arrival = kill
    house.venue.fail_next = Failure.LOST_ANSWER
    await house.submit(limit("a"))
    await asyncio.gather(*closing)
    await house.recovery.reconcile_orders()
    assert await house.state("a") is OrderState.CANCELLED


async def test_closing_cancels_entries_and_keeps_what_reduces(house: House) -> None:
    """After the switch, only orders that fit into the position stay."""
    await hold(house, "0.02")
    await house.submit(limit("entry"))
    await house.submit(limit("exit", Side.SELL, reduce_only=True))
    house.kill_switch.state = TradingState.REDUCE_ONLY
    assert await house.engine.cancel_entries() == 1
    assert await house.state("entry") is OrderState.PENDING_CANCEL
    await house.recovery.reconcile_orders()
    assert await house.state("entry") is OrderState.CANCELLED
    assert await house.state("exit") is OrderState.OPEN
    assert await refused(house, limit("more")) is RefusalReason.REDUCE_ONLY


async def test_a_cancel_that_the_venue_does_not_answer_is_repeated(house: House) -> None:
    """The wish to cancel is kept until the order is over."""
    await house.submit(limit("a"))
    house.venue.down = True
    with pytest.raises(Unavailable):
        await house.engine.cancel("a")
    house.venue.down = False
    assert house.engine.unsettled == {"a"}
    await house.recovery.reconcile_orders()
    assert await house.state("a") is OrderState.CANCELLED
    with pytest.raises(Conflict, match="cancelled"):
        await house.engine.cancel("a")
    with pytest.raises(NotFound):
        await house.engine.cancel("nobody")


async def test_a_restart_finds_orders_fills_and_positions(tmp_path: Path) -> None:
    """What happened at the venue while we were away is adopted, once, and explained."""
    venue = FakeVenue()
    async with furnished(tmp_path, venue) as house:
        house.engine.reconciled = True
        placed = await house.submit(limit("a"))
        venue.fail_next = Failure.LOST_ANSWER
        await house.submit(limit("b"))
    venue.fill(placed.venue_order_id, "0.01")
    venue.accept(limit("foreign"))
    async with furnished(tmp_path, venue) as house:
        await house.recovery.reconcile_orders()
        await house.recovery.reconcile_positions(at_once=True)
        states = {o.intent.client_order_id: o.state for o in house.ledger.working()}
        assert states == {
            "a": OrderState.PARTIALLY_FILLED,
            "b": OrderState.OPEN,
            "foreign": OrderState.OPEN,
        }
        assert house.ledger.position(SYMBOL).quantity == Decimal("0.01")
        kinds = [row["type"] for row in await house.store.load_events()]
        assert kinds.count("order_adopted") == 1
        assert kinds.count("position_adopted") == 0


async def test_a_position_nothing_explains_is_adopted_and_recorded(house: House) -> None:
    """At start at once; later only when the difference stays."""
    house.venue.held[SYMBOL] = VenuePosition(Decimal("0.05"), Decimal(58_000))
    await house.recovery.reconcile_positions(at_once=False)
    assert house.ledger.position(SYMBOL).quantity == Decimal(0)
    await house.recovery.reconcile_positions(at_once=False)
    assert house.ledger.position(SYMBOL).quantity == Decimal("0.05")
    assert house.ledger.position(SYMBOL).average_entry_price == Decimal(58_000)
    assert (await house.store.load_positions())[SYMBOL] == house.ledger.position(SYMBOL)


async def test_a_failed_fetch_is_unknown_and_never_flat(house: House) -> None:
    """No answer leaves orders and positions as they were."""
    await hold(house, "0.02")
    await house.submit(limit("a"))
    house.venue.down = True
    with pytest.raises(Unavailable):
        await house.recovery.reconcile_orders()
    with pytest.raises(Unavailable):
        await house.recovery.reconcile_positions(at_once=True)
    assert house.ledger.position(SYMBOL).quantity == Decimal("0.02")
    assert await house.state("a") is OrderState.OPEN


async def test_an_order_the_venue_forgot_is_missing(house: House) -> None:
    """The venue answers that there is no such order: it is over, and counted as a difference."""
    order = await house.submit(limit("a"))
    del house.venue.by_id[order.venue_order_id]
    await house.recovery.reconcile_orders()
    assert await house.state("a") is OrderState.MISSING
    name = "gateway_reconciliation_differences_total"
    assert house.metric(name, kind="order_missing") == 1


async def test_a_journal_that_does_not_answer_stops_the_order(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing leaves that is not durable."""
    monkeypatch.setattr(house.engine.ledger, "journal", _fails)
    outcome = await house.engine.submit(limit("a"))
    assert isinstance(outcome, Submitted)
    assert outcome.refusal is not None
    assert outcome.refusal.reason is RefusalReason.JOURNAL_UNAVAILABLE
    assert house.venue.sent == []


async def _fails(_order: Order) -> None:
    raise Unavailable("event store: gone")


async def test_an_impossible_event_is_reported_and_changes_nothing(house: House) -> None:
    """A venue that revives a filled order as failed is a defect with both names."""
    order = await house.submit(limit("a"))
    report = house.venue.fill(order.venue_order_id, "0.02")
    await house.engine.apply_report(report)
    await house.engine.apply_report(replace(report, status=VenueStatus.FAILED))
    assert await house.state("a") is OrderState.FILLED
    assert house.metric("gateway_order_defects_total") == 1
    defects = await house.store.load_events(event_type="order_defect")
    assert (defects[0]["payload"]["from"], defects[0]["payload"]["event"]) == ("filled", "rejected")


async def test_a_drain_takes_nothing_new_and_cancels_entries(house: House) -> None:
    """On SIGTERM entries go, protection stays."""
    await hold(house, "0.02")
    await house.submit(limit("entry"))
    await house.submit(limit("exit", Side.SELL, reduce_only=True))
    await house.engine.drain()
    assert await house.state("entry") is OrderState.CANCELLED
    assert await house.state("exit") is OrderState.OPEN
    assert await refused(house, limit("new")) is RefusalReason.DRAINING


async def test_an_order_the_venue_does_not_show_yet_is_not_missing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken with an id, not found a moment later: it still uses up the position's room."""
    await hold(house, "0.02")

    async def not_yet(_venue_order_id: str) -> None:
        return None

    monkeypatch.setattr(house.venue, "order", not_yet)
    order = await house.submit(limit("a", Side.SELL, reduce_only=True))
    assert order.state is OrderState.SUBMITTED
    assert house.engine.unsettled == {"a"}
    second = await refused(house, limit("b", Side.SELL, reduce_only=True))
    assert second is RefusalReason.REDUCE_ONLY_WOULD_INCREASE
    house.now_ns[0] += 11 * 10**9
    await house.engine.refresh(order)
    assert await house.state("a") is OrderState.MISSING


@asynccontextmanager
async def reconciling(house: House) -> AsyncIterator[Recovery]:
    """Run reconciliation at a rate that tests can wait for."""
    recovery = Recovery(house.engine, RecoveryTimes(0.02, 0.02, late_arrival_seconds=40))
    task = asyncio.create_task(recovery.reconcile_forever())
    try:
        yield recovery
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_the_venue_allows_is_looked_up_again(
    house: House, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trading halt at the first look does not last until the next restart."""
    open_rules = dict(house.engine.rules)
    halted = {SYMBOL: replace(open_rules[SYMBOL], disabled="trading_disabled")}
    found = halted

    async def rules() -> dict[str, ProductRules]:
        if house.venue.down:
            raise Unavailable("venue: down")
        return found

    monkeypatch.setattr(house.venue, "rules", rules)
    async with reconciling(house) as recovery:
        await eventually(lambda: house.engine.rules == halted)
        assert await refused(house, limit("a")) is RefusalReason.PRODUCT_CLOSED
        found = open_rules
        await eventually(lambda: house.engine.rules == open_rules)
        house.venue.down = True
        await eventually(lambda: recovery.problem != "")
        assert house.engine.rules == open_rules


async def test_while_closed_every_reconciliation_cancels_what_became_an_entry(
    house: House, eventually: Eventually
) -> None:
    """An exit whose position is gone, found without a reconnection, does not stay."""
    await hold(house, "0.02")
    await house.submit(limit("exit", Side.SELL))
    house.kill_switch.state = TradingState.REDUCE_ONLY
    async with reconciling(house):
        await eventually(lambda: house.engine.reconciled)
        assert await house.state("exit") is OrderState.OPEN
        house.venue.held[SYMBOL] = VenuePosition(Decimal(0), None)
        await stored_as(house, "exit", OrderState.CANCELLED)
