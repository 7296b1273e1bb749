"""The queue-reactive flow does what its rates say, and its market stays one."""

from collections import Counter

import pytest

from lob import OrderBook
from lob.errors import InvalidInput
from lob.queue_reactive import QueueReactive, QueueReactiveProfile
from lob.types import Cancel, OrderType, Rejected, Side, Submit
from tests.lob.feeds.tapes import SHARE


def test_a_market_stays_two_sided_and_bounded() -> None:
    """After any command of a long run there are two sides, and the book does not grow away."""
    flow = QueueReactive(SHARE, 5, 10_000)
    book = flow.seeded_book()
    sizes, kinds = [], Counter[str]()
    for step in range(15_000):
        _, command = flow.step(book)
        events = book.apply(command)
        assert not isinstance(events[0], Rejected)
        kinds[command.order_type if isinstance(command, Submit) else "CANCEL"] += 1
        if step % 100 == 0:
            sizes.append(len(book))
            bids, asks = book.depth(1)
            assert bids
            assert asks
    book.check()

    assert max(sizes) < 1_000
    assert min(sizes) > 20
    assert 0.02 < kinds[OrderType.MARKET] / kinds[OrderType.LIMIT] < 0.5
    assert 0.3 < kinds["CANCEL"] / kinds[OrderType.LIMIT] < 1


@pytest.mark.parametrize(("theta", "moves"), [(0.0, False), (1.0, True)])
def test_theta_moves_the_reference_price(theta: float, moves: bool) -> None:
    """With 0 every order ever sent stands around the first price; with 1 prices wander off."""
    profile = QueueReactiveProfile(theta=theta)
    flow = QueueReactive(SHARE, 5, 10_000, profile=profile)
    book = flow.seeded_book()
    prices = set()
    for _ in range(6_000):
        _, command = flow.step(book)
        book.apply(command)
        if isinstance(command, Submit) and command.price_ticks is not None:
            prices.add(command.price_ticks)

    window = set(range(10_000 - 4, 10_000 + 6))
    assert moves == bool(prices - window)


def flat(limit: float, cancel: float, market: float) -> QueueReactiveProfile:
    """Return a profile of one level whose rates do not depend on the queue."""
    return QueueReactiveProfile(
        limit_rates=((limit,),) * 2,
        cancel_rates=((0.0, cancel),) * 2,
        market_rates=(0.0, market),
        theta=0.0,
        average_order_lots=1,
    )


def test_rates_are_those_of_the_tables() -> None:
    """Where rates are flat, so many commands of each kind come in so much time."""
    flow = QueueReactive(SHARE, 5, 10_000, profile=flat(2.0, 1.0, 0.5))
    book = flow.seeded_book()
    kinds = Counter[str]()
    for _ in range(8_000):
        _, command = flow.step(book)
        book.apply(command)
        kinds[command.order_type if isinstance(command, Submit) else "CANCEL"] += 1
    seconds = flow.now_ns / 1e9

    assert 2.0 * 4 == pytest.approx(kinds[OrderType.LIMIT] / seconds, rel=0.08)
    assert 1.0 * 4 == pytest.approx(kinds["CANCEL"] / seconds, rel=0.12)
    assert 0.5 * 2 == pytest.approx(kinds[OrderType.MARKET] / seconds, rel=0.15)


def test_a_queue_that_is_not_there_takes_nothing() -> None:
    """A market order takes no more than the best queue has, cancels are of its own orders."""
    flow = QueueReactive(SHARE, 9, 10_000, participant_id=4)
    book = flow.seeded_book()
    book.submit(10**12, Side.BUY, 1, 9_000, participant_id=9)
    for _ in range(3_000):
        bids, asks = book.depth(1)
        _, command = flow.step(book)
        if isinstance(command, Cancel):
            assert command.order_id != 10**12
        elif isinstance(command, Submit) and command.order_type is OrderType.MARKET:
            best = (asks if command.side is Side.BUY else bids)[0]
            assert command.quantity_lots <= best.quantity_lots
        book.apply(command)


def test_an_empty_book_is_filled_again() -> None:
    """Flow that finds nothing starts a market at its reference price."""
    flow = QueueReactive(SHARE, 5, 10_000)
    book = OrderBook()
    for _ in range(500):
        book.apply(flow.step(book)[1])

    assert book.mid_ticks() == pytest.approx(10_000, abs=20)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"limit_rates": ()}, "cancel_rates: 5 levels"),
        ({"cancel_rates": ((0.0, 1.0),)}, "cancel_rates: 1 levels"),
        ({"market_rates": ()}, r"market_rates: \(\)"),
        ({"market_rates": (0.0, -1.0)}, "market_rates: "),
        ({"market_rates": (0.0, float("nan"))}, "market_rates: "),
        ({"market_rates": (1.0, 1.0)}, "market_rates: 1.0 for an empty queue; allowed: 0"),
        ({"limit_rates": ((0.0, 1.0),) * 5}, "limit_rates: 0.0 for an empty queue"),
        ({"theta": 1.5}, "theta: 1.5"),
        ({"average_order_lots": 0}, "average_order_lots: 0"),
        ({"speed": 0.0}, "speed: 0.0"),
        ({"outside_cancel_rate": float("inf")}, "outside_cancel_rate: inf"),
    ],
)
def test_a_bad_profile_is_named(changes: dict[str, object], name: str) -> None:
    """A table or a number that cannot work is InvalidInput by name."""
    with pytest.raises(InvalidInput, match=f"^{name}"):
        QueueReactiveProfile(**changes)  # type: ignore[arg-type]


def test_prices_stay_above_nothing() -> None:
    """A reference price that leaves no room for the levels is refused."""
    with pytest.raises(InvalidInput, match=r"^mid_ticks: 5; allowed: above 5 levels"):
        QueueReactive(SHARE, 1, 5)
