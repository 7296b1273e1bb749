"""The day's figures: gathered from equity and fills, written, and gone on with after a restart."""

from decimal import Decimal
from typing import cast

import pytest

from services.order_gateway.account import Account
from services.order_gateway.daily import WRITE_SECONDS, DayKeeper
from services.order_gateway.engine import Engine
from services.order_gateway.entry_count import EntryCount
from tests.services.money_harness import SYMBOLS, House
from touchstone.kit.ledger_entries import DailyMetrics
from touchstone.perps.checks import RefusalReason
from touchstone.perps.performance import DAY_NS

D = Decimal
BTC, ETH = SYMBOLS
MORNING_NS = 20_000 * DAY_NS + 3_600_000_000_000


class Kept(House):
    """A house whose days are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = MORNING_NS
        self.account = Account(self.venue, cast("Engine", self), monotonic=self.monotonic)
        self.days = self.keeper()

    def keeper(self) -> DayKeeper:
        """Return a new keeper in the place of the last one."""
        made = DayKeeper(
            self.account,
            self.ledger,
            self.metrics.money,
            venue_now_ns=self.venue_now_ns,
            monotonic=self.monotonic,
        )
        self.account.listeners[:] = [made.observe]
        self.journal.listeners[:] = [self.tape.offer, made.offer]
        return made

    def rows(self) -> list[DailyMetrics]:
        """Return every row that was written."""
        return [entry.day for entry in self.journal.entries if entry.day is not None]


@pytest.fixture
async def house() -> Kept:
    """A house on the morning of 4 October 2024, with 10,000."""
    made = Kept()
    await made.account.refresh()
    return made


async def test_a_day_is_written_as_it_goes_and_when_it_ends(house: Kept) -> None:
    """Two round trips, one won: 100 earned and 40 lost, 10 of fees; the next day begins with it."""
    house.trade(BTC, "0.1", "50000", fee="5")
    house.trade(BTC, "-0.1", "51000", fee="5")
    house.trade(ETH, "1", "3000")
    house.trade(ETH, "-1", "2960")
    house.seconds += WRITE_SECONDS
    await house.account.refresh()
    row = house.rows()[-1]
    assert ("2024-10-04", 4, 2, 1, D("0.5")) == (
        row.day,
        row.trades,
        row.closed_trades,
        row.wins,
        row.win_rate,
    )
    assert (D(60), D(10), D(10_000), D(10_050), D("0.005")) == (
        row.realized_pnl,
        row.fees,
        row.equity_open,
        row.equity_close,
        row.return_ratio,
    )
    house.now_ns += DAY_NS
    await house.account.refresh()
    house.days.close()
    assert ["2024-10-04", "2024-10-05"] == sorted({row.day for row in house.rows()})[-2:]
    assert (D(10_050), 0) == (house.rows()[-1].equity_open, house.rows()[-1].trades)


async def test_a_restart_goes_on_with_the_day(house: Kept) -> None:
    """Opening equity, peak, drawdown and counts are what they were; a trip that was open ends."""
    first = house.trade(BTC, "0.1", "50000")
    house.venue.cash += 500
    await house.account.refresh()
    house.venue.cash -= 300
    house.seconds += WRITE_SECONDS
    await house.account.refresh()
    row = house.rows()[-1]
    peak = D(house.journal.records("equity")[-1].payload["peak"])
    again = house.keeper()
    again.start([row], peak, [first], {BTC: D("0.1")})
    await house.account.refresh()
    house.trade(BTC, "-0.1", "50100")
    house.seconds += WRITE_SECONDS
    await house.account.refresh()
    after = house.rows()[-1]
    assert (D(10_000), D(10_500), 2, 1, 1) == (
        after.equity_open,
        again.peak_equity,
        after.trades,
        after.closed_trades,
        after.wins,
    )
    assert (row.drawdown, D(10)) == (after.drawdown, after.realized_pnl)


async def test_what_was_booked_after_the_last_row_counts_after_a_kill(house: Kept) -> None:
    """A process that dies within a minute of a row loses nothing of the day's profit and fees."""
    first = house.trade(BTC, "0.1", "50000", fee="5")
    house.seconds += WRITE_SECONDS
    await house.account.refresh()
    row = house.rows()[-1]
    told = house.journal.records("equity")[-1].payload
    second = house.trade(BTC, "-0.1", "50100", fee="7")
    again = house.keeper()
    again.start([row], D(told["peak"]), [first, second], {BTC: D(0)}, told["opened"])
    house.seconds += WRITE_SECONDS
    await house.account.refresh()
    after = again.metrics()
    assert after is not None
    assert (D(10), D(12), 2) == (after.realized_pnl, after.fees, after.trades)


async def test_the_sharpe_ratio_takes_earlier_days(house: Kept) -> None:
    """Rows of two days before make a ratio of three."""
    rows = [
        DailyMetrics(day=f"2024-10-0{n}", return_ratio=D(n) / 100, equity_close=D(10_000))
        for n in (2, 3)
    ]
    again = house.keeper()
    again.start(rows, None, [], {})
    await house.account.refresh()
    found = again.metrics()
    assert found is not None
    assert D(0) == found.daily_return
    # 2 %, 3 % and 0: mean 1.6667 %, sample deviation 1.5275 %, times the root of 365.
    assert found.sharpe is not None
    assert D("20.845") == found.sharpe.quantize(D("0.001"))


async def test_orders_of_a_day_are_limited(house: Kept) -> None:
    """Two orders are allowed, the third is refused; the next day it is not."""
    count = EntryCount(house.venue_now_ns, limit=2)
    house.journal.listeners.append(count.offer)
    for _ in range(2):
        fill = house.trade(BTC, "0.01")
    order = house.ledger.get(fill.client_order_id)
    assert order is not None
    intent = order.intent
    refusal = count.rule(intent, D(1))
    assert refusal is not None
    assert RefusalReason.ORDER_RATE is refusal.reason
    house.now_ns += DAY_NS
    assert count.rule(intent, D(1)) is None
    again = EntryCount(lambda: MORNING_NS, limit=1)
    again.start([order])
    assert again.rule(intent, D(1)) is None
