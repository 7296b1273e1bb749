"""Synthetic flow is deterministic, keeps a market going, and stays in its own lane."""

from collections import Counter
from decimal import Decimal

import pytest

from lob.book import OrderBook
from lob.errors import InvalidInput, Overloaded
from lob.flow import FlowProfile, ZeroIntelligence
from lob.types import AssetClass, Cancel, Command, Instrument, Rejected, Submit, Traded

SHARE = Instrument(
    symbol="A", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)
HOUR_NS = 3_600_000_000_000


def run(flow: ZeroIntelligence, steps: int) -> tuple[OrderBook, list[tuple[int, Command]]]:
    """Return the book and the commands after a number of steps."""
    book = flow.seeded_book()
    commands = []
    for _ in range(steps):
        timestamp_ns, command = flow.step(book)
        commands.append((timestamp_ns, command))
        book.apply(command)
    return book, commands


def test_the_same_seed_gives_the_same_flow() -> None:
    """Commands and final book repeat from the seed and differ with another."""
    first, commands = run(ZeroIntelligence(SHARE, 7, 10_000), 2_000)
    second, again = run(ZeroIntelligence(SHARE, 7, 10_000), 2_000)
    _, other = run(ZeroIntelligence(SHARE, 8, 10_000), 2_000)

    assert commands == again
    assert first.state_hash() == second.state_hash()
    assert commands != other


@pytest.mark.parametrize("mid_ticks", [500, 58_500])
def test_an_hour_keeps_a_two_sided_market(mid_ticks: int) -> None:
    """After any command of an hour both sides have depth, and the book's size stays level."""
    flow = ZeroIntelligence(SHARE, 11, mid_ticks)
    book = flow.seeded_book()
    sizes = []
    trades = 0
    steps = 0
    while flow.now_ns < HOUR_NS:
        _, command = flow.step(book)
        events = book.apply(command)
        steps += 1
        assert not isinstance(events[0], Rejected)
        trades += sum(isinstance(event, Traded) for event in events)
        bids, asks = book.depth(2)
        assert 2 == len(bids) == len(asks)
        if steps % 1_000 == 0:
            sizes.append(len(book))
    book.check()

    assert 60_000 < steps < 120_000
    assert trades > 3_000
    assert 100 <= min(sizes) <= max(sizes) <= 300


def test_rates_follow_the_profile() -> None:
    """The shares of limit orders, market orders and cancels are those asked for."""
    _, commands = run(ZeroIntelligence(SHARE, 3, 10_000), 20_000)

    kinds = Counter(
        command.order_type.value if isinstance(command, Submit) else "CANCEL"
        for _, command in commands
    )

    assert 0.04 < kinds["MARKET"] / kinds["LIMIT"] < 0.16
    assert 0.7 < kinds["CANCEL"] / kinds["LIMIT"] < 1.0


def test_orders_carry_the_participant_and_ids_of_the_caller() -> None:
    """Ids stay in the range given, are used again once free, and cancels are of its own orders."""
    ids = range(5_000, 6_000)
    flow = ZeroIntelligence(SHARE, 5, 10_000, participant_id=42, order_ids=ids, start_ns=123)
    book = flow.seeded_book()
    book.submit(1, next(book.orders()).side, 1, 1, participant_id=9)

    for _ in range(5_000):
        timestamp_ns, command = flow.step(book)
        assert timestamp_ns > 123
        assert command.order_id in ids
        if isinstance(command, Submit):
            assert 42 == command.participant_id
        else:
            assert isinstance(command, Cancel)
        assert not isinstance(book.apply(command)[0], Rejected)


def test_too_small_a_range_of_ids_is_overload() -> None:
    """When every id is live there is none to give, and the fault says so."""
    flow = ZeroIntelligence(SHARE, 5, 10_000, order_ids=range(1, 201))
    book = flow.seeded_book()

    def run_dry() -> None:
        for _ in range(2_000):
            book.apply(flow.step(book)[1])

    with pytest.raises(Overloaded, match="order_ids"):
        run_dry()


def test_an_empty_book_is_filled_again() -> None:
    """Flow that finds nothing starts a market at its mid."""
    flow = ZeroIntelligence(SHARE, 5, 10_000)
    book = OrderBook()
    for _ in range(500):
        book.apply(flow.step(book)[1])

    assert book.mid_ticks() == pytest.approx(10_000, abs=100)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"mid_ticks": 1}, "mid_ticks"),
        ({"mid_ticks": 100, "order_ids": range(0)}, "order_ids"),
        ({"mid_ticks": 100, "order_ids": range(5)}, "order_ids"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], name: str) -> None:
    """A mid or a range of ids that cannot work is InvalidInput by name."""
    with pytest.raises(InvalidInput, match=f"^{name}: "):
        ZeroIntelligence(SHARE, 1, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_bad_rate_is_named(rate: float) -> None:
    """Rates are finite and above 0."""
    with pytest.raises(InvalidInput, match=r"^limits_per_second: "):
        FlowProfile(limits_per_second=rate)
