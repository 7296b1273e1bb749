"""The engine against a fake venue: lost answers, duplicates, late fills, kills in flight."""

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from lob.errors import Conflict, NotFound, Unavailable
from lob.types import Side, TimeInForce
from services.order_gateway.engine import Submitted
from services.order_gateway.recovery import Recovery, RecoveryTimes
from services.order_gateway.venues.base import VenuePosition
from tests.fakes.house import LIMITS, SYMBOL, House, furnished, hold, limit, refused
from tests.fakes.venue import Failure, FakeVenue
from touchstone.kit.disk import PythonDisk
from touchstone.kit.journal import Reading
from touchstone.kit.ledger_entries import decode_entry
from touchstone.perps.checks import Refusal, RefusalReason, Sizing
from touchstone.perps.kill import TradingState
from touchstone.perps.orders import Intent, Order, OrderState, VenueStatus
from touchstone.perps.products import ProductRules
from touchstone.perps.sizing import SizingMode

Eventually = Callable[..., Awaitable[float]]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A reconciled engine on an empty venue."""
    async with furnished(tmp_path, FakeVenue()) as made:
        made.engine.reconciled = True
        yield made


async def stored_as(house: House, key: str, wanted: OrderState) -> None:
    """Wait until an order is over, and look that it is stored so."""
    await house.engine.wait_over(key, 5)
    assert await house.state(key) is wanted


async def test_the_intent_is_durable_before_the_order_leaves(house: House) -> None:
    """When the venue sees the order, the journal on disk already has it."""
    folder = house.books.journal.folder
    synced: list[int] = []
    seen: list[list[str]] = []

    def look(_intent: Intent) -> None:
        entries = [decode_entry(kept.payload) for kept in Reading(folder, 0)]
        seen.append([record.type for entry in entries for record in entry.records])
        synced.append(house.books.journal.syncs)

    house.venue.on_arrival = look
    before = house.books.journal.syncs
    await house.submit(limit("a"))
    assert seen == [["order_intent"]]
    assert synced[0] > before
    assert await house.state("a") is OrderState.SUBMITTED


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
    assert await house.state("a") is OrderState.SUBMITTED
    assert set(house.engine.unsettled) == {"a"}
    house.venue.fills_by_id[order.venue_order_id] = lagging
    await house.recovery.reconcile_orders()
    assert await house.state("a") is OrderState.FILLED
    assert set(house.engine.unsettled) == set()


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
    await house.sweep()
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
    assert set(house.engine.unsettled) == {"a"}
    await house.sweep()
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
        kinds = [row["type"] for row in await house.events()]
        assert kinds.count("order_adopted") == 1
        assert kinds.count("position_adopted") == 0


async def test_a_position_nothing_explains_is_adopted_and_recorded(house: House) -> None:
    """Only when the difference stays the same for some seconds, also at a start."""
    house.venue.held[SYMBOL] = VenuePosition(Decimal("0.05"), Decimal(58_000))
    times = RecoveryTimes(45, 90, late_arrival_seconds=40)
    recovery = Recovery(house.engine, times, monotonic=lambda: clock[0])
    clock = [0.0]
    await recovery.reconcile_positions(at_once=False)
    clock = [2.9]
    with pytest.raises(Unavailable, match="position 0 here"):
        await recovery.reconcile_positions(at_once=True)
    assert house.ledger.position(SYMBOL).quantity == Decimal(0)
    clock = [3.0]
    await recovery.reconcile_positions(at_once=True)
    assert house.ledger.position(SYMBOL).quantity == Decimal("0.05")
    assert house.ledger.position(SYMBOL).average_entry_price == Decimal(58_000)
    assert await house.books.projector.catch_up(10)
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
    assert await house.state("a") is OrderState.SUBMITTED


async def test_an_order_the_venue_forgot_is_missing(house: House) -> None:
    """The venue answers that there is no such order: it is over, and counted as a difference."""
    order = await house.submit(limit("a"))
    del house.venue.by_id[order.venue_order_id]
    await house.recovery.reconcile_orders()
    house.now_ns[0] += 9_900_000_000
    await house.recovery.reconcile_orders()
    assert await house.state("a") is OrderState.SUBMITTED
    house.now_ns[0] += 100_000_000
    await house.recovery.reconcile_orders()
    assert await house.state("a") is OrderState.MISSING
    name = "gateway_reconciliation_differences_total"
    assert house.metric(name, kind="order_missing") == 1


@pytest.mark.parametrize("call", ["write", "fdatasync"])
async def test_a_journal_that_fails_stops_new_orders_and_nothing_else(
    house: House, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Nothing leaves that is not durable; what rests is cancelled, and its fills count."""
    resting = await house.submit(limit("resting"))

    def fails(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"touchstone.kit.journal.os.{call}", fails)
    monkeypatch.setattr(house.ledger.journal._journal, "_disk", PythonDisk())  # type: ignore[attr-defined]
    for key in ("a", "b"):
        outcome = await house.engine.submit(limit(key))
        reason = outcome.reason if isinstance(outcome, Refusal) else outcome.refusal.reason  # type: ignore[union-attr]
        assert reason is RefusalReason.JOURNAL_UNAVAILABLE
    assert [intent.client_order_id for intent in house.venue.sent] == ["resting"]
    await house.engine.apply_report(house.venue.fill(resting.venue_order_id, "0.01"))
    assert house.ledger.position(SYMBOL).quantity == Decimal("0.01")
    assert (await house.engine.cancel("resting")).state is OrderState.CANCELLED
    assert "No space left on device" in house.ledger.failure
    assert house.metric("gateway_journal_writable") == 0
    monkeypatch.undo()


