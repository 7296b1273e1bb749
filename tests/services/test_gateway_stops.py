"""Stops that the gateway holds: armed, set off, capped, shrunk, armed again, kept over a crash."""

import errno
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from lob.errors import Unavailable
from lob.types import Side, TimeInForce
from tests.fakes.house import LIMITS, SYMBOL, House, furnished, hold, limit, refused
from tests.fakes.venue import Failure, FakeVenue
from touchstone.perps.checks import RefusalReason
from touchstone.perps.kill import TradingState
from touchstone.perps.orders import Intent, OrderState, OrderType, VenueStatus

S = OrderState


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A reconciled engine on an empty venue."""
    async with furnished(tmp_path, FakeVenue()) as made:
        made.engine.reconciled = True
        yield made


def stop(key: str, quantity: str = "0.02", price: int = 59_000, **changes: object) -> Intent:
    """Return a stop that protects a long position."""
    return replace(
        limit(key, Side.SELL, quantity, reduce_only=True),
        order_type=OrderType.STOP,
        limit_price=None,
        stop_price=Decimal(price),
        **changes,  # type: ignore[arg-type]
    )


def state(house: House, key: str) -> OrderState:
    """Return an order's state in memory."""
    order = house.ledger.get(key)
    assert order is not None
    return order.state


async def test_a_stop_waits_here_and_leaves_as_a_capped_ioc(house: House) -> None:
    """Nothing reaches the venue before its price; then an order at 15 bps beyond the touch."""
    await hold(house, "0.02")
    order = await house.submit(stop("s"))
    assert order.state is S.ARMED
    house.trade("59010")
    house.trade("59000.1")
    await house.quiet()
    assert [intent.client_order_id for intent in house.venue.sent] == ["seed"]
    house.trade("59000")
    await house.quiet()
    sent = house.venue.sent[-1]
    assert (sent.client_order_id, sent.order_type, sent.time_in_force) == (
        "s",
        OrderType.LIMIT,
        TimeInForce.IOC,
    )
    # 15 bps below the bid of 58,995 are 58,906.5075: on the tick, and no lower than that.
    assert (sent.quantity, sent.limit_price) == (Decimal("0.02"), Decimal(58_910))
    assert sent.reduce_only
    assert (await house.submit(stop("s"))).state is S.SUBMITTED
    assert house.metric("gateway_stop_triggers_total") == 1


async def test_a_stop_that_fills_ends_and_is_flat(house: House) -> None:
    """The whole position goes, at one attempt."""
    await hold(house, "0.02")
    await house.submit(stop("s"))
    house.trade("58000")
    await house.quiet()
    order = house.ledger.get("s")
    assert order is not None
    await house.engine.apply_report(house.venue.fill(order.venue_order_id, "0.02", "57990"))
    assert state(house, "s") is S.FILLED
    assert house.ledger.position(SYMBOL).quantity == 0
    assert house.ledger.working() == []


async def test_the_rest_of_a_stop_is_armed_again_and_tries_with_the_next_quote(
    house: House,
) -> None:
    """A partial fill leaves `s.s1`, set off already; its price need not be reached again."""
    await hold(house, "0.02")
    await house.submit(stop("s"))
    house.trade("58000")
    await house.quiet()
    order = house.ledger.get("s")
    assert order is not None
    house.venue.fill(order.venue_order_id, "0.01", "57990")
    await house.engine.apply_report(house.venue.end(order.venue_order_id))
    rest = house.ledger.get("s.s1")
    assert state(house, "s") is S.CANCELLED
    assert rest is not None
    assert (rest.state, rest.intent.quantity, rest.intent.parent) == (S.ARMED, Decimal("0.01"), "s")
    house.engine.stops._not_before.clear()
    house.trade("59500")
    await house.quiet()
    assert house.venue.sent[-1].client_order_id == "s.s1"
    assert house.venue.sent[-1].quantity == Decimal("0.01")
    assert house.metric("gateway_stop_retries_total") == 1


