"""Leases on a clock of the test's own, and the send gate."""

import asyncio

import pytest

from tests.fakes.clock import Clock
from touchstone.kit.leases import LEASE_SECONDS, Lease, SendGate


def test_a_lease_that_was_never_granted_is_not_held() -> None:
    """Nobody starts with permission."""
    lease = Lease(monotonic=Clock())
    assert (lease.held, lease.seconds_left()) == (False, 0.0)


def test_a_lease_counts_from_before_the_question() -> None:
    """The time that the answer took is lost to the holder, not won."""
    clock = Clock()
    lease = Lease(0.5, clock)
    asked_at = clock.now
    clock.now += 0.3
    lease.renew(asked_at)
    assert lease.seconds_left() == pytest.approx(0.2)
    clock.now = asked_at + 0.5
    assert not lease.held


def test_an_answer_that_took_longer_than_the_lease_grants_nothing() -> None:
    """A server that was paused answers late; what it granted has run out."""
    clock = Clock()
    lease = Lease(0.5, clock)
    asked_at = clock.now
    clock.now += 0.6
    lease.renew(asked_at)
    assert (lease.held, lease.seconds_left()) == (False, 0.0)


def test_answers_out_of_order_never_shorten_a_lease() -> None:
    """The newest question decides."""
    clock = Clock()
    lease = Lease(0.5, clock)
    lease.renew(100.2)
    lease.renew(100.0)
    clock.now = 100.6
    assert lease.held


def test_a_lease_that_was_ended_stays_so() -> None:
    """A renewal that was on its way when a process left changes nothing."""
    clock = Clock()
    lease = Lease(0.5, clock)
    lease.renew(clock.now)
    assert lease.held
    lease.end()
    lease.renew(clock.now)
    assert not lease.held


def test_everybody_has_the_same_lease() -> None:
    """Who kills waits as long as the longest lease; there is one."""
    assert (Lease().seconds, LEASE_SECONDS) == (0.5, 0.5)


async def is_drained(gate: SendGate, mark: int) -> bool:
    """Return whether nothing stands in the way now."""
    waiting = asyncio.create_task(gate.drained(mark))
    await asyncio.sleep(0)
    done = waiting.done()
    waiting.cancel()
    return done


async def test_an_empty_gate_is_drained() -> None:
    """Nothing under way, nothing to wait for."""
    gate = SendGate()
    assert await is_drained(gate, gate.mark())


async def test_the_exclusive_side_waits_for_passages_that_were_open() -> None:
    """Each of them has to end, in any order."""
    gate = SendGate()
    first, second = gate.enter(), gate.enter()
    waiting = asyncio.create_task(gate.drained(gate.mark()))
    for ticket in (second, first):
        await asyncio.sleep(0)
        assert not waiting.done()
        gate.leave(ticket)
    async with asyncio.timeout(1):
        await waiting


async def test_the_exclusive_side_does_not_wait_for_later_passages() -> None:
    """What begins after the change sees it, and a busy sender cannot hold up an acknowledgement."""
    gate = SendGate()
    mark = gate.mark()
    with gate.passage():
        assert await is_drained(gate, mark)
        assert not await is_drained(gate, gate.mark())


async def test_a_passage_ends_with_its_block_also_by_an_error() -> None:
    """A send that fails holds nothing up."""
    gate = SendGate()
    with pytest.raises(OSError, match="broken"), gate.passage():
        raise OSError("broken")
    assert gate.open_passages == 0


async def test_leaving_twice_ends_one_passage() -> None:
    """The second leave of a ticket is nobody else's."""
    gate = SendGate()
    first, second = gate.enter(), gate.enter()
    gate.leave(first)
    gate.leave(first)
    assert gate.open_passages == 1
    gate.leave(second)
    assert gate.open_passages == 0