async def test_an_entry_is_sized_and_the_event_says_from_what_to_what(house: House) -> None:
    """One coin at either touch: 60,005 dollars of asks are both levels, and 10 bps allow a part."""
    house.engine.limits = replace(LIMITS, sizing=Sizing(SizingMode.CONSERVATIVE, Decimal(2)))
    wanted = limit("a", quantity="0.5", limit_price=Decimal(60_005))
    order = await house.submit(wanted)
    assert order.intent.quantity == Decimal("0.40")
    assert order.intent.asked_quantity == Decimal("0.5")
    again = await house.engine.submit(wanted)
    assert isinstance(again, Submitted)
    assert again.repeated
    (event,) = await house.events("order_sized")
    payload = event["payload"]
    assert (payload["original_notional"], payload["adjusted_notional"]) == ("30002.5", "24002.0")
    assert (payload["depth_l1"], payload["depth_l10"]) == ("60005", "60005")
    house.engine.quotes.reset(SYMBOL)
    house.engine.quotes.set_level(SYMBOL, False, Decimal(60_005), Decimal(0))
    assert await refused(house, limit("b")) is RefusalReason.NO_QUOTE


async def test_a_dry_run_goes_to_the_last_gate_and_no_further(house: House) -> None:
    """The order is journaled and refused; what rests at the venue is not cancelled either."""
    await house.submit(limit("real"))
    house.engine.limits = replace(LIMITS, dry_run=True)
    order = await house.submit(limit("a"))
    assert (order.state, order.reason.split(":")[0]) == (OrderState.REFUSED, "DRY_RUN")
    assert await house.engine.cancel_entries() == 1
    with pytest.raises(Unavailable, match="dry run"):
        await house.engine.cancel("real")
    assert [intent.client_order_id for intent in house.venue.sent] == ["real"]
    assert house.venue.cancels == []


async def test_a_time_that_is_over_is_looked_up_where_nobody_told(house: House) -> None:
    """The venue ends a good-till-date order; its word may have been lost."""
    now_ns = [1_000]
    house.engine.venue_now_ns = lambda: now_ns[0]
    order = await house.submit(
        limit("a", time_in_force=TimeInForce.GTD, expires_at_ns=10_000_000_000)
    )
    await house.told(order.venue_order_id)
    house.venue.end(order.venue_order_id, VenueStatus.EXPIRED)
    await house.sweep()
    assert house.ledger.current(order).state is OrderState.OPEN
    now_ns[0] = 12_000_000_001
    await house.sweep()
    assert house.ledger.current(order).state is OrderState.EXPIRED


async def test_fills_of_somebody_else_explain_a_position(house: House) -> None:
    """A liquidation, or an order by hand: taken in with its trades, nothing is adopted blindly."""
    ours = await house.submit(limit("a"))
    foreign = house.venue.accept(limit("by-hand", Side.SELL, "0.03"))
    house.venue.fill(foreign.venue_order_id, "0.03", "61000")
    await house.told(ours.venue_order_id)
    await house.recovery.reconcile_positions(at_once=False)
    assert house.ledger.position(SYMBOL).quantity == Decimal("-0.03")
    kinds = [row["type"] for row in await house.events()]
    assert (kinds.count("order_adopted"), kinds.count("position_adopted")) == (1, 0)


async def test_an_impossible_event_is_reported_and_changes_nothing(house: House) -> None:
    """A venue that revives a filled order as failed is a defect with both names."""
    order = await house.submit(limit("a"))
    report = house.venue.fill(order.venue_order_id, "0.02")
    await house.engine.apply_report(report)
    await house.engine.apply_report(replace(report, status=VenueStatus.FAILED))
    assert await house.state("a") is OrderState.FILLED
    assert house.metric("gateway_order_defects_total") == 1
    defects = await house.events("order_defect")
    assert (defects[0]["payload"]["from"], defects[0]["payload"]["event"]) == ("filled", "rejected")


async def test_a_drain_takes_nothing_new_and_cancels_entries(house: House) -> None:
    """On SIGTERM entries go, protection stays."""
    await hold(house, "0.02")
    await house.submit(limit("entry"))
    await house.submit(limit("exit", Side.SELL, reduce_only=True))
    await house.engine.drain()
    assert await house.state("entry") is OrderState.CANCELLED
    assert await house.state("exit") is OrderState.SUBMITTED
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
    assert set(house.engine.unsettled) == {"a"}
    second = await refused(house, limit("b", Side.SELL, reduce_only=True))
    assert second is RefusalReason.REDUCE_ONLY_WOULD_INCREASE
    await house.engine.refresh(order)
    house.now_ns[0] += 11 * 10**9
    await house.engine.refresh(order)
    assert await house.state("a") is OrderState.MISSING


@asynccontextmanager
async def reconciling(house: House) -> AsyncIterator[Recovery]:
    """Run reconciliation at a rate that tests can wait for."""
    recovery = Recovery(house.engine, RecoveryTimes(0.02, 0.02, 40, certain_seconds=0))
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
