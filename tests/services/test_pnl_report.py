"""`touchstone pnl` over books that a gateway wrote, on both databases: every figure by hand."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lob.errors import ConfigError, InvalidInput, NotFound
from lob.types import Side
from services.order_gateway.ledger import Ledger
from tests.services.books_harness import SYMBOL, fill_of, housed, open_order
from touchstone.cli.app import app
from touchstone.kit.event_store import EventStore
from touchstone.kit.event_store_url import database_url
from touchstone.kit.ledger_entries import DailyMetrics, FundingPayment, Record
from touchstone.kit.pnl_report import PnlReport, bot_of, report

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
FIRST_NS = 1_800_000_000_000_000_000 // DAY_NS * DAY_NS
FIRST, SECOND, THIRD = "2027-01-15", "2027-01-16", "2027-01-17"


def trade(
    ledger: Ledger, key: str, side: Side, price: str, at_ns: int, liquidity: str = "TAKER"
) -> None:
    """Fill an order of 0.02 at a price and a moment of the venue's clock."""
    order = open_order(ledger, key, side)
    fill = replace(
        fill_of(order, f"t-{key}", "0.02"),
        price=Decimal(price),
        ts_event_ns=at_ns,
        liquidity=liquidity,
    )
    ledger.book(order, [fill])


def two_days(ledger: Ledger) -> None:
    """Win 20 on the first day, lose 40 on the second, pay funding once, receive it once."""
    trade(ledger, "a", Side.BUY, "60000", FIRST_NS + 1)
    fund(ledger, FIRST_NS + HOUR_NS, "0.5")
    trade(ledger, "b", Side.SELL, "61000", FIRST_NS + 2 * HOUR_NS, liquidity="MAKER")
    trade(ledger, "c", Side.SELL, "60000", FIRST_NS + DAY_NS)
    trade(ledger, "d", Side.BUY, "62000", FIRST_NS + DAY_NS + 1)
    trade(ledger, "e", Side.BUY, "62000", FIRST_NS + DAY_NS + 2)
    fund(ledger, FIRST_NS + DAY_NS + HOUR_NS, "-0.2")


def fund(ledger: Ledger, at_ns: int, amount: str) -> None:
    """Book one funding payment."""
    ledger.book_funding(
        FundingPayment(
            symbol=SYMBOL,
            funding_time_ns=at_ns,
            quantity=Decimal(1),
            mark_price=Decimal(1),
            rate=Decimal(1),
            amount=Decimal(amount),
        )
    )


async def reported(url: str, days: int | None = None) -> PnlReport:
    """Return the report as the command makes it."""
    target = database_url(url, Path())
    async with EventStore(target, bot_id="bot", deadline_seconds=10, migrate=False) as store:
        return await report(store, days=days)


async def test_without_rows_of_days_the_bookings_tell(url_text: str, tmp_path: Path) -> None:
    """Realised, fees, funding and closed trades come from what was booked, day by day."""
    async with housed(url_text, tmp_path / "j") as house:
        two_days(house.ledger)
    found = await reported(url_text)
    assert [day.day for day in found.days] == [FIRST, SECOND]
    first, second = found.days
    assert first == DailyMetrics(
        day=FIRST,
        realized_pnl=Decimal(20),
        fees=Decimal("0.2"),
        funding_paid=Decimal("0.5"),
        trades=2,
        closed_trades=1,
        wins=1,
        win_rate=Decimal(1),
    )
    assert second == DailyMetrics(
        day=SECOND,
        realized_pnl=Decimal(-40),
        fees=Decimal("0.3"),
        funding_paid=Decimal("-0.2"),
        trades=3,
        closed_trades=1,
        win_rate=Decimal(0),
    )
    [symbol] = found.symbols
    assert (symbol.quantity, symbol.average_entry_price) == (Decimal("0.02"), Decimal(62_000))
    assert (symbol.fills, symbol.maker_fills, symbol.funding_payments) == (5, 1, 2)
    assert symbol.volume == Decimal("0.02") * (60_000 + 61_000 + 60_000 + 62_000 + 62_000)
    assert symbol.net_realized == Decimal(-20) - Decimal("0.5") - Decimal("0.3")
    assert found.totals["win_rate"] == Decimal("0.5")
    assert found.totals["equity"] is None
    assert found.max_drawdown is None
    [last] = (await reported(url_text, days=1)).days
    assert last == second


