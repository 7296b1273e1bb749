"""Cancel/replace and close: the original is over for certain, and nothing is done twice."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from lob.errors import Conflict, InvalidInput, NotFound, Unavailable
from lob.types import Side
from services.order_gateway.replacing import Replaced, Terms
from services.order_gateway.venues.base import VenuePosition
from tests.fakes.house import SYMBOL, House, furnished, hold, limit, refused
from tests.fakes.venue import Failure, FakeVenue
from touchstone.perps.checks import Refusal, RefusalReason
from touchstone.perps.kill import TradingState
from touchstone.perps.orders import Attached, Order, OrderState, OrderType, VenueStatus

S = OrderState
LOWER = Terms(limit_price=Decimal(58_000))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A reconciled engine on an empty venue."""
    async with furnished(tmp_path, FakeVenue()) as made:
        made.engine.reconciled = True
        yield made


async def replaced(house: House, key: str, terms: Terms) -> Replaced:
    """Replace an order; fail on a refusal."""
    outcome = await house.engine.replace(key, terms)
    assert isinstance(outcome, Replaced), outcome
    return outcome


async def test_a_replacement_takes_the_place_of_a_finished_order(house: House) -> None:
    """The child has the new terms, the rest of the old ones, and says whom it replaces."""
    await house.submit(limit("a", post_only=True, strategy="trend"))
    found = await replaced(house, "a", LOWER)
    assert found.child is not None
    intent = found.child.intent
    assert (found.original.state, found.original.is_done) == (S.CANCELLED, True)
    assert (intent.client_order_id, intent.replaces, intent.limit_price) == (
        "a.r1",
        "a",
        Decimal(58_000),
    )
    assert (intent.post_only, intent.strategy, intent.quantity) == (True, "trend", Decimal("0.02"))
    again = await replaced(house, "a.r1", Terms(quantity=Decimal("0.03")))
    assert again.child is not None
    assert again.child.intent.client_order_id == "a.r2"


async def test_what_filled_of_the_original_is_taken_off(house: House) -> None:
    """The new quantity is the whole: a fill on the way to the cancel counts."""
    order = await house.submit(limit("a"))
    house.venue.fill(order.venue_order_id, "0.01")
    found = await replaced(house, "a", LOWER)
    assert found.child is not None
    assert found.child.intent.quantity == Decimal("0.01")
    assert house.ledger.position(SYMBOL).quantity == Decimal("0.01")


async def test_nothing_is_sent_where_nothing_is_left(house: House) -> None:
    """An original that filled as far as the new quantity has no child."""
    order = await house.submit(limit("a"))
    house.venue.fill(order.venue_order_id, "0.01")
    found = await replaced(house, "a", Terms(quantity=Decimal("0.01")))
    assert (found.child, found.original.is_done) == (None, True)
    assert len(house.venue.sent) == 1


async def test_the_same_wish_again_is_the_same_child(house: House) -> None:
    """However often, and at once; another wish is a conflict."""
    await house.submit(limit("a"))
    both = await asyncio.gather(
        replaced(house, "a", LOWER), replaced(house, "a", LOWER), return_exceptions=False
    )
    again = await replaced(house, "a", LOWER)
    await house.quiet()
    children = {found.child and found.child.intent.client_order_id for found in (*both, again)}
    assert children == {"a.r1"}
    assert [intent.client_order_id for intent in house.venue.sent] == ["a", "a.r1"]
    with pytest.raises(Conflict, match=r"a\.r1 replaces it already"):
        await house.engine.replace("a", Terms(limit_price=Decimal(57_000)))