async def test_a_rest_takes_no_other_orders_id(house: House) -> None:
    """Where `<id>.s1` is somebody's already, the rest waits under the next one."""
    await hold(house, "0.02")
    await house.submit(limit("s.s1"))
    order = await house.submit(stop("s"))
    house.trade("58000")
    await house.quiet()
    await house.engine.apply_report(house.venue.end(house.ledger.current(order).venue_order_id))
    rest = house.ledger.get("s.s2")
    assert rest is not None
    assert (rest.state, rest.intent.parent, rest.leaves) == (S.ARMED, "s", Decimal("0.02"))


async def test_attempts_that_do_not_fill_raise_an_alarm(house: House) -> None:
    """Each rest is an order of its own; after three of them people are told."""
    await hold(house, "0.02")
    await house.submit(stop("s"))
    house.trade("58000")
    for key in ("s", "s.s1", "s.s2", "s.s3"):
        await house.quiet()
        order = house.ledger.get(key)
        assert order is not None
        await house.engine.apply_report(house.venue.end(order.venue_order_id))
        house.engine.stops._not_before.clear()
        house.trade("58000")
    assert len({intent.client_order_id for intent in house.venue.sent}) == len(house.venue.sent)
    alarms = await house.events("stop_alarm")
    assert [alarm["payload"]["attempts"] for alarm in alarms] == [3, 4]


async def test_a_stop_shrinks_to_the_room_and_waits_while_there_is_none(house: House) -> None:
    """Another reducing order comes first; what it leaves is what the stop takes."""
    await hold(house, "0.03")
    await house.submit(stop("s", "0.03"))
    exit_order = await house.submit(limit("exit", Side.SELL, "0.03", reduce_only=True))
    house.trade("58000")
    await house.quiet()
    assert state(house, "s") is S.ARMED
    house.venue.fill(exit_order.venue_order_id, "0.01")
    await house.engine.apply_report(house.venue.end(exit_order.venue_order_id))
    await house.engine.reports.fetch([exit_order.venue_order_id])
    house.engine.reports._late.clear()
    house.engine.stops._not_before.clear()
    house.trade("58000")
    await house.quiet()
    assert house.venue.sent[-1].quantity == Decimal("0.02")
    held = await house.events("stop_held")
    assert [row["client_order_id"] for row in held] == ["s"]


async def test_a_protective_stop_ends_with_its_position(house: House) -> None:
    """A stop must not meet a later position that it was not made for."""
    await hold(house, "0.02")
    await house.submit(stop("s"))
    exit_order = await house.submit(limit("exit", Side.SELL, "0.02", reduce_only=True))
    await house.engine.apply_report(house.venue.fill(exit_order.venue_order_id, "0.02"))
    order = house.ledger.get("s")
    assert order is not None
    assert (order.state, order.reason) == (S.CANCELLED, "the position that it protects is gone")


async def test_a_switch_to_reduce_only_keeps_protective_stops_and_ends_entries(
    house: House,
) -> None:
    """Both kinds of entries go, those at the venue and those that wait here; protection works."""
    await hold(house, "0.02")
    await house.submit(stop("s"))
    entry = replace(stop("entry", price=62_000), side=Side.BUY, reduce_only=False)
    await house.submit(entry)
    native = replace(
        limit("native", Side.SELL, reduce_only=True),
        order_type=OrderType.STOP_LIMIT,
        limit_price=Decimal(58_000),
        stop_price=Decimal(58_500),
    )
    await house.submit(native)
    await house.submit(limit("resting"))
    house.kill_switch.state = TradingState.REDUCE_ONLY
    await house.engine.cancel_entries(only_closed=True)
    await house.recovery.reconcile_orders()
    found = {key: state(house, key) for key in ("s", "entry", "native", "resting")}
    assert found == {
        "s": S.ARMED,
        "entry": S.CANCELLED,
        "native": S.OPEN,
        "resting": S.CANCELLED,
    }
    await house.engine.cancel("native")
    house.engine.reports._late.clear()
    house.trade("58000")
    await house.quiet()
    assert house.venue.sent[-1].client_order_id == "s"


