"""What is due when, which stops a price reaches, and how a ladder is spread."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.errors import InvalidInput
from touchstone.exchange.ladders import Rung, rungs
from touchstone.exchange.requests import Distribution, StopDirection
from touchstone.exchange.schedule import Rank, Schedule
from touchstone.exchange.triggers import TriggerBook


class Diary:
    """A schedule that writes down what it carried out."""

    def __init__(self) -> None:
        """Know an expiry and a mark, and a grid of ten nanoseconds."""
        self.ran: list[tuple[str, int, int]] = []
        self.schedule = Schedule()
        self.schedule.register("expiry", Rank.EXPIRY, self.expire)
        self.schedule.register("mark", Rank.MARK, self.mark, period_ns=10)

    def expire(self, due_ns: int, key: int) -> None:
        """Write down an expiry."""
        self.ran.append(("expiry", due_ns, key))

    def mark(self, due_ns: int, key: int) -> None:
        """Write down a mark."""
        self.ran.append(("mark", due_ns, key))

    def run(self, until_ns: int) -> None:
        """Carry out what is due."""
        while (due_ns := self.schedule.next_ns()) is not None and due_ns <= until_ns:
            self.schedule.run_next()


def test_what_is_due_at_once_comes_by_rank_then_by_key() -> None:
    """Time first, then rank, then key; a periodic timer sets itself anew."""
    diary = Diary()
    diary.schedule.at(10, "mark")
    for time_ns, key in ((20, 7), (20, 3), (5, 9)):
        diary.schedule.at(time_ns, "expiry", key)
    diary.run(20)
    assert [
        ("expiry", 5, 9),
        ("mark", 10, 0),
        ("expiry", 20, 3),
        ("expiry", 20, 7),
        ("mark", 20, 0),
    ] == diary.ran
    assert 30 == diary.schedule.next_ns()


def test_a_timer_that_is_set_again_runs_once() -> None:
    """The later word holds; a dropped one does not run at all."""
    diary = Diary()
    diary.schedule.at(5, "expiry", 1)
    diary.schedule.at(8, "expiry", 1)
    diary.schedule.at(6, "expiry", 2)
    diary.schedule.drop("expiry", 2)
    diary.schedule.drop("expiry", 99)
    diary.run(100)
    assert [("expiry", 8, 1)] == diary.ran


def test_timers_can_be_written_down_and_set_again() -> None:
    """Another schedule goes on with the same timers."""
    diary, other = Diary(), Diary()
    for key in range(500):
        diary.schedule.at(1_000 - key, "expiry", key)
        if key % 3:
            diary.schedule.drop("expiry", key)
    other.schedule.restore(diary.schedule.timers())
    for one in (diary, other):
        one.run(1_000)
    assert diary.ran == other.ran
    assert 167 == len(diary.ran)


def test_a_name_is_registered_once() -> None:
    """A second handler for the same timers is a mistake."""
    diary = Diary()
    with pytest.raises(InvalidInput, match="registered already"):
        diary.schedule.register("mark", Rank.MARK, diary.mark)


@given(
    st.lists(
        st.tuples(st.sampled_from(StopDirection), st.integers(1, 50), st.booleans()), max_size=60
    ),
    st.lists(st.integers(1, 50), min_size=1, max_size=20),
)
def test_a_price_reaches_what_it_has_to(
    waiting: list[tuple[StopDirection, int, bool]], prices: list[int]
) -> None:
    """The heaps answer as looking at every order does, nearest first, each order once."""
    book = TriggerBook()
    left = {}
    for number, (direction, price, dropped) in enumerate(waiting):
        book.put(number, direction, price)
        left[number] = (direction, price)
        if dropped:
            book.drop(number)
            del left[number]
    for last in prices:
        hit = [
            number
            for number, (direction, price) in left.items()
            if (price <= last if direction is StopDirection.UP else price >= last)
        ]
        reached = book.hit(last)
        assert sorted(hit) == sorted(reached)
        for direction, sign in ((StopDirection.UP, 1), (StopDirection.DOWN, -1)):
            order = [(sign * left[n][1], n) for n in reached if left[n][0] is direction]
            assert sorted(order) == order
        for number in hit:
            del left[number]
        assert len(left) == len(book)


@given(
    st.integers(2, 100),
    st.integers(1, 10_000),
    st.integers(1, 10_000),
    st.integers(1, 10_000),
    st.sampled_from(Distribution),
    st.sampled_from(Distribution),
)
def test_a_ladder_spreads_all_of_the_size_over_all_of_the_range(
    count: int, lots: int, low: int, width: int, prices: Distribution, sizes: Distribution
) -> None:
    """Nothing is lost, prices go from the lowest to the highest, and sizes go their way."""
    ladder = rungs(count, lots, (low, low + width), prices, sizes)
    assert (count, lots) == (len(ladder), sum(rung.lots for rung in ladder))
    assert (low, low + width) == (ladder[0].price_ticks, ladder[-1].price_ticks)
    assert [r.price_ticks for r in ladder] == sorted(r.price_ticks for r in ladder)
    if sizes is Distribution.EVENLY_SPLIT:
        assert max(rung.lots for rung in ladder) - min(rung.lots for rung in ladder) <= 1


def test_linear_distributions_grow_and_shrink() -> None:
    """Sizes by equal amounts; of prices, the steps do."""
    growing, shrinking = Distribution.LINEAR_INCREASING, Distribution.LINEAR_DECREASING
    assert (Rung(100, 30), Rung(110, 20), Rung(130, 10)) == (
        rungs(3, 60, (100, 130), growing, shrinking)
    )