async def test_what_cannot_be_replaced_is_said_and_left_alone(house: House) -> None:
    """Unknown, over, unchanged, impossible: the original keeps its place."""
    await house.submit(limit("a"))
    with pytest.raises(NotFound):
        await house.engine.replace("nobody", LOWER)
    with pytest.raises(InvalidInput, match="nothing would change"):
        await house.engine.replace("a", Terms(quantity=Decimal("0.02")))
    with pytest.raises(InvalidInput, match="a LIMIT order has none"):
        await house.engine.replace("a", Terms(stop_price=Decimal(1)))
    too_large = await house.engine.replace("a", Terms(quantity=Decimal(10)))
    assert isinstance(too_large, Refusal)
    assert too_large.reason is RefusalReason.ORDER_NOTIONAL
    house.kill_switch.state = TradingState.REDUCE_ONLY
    closed = await house.engine.replace("a", LOWER)
    assert isinstance(closed, Refusal)
    assert closed.reason is RefusalReason.REDUCE_ONLY
    assert house.venue.cancels == []
    await house.engine.cancel("a")
    with pytest.raises(Conflict, match="cancelled"):
        await house.engine.replace("a", LOWER)


async def test_a_cancel_drops_the_wish(house: House) -> None:
    """Who cancels an order that is being replaced wants neither."""
    await house.submit(limit("a"))
    house.venue.down = True
    with pytest.raises(Unavailable):
        await house.engine.replace("a", LOWER)
    with pytest.raises(Unavailable):
        await house.engine.cancel("a")
    house.venue.down = False
    await house.sweep()
    await house.recovery.reconcile_orders()
    await house.quiet()
    assert [intent.client_order_id for intent in house.venue.sent] == ["a"]


async def test_a_replacement_goes_on_after_a_crash(tmp_path: Path) -> None:
    """The wish is in the journal with the original; a start carries it out, once."""
    venue = FakeVenue()
    async with furnished(tmp_path, venue) as first:
        first.engine.reconciled = True
        await first.submit(limit("a"))
        venue.down = True
        with pytest.raises(Unavailable):
            await first.engine.replace("a", LOWER)
    venue.down = False
    async with furnished(tmp_path, venue) as second:
        venue.end("v1", VenueStatus.CANCELLED)
        await second.recovery.reconcile_orders()
        second.engine.reconciled = True
        await second.sweep()
        await second.quiet()
        child = second.ledger.get("a.r1")
        assert child is not None
        assert child.state is S.SUBMITTED
    async with furnished(tmp_path, venue) as third:
        third.engine.reconciled = True
        await third.sweep()
        await third.quiet()
        assert [intent.client_order_id for intent in venue.sent] == ["a", "a.r1"]


async def test_no_other_orders_id_is_taken_for_a_replacement(house: House) -> None:
    """Where `<id>.r1` is somebody's already, the original keeps its place."""
    await house.submit(limit("a"))
    await house.submit(limit("a.r1", quantity="0.07"))
    with pytest.raises(Conflict, match="another order's id"):
        await house.engine.replace("a", LOWER)
    assert house.venue.cancels == []


async def test_an_entry_is_not_moved_beyond_its_own_exit(house: House) -> None:
    """The venue would refuse the replacement: the original is not touched for it."""
    attached = Attached(take_profit_price=Decimal(59_500), stop_price=Decimal(50_000))
    await house.submit(limit("a", attached=attached))
    outcome = await house.engine.replace("a", Terms(limit_price=Decimal(59_800)))
    assert isinstance(outcome, Refusal)
    assert outcome.reason is RefusalReason.STOP_RELATION
    assert house.venue.cancels == []


async def test_nothing_is_replaced_without_a_journal(house: House) -> None:
    """A wish that cannot be kept leaves the original as it is."""
    order = await house.submit(limit("a"))
    house.books.journal._journal.failure = "disk full"
    outcome = await house.engine.replace("a", LOWER)
    assert isinstance(outcome, Refusal)
    assert outcome.reason is RefusalReason.JOURNAL_UNAVAILABLE
    assert house.ledger.current(order) == order


async def waiting_replacement(house: House) -> None:
    """Have a reducing order's replacement wait: HALTED came with the end of the original."""
    await hold(house, "0.02")
    await house.submit(limit("out", Side.SELL, reduce_only=True))
    house.kill_switch.state = TradingState.HALTED
    found = await replaced(house, "out", Terms(limit_price=Decimal(62_000)))
    assert (found.original.state, found.child) == (S.CANCELLED, None)


