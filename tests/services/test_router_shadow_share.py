"""The shadow process's share of a processor: what it computes is counted, and bounded."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from services.router.shadow_share import SAVED_SECONDS_MAX, ProcessorAccount
from tests.fakes.clock import Clock
from tests.services.test_router_shadow_process import check_of, lane_of, shadowed, until_ready

Eventually = Callable[..., Awaitable[float]]


def test_what_is_not_computed_is_saved_up_to_a_bound_and_debts_are_paid_in_time() -> None:
    """A quarter of a second at once after a quiet time; then three hundredths of each."""
    clock = Clock()
    account = ProcessorAccount(0.03, clock)
    assert SAVED_SECONDS_MAX == account.balance
    clock.now += 1_000
    assert SAVED_SECONDS_MAX == account.balance
    assert 0.0 == account.paid_in
    account.spend(SAVED_SECONDS_MAX + 0.6)
    assert -0.6 == pytest.approx(account.balance)
    assert 20.0 == pytest.approx(account.paid_in)
    clock.now += 19
    assert account.balance < 0
    clock.now += 2
    assert 0 < account.balance < 0.1


@pytest.mark.parametrize(
    ("candidate", "ending"), [("hangs_busy", "hung"), ("leaves_threads_behind", "overspent")]
)
@pytest.mark.usefixtures("router_environment")
async def test_one_that_computes_without_an_end_is_not_started_again_before_that_is_paid(
    candidate: str, ending: str, eventually: Eventually
) -> None:
    """With five orders a second it may have three hundredths of each, and has had more."""
    async with shadowed(candidate, shadow_per_second_max=5) as harness:
        await until_ready(harness)
        lane = lane_of(harness)
        # Nothing saved: where the machine gives it little, it takes as long to owe as to be ended.
        lane._account.spend(SAVED_SECONDS_MAX - 0.001)
        await harness.execute()
        ended = lane._metrics.endings[ending]
        await eventually(lambda: ended._value.get() == 1, 90.0)
        assert lane.pid is None
        assert not lane.affords()
        lane._account.spend(5.0)
        await harness.execute()
        assert 1 == await harness.metric('shadow_dropped_total{reason="processor"}')
        check = await check_of(harness)
        assert not check["ok"]
        assert "it computed more than 3 % of a processor: goes on in " in check["detail"]
        lane._account.spend(lane._account.balance - 0.001)
        second = await until_ready(harness)
        # What this start took is owed too; it is not ended for that, and waits for orders.
        assert not lane.affords()
        await asyncio.sleep(1.2)
        assert second == lane.pid
        assert 1 == ended._value.get()
        # Whoever leaves the phase and enters it again has not paid.
        lane._account.spend(5.0)
        await harness.put(1, phase="OFF")
        await eventually(lambda: lane.pid is None)
        await harness.put(2, phase="SHADOW")
        await eventually(lambda: lane._wanted)
        await asyncio.sleep(0.3)
        assert lane.pid is None
        lane._account.spend(-10.0)
        assert second != await until_ready(harness)


@pytest.mark.parametrize("held_by", ["debt", "deafness"])
@pytest.mark.usefixtures("router_environment")
async def test_a_process_that_is_given_no_orders_gets_the_rest_of_the_last_one(
    held_by: str,
) -> None:
    """Half an order would keep it waiting for ever, and it would be taken to hang."""
    async with shadowed("l2", shadow_per_second_max=5) as harness:
        await until_ready(harness)
        lane, shadow = lane_of(harness), harness.components.shadow
        life = lane._life
        assert life is not None
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            life.connection.close()
            life.connection, life.unsent = ours, b"the rest"
            if held_by == "debt":
                lane._account.spend(5.0)
            else:
                lane._deaf_until = lane._clock() + 60.0
            await harness.execute()
            await lane._send(life, shadow)
            await lane._send(life, shadow)
            assert b"the rest" == theirs.recv(100, socket.MSG_DONTWAIT)
            assert b"" == life.unsent
            with pytest.raises(BlockingIOError):
                theirs.recv(100, socket.MSG_DONTWAIT)
