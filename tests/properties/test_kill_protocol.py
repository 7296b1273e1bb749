"""The acknowledged kill under every interleaving that Hypothesis finds: nobody sends after it.

A model of the parts around the real lease, gate and membership: a Redis that answers at once but
whose questions and answers may wait, members that check, await and hand over, one who kills. Three
wrong protocols are put through the same search, which has to find them out.
"""

import asyncio
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from touchstone.kit.leases import DRAIN_SECONDS, LEASE_SECONDS, Lease, SendGate
from touchstone.kit.membership import Membership

MEMBERS = st.integers(0, 1)
# In hundredths of a second, so that edges are met exactly.
SECONDS = (0.01, 0.05, 0.1, 0.2, 0.4)
WALKS = 500


@dataclass
class Question:
    """A renewal on its way: asked when, for which generation, answered how."""

    asked_at: float
    applied: int
    granted: bool | None = None
    generation: int = 0


@dataclass
class Sender:
    """A member: what it sees, what it is asking, the orders between check and hand-over."""

    member: Membership
    seen: int = 1
    questions: list[Question] = field(default_factory=list)
    passages: list[tuple[int, int]] = field(default_factory=list)


class KillProtocol(RuleBasedStateMachine):
    """Odd generations permit, even ones are kills; the time stands still between the rules."""

    waits_for_passages = True
    counts_from_question = True
    waits_whole_lease = True

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.generation = 1
        self.acked: dict[int, int] = {}
        self.killed_at: float | None = None
        self.acknowledged = 0
        self.after: list[str] = []
        self.loop = asyncio.new_event_loop()
        self.senders: list[Sender] = []

    def teardown(self) -> None:
        """Close the loop that asks the gates."""
        self.loop.close()

    @initialize()
    def start(self) -> None:
        """Two members that have applied the first generation and hold a lease."""
        for number in range(2):
            member = Membership(
                f"m{number}", Lease(LEASE_SECONDS, lambda: self.now), SendGate(), _nothing, 1
            )
            member.see(1)
            member.lease.renew(self.now)
            self.acked[number] = 1
            self.senders.append(Sender(member))

    @rule(seconds=st.sampled_from(SECONDS))
    def let_time_pass(self, seconds: float) -> None:
        """Nothing stays between check and hand-over for longer than a drain."""
        if any(sender.passages for sender in self.senders):
            seconds = min(seconds, 0.01)
        self.now = round(self.now + seconds, 2)

    @rule(number=MEMBERS)
    def ask(self, number: int) -> None:
        """Send a renewal; several may be on their way."""
        sender = self.senders[number]
        if len(sender.questions) < 3:
            sender.questions.append(Question(self.now, sender.member.applied_generation))

    @rule(number=MEMBERS)
    def answer(self, number: int) -> None:
        """Redis takes the oldest question that it has not seen."""
        for question in self.senders[number].questions:
            if question.granted is None:
                question.generation = self.generation
                question.granted = question.applied == self.generation
                if question.granted:
                    self.acked[number] = self.generation
                return

    @rule(number=MEMBERS)
    def hear(self, number: int) -> None:
        """The member gets the oldest answer."""
        sender = self.senders[number]
        if sender.questions and sender.questions[0].granted is not None:
            question = sender.questions.pop(0)
            self._see(sender, question.generation)
            if question.granted:
                asked_at = question.asked_at if self.counts_from_question else self.now
                sender.member.lease.renew(asked_at)

    @rule(number=MEMBERS)
    def ring(self, number: int) -> None:
        """The doorbell brings the present generation."""
        self._see(self.senders[number], self.generation)

    @rule(number=MEMBERS)
    def apply(self, number: int) -> None:
        """The member has applied what it sees, once its older passages have ended."""
        sender = self.senders[number]
        drained = self.loop.run_until_complete(_drained(sender.member, sender.seen))
        if drained or not self.waits_for_passages:
            sender.member.applied_generation = sender.seen

    @rule(number=MEMBERS)
    def keep_up(self, number: int) -> None:
        """All of it in a row, as it mostly goes: ring, apply, ask, be answered."""
        self.ring(number)
        self.apply(number)
        self.ask(number)
        for _ in self.senders[number].questions:
            self.answer(number)

    @rule(number=MEMBERS)
    def check(self, number: int) -> None:
        """Begin an order where the state and the lease permit it."""
        sender = self.senders[number]
        ticket = sender.member.gate.enter()
        if sender.seen % 2 and sender.member.lease.held:
            sender.passages.append((ticket, sender.seen))
            if self.acknowledged > sender.seen:
                self.after.append(f"m{number} begins under {sender.seen}")
        else:
            sender.member.gate.leave(ticket)

    @rule(number=MEMBERS)
    def hand_over(self, number: int) -> None:
        """The socket has the oldest order."""
        sender = self.senders[number]
        if sender.passages:
            ticket, seen = sender.passages.pop(0)
            sender.member.gate.leave(ticket)
            if self.acked[number] > seen and self.acknowledged > seen:
                self.after.append(f"m{number} hands over under {seen}")

    @precondition(lambda self: self.killed_at is None and self.generation % 2)
    @rule()
    def kill(self) -> None:
        """Write a kill; its caller waits from now on."""
        self.generation += 1
        self.killed_at = self.now

    @precondition(lambda self: self.killed_at is not None)
    @rule()
    def look(self) -> None:
        """The caller looks: everybody has acknowledged, or a lease and a drain have passed."""
        if self.killed_at is None:
            return
        wait = LEASE_SECONDS + DRAIN_SECONDS if self.waits_whole_lease else LEASE_SECONDS / 2
        lapsed = self.now >= round(self.killed_at + wait, 2)
        if lapsed or all(acked >= self.generation for acked in self.acked.values()):
            self.acknowledged, self.killed_at = self.generation, None

    @precondition(lambda self: self.acknowledged == self.generation)
    @rule()
    def rearm(self) -> None:
        """Permit again, under the next generation."""
        self.generation += 1

    @invariant()
    def nothing_after_the_acknowledgement(self) -> None:
        """No order is begun, and none that was waited for is handed over, under what was killed."""
        assert [] == self.after

    def _see(self, sender: Sender, generation: int) -> None:
        if generation > sender.seen:
            sender.seen = generation
            sender.member.see(generation)