async def test_what_waits_does_not_tell_the_same_refusal_again(house: House) -> None:
    """While HALTED lasts nothing is journaled and nothing asked; loosened, the order goes."""
    await waiting_replacement(house)
    written = house.books.journal.number
    for _ in range(3):
        await house.sweep()
        await house.quiet()
    assert house.books.journal.number == written
    house.kill_switch.state = TradingState.REDUCE_ONLY
    await house.sweep()
    await house.quiet()
    assert house.venue.sent[-1].client_order_id == "out.r1"


async def test_a_replacement_ends_with_the_position_that_it_reduces(house: House) -> None:
    """It must not come back to life with a later position."""
    await waiting_replacement(house)
    for quantity in ("0", "0.05"):
        there = VenuePosition(Decimal(quantity), Decimal(60_000))
        house.ledger.adopt_position(SYMBOL, there, None)
        await house.sweep()
        await house.quiet()
        house.kill_switch.state = TradingState.ACTIVE
    assert [intent.client_order_id for intent in house.venue.sent] == ["seed", "out"]
    assert house.ledger.outstanding() == []


async def test_a_close_gives_up_what_would_replace_its_orders(house: House) -> None:
    """Neither an order that still works nor one that is over has a child after a close."""
    house.venue.fill_all_at = Decimal(60_000)
    await hold(house, "0.02")
    await house.submit(limit("a"))
    house.venue.down = True
    with pytest.raises(Unavailable):
        await house.engine.replace("a", LOWER)
    house.venue.down = False
    closing = asyncio.create_task(house.engine.close(SYMBOL, "now", seconds=5))
    await told_until(house, closing)
    await house.sweep()
    await house.quiet()
    assert (await closing).is_flat
    sent = [intent.client_order_id for intent in house.venue.sent]
    assert sent == ["seed", "a", f"close-now-{SYMBOL}-1"]


async def test_an_armed_stop_is_replaced_without_the_venue(house: House) -> None:
    """It moves here: nothing was at the venue, and nothing is sent."""
    await hold(house, "0.02")
    stop = replace(
        limit("s", Side.SELL, reduce_only=True),
        order_type=OrderType.STOP,
        limit_price=None,
        stop_price=Decimal(59_000),
    )
    await house.submit(stop)
    found = await replaced(house, "s", Terms(stop_price=Decimal(59_500)))
    assert found.child is not None
    assert (found.child.state, found.child.intent.stop_price) == (S.ARMED, Decimal(59_500))
    assert house.venue.cancels == []


# ------------------------------------------------------------------------------- close


async def test_a_close_ends_every_order_and_sells_what_is_held(house: House) -> None:
    """Orders go first, protection too; then one order that only reduces."""
    await hold(house, "0.05")
    await house.submit(limit("exit", Side.SELL, "0.03", reduce_only=True))
    await house.submit(limit("more"))
    house.venue.fill_all_at = Decimal(59_000)
    closing = asyncio.create_task(house.engine.close(SYMBOL, "evening", seconds=5))
    await told_until(house, closing)
    closed = await closing
    assert (closed.is_flat, closed.problem) == (True, "")
    assert [order.intent.client_order_id for order in closed.orders] == ["close-evening-BTC-PERP-1"]
    sent = house.venue.sent[-1]
    assert (sent.side, sent.quantity, sent.reduce_only) == (Side.SELL, Decimal("0.05"), True)
    again = await house.engine.close(SYMBOL, "evening")
    assert again.is_flat
    assert len(house.venue.sent) == 4
    with pytest.raises(InvalidInput, match="unknown; allowed: BTC-PERP"):
        await house.engine.close("DOGE", "evening")


async def test_a_close_takes_as_many_orders_as_it_needs(house: House) -> None:
    """What an immediate order leaves, the next one takes, under an id of its own."""
    await hold(house, "0.05")
    closing = asyncio.create_task(house.engine.close(SYMBOL, "thin", seconds=5))
    for share in ("0.02", "0.03"):
        order = await sent_close(house)
        house.venue.fill(order.venue_order_id, share, "59000")
        await house.engine.apply_report(house.venue.end(order.venue_order_id))
    closed = await closing
    assert closed.is_flat
    assert [order.intent.quantity for order in closed.orders] == [Decimal("0.05"), Decimal("0.03")]