async def test_a_halt_holds_a_stop_that_was_set_off_until_it_is_loosened(house: House) -> None:
    """No order leaves while HALTED; the stop stays set off, even when its price is gone."""
    await hold(house, "0.02")
    await house.submit(stop("s"))
    house.kill_switch.state = TradingState.HALTED
    house.trade("58000")
    await house.quiet()
    assert state(house, "s") is S.ARMED
    house.kill_switch.state = TradingState.REDUCE_ONLY
    house.engine.stops._not_before.clear()
    house.trade("59500")
    await house.quiet()
    assert house.venue.sent[-1].client_order_id == "s"


@pytest.mark.parametrize("failure", [Failure.NOT_SENT, Failure.REJECTED])
async def test_a_protective_stop_outlives_what_goes_wrong(house: House, failure: Failure) -> None:
    """One that certainly did not leave waits under its own id, a rejected one under the next."""
    await hold(house, "0.02")
    await house.submit(stop("s"))
    house.venue.fail_next = failure
    house.trade("58000")
    await house.quiet()
    again = "s" if failure is Failure.NOT_SENT else "s.s1"
    assert state(house, again) is S.ARMED
    house.engine.stops._not_before.clear()
    house.trade("58000")
    await house.quiet()
    assert state(house, again) is S.SUBMITTED


async def test_a_stop_that_the_venue_never_got_is_armed_again_only_when_that_is_certain(
    house: House,
) -> None:
    """A lost request is unknown until it can no longer arrive; only then the rest goes out."""
    await hold(house, "0.02")
    await house.submit(stop("s"))
    house.venue.fail_next = Failure.LOST_REQUEST
    house.trade("58000")
    await house.quiet()
    assert state(house, "s") is S.UNKNOWN
    await house.sweep()
    assert house.ledger.get("s.s1") is None
    house.now_ns[0] += 41 * 10**9
    await house.recovery.reconcile_orders()
    assert state(house, "s") is S.MISSING
    assert state(house, "s.s1") is S.ARMED


async def test_a_cancelled_stop_leaves_no_rest(house: House) -> None:
    """Waiting here it is over at once; on its way its end is final."""
    await hold(house, "0.02")
    await house.submit(stop("a"))
    assert (await house.engine.cancel("a")).state is S.CANCELLED
    await house.submit(stop("b"))
    house.trade("58000")
    await house.quiet()
    assert (await house.engine.cancel("b")).state is S.CANCELLED
    assert house.ledger.get("b.s1") is None
    assert house.ledger.working() == []


async def test_a_stop_may_have_a_time_of_its_own(house: House) -> None:
    """It is over by the venue's clock, without a word to the venue."""
    await hold(house, "0.02")
    now_ns = [5_000]
    house.engine.venue_now_ns = lambda: now_ns[0]
    await house.submit(stop("s", time_in_force=TimeInForce.GTD, expires_at_ns=6_000))
    house.engine.stops.tick()
    assert state(house, "s") is S.ARMED
    now_ns[0] = 6_000
    house.engine.stops.tick()
    assert state(house, "s") is S.EXPIRED
    assert house.venue.cancels == []


async def test_an_old_quote_sends_no_stop(house: House) -> None:
    """A cap beyond a touch that nobody knows is none."""
    await hold(house, "0.02")
    await house.submit(stop("s"))
    house.trade("58000.5")
    house.engine.quotes.clear()
    await house.quiet()
    house.engine.stops.tick()
    await house.quiet()
    sent = [intent.client_order_id for intent in house.venue.sent]
    assert sent == ["seed", "s"]
    await house.engine.apply_report(
        house.venue.end(house.ledger.find_venue_order("v3").venue_order_id)  # type: ignore[union-attr]
    )
    house.engine.stops._not_before.clear()
    house.engine.stops.tick()
    await house.quiet()
    assert state(house, "s.s1") is S.ARMED