async def test_the_days_that_were_kept_and_the_equity_lead(url_text: str, tmp_path: Path) -> None:
    """A day's row is shown as it was kept; the drawdown is of all points of equity."""
    kept = DailyMetrics(
        day=THIRD, equity_open=Decimal(1000), equity_close=Decimal(990), sharpe=Decimal("1.5")
    )
    async with housed(url_text, tmp_path / "j") as house:
        two_days(house.ledger)
        house.ledger.book_day(kept)
        for number, equity in enumerate(("1000", "1200", "900", "990")):
            at_ns = FIRST_NS + 2 * DAY_NS + number
            house.ledger.note(Record(type="equity", ts_event_ns=at_ns, payload={"equity": equity}))
    found = await reported(url_text)
    assert [day.day for day in found.days] == [FIRST, SECOND, THIRD]
    assert found.days[2] == kept
    assert [equity for _, equity in found.equity] == [Decimal(n) for n in (1000, 1200, 900, 990)]
    assert found.max_drawdown == Decimal("0.25")
    assert (found.totals["equity"], found.totals["sharpe"]) == (Decimal(990), Decimal("1.5"))


async def test_one_of_several_bots_has_to_be_named(url_text: str, tmp_path: Path) -> None:
    """The only bot needs no name; among several each has its own figures."""
    async with housed(url_text, tmp_path / "j", bot_id="bot") as house:
        two_days(house.ledger)
    target = database_url(url_text, Path())
    async with EventStore(target, bot_id="", deadline_seconds=10) as store:
        assert await bot_of(store, None) == "bot"
        async with housed(url_text, tmp_path / "k", bot_id="other") as house:
            trade(house.ledger, "a", Side.BUY, "1", FIRST_NS)
        with pytest.raises(InvalidInput, match="allowed: bot, other"):
            await bot_of(store, None)
        with pytest.raises(NotFound, match="there is: bot, other"):
            await bot_of(store, "nobody")
        store.bot_id = await bot_of(store, "other")
        assert (await report(store)).totals["fills"] == 1


def test_the_command_prints_json_a_table_and_a_page(tmp_path: Path) -> None:
    """Three ways to say the same; a page that loads nothing from elsewhere."""
    import asyncio  # noqa: PLC0415 - the command runs a loop of its own

    folder = tmp_path / "gateway"
    folder.mkdir()

    async def fill_books() -> None:
        async with housed(f"sqlite:///{folder / 'events.db'}", folder / "journal") as house:
            two_days(house.ledger)
            payload = {"equity": "1000.5"}
            house.ledger.note(Record(type="equity", ts_event_ns=FIRST_NS, payload=payload))

    asyncio.run(fill_books())
    runner = CliRunner()
    words = ["pnl", "--data-dir", str(tmp_path)]
    page = tmp_path / "pnl.html"
    said = runner.invoke(app, [*words, "--json", "--html", str(page)])
    assert said.exit_code == 0, said.output
    told = json.loads(said.stdout)
    assert told["bot_id"] == "bot"
    assert Decimal(told["totals"]["realized_pnl"]) == -20
    assert [day["day"] for day in told["days"]] == [FIRST, SECOND]
    text = page.read_text()
    assert "Equity" in text
    assert text.count("<svg") == 2
    assert "http" not in text.replace("http-equiv", "")
    table = runner.invoke(app, words)
    assert table.exit_code == 0
    assert FIRST in table.stdout
    assert "Net of fees and funding: -20.80" in table.stdout
    assert "BTC-PERP" in table.stdout


def test_what_cannot_be_reported_is_one_line(tmp_path: Path) -> None:
    """No store, no bot, an old schema, a wrong folder: said, and nothing is made."""
    runner = CliRunner()
    said = runner.invoke(app, ["pnl", "--data-dir", str(tmp_path)])
    assert said.exit_code == 1
    assert "no such file" in said.stderr
    assert not (tmp_path / "gateway").exists()
    wrong = runner.invoke(app, ["pnl", "--html", str(tmp_path / "none" / "x.html")])
    assert wrong.exit_code == 2


async def test_a_schema_that_is_not_the_newest_is_not_touched(tmp_path: Path) -> None:
    """A report does not migrate: it says how."""
    (tmp_path / "empty.db").touch()
    url = database_url(f"sqlite:///{tmp_path / 'empty.db'}", Path())
    with pytest.raises(ConfigError, match=r"schema none, .* touchstone\.kit\.migrations up"):
        await EventStore(url, bot_id="bot", deadline_seconds=5, migrate=False).__aenter__()
