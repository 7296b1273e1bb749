"""Funding is booked once for each time, from what the account was charged, or by formula."""

from decimal import Decimal
from typing import Any, cast

import pytest

from lob.errors import Unavailable
from services.order_gateway.account import Account
from services.order_gateway.drift import DriftMeter
from services.order_gateway.engine import Engine
from services.order_gateway.funding import SETTLE_SECONDS, Funding
from tests.services.money_harness import SYMBOLS, House
from touchstone.perps.funding import HOUR_NS

D = Decimal
BTC, ETH = SYMBOLS


class Followed(House):
    """A house whose funding and drift are followed."""

    def __init__(self) -> None:
        super().__init__()
        self.account = Account(self.venue, cast("Engine", self), monotonic=self.monotonic)
        self.funding = self.follow()
        self.told: list[tuple[float, float]] = []
        self.drift = DriftMeter(
            self.account,
            self.funding,
            self.ledger,
            self.metrics.money,
            venue_now_ns=self.venue_now_ns,
            report=lambda share, at: self.told.append((share, at)),
            monotonic=self.monotonic,
        )

    def follow(self) -> Funding:
        """Return a new follower, as a restart has it."""
        return Funding(
            self.account,
            self.ledger,
            self.tape,
            self.metrics.money,
            symbols=SYMBOLS,
            venue_now_ns=self.venue_now_ns,
            monotonic=self.monotonic,
        )

    def booked(self) -> list[tuple[str, int, Decimal, str]]:
        """Return what is booked: symbol, hour, amount, source."""
        return [
            (one.symbol, one.funding_time_ns // HOUR_NS, one.amount, one.source)
            for entry in self.journal.entries
            if (one := entry.funding) is not None
        ]

    async def pass_time(self, **options: Any) -> Decimal:
        """Let the venue settle the next funding time, and its clock pass it."""
        paid = self.venue.pay(**options)
        self.now_ns = self.venue.next_ns - HOUR_NS + 1
        return paid


@pytest.fixture
async def house() -> Followed:
    """An account of 10,000 that was looked at once, before anything was traded."""
    made = Followed()
    assert await made.drift.measure() is not None
    assert D(10_000) == made.account.deposits
    return made


async def test_what_the_account_was_charged_is_booked_once(house: Followed) -> None:
    """The mark moves on before anybody looks: the amount is what was paid, and once."""
    house.trade(BTC, "0.2")
    await house.funding.step()
    assert [] == house.booked()
    paid = await house.pass_time()
    house.venue.marks[BTC] = D(50_500)
    await house.funding.step()
    await house.funding.step()
    assert [(BTC, 10, paid, "account")] == house.booked()
    assert paid == house.ledger.position(BTC).funding_paid
    drift = await house.drift.measure()
    assert drift is not None
    assert D(0) == drift.difference


async def test_what_was_held_at_the_time_counts(house: Followed) -> None:
    """A position closed a moment after the funding time has paid, one opened after it has not."""
    house.trade(BTC, "0.2")
    await house.funding.step()
    paid = await house.pass_time()
    house.trade(BTC, "-0.2")
    house.trade(ETH, "1")
    await house.funding.step()
    assert [(BTC, 10, paid, "account")] == house.booked()


@pytest.mark.parametrize("charged_first", [True, False])
async def test_what_traded_at_the_very_moment_is_the_accounts_to_say(
    house: Followed, charged_first: bool
) -> None:
    """A fill dated at the funding time itself was charged or not, as the venue went about it."""
    house.trade(BTC, "0.2")
    await house.funding.step()
    house.now_ns = house.venue.next_ns
    paid = house.venue.pay() if charged_first else D(0)
    house.trade(BTC, "-0.15")
    paid = paid if charged_first else house.venue.pay()
    house.now_ns += 1
    await house.funding.step()
    assert [(BTC, 10, paid, "account")] == house.booked()


async def test_a_mark_that_falls_far_just_before_the_time(house: Followed) -> None:
    """Where the venue publishes none with its funding, the statement's is believed as well."""
    house.venue.tells_mark = False
    house.trade(BTC, "0.2")
    await house.account.refresh()
    await house.funding.step()
    house.venue.marks[BTC] *= D("0.8")
    paid = await house.pass_time()
    await house.funding.step()
    assert [(BTC, 10, paid, "account")] == house.booked()


async def test_a_fill_that_is_on_its_way_is_waited_for(house: Followed) -> None:
    """While the venue holds what we have not booked, nobody knows what was held; then we do."""
    await house.funding.step()
    fill = house.trade(BTC, "0.2", booked=False)
    paid = await house.pass_time()
    await house.funding.step()
    assert ([], 2) == (house.booked(), house.funding.pending)
    house.book(fill)
    await house.funding.step()
    assert [(BTC, 10, paid, "account")] == house.booked()
    assert house.funding.pending == 0


async def test_a_venue_that_pays_out_later_is_booked_by_formula(house: Followed) -> None:
    """The account shows nothing: after a while size x mark x rate is booked, and it is drift."""
    house.trade(BTC, "0.2")
    await house.funding.step()
    paid = await house.pass_time()
    house.venue.cash += paid
    await house.funding.step()
    assert [] == house.booked()
    house.seconds += SETTLE_SECONDS
    await house.funding.step()
    assert [(BTC, 10, D("1.00000000"), "formula")] == house.booked()
    drift = await house.drift.measure()
    assert drift is not None
    assert D(-1) == drift.difference
    assert [record.payload["drift"] > 0 for record in house.journal.records("pnl_drift")][-1]


async def test_a_deposit_is_no_funding(house: Followed) -> None:
    """A thousand more in the account when funding falls due: the formula is booked, not a gift."""
    house.trade(BTC, "0.2")
    await house.funding.step()
    await house.pass_time()
    house.venue.cash += 1_000
    house.seconds += 1
    await house.funding.step()
    house.seconds += SETTLE_SECONDS
    await house.funding.step()
    assert [(BTC, 10, D("1.00000000"), "formula")] == house.booked()


async def test_hours_without_us_are_booked_after_a_restart(house: Followed) -> None:
    """Three hours pass; only the last rate is published, and the account has the sum of all."""
    house.trade(BTC, "0.2")
    house.trade(ETH, "-1", at_ns=house.now_ns)
    await house.funding.step()
    total = sum([await house.pass_time(rate=rate) for rate in ("0.0001", "0.0002", "-0.0001")])
    again = house.follow()
    again.start(9 * HOUR_NS, D(0))
    await again.step()
    booked = house.booked()
    assert [10, 10, 11, 11, 12, 12] == sorted(hour for _, hour, _, _ in booked)
    assert total == sum(amount for _, _, amount, _ in booked)
    final = house.follow()
    final.start(9 * HOUR_NS, D(0))
    await final.step()
    assert len(booked) == len(house.booked())


async def test_hours_that_cannot_be_known_are_told(house: Followed) -> None:
    """With an account that cannot be right, unseen hours are alarmed, the seen one is booked."""
    house.trade(BTC, "0.2")
    await house.pass_time()
    await house.pass_time()
    house.venue.cash += 5_000
    again = house.follow()
    again.start(9 * HOUR_NS, D(0))
    await again.step()
    house.seconds += SETTLE_SECONDS
    await again.step()
    assert [11] == [hour for _, hour, _, _ in house.booked()]
    told = house.journal.records("funding_unknown")
    assert [(BTC, 10 * HOUR_NS)] == [(one.symbol, one.ts_event_ns) for one in told]


async def test_the_venues_schedule_counts_not_our_clock(house: Followed) -> None:
    """Hours of our clock pass without the venue's funding time moving: nothing falls due."""
    house.trade(BTC, "0.2")
    await house.funding.step()
    house.seconds += 7_200
    house.now_ns += 3 * HOUR_NS
    await house.funding.step()
    assert ([], 0) == (house.booked(), house.funding.pending)


async def test_an_interval_that_nobody_tells_is_learned(house: Followed) -> None:
    """INTX tells no interval: its funding time steps by less than was thought, so that counts."""
    house.venue.tells_interval = False
    slow = Funding(
        house.account,
        house.ledger,
        house.tape,
        house.metrics.money,
        symbols=[BTC],
        venue_now_ns=house.venue_now_ns,
        usual_interval_ns=8 * HOUR_NS,
        monotonic=house.monotonic,
    )
    slow.start(None, D(0))
    house.trade(BTC, "0.2")
    await slow.step()
    await house.pass_time()
    await slow.step()
    assert [10] == [hour for _, hour, _, _ in house.booked()]


async def test_a_venue_that_is_away_holds_nothing_up(house: Followed) -> None:
    """Nothing is booked while it does not answer, and everything when it does again."""
    house.trade(BTC, "0.2")
    await house.funding.step()
    paid = await house.pass_time()
    house.venue.down = True
    with pytest.raises(Unavailable):
        await house.funding.step()
    house.venue.down = False
    await house.funding.step()
    assert [paid] == [amount for _, _, amount, _ in house.booked()]


async def test_drift_is_told_and_recorded(house: Followed) -> None:
    """A fee that only the venue knows shows as drift, in the event, the metric and the report."""
    house.trade(BTC, "0.2", "49900", fee="3")
    house.venue.cash -= D("0.5")
    drift = await house.drift.measure()
    assert drift is not None
    # Ours: 20 of profit less 3; theirs half a dollar less; over 23 of profit figures.
    assert (D(17), D("16.5"), D("0.5")) == (drift.ours, drift.venue, drift.difference)
    assert D("0.5") / 23 == drift.share
    assert house.told[-1] == (float(drift.share), house.now_ns / 1e9)
    payload = house.journal.records("pnl_drift")[-1].payload
    assert (float(drift.share), "0.5") == (payload["drift"], payload["difference"])


async def test_no_drift_while_the_two_sides_are_not_in_step(house: Followed) -> None:
    """A fill on its way, or a gateway that is not reconciled, says nothing about profit."""
    house.trade(BTC, "0.2", booked=False)
    assert await house.drift.measure() is None
    house.venue.held.clear()
    house.reconciled = False
    assert await house.drift.measure() is None