async def test_an_entry_stop_obeys_the_limits_of_its_moment(house: House) -> None:
    """What may not be opened when the price comes is refused then."""
    entry = replace(stop("e", price=61_000), side=Side.BUY, reduce_only=False)
    assert (await house.submit(entry)).state is S.ARMED
    house.engine.limits = replace(LIMITS, max_order_notional=Decimal(1_000))
    house.trade("61000")
    await house.quiet()
    order = house.ledger.get("e")
    assert order is not None
    assert (order.state, order.reason.split(":")[0]) == (S.REFUSED, "ORDER_NOTIONAL")


async def test_a_stop_needs_a_position_to_protect(house: House) -> None:
    """Without one, or with a smaller one, it is refused; a dry run arms nothing."""
    assert await refused(house, stop("s")) is RefusalReason.REDUCE_ONLY_WOULD_INCREASE
    await hold(house, "0.02")
    assert await refused(house, stop("s", "0.03")) is RefusalReason.REDUCE_ONLY_WOULD_INCREASE
    house.engine.limits = replace(LIMITS, dry_run=True)
    order = await house.submit(stop("s"))
    assert (order.state, order.reason.split(":")[0]) == (S.REFUSED, "DRY_RUN")


async def test_a_restart_goes_on_watching(tmp_path: Path) -> None:
    """An armed stop waits on; one that was under way is looked for, and never sent twice."""
    venue = FakeVenue()
    async with furnished(tmp_path, venue) as first:
        first.engine.reconciled = True
        await hold(first, "0.04")
        await first.submit(stop("waits"))
        await first.submit(stop("leaves", price=59_500))
        venue.fail_next = Failure.LOST_ANSWER
        first.trade("59400")
        await first.quiet()
    async with furnished(tmp_path, venue) as second:
        assert state(second, "waits") is S.ARMED
        assert state(second, "leaves") is S.UNKNOWN
        await second.recovery.reconcile_orders()
        second.engine.reconciled = True
        assert state(second, "leaves") is S.OPEN
        second.trade("59000")
        second.engine.stops.tick()
        await second.quiet()
        assert [intent.client_order_id for intent in venue.sent] == ["seed", "leaves", "waits"]


async def test_a_crash_between_a_stops_end_and_its_rest_loses_neither(tmp_path: Path) -> None:
    """The rest is journaled before the end: a start finds both, or the stop still under way."""
    venue = FakeVenue()
    async with furnished(tmp_path, venue) as first:
        first.engine.reconciled = True
        await hold(first, "0.02")
        await first.submit(stop("s"))
        first.trade("58000")
        await first.quiet()
        order = first.ledger.get("s")
        assert order is not None
        first.engine.stops.take_up_rest(order, S.CANCELLED)
        # Here the process ends: the rest is in the journal, the stop's own end is not.
        venue.end(order.venue_order_id, VenueStatus.CANCELLED)
    async with furnished(tmp_path, venue) as second:
        second.engine.reconciled = True
        await second.recovery.reconcile_orders()
        assert state(second, "s") is S.CANCELLED
        assert state(second, "s.s1") is S.ARMED
        assert second.ledger.get("s.s2") is None


async def test_a_cancel_that_is_not_kept_says_so(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop is over as long as this process lives; only who is told can cancel it again."""
    await hold(house, "0.02")
    await house.submit(stop("s"))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("touchstone.kit.journal.os.write", full)
    with pytest.raises(Unavailable, match=r"s: cancelled, .* No space left .* armed again at the"):
        await house.engine.cancel("s")
    assert state(house, "s") is S.CANCELLED
    house.trade("58000")
    await house.quiet()
    assert [intent.client_order_id for intent in house.venue.sent] == ["seed"]
    monkeypatch.undo()