async def test_a_close_that_may_not_be_is_refused(house: House) -> None:
    """HALTED, or without a journal, nothing goes out; the answer says so, and protection stays."""
    await hold(house, "0.02")
    await house.submit(limit("out", Side.SELL, reduce_only=True))
    house.kill_switch.state = TradingState.HALTED
    closed = await house.engine.close(SYMBOL, "x", seconds=0.2)
    assert closed.refusal is not None
    assert (closed.refusal.reason, closed.quantity) == (RefusalReason.HALTED, Decimal("0.02"))
    house.kill_switch.state = TradingState.ACTIVE
    house.books.journal._journal.failure = "disk full"
    closed = await house.engine.close(SYMBOL, "x", seconds=0.2)
    assert closed.refusal is not None
    assert closed.refusal.reason is RefusalReason.JOURNAL_UNAVAILABLE
    assert house.venue.cancels == []


async def sent_close(house: House) -> Order:
    """Return the order that a close has at the venue."""
    async with asyncio.timeout(5):
        while True:
            for order in house.ledger.working():
                if order.venue_order_id:
                    return order
            await asyncio.sleep(0.001)


async def told_until(house: House, task: asyncio.Task[object]) -> None:
    """Have the venue tell of all its orders until a task is done."""
    while not task.done():
        for key in list(house.venue.by_id):
            if house.ledger.find_venue_order(key) is not None:
                await house.told(key)
        await asyncio.sleep(0.002)


# ------------------------------------------------------------------------------- exits and ends


async def test_the_exit_that_the_venue_makes_is_adopted(house: House) -> None:
    """It is `<entry>.x`, only reduces, grows with its entry, and ends by its own report."""
    attached = Attached(take_profit_price=Decimal(62_000), stop_price=Decimal(57_000))
    entry = await house.submit(limit("a", attached=attached))
    child = house.ledger.get("a.x")
    assert child is not None
    assert child.venue_order_id == entry.attached_order_id != ""
    assert (child.intent.order_type, child.intent.side, child.intent.reduce_only) == (
        OrderType.BRACKET,
        Side.SELL,
        True,
    )
    assert (child.intent.quantity, child.intent.parent) == (Decimal("0.02"), "a")
    await house.engine.apply_report(house.venue.fill(entry.venue_order_id, "0.02"))
    second = await refused(house, limit("x", Side.SELL, "0.01", reduce_only=True))
    assert second is RefusalReason.REDUCE_ONLY_WOULD_INCREASE
    await house.engine.apply_report(house.venue.fill(child.venue_order_id, "0.02", "62000"))
    assert house.ledger.position(SYMBOL).quantity == 0
    assert house.ledger.current(child).state is S.FILLED
    assert house.ledger.working() == []


async def test_the_exit_of_a_part_protects_that_part(house: House) -> None:
    """A switch to reduce-only ends the entry and keeps its exit, which is as large as what filled.

    Until then it takes the room of what filled, too, and not of the whole entry.
    """
    attached = Attached(take_profit_price=Decimal(62_000), stop_price=Decimal(57_000))
    await hold(house, "0.02")
    entry = await house.submit(limit("a", attached=attached))
    await house.engine.apply_report(house.venue.fill(entry.venue_order_id, "0.01"))
    fits = await house.submit(limit("b", Side.SELL, "0.01", reduce_only=True))
    house.kill_switch.state = TradingState.REDUCE_ONLY
    await house.engine.cancel_entries(only_closed=True)
    await house.told(entry.venue_order_id)
    assert house.ledger.current(entry).state is S.CANCELLED
    exit_ = house.ledger.get("a.x")
    assert exit_ is not None
    assert (exit_.cancel_wanted, exit_.leaves) == (False, Decimal("0.01"))
    assert house.venue.cancels == [entry.venue_order_id]
    assert not house.ledger.current(fits).cancel_wanted