async def _nothing(_record: object) -> None:
    """Ask for nothing before an acknowledgement."""


async def _drained(member: Membership, generation: int) -> bool:
    """Return whether the real gate lets this generation be acknowledged now."""
    assert member._applying[0] == generation
    waiting = asyncio.ensure_future(member.gate.drained(member._applying[1]))
    await asyncio.sleep(0)
    done = waiting.done()
    waiting.cancel()
    return done


def walk(kind: type[KillProtocol], seed: int, steps: int = 300) -> list[str]:
    """Take a random walk through the protocol; return what was sent after an acknowledgement.

    Much cheaper than Hypothesis where a fault only has to be found, not made small.
    """
    chance = random.Random(seed)
    machine = kind()
    machine.start()
    alone = ("ask", "answer", "hear", "ring", "apply", "keep_up", "check", "hand_over")
    for _ in range(steps):
        name = chance.choice((*alone, "check", "let_time_pass", "kill", "look", "look", "rearm"))
        if name in alone:
            getattr(machine, name)(chance.randrange(2))
        elif name == "let_time_pass":
            machine.let_time_pass(chance.choice(SECONDS))
        elif name == "look":
            machine.look()
        elif name == "kill" and machine.killed_at is None and machine.generation % 2:
            machine.kill()
        elif name == "rearm" and machine.acknowledged == machine.generation:
            machine.rearm()
    machine.teardown()
    return machine.after


SEARCH = settings(max_examples=100, stateful_step_count=40, deadline=None, database=None)


def test_nobody_sends_after_an_acknowledged_kill() -> None:
    """No interleaving of sends, renewals, rings, kills and acknowledgements breaks the promise."""
    run_state_machine_as_test(KillProtocol, settings=SEARCH)


def test_nobody_sends_after_an_acknowledged_kill_on_long_walks() -> None:
    """Nor do long walks, over many kills and re-arms."""
    assert [] == [found for seed in range(WALKS) for found in walk(KillProtocol, seed)]


def wrong_protocols() -> list[type[KillProtocol]]:
    """Return the protocol with one part left out, three times."""
    parts = ("waits_for_passages", "counts_from_question", "waits_whole_lease")
    return [type(f"Without_{part}", (KillProtocol,), {part: False}) for part in parts]


@pytest.mark.parametrize("wrong", wrong_protocols(), ids=lambda kind: kind.__name__)
def test_the_same_walks_find_a_protocol_that_lacks_a_part(wrong: type[KillProtocol]) -> None:
    """The model can fail, and does where a part of the protocol is left out."""
    assert any(walk(wrong, seed) for seed in range(WALKS))