async def test_an_exit_whose_entrys_answer_was_lost_is_found_with_it(house: House) -> None:
    """The comparison finds the entry first, and then knows whose exit that is."""
    attached = Attached(take_profit_price=Decimal(62_000), stop_price=Decimal(57_000))
    house.venue.fail_next = Failure.LOST_ANSWER
    await house.submit(limit("a", attached=attached))
    await house.recovery.reconcile_orders()
    keys = {order.intent.client_order_id for order in house.ledger.working()}
    assert keys == {"a", "a.x"}


async def test_an_exit_that_nobody_has_told_of_takes_its_room(house: House) -> None:
    """The user channel tells of an entry's fills before an answer tells of its exit."""
    house.engine.venue_keeps_reduce_only = False
    attached = Attached(take_profit_price=Decimal(62_000), stop_price=Decimal(57_000))
    entry = await house.submit(limit("a"))
    house.ledger.change(entry, intent=replace(entry.intent, attached=attached))
    await house.engine.apply_report(house.venue.fill(entry.venue_order_id, "0.02"))
    exit_ = limit("b", Side.SELL, "0.01", reduce_only=True)
    assert await refused(house, exit_) is RefusalReason.REDUCE_ONLY_WOULD_INCREASE
    await house.recovery.reconcile_orders()
    fits = await house.submit(replace(exit_, client_order_id="c"))
    assert fits.state is S.SUBMITTED


async def test_ends_that_are_not_certain_count_where_the_venue_does_not_watch(
    house: House,
) -> None:
    """A cancelled exit may still fill for a moment: nothing else may reduce meanwhile."""
    house.engine.venue_keeps_reduce_only = False
    await hold(house, "0.02")
    first = await house.submit(limit("a", Side.SELL, reduce_only=True))
    await house.engine.cancel("a")
    second = limit("b", Side.SELL, reduce_only=True)
    assert await refused(house, second) is RefusalReason.REDUCE_ONLY_WOULD_INCREASE
    house.venue.fill(first.venue_order_id, "0.01")
    assert not house.engine.reports.is_certain(house.ledger.current(first))
    house.engine.reports._late[first.venue_order_id] = 0.0
    await house.engine.reports.fetch([first.venue_order_id])
    assert house.ledger.position(SYMBOL).quantity == Decimal("0.01")
    fits = await house.submit(limit("c", Side.SELL, "0.01", reduce_only=True))
    assert fits.state is S.SUBMITTED


async def test_ends_that_are_not_certain_count_for_an_order_without_the_flag(
    house: House,
) -> None:
    """Nothing at the venue keeps it from flipping what a late fill has made smaller."""
    await hold(house, "0.02")
    await house.submit(limit("a", Side.SELL, "0.01", reduce_only=True))
    await house.engine.cancel("a")
    house.kill_switch.state = TradingState.REDUCE_ONLY
    plain = limit("b", Side.SELL, "0.02")
    assert await refused(house, plain) is RefusalReason.REDUCE_ONLY
    fits = await house.submit(limit("c", Side.SELL, "0.01"))
    assert fits.state is S.SUBMITTED
    flagged = await house.submit(limit("d", Side.SELL, "0.01", reduce_only=True))
    assert flagged.state is S.SUBMITTED


async def test_one_request_fetches_the_fills_of_many_orders(house: House) -> None:
    """The feed tells, one task asks once, and each order gets its own."""
    orders = [await house.submit(limit(str(number))) for number in range(5)]
    fetching = asyncio.create_task(house.recovery.apply_reports())
    await asyncio.sleep(0)
    for order in orders:
        house.recovery.offer(house.venue.fill(order.venue_order_id, "0.02"))
    for order in orders:
        assert await house.engine.wait_over(order.intent.client_order_id, 5)
    fetching.cancel()
    assert house.ledger.position(SYMBOL).quantity == Decimal("0.10")
    assert [len(asked) for asked in house.venue.fill_requests] == [5]
